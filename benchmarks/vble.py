"""Variational Bayes in latents beside plug and play and total variation, with the coverage of its intervals.

    python benchmarks/vble.py [--pictures 4] [--edge 128] [--part deblur super inpaint tomography coverage]
                              [--only tv pnp vble map dps] [--minutes 20] [--keep FOLDER]

Squares out of the middle of Set12, and clinical slices (IMAGEREG_SHARED), on which no autoencoder was
trained. Grey values are in [0, 1]; a border of 5 pixels does not count. Rows go to results/vble.json and are
not measured twice.

deblur       a camera's shake, Gaussian blur of 1 and 3 pixels; noise 2.55 / 255 and 7.65 / 255.
super        every second and every fourth pixel, bicubic, noise 2.55 / 255.
inpaint      half of the pixels, noise 2.55 / 255.
tomography   60 parallel views, 1 % noise.
coverage     Gaussian blur of 1 pixel, noise 2.55 / 255: the middles, 64 x 64, of 60 photographs of train400
             to calibrate the intervals on (conformal risk control at 90 %), and of 30 others to test them.

'vble xz', 'vble z' and 'map z' have their defaults. FFDNet is in half-quadratic splitting with the noise
of the data as its last level and eight steps (24 where pixels are missing, from a first level of 1 where half
of them are). 'tv' has the best of three strengths for each picture, chosen by the truth. 'dps' has its
defaults.

Coverage is the share of pixels whose truth lies in mean +- 1.645 std of the samples, which is 90 % where
both are right; width is that of the interval. `stretch` is the factor of std at which 90 % of this picture's
pixels would be covered. With --keep, mean, std and truth of each picture are kept in files.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from lpn import FFDNet, natural
from scenes import ROOT, Store, clinical, mean, scan, shared
from skimage.io import imread
from train_lpn import TRAINED

import imagereg as ir
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.methods.registry import method
from imagereg.metrics import psnr, ssim
from imagereg.physics import blur, downsampling, gaussian_kernel, inpainting
from imagereg.solvers.linear import mean_curvature
from imagereg.solvers.problem import Problem
from imagereg.training.squares import middle_of
from imagereg.uncertainty.band import Band
from imagereg.uncertainty.conformal import loss_curve, risk_controlled_mean

PARTS = ("deblur", "super", "inpaint", "tomography", "coverage")
PICTURES = (2, 4, 1, 6, 7, 8, 9, 10)
"""Numbers of Set12; 3, 5, 11 and 12 are left for choosing defaults."""
CALIBRATED = tuple(n for n in range(1, 401) if n % 20 in (1, 8, 14))
TESTED = tuple(n for n in range(1, 401) if n % 40 in (5, 18, 31))
"""Numbers of train400, 60 and 30 of them."""
SLICES = tuple(number for number in range(14) if number not in TRAINED)
BORDER = 5
NINETY = 1.6448536269514722
TV = {"deblur": (0.01, 0.03, 0.1), "tomography": (0.003, 0.01, 0.03)}


def shake(seed: int, edge: int = 19) -> torch.Tensor:
    """A kernel (edge, edge) of a camera in an unsteady hand: where a point goes that drifts and jerks."""
    random = np.random.default_rng(seed)
    position, velocity, path = np.zeros(2), random.normal(size=2), []
    for _ in range(2000):
        jerk = random.normal(size=2) * (8.0 if random.random() < 0.004 else 0.15)
        velocity = 0.985 * velocity + jerk - 0.004 * position
        position = position + 0.02 * velocity
        path.append(position)
    points = np.array(path)
    points -= (points.max(0) + points.min(0)) / 2
    points *= (edge - 4) / 2 / np.abs(points).max()
    kernel = np.zeros((edge, edge))
    middle = points + edge // 2
    corner = np.floor(middle).astype(int)
    share = middle - corner
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - down - share[:, 0]) * np.abs(1 - right - share[:, 1])
        np.add.at(kernel, (corner[:, 0] + down, corner[:, 1] + right), weight)
    return torch.from_numpy(kernel / kernel.sum()).float()


def tasks(part: str, edge: int) -> Iterator[tuple[str, float, Any]]:
    """Name, noise and physics."""
    if part == "deblur":
        kernels = {"shake": shake(9), "gauss 1": gaussian_kernel(1.0), "gauss 3": gaussian_kernel(3.0)}
        for sigma in (2.55, 7.65):
            for name, kernel in kernels.items():
                yield name, sigma / 255, blur(kernel)
    elif part == "super":
        for factor in (2, 4):
            yield f"x{factor}", 2.55 / 255, downsampling((edge, edge), factor, kernel="bicubic")
    elif part == "inpaint":
        known = torch.rand(edge, edge, generator=torch.Generator().manual_seed(0)) < 0.5
        yield "half", 2.55 / 255, inpainting(known)


def measurements(part: str, count: int, edge: int) -> Iterator[tuple[dict[str, Any], ir.Measurement]]:
    """Keys and measurements of a part."""
    if part == "tomography":
        angles = np.linspace(0, np.pi, 60, endpoint=False)
        geometry = ir.ParallelBeam(angles, int(1.42 * edge), pixel=1.0)
        physics = ir.tomography(geometry, ir.Volume((edge, edge)))
        for number in SLICES[:count]:
            truth = F.interpolate(clinical(number), (edge, edge), mode="area")
            key = {"part": part, "task": "60 views", "noise": 0.01, "image": number}
            yield key, scan(physics, truth, 0.01, seed=number)
        return
    for name, sigma, physics in tasks(part, edge):
        for number in PICTURES[:count]:
            truth, noise = natural(number, edge), ir.GaussianNoise(sigma)
            data = noise.sample(physics.A(truth), seed=number)
            if part == "inpaint":
                data = physics.A(data)
            key = {"part": part, "task": name, "noise": round(255 * sigma, 2), "image": number}
            yield key, ir.Measurement(data, physics=physics, noise=noise, truth=truth)


def photographs(numbers: tuple[int, ...], edge: int) -> torch.Tensor:
    """The middles of pictures of train400, (n, 1, edge, edge)."""
    files = [shared() / "train400" / f"test_{number:03d}.png" for number in numbers]
    return torch.stack([middle_of(torch.from_numpy(imread(f) / 255.0).float(), edge) for f in files])[:, None]


def coverage(store: Store) -> None:
    """Raw and calibrated coverage and width of 90 % on pictures that were not calibrated on."""
    physics, noise = blur(gaussian_kernel(1.0)), ir.GaussianNoise(2.55 / 255)
    for variant in ("xz", "z"):
        key = {"part": "coverage", "task": "gauss 1", "noise": 2.55, "method": f"vble {variant}"}
        if store.find(**key) or store.late:
            continue
        bands, truths = [], []
        for truth in (photographs(CALIBRATED, 64), photographs(TESTED, 64)):
            data = noise.sample(physics.A(truth), seed=len(bands))
            measurement = ir.Measurement(data, physics=physics, noise=noise, truth=truth)
            chosen = method("vble", scale=1.0, variant=variant)
            found = deque(ir.iterate(measurement, chosen), maxlen=1)[0].outcome.uncertainty
            bands.append(Band.of(inner(found.mean), 0.9, std=inner(found.std)))
            truths.append(inner(truth))
        scores = bands[0].scores(truths[0])
        factor = risk_controlled_mean(np.stack([loss_curve(one.numpy()) for one in scores]), 0.1)
        after = bands[1].scaled(factor)
        figures = {
            "calibrated on": len(scores),
            "raw": bands[1].coverage(truths[1]),
            "raw width": float(bands[1].width.mean()),
            "factor": factor,
            "calibrated": after.coverage(truths[1]),
            "calibrated width": float(after.width.mean()),
        }
        store.add(key, figures)


def inner(image: torch.Tensor) -> torch.Tensor:
    return image[..., BORDER:-BORDER, BORDER:-BORDER]


def judged(image: torch.Tensor, truth: torch.Tensor, seconds: float) -> dict[str, Any]:
    a, b = (inner(x)[0, 0].numpy() for x in (image, truth))
    return {
        "psnr": float(psnr(a, b, data_range=1.0)),
        "ssim": float(ssim(a, b, data_range=1.0)),
        "seconds": round(seconds, 2),
    }


def covered(mean_image: torch.Tensor, std: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Coverage and mean width of the raw interval of 90 %, and the stretch that would give 90 %."""
    error, spread = inner((truth - mean_image).abs()), inner(std).clamp_min(1e-9)
    return {
        "coverage": float((error <= NINETY * spread).float().mean()),
        "width": float(2 * NINETY * spread.mean()),
        "stretch": float((error / (NINETY * spread)).flatten().quantile(0.9)),
    }


