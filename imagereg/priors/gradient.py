"""The gradient of an image as a linear map: forward differences, 0 beyond the last row and column."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from imagereg.errors import UsageError
from imagereg.physics.distributed import Part, part_held
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
        part = part_held(x) if self.dimensions == 3 else None
        if part is not None:
            return self._parted(x, part)
        return self._forward(x)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
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
        part = part_held(z[:, :, 0]) if self.dimensions == 3 else None
        if part is not None:
            return self._parted_adjoint(z, part)
        return self._adjoint(z)

    def _adjoint(self, z: torch.Tensor) -> torch.Tensor:
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

    def _parted(self, x: torch.Tensor, part: Part) -> torch.Tensor:
        """D x of a part of a volume: the first row of the part after it makes the last difference."""
        after = part.next_door(x[:, :, :1], before=False)
        if after is None:
            return self._forward(x)
        return self._forward(torch.cat((x, after), 2))[:, :, :, :-1].contiguous()

    def _parted_adjoint(self, z: torch.Tensor, part: Part) -> torch.Tensor:
        """D^T z of a part of a volume: rows on both sides, of which only the one before counts."""
        before = part.next_door(z[:, :, :, -1:], before=True)
        fields = [] if before is None else [before]
        fields.append(z)
        end = part.rank + 1 < len(part.rows)
        if end:
            fields.append(torch.zeros_like(z[:, :, :, :1]))
        image = self._adjoint(torch.cat(fields, 3))
        return image[:, :, len(fields) - 1 - end : image.shape[2] - end].contiguous()

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
