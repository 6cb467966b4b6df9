"""RED-diff beside other methods on the same diffusion prior, plug and play, and total variation.

    python benchmarks/red_diff.py tune      settings of each method for each task, on pictures that tune only
    python benchmarks/red_diff.py test      held-out pictures with those settings
    python benchmarks/red_diff.py table     prints what there is, and whether the targets are met

Photographs of the test are squares of Set12, those that tune are squares of photographs for training
(train400), which the network has not seen (IMAGEREG_SHARED for both). Bodies are generated from other seeds
than training and tuning saw; in scans they have an attenuation of up to 0.02 per mm. Each task has three
images of 64 x 64 as one batch; two of 48 x 48 tune. Seconds are those of one core for the batch; `calls`
counts passes of the batch through the network, `back` those with a gradient. PSNR and SSIM for a data range
of 1 (images) or 0.02 per mm, images clipped to it. 'start' is the A^+ y from which RED-diff sets out. Rows go
to results/red_diff/red_diff.json and are not measured twice.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import ROOT, Store, mean, shared
from skimage.io import imread

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.methods.registry import method
from imagereg.metrics import psnr, ssim
from imagereg.networks.store import load_network
from imagereg.phantoms import ellipses_and_lines
from imagereg.physics import Saturation, blur, downsampling, gaussian_kernel, inpainting
from imagereg.training.squares import middle_of

RESULTS = ROOT / "benchmarks" / "results" / "red_diff" / "red_diff.json"
ATTENUATION = 0.02
SET12, TRAINING = (1, 3, 6), (10, 290)


def photographs(held: bool) -> torch.Tensor:
    """(3, 1, 64, 64) in [0, 1], or (2, 1, 48, 48) that tune."""
    folder, edge = shared() / ("set12" if held else "train400"), 64 if held else 48
    names = [f"{n:02d}.png" for n in SET12] if held else [f"test_{n:03d}.png" for n in TRAINING]
    pictures = [torch.from_numpy(imread(folder / name) / 255.0).float() for name in names]
    return torch.stack([middle_of(picture, edge) for picture in pictures])[:, None]


def bodies(held: bool) -> torch.Tensor:
    """(3, 1, 64, 64) in 1/mm, or (2, 1, 48, 48) that tune."""
    seeds = range(7_000_000_000, 7_000_000_003) if held else range(8_000_000_000, 8_000_000_002)
    images = [torch.from_numpy(ellipses_and_lines(64 if held else 48, seed=seed)) for seed in seeds]
    return ATTENUATION * torch.stack(images)[:, None]


def slices(held: bool) -> torch.Tensor:
    """The same bodies as images in [0, 1]."""
    return bodies(held) / ATTENUATION


def seen(physics: Any, truth: torch.Tensor, noise: float) -> ir.Measurement:
    """Data with white noise."""
    known = ir.GaussianNoise(noise)
    data = known.sample(physics.A(truth), seed=1)
    if isinstance(physics, Saturation):
        data = data.clamp(physics.low, physics.high)
    quantity = "line_integrals" if getattr(physics, "geometry", None) is not None else "image"
    return ir.Measurement(data, physics=physics, noise=known, truth=truth, quantity=quantity)


def half_of_the_pixels(truth: torch.Tensor) -> ir.Measurement:
    """Every second pixel at random, noise 0.01 on those."""
    mask = torch.rand(truth.shape[2:], generator=torch.Generator().manual_seed(3)) < 0.5
    measurement = seen(inpainting(mask), truth, 0.01)
    return ir.Measurement(
        measurement.data * mask,
        physics=measurement.physics,
        noise=measurement.noise,
        truth=truth,
        quantity="image",
    )


def views(count: int, arc: float) -> Callable[[torch.Tensor], ir.Measurement]:
    """Parallel views over an arc in degrees, noise of 1 % of the largest line integral of the first image."""

    def measure(truth: torch.Tensor) -> ir.Measurement:
        angles = np.deg2rad(np.linspace(0, arc, count, endpoint=False))
        edge = truth.shape[-1]
        physics = ir.tomography(ir.ParallelBeam(angles, edge * 3 // 2, pixel=1.0), ir.Volume((edge, edge)))
        return seen(physics, truth, 0.01 * float(physics.A(truth[:1]).max()))

    return measure


TASKS: dict[str, tuple[Callable[[bool], torch.Tensor], Callable[[torch.Tensor], ir.Measurement]]] = {
    "inpainting 50 %": (photographs, half_of_the_pixels),
    "super-resolution 2": (photographs, lambda x: seen(downsampling(x.shape[2:], 2), x, 0.02)),
    "super-resolution 4": (photographs, lambda x: seen(downsampling(x.shape[2:], 4), x, 0.02)),
    "blur 1.5": (photographs, lambda x: seen(blur(gaussian_kernel(1.5)), x, 0.02)),
    "high dynamic range": (photographs, lambda x: seen(Saturation(), x, 0.01)),
    "bodies, inpainting 50 %": (slices, half_of_the_pixels),
    "bodies, super-resolution 2": (slices, lambda x: seen(downsampling(x.shape[2:], 2), x, 0.02)),
    "bodies, super-resolution 4": (slices, lambda x: seen(downsampling(x.shape[2:], 4), x, 0.02)),
    "bodies, blur 1.5": (slices, lambda x: seen(blur(gaussian_kernel(1.5)), x, 0.02)),
    "bodies, high dynamic range": (slices, lambda x: seen(Saturation(), x, 0.01)),
    "32 views": (bodies, views(32, 180.0)),
    "60 views": (bodies, views(60, 180.0)),
    "90 views over 120 degrees": (bodies, views(90, 120.0)),
}

GRIDS: dict[str, list[dict[str, Any]]] = {
    "red_diff": [{"sigma_max": m} for m in (0.15, 0.3)],
    "dps": [{"strength": s} for s in (1.0, 3.0)],
    "diffpir": [{"strength": s} for s in (1.0, 3.0)],
    "ddrm": [{"eta": eta} for eta in (0.3, 0.85)],
    "pnp": [{"sigma": 0.03, "penalty": b} for b in (0.25, 1.0)],
    "tv": [{"strength": s} for s in (0.01, 0.03, 0.1)],
}
SCANS = {"dps": [{"strength": s} for s in (3.0, 6.0)]}
PRIORS = ("red_diff", "dps", "diffpir", "ddrm", "pnp")


class Counted:
    """A denoiser that counts its passes."""

    def __init__(self, name: str) -> None:
        self.network = load_network(name, method="red_diff")[0]
        self.calls = self.back = 0

    def __call__(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        """D(x, sigma)."""
        self.calls += 1
        self.back += int(torch.is_grad_enabled() and x.requires_grad)
        return self.network(x, sigma)


def run(
    name: str, settings: dict[str, Any], measurement: ir.Measurement, steps: int, network: str
) -> dict[str, Any]:
    """Figures of one method on one batch."""
    scan = measurement.geometry is not None
    given: dict[str, Any] = dict(settings)
    if name in PRIORS[:-1]:
        given |= {"iterations": steps, **({} if scan else {"scale": 1.0})}
    chosen = method(name, **given)
    prior = Counted(network)
    if name in PRIORS:
        chosen = chosen.using(prior)
    began = time.process_time()
    state = deque(ir.iterate(measurement, chosen), maxlen=1)[0]
    seconds = time.process_time() - began
    return {
        **figures(state.image, measurement),
        "seconds": round(seconds, 2),
        "iterations": state.iteration,
        "calls": prior.calls,
        "back": prior.back,
    }


def figures(image: torch.Tensor, measurement: ir.Measurement) -> dict[str, float]:
    """Mean PSNR and SSIM of a batch."""
    top = ATTENUATION if measurement.geometry is not None else 1.0
    pairs = [
        (found[0].clamp(0, top).numpy(), true[0].numpy())
        for found, true in zip(image, measurement.truth, strict=True)
    ]
    return {
        "psnr": float(np.mean([psnr(a, b, data_range=top) for a, b in pairs])),
        "ssim": float(np.mean([ssim(a, b, data_range=top) for a, b in pairs])),
    }


def cases(held: bool, wanted: list[str]) -> Iterator[tuple[str, ir.Measurement, str]]:
    """Tasks with their data and the name of their network."""
    for task, (pictures, measure) in TASKS.items():
        if not wanted or any(word in task for word in wanted):
            network = "diffusion_natural" if pictures is photographs else "diffusion_ct"
            yield task, measure(pictures(held)), network


def tune(arguments: argparse.Namespace, store: Store) -> None:
    """Each method at each of its settings."""
    for task, measurement, network in cases(False, arguments.task):
        for name, grid in GRIDS.items():
            chosen = SCANS.get(name, grid) if measurement.geometry is not None else grid
            for settings in chosen:
                key = {"what": "tune", "task": task, "method": name, "settings": settings}
                if store.late or store.find(**key):
                    continue
                try:
                    store.add(key, run(name, settings, measurement, arguments.steps, network))
                except UsageError as refusal:  # not every method is for every physics
                    store.add(key, {"refused": str(refusal)})


def test(arguments: argparse.Namespace, store: Store) -> None:
    """Each method at the setting that was best where it was tuned."""
    for task, measurement, network in cases(True, arguments.task):
        ready = measurement.ready()
        run("red_diff", {}, measurement, 2, network)  # so that nothing is loaded or compiled in what is timed
        for name in GRIDS:
            rows = [row for row in store.find(what="tune", task=task, method=name) if "psnr" in row]
            key = {"what": "test", "task": task, "method": name}
            if not rows or store.late or store.find(**key):
                continue
            settings = max(rows, key=lambda row: row["psnr"])["settings"]
            found = run(name, settings, measurement, arguments.steps, network)
            store.add({**key, "settings": settings}, found)
        key = {"what": "test", "task": task, "method": "start"}
        if not store.find(**key):
            scale = {} if measurement.geometry is not None else {"scale": 1.0}
            chosen = method("red_diff", **scale)
            store.add(key, figures(chosen.pose(ready).start, measurement))


def table(arguments: argparse.Namespace, store: Store) -> None:
    """One line a task, and the targets: 3 dB over the start, at least DPS less 0.5 dB in 0.6 of its time."""
    names = ("start", *GRIDS)
    print(f"{'PSNR (SSIM)':<28}" + "".join(f"{name:>19}" for name in names))
    for task in TASKS:
        rows = {name: store.find(what="test", task=task, method=name) for name in names}
        cells = [f"{mean(r, 'psnr'):.2f} ({mean(r, 'ssim'):.3f})" if r else "-" for r in rows.values()]
        print(f"{task:<28}" + "".join(f"{cell:>19}" for cell in cells))
    print(f"\n{'seconds / calls / back':<28}" + "".join(f"{name:>19}" for name in names[1:]))
    for task in TASKS:
        rows = {name: store.find(what="test", task=task, method=name) for name in names[1:]}
        cells = [f"{r[0]['seconds']} / {r[0]['calls']} / {r[0]['back']}" if r else "-" for r in rows.values()]
        print(f"{task:<28}" + "".join(f"{cell:>19}" for cell in cells))
    print(f"\n{'RED-diff':<28}{'over its start':>16}{'over DPS':>16}{'time / DPS':>16}")
    for task in TASKS:
        red, dps, start = (
            store.find(what="test", task=task, method=name) for name in ("red_diff", "dps", "start")
        )
        above = mean(red, "psnr") - mean(start, "psnr")
        beside = mean(red, "psnr") - mean(dps, "psnr")
        ratio = mean(red, "seconds") / mean(dps, "seconds") if dps else math.nan
        print(f"{task:<28}{above:>16.2f}{beside:>16.2f}{ratio:>16.2f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["tune", "test", "table"])
    parser.add_argument("--task", nargs="*", default=[], help="words of the tasks' names; all by default")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=math.inf)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    {"tune": tune, "test": test, "table": table}[arguments.what](
        arguments, Store(arguments.output, arguments.seconds)
    )


if __name__ == "__main__":
    main()
