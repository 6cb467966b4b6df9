"""What a projector is, which one is picked, and how gradients go through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from imagereg.errors import UsageError, did_you_mean
from imagereg.geometry import Geometry, Volume

BACKENDS = ("auto", "numba", "astra_cuda")


class Projector(ABC):
    """Line integrals of images along the rays of a scan, and their transpose.

    Parameters
    ----------
    geometry, volume : the scan and the grid, in mm and radians.
    reason : why this projector was picked.

    Attributes
    ----------
    backend : "numba" or "astra_cuda".
    exact_transpose : whether `back` is the transpose of `forward` to rounding.
    image_shape : (H, W) or (D, H, W).
    data_shape : (views, columns) or (views, rows, columns).
    """

    backend: str = ""
    exact_transpose: bool = True

    def __init__(self, geometry: Geometry, volume: Volume, reason: str = "") -> None:
        self.geometry, self.volume = geometry, volume
        self.reason = reason or self.backend
        self.image_shape = volume.shape
        self.data_shape = (
            (geometry.views, geometry.columns)
            if volume.ndim == 2
            else (geometry.views, geometry.rows, geometry.columns)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Line integrals p = sum over voxels of value times length.

        Parameters
        ----------
        image : (B, C, *image_shape), values per mm for projections without unit.

        Returns
        -------
        (B, C, *data_shape), of the same type and on the same device.
        """
        return self._run(image, self.image_shape, self.data_shape, "an image", self._forward)

    def back(self, data: torch.Tensor) -> torch.Tensor:
        """The transpose of `forward`, (B, C, *data_shape) -> (B, C, *image_shape)."""
        return self._run(data, self.data_shape, self.image_shape, "data", self._back)

    def _run(
        self, given: torch.Tensor, wanted: tuple[int, ...], result: tuple[int, ...], what: str, work: Any
    ) -> torch.Tensor:
        if given.ndim != len(wanted) + 2 or tuple(given.shape[2:]) != wanted:
            sizes = ", ".join(map(str, wanted))
            raise UsageError(f"projector: {what} of shape {tuple(given.shape)}; give (B, C, {sizes}).")
        if given.dtype not in self._dtypes():
            names = " or ".join(str(dtype).removeprefix("torch.") for dtype in self._dtypes())
            raise UsageError(f"projector: {what} of {given.dtype}; the {self.backend} backend takes {names}.")
        if given.device.type != self._device_type():
            raise UsageError(
                f"projector: {what} on {given.device}; the {self.backend} backend works on "
                f"{self._device_type()}."
            )
        source = given.detach().contiguous()
        out = torch.empty((*given.shape[:2], *result), dtype=given.dtype, device=given.device)
        if out.numel() and source.numel():
            work(source, out)
        else:
            out.zero_()
        return out

    def _dtypes(self) -> tuple[torch.dtype, ...]:
        return (torch.float32, torch.float64)

    def _device_type(self) -> str:
        return "cpu"

    @abstractmethod
    def _forward(self, image: torch.Tensor, out: torch.Tensor) -> None:
        """Fill `out` (B, C, *data_shape) from a contiguous image."""

    @abstractmethod
    def _back(self, data: torch.Tensor, out: torch.Tensor) -> None:
        """Fill `out` (B, C, *image_shape) from contiguous data."""

    def __str__(self) -> str:
        return f"projector {self.reason} for {self.geometry}, {self.volume}"


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


class _Apply(torch.autograd.Function):
    """A projector, or its transpose, as a linear function: each is the other's gradient."""

    @staticmethod
    def forward(projector: Projector, transposed: bool, given: torch.Tensor) -> torch.Tensor:
        return projector.back(given) if transposed else projector.forward(given)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.projector, ctx.transposed, _ = inputs

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return None, None, _Apply.apply(ctx.projector, not ctx.transposed, gradient)

    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, tangent: torch.Tensor) -> torch.Tensor:
        return _Apply.apply(ctx.projector, ctx.transposed, tangent)


def project(projector: Projector, image: torch.Tensor) -> torch.Tensor:
    """Line integrals A x that gradients pass through any number of times (see `Projector.forward`)."""
    return _Apply.apply(projector, False, image)


def back_project(projector: Projector, data: torch.Tensor) -> torch.Tensor:
    """The transpose A' y that gradients pass through any number of times (see `Projector.back`)."""
    return _Apply.apply(projector, True, data)
