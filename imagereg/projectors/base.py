"""What a projector is, and how gradients go through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from imagereg.errors import UsageError
from imagereg.geometry import Geometry, Volume


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