class Contenders:
    """Every method on one measurement."""

    def __init__(self, store: Store, keep: Path | None, only: tuple[str, ...]) -> None:
        self.store, self.keep, self.only = store, keep, only
        self.ffdnet = FFDNet(shared() / "weights" / "ffdnet_gray.npz")

    def run(self, key: dict[str, Any], measurement: ir.Measurement) -> None:
        """The rows of a measurement that are not there yet."""
        settings = {"sigma": 0.02, "balance": 0.25, "iterations": 8}
        if key["part"] != "tomography":
            # 0.23 at the last level, as published, is in units of ||A||^2 = 1 and not of the mean curvature.
            curvature = mean_curvature(Problem(LeastSquares(measurement.data), measurement.physics))
            steps = 8 if key["part"] == "deblur" else 24
            settings = {"sigma": key["noise"] / 255, "balance": 0.23 / float(curvature), "iterations": steps}
            if key["part"] == "inpaint":
                settings["first"] = 1.0  # black pixels that are missing are an error of that size
        self.add(key, "pnp ffdnet", measurement, method("pnp", **settings).using(self.ffdnet))
        for strength in TV.get(key["part"], (0.01, 0.03, 0.1)):
            name = f"tv {strength:g}"
            self.add(key, name, measurement, method("tv", strength=strength, iterations=200, scale=1.0))
        self.add(key, "vble xz", measurement, method("vble", scale=1.0))
        self.add(key, "vble z", measurement, method("vble", scale=1.0, variant="z"))
        self.add(key, "map z", measurement, method("vble", scale=1.0, variant="z", inference="map"))
        self.add(key, "dps", measurement, method("dps", scale=1.0))

    def add(self, key: dict[str, Any], name: str, measurement: ir.Measurement, chosen: ir.Method) -> None:
        """One row, unless it is there or the time is up."""
        full = {**key, "method": name}
        if self.store.find(**full) or self.store.late or not name.startswith(self.only):
            return
        began = time.perf_counter()
        state = deque(ir.iterate(measurement, chosen), maxlen=1)[0]
        row = judged(state.image, measurement.truth, time.perf_counter() - began)
        found = state.outcome.uncertainty
        if found is not None:
            row |= covered(found.mean, found.std, measurement.truth)
            if self.keep is not None:
                self.keep.mkdir(parents=True, exist_ok=True)
                stem = "-".join(str(value).replace(" ", "") for value in full.values())
                arrays = {"mean": found.mean, "std": found.std, "truth": measurement.truth}
                np.savez_compressed(self.keep / f"{stem}.npz", **{k: v.numpy() for k, v in arrays.items()})
        self.store.add(full, row)


