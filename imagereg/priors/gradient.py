"""The gradient of an image as a linear map: forward differences, 0 beyond the last row and column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from imagereg.errors import UsageError
from imagereg.priors.base import LinearMap


class Gradient(LinearMap):
    """(D x)_k = (x at the next sample along axis k - x) / spacing_k, 0 at the last sample.

    Images (B, C, ...) give fields (B, C, K, ...): K = 2 differences along the last two axes, slice by slice,
    or K = 3 along the last three. The norm bound is the least that holds for every size,
    ||D||^2 <= sum_k 4 / spacing_k^2.

    Parameters
    ----------
    dimensions : K, 2 or 3.
    spacing : distances of samples along the K axes, relative to each other; 1 where not given.

    Raises
    ------
    UsageError
        For another number of dimensions, spacings that are not positive, or images with too few axes.
    """

    def __init__(self, dimensions: int = 2, *, spacing: Sequence[float] | None = None) -> None:
        if dimensions not in (2, 3):
            raise UsageError(f"gradient: dimensions = {dimensions}; give 2 (slice by slice) or 3 (volumes).")
        given = (1.0,) * dimensions if spacing is None else tuple(float(s) for s in spacing)
        if len(given) != dimensions or not all(0 < s < math.inf for s in given):
            raise UsageError(f"gradient: spacing = {spacing}; give {dimensions} positive numbers.")
        self.dimensions, self.spacing = dimensions, given
        self.norm = math.sqrt(sum(4 / s**2 for s in given))

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """D x, (B, C, K, ...)."""
        self._check(x)
        if compiled(x):
            from imagereg.priors import gradient_kernels as kernels

            x = x.contiguous()
            out = x.new_empty((*x.shape[:2], self.dimensions, *x.shape[2:]))
            kernels.gradient(as_volumes(x), self._factors(x), as_fields(out))
            return out
        parts = []
        for axis, spacing in zip(range(-self.dimensions, 0), self.spacing, strict=True):
            part = torch.zeros_like(x)
            if x.shape[axis] > 1:
                inside = part.narrow(axis, 0, x.shape[axis] - 1)
                inside.copy_(x.diff(dim=axis).div(spacing)) if spacing != 1 else inside.copy_(
                    x.diff(dim=axis)
                )
            parts.append(part)
        return torch.stack(parts, dim=2)

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """D^T z, the negative divergence, (B, C, ...)."""
        if compiled(z):
            from imagereg.priors import gradient_kernels as kernels

            z = z.contiguous()
            out = z.new_empty((*z.shape[:2], *z.shape[3:]))
            kernels.gradient_adjoint(as_fields(z), self._factors(z), as_volumes(out))
            return out
        total = torch.zeros_like(z[:, :, 0])
        for k, (axis, spacing) in enumerate(zip(range(-self.dimensions, 0), self.spacing, strict=True)):
            size = total.shape[axis]
            if size > 1:
                inside = z[:, :, k].narrow(axis, 0, size - 1) / spacing
                total.narrow(axis, 0, size - 1).sub_(inside)
                total.narrow(axis, 1, size - 1).add_(inside)
        return total

    def _factors(self, x: torch.Tensor) -> np.ndarray:
        return np.asarray(
            [1 / s for s in self.spacing], dtype=np.float64 if x.dtype == torch.float64 else np.float32
        )

    def _check(self, x: torch.Tensor) -> None:
        if x.ndim < 2 + self.dimensions:
            raise UsageError(
                f"gradient: {self.dimensions} differences of an image of shape {tuple(x.shape)}; give "
                f"(B, C, {'D, H, W' if self.dimensions == 3 else 'H, W'})."
            )


SMALL = 1 << 17
"""Below so many numbers, waking the threads of a compiled kernel costs more than the work."""


def compiled(x: torch.Tensor) -> bool:
    """Whether the compiled kernels shall take this tensor; elsewhere torch does the same sums."""
    plain = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and x.numel() >= SMALL
    return plain and not (torch.is_grad_enabled() and x.requires_grad)


def as_volumes(x: torch.Tensor) -> np.ndarray:
    """A contiguous image (B, C, ..., H, W) seen as (N, D, H, W)."""
    depth = math.prod(x.shape[2:-2])
    return x.detach().view(x.shape[0] * x.shape[1], depth, *x.shape[-2:]).numpy()


def as_fields(z: torch.Tensor) -> np.ndarray:
    """A contiguous field (B, C, K, ..., H, W) seen as (N, K, D, H, W)."""
    depth = math.prod(z.shape[3:-2])
    return z.detach().view(z.shape[0] * z.shape[1], z.shape[2], depth, *z.shape[-2:]).numpy()
