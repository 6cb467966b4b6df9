"""Space-variant TV: fan beam, COULE and clinical slices, strengths by a grid and from the data.

    python benchmarks/svtv.py run --case coule60 --images 0:8 --seconds 80       goes on where it stopped
    python benchmarks/svtv.py choose --case coule60 --images 0:8 --by equivalent_freedom
    python benchmarks/svtv.py table                                              prints what there is

`run` solves TV and space-variant TV with Psi = FBP, TV (at the grid's best common strength), the learned
reconstruction in one pass (a network on the FBP, as in the paper) and in three, and the truth, each over a
grid of strengths, and TV reweighted three times (IRL1 for sum |D x|^p). `choose` finds the strength of each
scan from its data alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import LEARNED, ROOT, Store, clinical, coule, fan, mean, parallel, scan, solve

import imagereg as ir
from imagereg.choose.runs import Runs

CASES: dict[str, tuple[Any, Any, float]] = {
    "coule60": (coule, lambda: fan(60), 0.01),
    "coule60closed": (coule, lambda: fan(60, closed=True), 0.01),
    "coule180": (coule, lambda: fan(180), 0.003),
    "clinical60": (clinical, lambda: fan(60), 0.005),
    "parallel120": (coule, parallel, 0.02),
}
GRID = tuple(float(s) for s in np.round(np.geomspace(0.002, 0.32, 12), 5))
ROWS = ("tv", "fbp", "psi_tv", *LEARNED, "truth", "reweighted")
# A plain implementation's means over 8 images at the best common strength.
PLAIN = {
    "coule60closed": {"tv": 40.1, "fbp": 43.0, "psi_tv": 46.4, "truth": 55.0},
    "parallel120": {"tv": 35.6, "fbp": 38.4, "psi_tv": 39.6, "truth": 49.5},
}
SETTINGS: dict[str, Any] = {"iterations": 1000, "tolerance": 1e-3}


def best(store: Store, case: str, row: str) -> float | None:
    """The strength of the largest mean PSNR over the images that all strengths have in common."""
    rows = store.find(kind="grid", case=case, row=row)
    scores: dict[float, list[float]] = {}
    for found in rows:
        scores.setdefault(found["strength"], []).append(found["psnr"])
    most = max(map(len, scores.values()), default=0)
    means = {strength: np.mean(values) for strength, values in scores.items() if len(values) == most}
    return max(means, key=means.__getitem__) if means else None


def method_of(row: str, measurement: ir.Measurement, cache: dict[str, Any]) -> ir.Method:
    """The method of a row, its Psi computed once for a scan."""
    if row == "tv":
        return ir.method("tv", **SETTINGS)
    if row not in cache:
        name = {"psi_tv": "tv", "reweighted": "tv", "one_pass": "learned_fbp"}.get(row, row)
        parameters = {"strength": cache["tv_strength"], **SETTINGS} if name == "tv" else {}
        if row in LEARNED:
            parameters = {"iterations": LEARNED[row]}
        cache[row] = measurement.truth if row == "truth" else solve(measurement, name, **parameters)[0]
    passes = 3 if row == "reweighted" else 1
    return ir.method("space_variant_tv", psi=cache[row], psi_passes=passes, **SETTINGS)


def run(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output, arguments.seconds)
    pictures, physics_of, level = CASES[arguments.case]
    physics = physics_of()
    first, last = map(int, arguments.images.split(":"))
    for row in arguments.rows:
        for number in range(first, last):
            measurement = scan(physics, pictures(number), level, seed=number)
            measurement = measurement.ready()
            cache: dict[str, Any] = {"tv_strength": best(store, arguments.case, "tv")}
            runs = Runs()  # a strength starts from the image of its neighbour: the minimum is the same
            for strength in arguments.strengths:
                key = {
                    "kind": "grid",
                    "case": arguments.case,
                    "row": row,
                    "image": number,
                    "strength": strength,
                }
                if store.find(**key):
                    continue
                if store.late:
                    return
                chosen = method_of(row, measurement, cache).with_values({"strength": strength})
                store.add(key, solve(measurement, chosen, runs)[1])


def choose(arguments: argparse.Namespace) -> None:
    from imagereg.choose.base import choose as choose_strength

    store = Store(arguments.output, arguments.seconds)
    pictures, physics_of, level = CASES[arguments.case]
    physics = physics_of()
    first, last = map(int, arguments.images.split(":"))
    for row in arguments.rows:
        for number in range(first, last):
            key = {"kind": "chosen", "case": arguments.case, "row": row, "image": number, "by": arguments.by}
            if store.find(**key):
                continue
            if store.late:
                return
            measurement = scan(physics, pictures(number), level, seed=number)
            # Psi = TV is at the strength that the same rule has found for this scan, no truth in it.
            earlier = store.find(**{**key, "row": "tv"})
            strength = earlier[0]["strength"] if earlier else best(store, arguments.case, "tv")
            method = method_of(row, measurement, {"tv_strength": strength})
            choice = choose_strength(
                method, measurement.ready(), arguments.by, {"strength": (GRID[3], GRID[-1])}
            )
            _, values = solve(measurement, choice.method)
            store.add(key, {"strength": choice.value, "trials": len(choice.curve), **values})


def table(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output)
    print(
        "mean PSNR over n images: at the best common strength, at each image's best, and chosen from the data"
    )
    for case in CASES:
        for row in ROWS:
            rows = store.find(kind="grid", case=case, row=row)
            if not rows:
                continue
            strength = best(store, case, row)
            common = [found for found in rows if found["strength"] == strength]
            each = [
                max(r["psnr"] for r in rows if r["image"] == n) for n in sorted({r["image"] for r in rows})
            ]
            text = (
                f"{case:14s} {row:12s} n={len(common):2d} best {strength:.4g}: {mean(common, 'psnr'):.2f} dB"
            )
            text += f" (SSIM {mean(common, 'ssim'):.4f}), each {np.mean(each):.2f}"
            plain = PLAIN.get(case, {}).get(row)
            text += f", plain {plain}" if plain else ""
            for rule in sorted({r["by"] for r in store.find(kind="chosen", case=case, row=row)}):
                chosen = store.find(kind="chosen", case=case, row=row, by=rule)
                loss = [
                    max(r["psnr"] for r in rows if r["image"] == c["image"]) - c["psnr"]
                    for c in chosen
                    if any(r["image"] == c["image"] for r in rows)
                ]
                text += f"; {rule} {mean(chosen, 'psnr'):.2f} (loses {np.mean(loss):.2f}, n={len(chosen)})"
            print(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "choose", "table"))
    parser.add_argument("--case", choices=CASES, default="coule60")
    parser.add_argument("--images", default="0:8", help="first:last")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--strengths", type=float, nargs="+", default=list(GRID))
    parser.add_argument("--by", default="equivalent_freedom", help="rule for `choose`")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="start nothing new after this time"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "svtv.json")
    arguments = parser.parse_args()
    with torch.no_grad():
        {"run": run, "choose": choose, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
