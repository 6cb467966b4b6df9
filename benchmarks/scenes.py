"""Scans of the COULE phantoms and of clinical slices as the papers simulate them, and a store of results.

A store is one JSON file of rows, each with the key of what was measured. Work is done in pieces: what a file
holds already is not done again, so that a benchmark goes on where it was stopped.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import imagereg as ir
from imagereg.choose.runs import Runs
from imagereg.metrics import psnr, ssim

ROOT = Path(__file__).resolve().parents[1]
LEARNED = {"one_pass": 1, "learned_fbp": 3}
"""Passes of the learned reconstruction: the network on the FBP, as in the papers, and the default."""
MACHINE = "2 cores, CPU, one thread a process, shared with other work: seconds are upper bounds"


def shared() -> Path:
    """The folder of real data (IMAGEREG_SHARED)."""
    folder = Path(os.environ.get("IMAGEREG_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        raise SystemExit(f"no folder of data at {folder}: set IMAGEREG_SHARED")
    return folder


def coule(number: int) -> torch.Tensor:
    """Test image `number` of COULE, (1, 1, 256, 256) in [0, 1]."""
    from skimage.io import imread

    picture = imread(shared() / "coule" / "test" / f"{number}.png")
    return torch.from_numpy((picture[..., 0] if picture.ndim == 3 else picture) / 255.0).float()[None, None]


def clinical(number: int) -> torch.Tensor:
    """Clinical slice `number` halved to (1, 1, 256, 256): attenuation over twice that of water."""
    with np.load(shared() / "ct_tcia" / "tcga_luad_subset.npz") as file:
        hounsfield = file[file.files[0]][number].astype(np.float64)
    grey = np.clip(1 + hounsfield / 1000, 0, 2) / 2
    return torch.from_numpy(grey.reshape(256, 2, 256, 2).mean((1, 3))).float()[None, None]


def parallel(views: int = 120) -> Any:
    """Parallel beam of the graphLa paper: 362 columns of one pixel, views from 0 to 179 degrees."""
    angles = np.linspace(0, np.pi * 179 / 180, views)
    return ir.tomography(ir.ParallelBeam(angles, 362, pixel=1.0), ir.Volume((256, 256)))


def fan(views: int, *, closed: bool = False) -> Any:
    """Fan beam of the space-variant papers: source 1800, detector 500 pixels from the axis, 512 columns.

    `closed` puts the last view at 180 degrees.
    """
    angles = np.linspace(0, np.pi, views, endpoint=closed)
    geometry = ir.FanBeam(angles, 512, pixel=1.0, source_origin=1800.0, source_detector=2300.0)
    return ir.tomography(geometry, ir.Volume((256, 256)))


def scan(physics: Any, truth: torch.Tensor, level: float, seed: int) -> ir.Measurement:
    """Data with white noise of an exact relative norm."""
    noise = ir.RelativeNoise(level)
    return ir.Measurement(
        noise.sample(physics.A(truth), seed=seed), physics=physics, noise=noise, truth=truth
    )


def solve(
    measurement: ir.Measurement, method: str | ir.Method, runs: Runs | None = None, **parameters: Any
) -> tuple[torch.Tensor, dict]:
    """The image, and its figures of merit; with `runs`, of a ready scan, from the nearest image they know."""
    began = time.perf_counter()
    if runs is None:
        states = ir.iterate(measurement, method, **parameters)
    else:
        chosen = ir.method(method, **parameters) if isinstance(method, str) else method
        states = runs.run(chosen, measurement)
    state = deque(states, maxlen=1)[0]
    return state.image, {
        **figures(state.image, measurement),
        "iterations": state.iteration,
        "finished": state.finished,
        "seconds": round(time.perf_counter() - began, 2),
    }


def figures(image: torch.Tensor, measurement: ir.Measurement) -> dict[str, float]:
    """PSNR, SSIM (data range 1) and RMSE against the truth, and the residual over the noise."""
    a, b = image[0, 0].numpy(), measurement.truth[0, 0].numpy()
    residual = float((measurement.physics.A(image) - measurement.data).norm())
    clean = float((measurement.physics.A(measurement.truth) - measurement.data).norm())
    return {
        "psnr": float(psnr(a, b, data_range=1.0)),
        "ssim": float(ssim(a, b, data_range=1.0)),
        "rmse": float(np.sqrt(np.mean((a - b) ** 2))),
        "residual_over_noise": residual / clean,
    }


class Store:
    """Rows in a JSON file, written after each one; and a clock that says when to stop.

    Parameters
    ----------
    path : the file; made where it is not there.
    seconds : time after which `late` is True.
    """

    def __init__(self, path: Path, seconds: float = math.inf) -> None:
        self.path, self._end = path, time.monotonic() + seconds
        self.rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self._end

    def find(self, **key: Any) -> list[dict[str, Any]]:
        """Rows that have all of these values."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in key.items())]

    def add(self, key: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Keep one row, and say so."""
        row = {**key, **values}
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = ",\n".join(json.dumps(row) for row in self.rows)
        self.path.write_text(f'{{"machine": {json.dumps(MACHINE)}, "rows": [\n{rows}\n]}}\n')
        words = " ".join(f"{name}={_short(value)}" for name, value in row.items())
        print(words, flush=True)
        return row


def mean(rows: Iterable[Mapping[str, Any]], name: str) -> float:
    """Mean of a value over rows; nan where there are none."""
    values = [row[name] for row in rows]
    return float(np.mean(values)) if values else math.nan


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
