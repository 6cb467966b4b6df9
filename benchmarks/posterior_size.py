"""Time and memory of the methods on generative priors for one image of 512 x 512.

    python benchmarks/posterior_size.py [--edge 512] [--threads 2] [--device cpu] [--method red_diff ...]

Half of the pixels are missing, noise 0.01. Each method runs in a process of its own, a few steps of it; from
the seconds of a step (and of a sample) follow those of a run with the method's defaults: `seconds`. `peak_mb`
is what the process had at most (of the device, on a GPU) over what it had before the method began. Rows go
to results/posterior_size.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from scenes import ROOT, Store

import imagereg as ir
from imagereg.methods.registry import method
from imagereg.physics import inpainting

STEPS, SAMPLES = 4, 3
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "red_diff": ("red_diff", {}),
    "dps": ("dps", {}),
    "diffpir": ("diffpir", {}),
    "ddrm": ("ddrm", {}),
    "langevin": ("langevin", {}),
    "vble xz": ("vble", {"variant": "xz"}),
    "vble z": ("vble", {"variant": "z"}),
    "map z": ("vble", {"variant": "z", "inference": "map"}),
}


def scene(edge: int) -> ir.Measurement:
    """A picture of waves and edges, half of whose pixels are missing."""
    down, right = torch.meshgrid(torch.linspace(0, 1, edge), torch.linspace(0, 1, edge), indexing="ij")
    truth = 0.5 + 0.25 * torch.sin(40 * down * right) + 0.2 * ((down - right).abs() < 0.3)
    mask = torch.rand(edge, edge, generator=torch.Generator().manual_seed(0)) < 0.5
    noise = ir.GaussianNoise(0.01)
    data = noise.sample(truth[None, None], seed=0) * mask
    return ir.Measurement(data, physics=inpainting(mask), noise=noise, quantity="image")


def peak(device: str) -> float:
    """Most memory so far, in MB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def stamps(states: Iterator[Any], device: str) -> Iterator[tuple[str, float]]:
    """Phase and clock of each state."""
    for state in states:
        if device != "cpu":
            torch.cuda.synchronize()
        yield ("samples" if state.iteration > STEPS else "steps"), time.perf_counter()


def brief(kind: str) -> dict[str, Any]:
    """Parameters of a run of few steps."""
    if kind == "langevin":
        return {"burn_in": 2, "samples": 2, "thinning": 1}
    return {"iterations": STEPS, "scale": 1.0, **({"samples": SAMPLES} if kind == "vble" else {})}


def lengths(chosen: ir.Method, sampled: bool) -> tuple[int, int]:
    """Steps and samples of a method as it is."""
    if chosen.name == "langevin":
        return chosen.burn_in + chosen.samples * chosen.thinning, 0
    return chosen.iterations, chosen.samples if sampled else 0


def measure(name: str, edge: int, threads: int, device: str) -> dict[str, Any]:
    """One method, in this process."""
    torch.set_num_threads(threads)
    kind, values = METHODS[name]
    usual, chosen = method(kind, **values), method(kind, **values, **brief(kind))
    measurement = scene(edge)
    for _ in ir.iterate(scene(64), chosen, device=device):
        pass  # what is loaded and compiled once does not count
    before, began = peak(device), time.perf_counter()
    seen = list(stamps(ir.iterate(measurement, chosen, device=device), device))
    clock = {phase: [t for p, t in seen if p == phase] for phase in ("steps", "samples")}
    each = (clock["steps"][-1] - clock["steps"][0]) / (len(clock["steps"]) - 1)
    drawn = clock["samples"]
    sample = (drawn[-1] - drawn[0]) / (len(drawn) - 1) if len(drawn) > 1 else 0.0
    steps, samples = lengths(usual, bool(drawn))
    first = clock["steps"][0] - began
    return {
        "step": round(each, 3),
        "sample": round(sample, 3),
        "steps": steps,
        "samples": samples,
        "seconds": round(first + (steps - 1) * each + samples * sample, 1),
        "peak_mb": round(peak(device) - before),
    }


def main() -> None:
    """Each method in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measure(given.method[0], given.edge, given.threads, given.device)))
        return
    store = Store(ROOT / "benchmarks" / "results" / "posterior_size.json")
    for name in given.method:
        key = {"method": name, "edge": given.edge, "threads": given.threads, "device": given.device}
        words = [f"--{option}={key[option]}" for option in ("edge", "threads", "device")]
        command = [sys.executable, __file__, "--alone", *words, "--method", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        store.rows = [old for old in store.rows if any(old.get(k) != v for k, v in key.items())]
        store.add(key, json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