def table(store: Store) -> None:
    """Means over pictures, one line a task and method; TV at each picture's best strength."""
    seen: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for row in store.rows:
        if row["part"] == "coverage":
            print(
                f"coverage {row['method']}: raw {row['raw']:.1%} width {row['raw width']:.4f}; "
                f"calibrated {row['calibrated']:.1%} width {row['calibrated width']:.4f}"
            )
            continue
        lines = seen.setdefault((row["part"], row["task"], row["noise"]), {})
        lines.setdefault(
            row["method"].split()[0] if row["method"].startswith("tv") else row["method"], []
        ).append(row)
    for task, lines in seen.items():
        print(*task)
        for name, rows in lines.items():
            if name == "tv":
                numbers = {row["image"] for row in rows}
                rows = [
                    max((r for r in rows if r["image"] == n), key=lambda r: r["psnr"])
                    for n in sorted(numbers)
                ]
            figures = f"{mean(rows, 'psnr'):6.2f} dB {mean(rows, 'ssim'):.3f} {mean(rows, 'seconds'):6.1f} s"
            said = f"  {name:<11}{figures}"
            if "coverage" in rows[0]:
                said += (
                    f"  90 %: {100 * mean(rows, 'coverage'):.1f} % covered, width {mean(rows, 'width'):.4f}"
                )
                said += f", stretch {mean(rows, 'stretch'):.2f}"
            print(f"{said}  ({len(rows)} pictures)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of methods' names")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(ROOT / "benchmarks" / "results" / "vble.json", 60 * given.minutes)
    contenders = Contenders(store, given.keep, tuple(given.only))
    if "coverage" in given.part:
        coverage(store)
    # One picture of every task before the second of any, so that a run cut short has seen all of them.
    for count in range(1, given.pictures + 1):
        for part in (part for part in given.part if part != "coverage"):
            for key, measurement in measurements(part, count, given.edge):
                contenders.run({**key, "edge": given.edge}, measurement)
    table(store)


if __name__ == "__main__":
    main()
