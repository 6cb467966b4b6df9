"""Which projector a scan gets: by the beam, the grid, where the data lie, and what was asked for."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError, did_you_mean
from imagereg.geometry import Geometry, Volume
from imagereg.projectors.base import Projector

BACKENDS = ("auto", "numba", "astra_cuda")


def projector(
    geometry: Geometry, volume: Volume, *, device: torch.device | str = "cpu", backend: str = "auto"
) -> Projector:
    """The projector of a scan on a grid; its `reason` says why it is this one.

    Parameters
    ----------
    geometry : `ParallelBeam`, `FanBeam` or `ConeBeam`. The rows of an untilted parallel beam are the
        slices of a 3-D volume; a volume of one slice takes rows one by one.
    volume : the grid.
    device : where images and data lie.
    backend : "numba" (CPU), "astra_cuda" (GPU) or "auto".

    Raises
    ------
    UsageError
        When the scan does not fit the grid, or a backend that was asked for cannot run.
    """
    if backend not in BACKENDS:
        raise UsageError(f"projector(backend={backend!r}): no such backend{did_you_mean(backend, BACKENDS)}.")
    _check_fit(geometry, volume)
    on_gpu = torch.device(device).type == "cuda"
    if backend == "astra_cuda" or (backend == "auto" and on_gpu):
        from imagereg.projectors.astra_cuda import AstraProjector, why_not

        obstacle = why_not() if on_gpu else f"device is {str(device)!r}"
        if obstacle:
            raise UsageError(f"projector(backend={backend!r}): ASTRA's CUDA kernels cannot run: {obstacle}.")
        return AstraProjector(geometry, volume, "astra_cuda (data on the GPU)")
    if on_gpu:
        raise UsageError(
            f"projector(backend='numba', device={str(device)!r}): these kernels run on the CPU; "
            "give device='cpu' or backend='astra_cuda'."
        )
    if backend == "numba":
        reason = "numba (asked for)"
    else:
        reason = f"numba ({'data on the CPU' if torch.cuda.is_available() else 'no CUDA device'})"
    return _on_cpu(geometry, volume, reason)


def _check_fit(geometry: Geometry, volume: Volume) -> None:
    if geometry.kind == "parallel" and geometry.ndim == 2 and volume.ndim == 3:
        return
    if geometry.kind == "fan" and is_stack(geometry, volume):
        return
    if geometry.ndim != volume.ndim:
        raise UsageError(
            f"projector: {geometry} needs a grid of {geometry.ndim} axes and {volume} has {volume.ndim}."
        )


def _on_cpu(geometry: Geometry, volume: Volume, reason: str) -> Projector:
    if geometry.kind == "fan":
        from imagereg.projectors.fan_cpu import FanProjector

        return FanProjector(geometry, volume, reason)
    if geometry.kind == "parallel" and is_stack(geometry, volume):
        from imagereg.projectors.parallel_cpu import ParallelProjector

        return ParallelProjector(geometry, volume, reason)
    from imagereg.projectors.cone_cpu import ConeProjector

    return ConeProjector(geometry, volume, reason)


def is_stack(geometry: Geometry, volume: Volume) -> bool:
    """Whether each slice of the volume is lit by the detector row of the same number alone."""
    if volume.ndim == 2:
        return True
    if geometry.ndim == 3 or geometry.rows != volume.shape[0]:
        return False
    edge = volume.edges[0]
    return (
        abs(edge - geometry.row_edge) * geometry.rows <= 1e-6 * edge and abs(volume.centre[2]) <= 1e-6 * edge
    )
