"""Choosing a strength from the data: rules against the strength that the truth chooses, on 40 mixed scans.

    python benchmarks/choice.py run --cases 0:40 --rules held_out equivalent_freedom --seconds 500
    python benchmarks/choice.py table

A case is drawn by its number: parallel or fan beam, 20 to 360 views, noise of 0.3 to 10 % or of counted
photons, told or not told to the rule, of one of four phantoms on 128 x 128 pixels, with the detector that
covers them; the last ones are real scans of which some views are used, all views being the truth. `run` goes
on where it was stopped. For every case: PSNR at the best of 17 strengths from 1e-4 to 1, at the method's
default, and at the strength that each rule finds over its usual range, with its trials and seconds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import ROOT, Store, shared, solve

import imagereg as ir
from imagereg.choose.base import choose
from imagereg.choose.runs import Runs
from imagereg.metrics import psnr

GRID = tuple(float(s) for s in np.geomspace(1e-4, 1.0, 17))
CASES = 40
VIEWS = (20, 30, 45, 60, 90, 120, 180, 360)
LEVELS = (0.003, 0.01, 0.02, 0.05, 0.1)
EDGE = 128


def case(number: int) -> tuple[str, ir.Measurement]:
    """The name of a case and its measurement with its truth, without the noise model where it is not told."""
    if number >= CASES - 6:
        return real(number - (CASES - 6))
    random = np.random.default_rng(1000 + number)
    kind = ("parallel", "fan")[number % 2]
    views = int(VIEWS[random.integers(len(VIEWS))])
    told = bool(random.random() < 0.5)
    phantom = ("shepp_logan", "foam", "ellipses_and_lines", "textured")[(number // 2) % 4]
    truth = picture(phantom, number)
    grid = ir.Volume((EDGE, EDGE))
    if kind == "parallel":
        geometry: Any = ir.ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), 184, pixel=1.0)
    else:
        geometry = ir.FanBeam(
            np.linspace(0, 2 * np.pi, views, endpoint=False), 220, pixel=1.2,
            source_origin=400.0, source_detector=550.0,
        )  # fmt: skip
    physics = ir.tomography(geometry, grid)
    if number % 5 == 4:
        peak = float(random.choice([300.0, 3000.0, 30000.0]))
        scale = 4.0 / float(physics.A(truth).max())
        truth, noise = truth * scale, ir.TransmissionNoise(peak)
        level = f"{peak:g} photons"
    else:
        relative = float(LEVELS[random.integers(len(LEVELS))])
        size = relative * float(physics.A(truth).square().mean().sqrt())
        noise, level = ir.GaussianNoise(size), f"{100 * relative:g} %"
    data = noise.sample(physics.A(truth), seed=number)
    name = f"{phantom}, {kind}, {views} views, {level}, {'told' if told else 'not told'}"
    return name, ir.Measurement(data, physics=physics, noise=noise if told else None, truth=truth)


def picture(name: str, seed: int) -> torch.Tensor:
    """A phantom in [0, 1], (1, 1, EDGE, EDGE); 'textured' has shading and grain inside its bodies."""
    import imagereg.phantoms as room

    if name == "textured":
        base = np.asarray(room.ellipses_and_lines(EDGE, seed=seed))
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:EDGE, :EDGE] / EDGE
        waves = sum(np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in random.uniform(-9, 9, (12, 3)))
        image = base * (1 + 0.12 * waves / np.abs(waves).max())
    elif name == "shepp_logan":
        image = np.asarray(room.shepp_logan(EDGE))
    else:
        image = np.asarray(getattr(room, name)(EDGE, seed=seed))
    image = image - image.min()
    return torch.from_numpy((image / image.max()).astype(np.float32))[None, None]


def real(number: int) -> tuple[str, ir.Measurement]:
    """A real scan in some of its views; the truth is the reconstruction of all views by a weak penalty."""
    name, step = (("tooth", 2), ("tooth", 6), ("htc", 8), ("htc", 24), ("stack", 1), ("stack", 3))[number]
    if name == "tooth":
        scan = ir.preprocess(ir.read(shared() / "tooth" / "tooth.h5"), ["flatfield", "centre", {"bin": {}}])
        scan = scan.select(rows=slice(0, 1))
    elif name == "htc":
        scan = ir.read(shared() / "htc2022" / "ta_full_a_1.mat")
        scan = ir.preprocess(scan, [{"bin": {}}])
    else:
        with np.load(shared() / "savu" / "tomo24737_projections.npz") as file:
            data, angles = file["projections"][:, 60:61].astype(np.float32), file["angles_deg"]
        geometry = ir.ParallelBeam(np.deg2rad(angles), data.shape[2], pixel=1.0).with_centre(85.8)
        scan = ir.Measurement(-np.log(np.clip(data[:, 0], 1e-3, None)), geometry=geometry)
    truth = ir.reconstruct(scan, "tv", strength=0.004, iterations=600).state.image
    ready = scan.ready()
    if step > 1:
        from imagereg.choose.held_out import take_views

        keep = torch.zeros(ready.geometry.views, dtype=torch.bool)
        keep[::step] = True
        ready = take_views(ready, keep)
    return f"{name}, real, {ready.geometry.views} views", replace(ready, truth=truth, noise=None)


def quality(image: torch.Tensor, measurement: ir.Measurement) -> float:
    """PSNR over the range of the truth."""
    truth = measurement.truth[0, 0].numpy()
    return float(psnr(image[0, 0].numpy(), truth, data_range=float(truth.max() - truth.min())))


def run(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output, arguments.seconds)
    first, last = map(int, arguments.cases.split(":"))
    for number in range(first, last):
        wanted = [
            what
            for what in ("grid", "default", *arguments.rules)
            if not store.find(case=number, method=arguments.method, what=what)
        ]
        if not wanted or store.late:
            continue
        name, measurement = case(number)
        ready = measurement.ready()
        method = ir.method(arguments.method)
        for what in wanted:
            if store.late:
                return
            key = {"case": number, "name": name, "method": arguments.method, "what": what}
            began = time.perf_counter()
            if what == "grid":
                runs, scores = Runs(), {}
                for strength in reversed(GRID):
                    chosen = method.with_values({"strength": strength, "iterations": 1500})
                    scores[strength] = quality(solve(ready, chosen, runs)[0], ready)
                best = max(scores, key=scores.__getitem__)
                values: dict[str, Any] = {"strength": best, "psnr": scores[best]}
                values["curve"] = [round(scores[s], 3) for s in GRID]
            elif what == "default":
                values = {"strength": method.strength, "psnr": quality(solve(ready, method)[0], ready)}
            else:
                by, _, settings = what.partition(":")
                given = {k: float(v) for k, v in (p.split("=") for p in settings.split(",") if p)}
                with torch.no_grad():
                    choice = choose(method, ready, by, **given)
                values = {
                    "strength": choice.value,
                    "psnr": quality(solve(ready, choice.method)[0], ready),
                    "trials": choice.evidence["trials"],
                    "iterations": choice.evidence["iterations"],
                    "at_the_end": choice.evidence["at_the_end"],
                }
            store.add(key, {**values, "seconds": round(time.perf_counter() - began, 1)})


def table(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output)
    rules = sorted({row["what"] for row in store.rows} - {"grid"})
    losses: dict[str, list[float]] = {rule: [] for rule in rules}
    below: dict[str, list[float]] = {rule: [] for rule in rules}
    print("dB below the truth-chosen strength")
    for number in range(CASES):
        grid = store.find(case=number, method=arguments.method, what="grid")
        if not grid:
            continue
        rows = {r: store.find(case=number, method=arguments.method, what=r) for r in rules}
        best = max([grid[0]["psnr"]] + [r[0]["psnr"] for r in rows.values() if r])
        default = rows["default"][0]["psnr"] if rows.get("default") else None
        text = f"{number:2d} {grid[0]['name']:62s} {best:5.2f} dB at {grid[0]['strength']:.3g}"
        for rule, row in rows.items():
            if row:
                losses[rule].append(best - row[0]["psnr"])
                if default is not None:
                    below[rule].append(default - row[0]["psnr"])
                strength = row[0]["strength"]
                shown = "auto" if strength is None else f"{strength:.3g}"
                text += f"  {rule} {best - row[0]['psnr']:5.2f} ({shown})"
        print(text)
    for rule in rules:
        if losses[rule]:
            found = [r for r in store.rows if r["what"] == rule and r["method"] == arguments.method]
            more = "" if rule == "default" else (
                f", {np.median([r['trials'] for r in found]):.0f} trials, "
                f"{np.median([r['seconds'] for r in found]):.0f} s"
            )  # fmt: skip
            print(
                f"{rule:24s} n={len(losses[rule])} median {np.median(losses[rule]):.2f}, worst "
                f"{max(losses[rule]):.2f}, at most {max(below[rule], default=0):.2f} below the default{more}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--cases", default=f"0:{CASES}", help="first:last")
    parser.add_argument("--method", default="tv")
    parser.add_argument("--rules", nargs="*", default=["held_out"], help="rule or rule:setting=value,...")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start nothing new after this")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "choice.json")
    arguments = parser.parse_args()
    with torch.no_grad():
        {"run": run, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
