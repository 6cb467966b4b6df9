"""Noise2Score on Set12 beside its paper's table, and trained on single micrographs alone.

    python benchmarks/noise2score.py set12      shipped weights, parameter known and blind
    python benchmarks/noise2score.py fmd        trained on the noisy image of each pair of FMD
    python benchmarks/noise2score.py table      prints what there is

Results are kept after each image; work goes on where it stopped. PSNR with peak 1, images clipped to [0, 1]
(Set12); with the range of the 50-frame average as peak (FMD). The averages of two pairs of FMD lie more than
half a row beside their noisy images, which alone costs a perfect denoiser all beyond 27 and 33 dB; so figures
after moving the average to where the noisy image lies, by their squared difference, stand beside.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import ROOT, Store, mean, shared
from skimage.io import imread

import imagereg as ir
from imagereg.methods.registry import method
from imagereg.metrics import psnr
from imagereg.physics.noise import GammaNoise, GaussianNoise, PoissonNoise

# Table 2 of arXiv:2106.07009 on Set12: noise, BM3D (or its Anscombe form), the paper known and blind.
PAPER: dict[str, tuple[Any, float, float, float]] = {
    "gaussian 25": (GaussianNoise(25 / 255), 29.96, 30.13, 30.08),
    "gaussian 50": (GaussianNoise(50 / 255), 26.33, 27.16, 26.65),
    "poisson .01": (PoissonNoise(0.01), 31.20, 31.58, 31.42),
    "poisson .05": (PoissonNoise(0.05), 27.54, 27.86, 27.76),
    "gamma 100": (GammaNoise(100.0), float("nan"), 33.01, 32.89),
    "gamma 50": (GammaNoise(50.0), float("nan"), 30.87, 30.83),
}
PAIRS = {
    "BPAE_R": ("BPAE_R_noisy", "BPAE_R_gt"),
    "image_R_1": ("image_R_1_noisy", "image_R_1_avg50"),
    "bacteria": ("bacteria_noisy16", "bacteria_target16"),
}
INNER = (slice(4, -4), slice(4, -4))  # where a shift by a pixel or two brings in no border
STRENGTHS = (0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3)


def last(measurement: ir.Measurement, name: str, **parameters: Any) -> tuple[Any, float]:
    """The last state, and the CPU seconds that it took."""
    began = time.process_time()
    state = deque(ir.iterate(measurement, method(name, **parameters)), maxlen=1)[0]
    return state, time.process_time() - began


def set12(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output, arguments.seconds)
    for number in range(1, arguments.images + 1):
        clean = torch.from_numpy(imread(shared() / "set12" / f"{number:02d}.png") / 255.0).float()
        for case in arguments.cases:
            noise = PAPER[case][0]
            for blind in (False,) if arguments.turned else (False, True):
                key = {
                    "what": "set12",
                    "weights": arguments.weights,
                    "case": case,
                    "blind": blind,
                    "turned": arguments.turned,
                    "image": number,
                }
                if store.late or store.find(**key):
                    continue
                noisy = noise.sample(clean[None, None], seed=number)
                measurement = ir.Measurement(noisy, noise=None if blind else noise)
                state, seconds = last(
                    measurement, "noise2score", weights=arguments.weights, self_ensemble=arguments.turned
                )
                found = psnr(state.image[0, 0].clamp(0, 1).numpy(), clean.numpy(), data_range=1.0)
                store.add(key, {"psnr": found, **state.values, "cpu_seconds": round(seconds, 2)})


def fmd(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output, arguments.seconds)
    for pair in arguments.pairs:
        noisy_name, clean_name = PAIRS[pair]
        noisy, clean = (_grey(shared() / "fmd" / f"{name}.png") for name in (noisy_name, clean_name))
        span = float(clean.max() - clean.min())
        moved, place = registered(clean, noisy)
        for name, parameters in contestants(arguments):
            key = {"what": "fmd", "pair": pair, "method": name, **parameters}
            if store.late or name not in arguments.methods or store.find(**key):
                continue
            values: dict[str, Any] = {}
            if name == "noisy":
                image, seconds, values = noisy, 0.0, {"average lies at": place}
            elif name == "nlm":
                image, seconds = _non_local_means(noisy, parameters["factor"])
            else:
                state, seconds = last(ir.Measurement(noisy), name, **parameters)
                image, values = np.asarray(state.image).squeeze(), dict(state.values)
            found = {
                "psnr": psnr(image, clean, data_range=span),
                "psnr_registered": psnr(image[INNER], moved[INNER], data_range=span),
            }
            store.add(key, {**found, **values, "cpu_seconds": round(seconds, 1)})


def registered(clean: Any, noisy: Any) -> tuple[Any, list[float]]:
    """The clean image moved to where the noisy one lies, and by how many rows and columns."""
    from scipy.ndimage import shift

    offsets = np.arange(-1.5, 1.51, 0.1)
    place = [0.0, 0.0]
    for axis in (0, 1, 0):
        errors = []
        for offset in offsets:
            place[axis] = float(offset)
            moved = shift(clean, place, order=3, mode="nearest")
            errors.append(float(np.square(moved - noisy)[INNER].mean()))
        place[axis] = round(float(offsets[int(np.argmin(errors))]), 2)
    return shift(clean, place, order=3, mode="nearest"), place


def contestants(arguments: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """Names and parameters; TV and NLM at many strengths, of which the best counts, by the clean image."""
    own = {"weights": "", "steps": arguments.steps}
    return [
        ("noisy", {}),
        *(("tv", {"strength": strength}) for strength in STRENGTHS),
        *(("nlm", {"factor": factor}) for factor in (0.6, 1.0, 1.5, 2.5, 4.0, 6.0)),
        ("noise2score", own),
        ("noise2score", {"weights": arguments.weights}),
        ("nuclear_norm_denoiser", {}),
        ("recorrupted", {}),
    ]


def table(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output)
    names = sorted({row["weights"] for row in store.find(what="set12")})
    for weights in names:
        print(f"Set12, weights {weights}: known, blind, and known with turned images; BM3D; the paper")
        for case, (_, bm3d, known, blind) in PAPER.items():
            parts = [
                store.find(what="set12", weights=weights, case=case, blind=b, turned=t)
                for b, t in ((False, False), (True, False), (False, True))
            ]
            figures = "  ".join(f"{mean(rows, 'psnr'):6.2f}" for rows in parts)
            print(f"  {case:<14}{figures}  n={len(parts[0])}   {bm3d:6.2f}   {known:6.2f} {blind:6.2f}")
    for pair in PAIRS:
        rows = store.find(what="fmd", pair=pair)
        print(f"FMD {pair}")
        for name in dict.fromkeys((row["method"], row.get("weights")) for row in rows):
            mine = [row for row in rows if (row["method"], row.get("weights")) == name]
            best = max(mine, key=lambda row: row["psnr"])
            label = name[0] + (f" ({name[1] or 'this image alone'})" if name[1] is not None else "")
            moved = max(row["psnr_registered"] for row in mine)
            print(f"  {label:<38}{best['psnr']:6.2f} dB {moved:6.2f} registered {best['cpu_seconds']:6.1f} s")


def _grey(path: Path) -> Any:
    picture = imread(path).astype(np.float32)
    return picture[..., 0] if picture.ndim == 3 else picture


def _non_local_means(noisy: Any, factor: float) -> tuple[Any, float]:
    from skimage.restoration import denoise_nl_means, estimate_sigma

    began = time.process_time()
    sigma = float(estimate_sigma(noisy))
    image = denoise_nl_means(
        noisy, patch_size=5, patch_distance=6, h=factor * sigma, sigma=sigma, fast_mode=True
    )
    return image, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("set12", "fmd", "table"))
    parser.add_argument("--weights", default="noise2score")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    names = ("noisy", "tv", "nlm", "noise2score", "nuclear_norm_denoiser", "recorrupted")
    parser.add_argument("--methods", nargs="+", choices=names, default=list(names))
    parser.add_argument("--cases", nargs="+", choices=PAPER, default=list(PAPER))
    parser.add_argument("--turned", action="store_true", help="the mean over eight turned images (set12)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start nothing new after")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "noise2score.json")
    arguments = parser.parse_args()
    {"set12": set12, "fmd": fmd, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
