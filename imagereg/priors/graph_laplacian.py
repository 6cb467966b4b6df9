"""The Laplacian of a graph whose edges join pixels that look alike in a guide image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imagereg.errors import UsageError
from imagereg.priors.base import LinearMap
from imagereg.priors.weights import grey_range

if TYPE_CHECKING:
    from imagereg.priors.graph_groups import Groups


class GraphLaplacian(LinearMap):
    """L = diag(W 1) - W of the window graph of a guide image z.

    Pixels p != q are joined where no coordinate differs by more than `radius`, with weight

        w_pq = exp(-|z_p - z_q|^2 / s) / ||W||_F,    s = scale (range of z)^2,

    |.|^2 being the mean over channels and ||W||_F the Frobenius norm of all weights of an item. L is
    symmetric and positive semi-definite, L 1 = 0, and ||L|| <= 2 max degree. L x is small where x varies
    only where z does, so that z tells where x may have edges. Weights are never stored: each use computes
    them anew from shifted differences of the guide.

    Parameters
    ----------
    guide : (B, C, H, W) or (B, C, D, H, W), the image z; each item of the batch has a graph of its own, and a
        volume has true three-dimensional windows.
    radius : Chebyshev radius of the window in pixels, one number or one an axis; 4 joins 9 x 9 pixels. A
        radius of 0 along an axis leaves its slices apart.
    scale : s over the squared range of the guide (no unit).
    value_range : range of the guide's values; from its quantiles, for each item, where not given.

    Attributes
    ----------
    degrees : (B, 1, ...) row sums of W.
    gram_diagonal : (B, 1, ...) diagonal of L^T L, degree^2 + sum_q w_pq^2.
    norm : 2 max degree.
    groups : of each item, pixels of a block that look alike, for a coarse level; made when asked for.

    Raises
    ------
    UsageError
        For a radius or scale that makes no graph, or an image that does not fit the guide.

    References
    ----------
    Bianchi, Evangelista, Aleotti, Donatelli, Loli Piccolomini, Li, "A data-dependent regularization method
    based on the graph Laplacian", 2023, arXiv:2312.16936.
    """

    def __init__(
        self,
        guide: torch.Tensor,
        *,
        radius: int | tuple[int, ...] = 4,
        scale: float = 1e-3,
        value_range: float | None = None,
    ) -> None:
        if guide.ndim not in (4, 5):
            raise UsageError(
                f"graph guide of shape {tuple(guide.shape)}: give (B, C, H, W) or (B, C, D, H, W)."
            )
        if not scale > 0:
            raise UsageError(f"graph scale = {scale}: give a positive number.")
        axes = guide.ndim - 2
        radii = (radius,) * axes if isinstance(radius, int) else tuple(radius)
        if len(radii) != axes or min(radii) < 0 or max(radii) < 1:
            raise UsageError(
                f"graph radius = {radius}: give one number of at least 1, or {axes} of at least 0, one an "
                "axis."
            )
        if all(min(r, n - 1) == 0 for r, n in zip(radii, guide.shape[2:], strict=True)):
            raise UsageError(f"graph radius = {radius}: no window holds two pixels of {tuple(guide.shape)}.")
        self.shape = tuple(guide.shape)
        self.radii = ((0,) * (3 - axes) + radii)[-3:]
        spread = grey_range(guide) if value_range is None else torch.full_like(guide[:, :1], value_range)
        spread = spread.flatten(1)[:, :1].reshape(-1, *([1] * (guide.ndim - 1)))
        if not bool((spread > 0).all()):
            # A constant guide joins all neighbours alike, whatever the range.
            spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        self._guide = self._volumes(guide / (spread * (scale * guide.shape[1]) ** 0.5))
        degrees, squares = self._weigh()
        frobenius = squares.flatten(1).sum(1).sqrt().to(guide.dtype)
        self._divisor = frobenius.reshape(-1, *([1] * (guide.ndim - 1)))
        self.degrees = degrees.reshape(guide.shape[0], 1, *guide.shape[2:]) / self._divisor
        squares = squares.to(guide.dtype).reshape(self.degrees.shape) / self._divisor**2
        self.gram_diagonal = self.degrees.square() + squares
        self.norm = 2 * float(self.degrees.max())

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """L x for x of (B, C, ...) on the guide's grid, any number of channels."""
        if (x.shape[0], *x.shape[2:]) != (self.shape[0], *self.shape[2:]):
            raise UsageError(f"image of shape {tuple(x.shape)} does not fit a graph of {self.shape}.")
        volumes = self._volumes(x)
        out = torch.empty_like(volumes)
        if x.device.type == "cpu":
            from imagereg.priors.graph_kernels import apply

            apply(self._guide.numpy(), volumes.detach().numpy(), out.numpy(), self.radii)
        else:
            self._apply_shifts(volumes, out.zero_())
        return out.reshape(x.shape) / self._divisor

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """L^T z = L z."""
        return self.A(z)

    @cached_property
    def groups(self) -> tuple[Groups, ...]:
        """Groups of each item."""
        from imagereg.priors.graph_groups import Groups

        guide = self._guide.cpu().numpy()
        divisors = self._divisor.flatten().tolist()
        return tuple(
            Groups.of(guide[item : item + 1], self.radii, divisor) for item, divisor in enumerate(divisors)
        )

    def matrix(self, item: int = 0) -> Any:
        """L of one item as a SciPy matrix of compressed sparse rows, pixels in C order.

        It takes 8 bytes (12 in float64) for each of the (2 radius + 1)^2 pixels of each window.
        """
        import scipy.sparse

        shape = self._guide.shape[2:]
        count = int(np.prod(shape))
        index = np.arange(count, dtype=np.int32).reshape(shape)
        rows, columns, values = [], [], []
        for here, there, weight in self._pairs(item):
            rows.append(index[here[2:]].ravel())
            columns.append(index[there[2:]].ravel())
            values.append(weight.flatten().cpu().numpy())
        upper = scipy.sparse.coo_matrix(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (count, count)
        ).tocsr()
        weights = (upper + upper.T) / float(self._divisor[item])
        degrees = np.asarray(weights.sum(1)).ravel()
        return (scipy.sparse.diags(degrees) - weights).tocsr()

    def _volumes(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) with D = 1 for images, contiguous, in the guide's type."""
        return (x.unsqueeze(2) if x.ndim == 4 else x).contiguous()

    def _weigh(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Row sums of the weights and of their squares, (B, D, H, W), before division."""
        guide = self._guide
        degrees = torch.zeros_like(guide[:, 0])
        squares = torch.zeros_like(degrees)
        if guide.device.type == "cpu":
            from imagereg.priors.graph_kernels import weigh

            weigh(guide.numpy(), degrees.numpy(), squares.numpy(), self.radii)
        else:
            self._weigh_shifts(degrees, squares)
        return degrees, squares.double()

    def _apply_shifts(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """Add sum_q w_pq (x_p - x_q), before division, to `out`: for devices without the kernel."""
        for here, there, weight in self._pairs():
            flow = weight * (x[here] - x[there])
            out[here] += flow
            out[there] -= flow

    def _weigh_shifts(self, degrees: torch.Tensor, squares: torch.Tensor) -> None:
        """Add the weights and their squares, before division, for devices without the kernel."""
        for here, there, weight in self._pairs():
            for place in (here, there):
                degrees[place[:1] + place[2:]] += weight[:, 0]
                squares[place[:1] + place[2:]] += weight[:, 0] ** 2

    def _pairs(
        self, item: int | None = None
    ) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], torch.Tensor]]:
        """Each pair of shifted views of the grid once: where p lies, where q lies, weights (B, 1, ...)."""
        guide = self._guide if item is None else self._guide[item : item + 1]
        rz, ry, rx = self.radii
        whole = slice(None)
        for dz in range(rz + 1):
            for dy in range(-ry if dz else 0, ry + 1):
                for dx in range(-rx if dz or dy else 1, rx + 1):
                    shifts = (dz, dy, dx)
                    sizes = guide.shape[2:]
                    if any(abs(shift) >= n for shift, n in zip(shifts, sizes, strict=True)):
                        continue
                    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shifts, sizes, strict=True))
                    there = tuple(
                        slice(max(0, s), n - max(0, -s)) for s, n in zip(shifts, sizes, strict=True)
                    )
                    p, q = (whole, whole, *here), (whole, whole, *there)
                    yield p, q, torch.exp(-(guide[p] - guide[q]).square().sum(1, keepdim=True))
