"""Time and memory of space-variant TV and graphLa+Psi beside TV: 512 x 512, 120 parallel views, 724 columns.

    python benchmarks/adaptive_time.py tv                  (space_variant_tv, graph_laplacian) one method, one process
    python benchmarks/adaptive_time.py table

Seconds are those of the method after its pre-estimate, which is a given image (that of TV, from the file that
`tv` leaves beside the results); memory is the growth of the process from before the method to its peak.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import ROOT, Store, figures, scan, shared

import imagereg as ir

SIDE, VIEWS, COLUMNS, LEVEL = 512, 120, 724, 0.01
METHODS: dict[str, dict[str, Any]] = {
    "tv": {"iterations": 3000, "tolerance": 1e-3, "strength": 0.02},
    "space_variant_tv": {"iterations": 3000, "tolerance": 1e-3, "strength": 0.02},
    "graph_laplacian": {},
}


def measurement() -> ir.Measurement:
    """A clinical slice, attenuation over twice that of water."""
    with np.load(shared() / "ct_tcia" / "tcga_luad_subset.npz") as file:
        hounsfield = file[file.files[0]][3].astype(np.float64)
    truth = torch.from_numpy(np.clip(1 + hounsfield / 1000, 0, 2) / 2).float()[None, None]
    angles = np.linspace(0, np.pi, VIEWS, endpoint=False)
    physics = ir.tomography(ir.ParallelBeam(angles, COLUMNS, pixel=1.0), ir.Volume((SIDE, SIDE)))
    return scan(physics, truth, LEVEL, seed=0)


def run(name: str, output: Path) -> None:
    found, first = measurement(), output.with_suffix(".tv.npy")
    parameters = dict(METHODS[name])
    if name != "tv":
        if not first.exists():
            raise SystemExit("run `tv` first: its image is the pre-estimate.")
        parameters["psi"] = np.load(first)
    # Compilation and the norm of A belong to no method.
    deque(ir.iterate(found, name, **{**parameters, "iterations": 3}), maxlen=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    state = deque(ir.iterate(found, name, **parameters), maxlen=1)[0]
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == "tv":
        first.parent.mkdir(parents=True, exist_ok=True)
        np.save(first, state.image[0, 0].numpy())
    values = {"seconds": seconds, "iterations": state.iteration, "finished": state.finished}
    values.update(growth_mb=(peak - before) / 1024, peak_mb=peak / 1024, **figures(state.image, found))
    Store(output).add({"method": name}, values)


def table(output: Path) -> None:
    rows = Store(output).rows
    seconds = {name: min(row["seconds"] for row in rows if row["method"] == name) for name in METHODS}
    for name in METHODS:
        row = next(row for row in rows if row["method"] == name and row["seconds"] == seconds[name])
        print(
            f"{name:18s} {row['seconds']:7.1f} s = {row['seconds'] / seconds['tv']:.2f} x TV  "
            f"{row['iterations']} steps ({row['finished']})  {row['psnr']:.2f} dB  + {row['growth_mb']:.0f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=(*METHODS, "table"))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "adaptive_time.json")
    arguments = parser.parse_args()
    with torch.no_grad():
        table(arguments.output) if arguments.what == "table" else run(arguments.what, arguments.output)


if __name__ == "__main__":
    main()
