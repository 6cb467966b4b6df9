"""Time of one image of 512 x 512 for each learned method of images and scans.

    python benchmarks/learned_times.py [--threads 2]

Seconds by the clock and of the processor. Methods that train on the image are given a few steps, and their
whole training is reckoned from these.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from typing import Any

import torch
from scenes import ROOT, Store

import imagereg as ir
from imagereg.methods.noise2score import OWN_STEPS
from imagereg.methods.registry import method
from imagereg.phantoms import ellipses_and_lines
from imagereg.physics import blur, gaussian_kernel

EDGE = 512
STEPS = 8  # of a training, after as many that are not counted


def measurements(truth: torch.Tensor) -> dict[str, ir.Measurement]:
    """Noisy, blurred, and a scan of 120 views with 2 % of noise."""
    noise = ir.GaussianNoise(0.1)
    soft = blur(gaussian_kernel(2.0))
    angles = torch.linspace(0, torch.pi, 121)[:-1].double().numpy()
    beam = ir.tomography(ir.ParallelBeam(angles, 725, pixel=1.0), ir.Volume((EDGE, EDGE)))
    scan_noise = ir.RelativeNoise(0.02)
    return {
        "noisy": ir.Measurement(noise.sample(truth, seed=0), noise=noise),
        "blurred": ir.Measurement(noise.sample(soft.A(truth), seed=0), physics=soft, noise=noise),
        "scan": ir.Measurement(scan_noise.sample(beam.A(truth), seed=0), physics=beam, noise=scan_noise),
    }


def once(measurement: ir.Measurement, name: str, **parameters: Any) -> dict[str, float]:
    """Seconds of a whole run."""
    began, busy = time.perf_counter(), time.process_time()
    deque(ir.iterate(measurement, method(name, **parameters)), maxlen=0)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - busy, 2),
    }


def trained(measurement: ir.Measurement, name: str, steps: int, **parameters: Any) -> dict[str, float]:
    """Seconds of a training of `steps`, from a few of them."""
    states = iter(ir.iterate(measurement, method(name, steps=1000, **parameters)))
    for _ in range(STEPS):
        next(states)
    began, busy = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        next(states)
    times = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy}
    return {key: round(value * steps / STEPS, 1) for key, value in times.items()} | {"steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    store = Store(ROOT / "benchmarks" / "results" / "learned_times.json")
    truth = torch.from_numpy(ellipses_and_lines(EDGE, seed=0)).float()[None, None]
    given = measurements(truth)
    runs: dict[str, Any] = {
        "learned_fbp": lambda: once(given["scan"], "learned_fbp"),
        "noise2score": lambda: once(given["noisy"], "noise2score"),
        "noise2score, turned": lambda: once(given["noisy"], "noise2score", self_ensemble=True),
        "noise2score, this image alone": lambda: trained(
            given["noisy"], "noise2score", OWN_STEPS, weights=""
        ),
        "nuclear_norm_denoiser": lambda: trained(given["noisy"], "nuclear_norm_denoiser", 400),
        "recorrupted": lambda: trained(given["noisy"], "recorrupted", 600),
        "lpn, denoising": lambda: once(given["noisy"], "lpn", iterations=1),
        "lpn, blur, 40 steps": lambda: once(given["blurred"], "lpn"),
    }
    for name, run in runs.items():
        key = {"method": name, "edge": EDGE, "threads": threads}
        if not store.find(**key):
            store.add(key, run())


if __name__ == "__main__":
    main()
