"""What graphLa and space-variant TV cost beside plain TV: 512 x 512, 120 views, time to their own accuracy.

    python benchmarks/adaptive_time.py [--size 512] [--views 120] [--out FILE]

A Shepp-Logan phantom, parallel beam, 2 % noise. Each method runs in a process of its own, on the same data:
TV to a relative duality gap of 1e-3, space-variant TV to the same gap from weights of the TV image, graphLa
to a relative change of 1e-4 on the graph of the TV image; the pre-estimate is not in their time. Preparation
(norms, graph, first calls) is. Memory is the growth of the largest resident size while the method runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import MACHINE, ROOT

import imagereg as ir

METHODS: dict[str, dict[str, Any]] = {
    "tv": {"strength": 0.03, "iterations": 2000},
    "space_variant_tv": {"strength": 0.03, "iterations": 2000},
    "graph_laplacian": {},
}


def scene(size: int, views: int) -> ir.Measurement:
    """The scan, the same in every process."""
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    truth = torch.from_numpy(resize(shepp_logan_phantom(), (size, size)).astype(np.float32))[None, None]
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), columns=size * 3 // 2)
    physics = ir.tomography(geometry, ir.Volume((size, size)))
    noise = ir.RelativeNoise(0.02)
    return ir.Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


def one(name: str, size: int, views: int, psi: Path) -> dict[str, Any]:
    """Run one method; TV leaves its image for the others."""
    from imagereg.metrics import psnr

    scan, parameters = scene(size, views), dict(METHODS[name])
    small = scene(64, 16)
    if name != "tv":
        parameters["psi"] = torch.load(psi)
        # Compilation is not a method's cost.
        next(ir.iterate(small, name, psi=small.truth, iterations=1))
    else:
        next(ir.iterate(small, name, iterations=1))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    last = deque(ir.iterate(scan, name, **parameters), maxlen=1)[0]
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == "tv":
        torch.save(last.image, psi)
    return {
        "method": name,
        "cpu_seconds": round(seconds, 2),
        "iterations": last.iteration,
        "finished": last.finished,
        "memory_MiB": round((peak - before) / 1024),
        "psnr": psnr(last.image, scan.truth, data_range=1.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--views", type=int, default=120)
    parser.add_argument("--only", choices=METHODS, help="one method, its row as JSON on the last line")
    parser.add_argument("--psi", type=Path, help="file of the TV image")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "adaptive_time.json")
    given = parser.parse_args()
    if given.only:
        print(json.dumps(one(given.only, given.size, given.views, given.psi)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in METHODS:
            words = [sys.executable, __file__, "--only", name, "--psi", f"{folder}/tv.pt"]
            words += ["--size", str(given.size), "--views", str(given.views)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            ratio = rows[-1]["cpu_seconds"] / rows[0]["cpu_seconds"]
            rows[-1]["over_tv"] = round(ratio, 2)
            print(rows[-1], flush=True)
    document = {"machine": MACHINE, "size": given.size, "views": given.views, "rows": rows}
    given.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
