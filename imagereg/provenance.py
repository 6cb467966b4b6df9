"""The account that goes with every result: what was done to what, with what, on what."""

from __future__ import annotations

import datetime
import hashlib
import math
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagereg

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method
    from imagereg.solvers.state import State

_PACKAGES = ("numpy", "scipy", "torch", "deepinv", "astra-toolbox", "numba", "scikit-image", "zarr", "h5py")


def describe(
    measurement: Measurement,
    method: Method,
    state: State | None,
    *,
    seconds: Mapping[str, float],
    seed: int,
    image: Any = None,
) -> dict[str, Any]:
    """Plain values that say how an image came about.

    Parameters
    ----------
    measurement : what the method worked on (after preprocessing).
    method, state : the method with its parameters, and its last state (None where every slab was done
        by an earlier run).
    seconds : time of each stage.
    seed : seed of the run.
    image : the whole image, where the last state holds a part of it only.
    """
    geometry = measurement.geometry
    warnings = list(measurement.notes)
    return {
        "imagereg": imagereg.__version__,
        "created": _now(),
        "method": method.name,
        "parameters": method.model_dump(mode="json"),
        "finished": state.finished if state else "",
        "iterations": state.iteration if state else 0,
        "centre_of_rotation": None if geometry is None else round(geometry.centre_of_rotation, 4),
        "centre_from": centre_from(measurement.history),
        "geometry": None if geometry is None else str(geometry),
        "preprocess": [dict(step) for step in measurement.history],
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "metrics": metrics_of(measurement, state, image=image),
        "certificate": certificate_of(state),
        "seed": seed,
        "device": device_of(state),
        "peak_memory_mb": round(peak_memory() / 2**20, 1),
        "versions": versions(),
        "notes": warnings,
    }


def centre_from(history: Sequence[Mapping[str, Any]]) -> str:
    """Where the rotation axis was taken from, and why, in a clause."""
    steps = [step for step in history if step.get("step") == "centre"]
    if not steps:
        return "as the data's geometry has it"
    found = steps[-1].get("found", {})
    if "took" not in found:
        return "as the step centre was told"
    where = "as estimated" if found["took"] == "estimate" else "where the geometry has it"
    return f"{where}: {found['why']}"


def mark_end(account: dict[str, Any], seconds: Mapping[str, float]) -> None:
    """Enter in an account what is known at the end only: when it was, how long it took, how much memory."""
    account["created"] = _now()
    account["seconds"] = {name: round(value, 4) for name, value in seconds.items()}
    account["peak_memory_mb"] = max(account["peak_memory_mb"], round(peak_memory() / 2**20, 1))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def metrics_of(measurement: Measurement, state: State | None, *, image: Any = None) -> dict[str, float]:
    """Fit to the data, and likeness to the truth where there is one."""
    import numpy as np

    metrics: dict[str, float] = {}
    for name in ("residual", "objective", "gap"):
        value = getattr(state, name, None)
        if value is not None and math.isfinite(value):
            metrics[name] = float(value)
    if measurement.truth is not None and (state is not None or image is not None):
        from imagereg.metrics import all_metrics

        found = np.asarray(measurement.from_tensor(state.image) if image is None and state else image)
        truth = np.asarray(measurement.truth).reshape(found.shape)
        metrics.update(all_metrics(found, truth))
    return metrics


def certificate_of(state: State | None) -> dict[str, Any] | None:
    """What is certified of the operator that the method used; None where it used none."""
    physics = getattr(state.problem, "physics", None) if state else None
    if physics is None or not hasattr(physics, "certificate"):
        return None
    return physics.certificate().as_dict()


def device_of(state: State | None) -> dict[str, Any]:
    """Where the work was done and with how many threads."""
    import torch

    device = state.image.device if state else torch.device("cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    physics = getattr(state.problem, "physics", None) if state else None
    projector = getattr(physics, "projector", None)
    return {
        "type": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "backend": getattr(projector, "backend", "torch"),
        "reason": getattr(projector, "reason", ""),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version(), "imagereg": imagereg.__version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def describe_input(path: Path, *, format: str = "") -> dict[str, Any]:
    """Name, size, time and SHA-256 of a file, or of all files of a folder in order of their names."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    size = 0
    for file in files:
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
                size += len(block)
    modified = max((file.stat().st_mtime for file in files), default=path.stat().st_mtime)
    stamp = datetime.datetime.fromtimestamp(modified, datetime.UTC).isoformat(timespec="seconds")
    return {
        "path": str(path),
        "format": format,
        "bytes": size,
        "sha256": digest.hexdigest(),
        "modified": stamp,
        "files": len(files),
    }
