"""Recursive dyadic partitions: images constant on few squares of a quad-tree or cubes of an octree."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.base import Bounds, Prior


class DyadicPartition(Prior):
    """strength times the number of dyadic cells on which an image is constant.

    A recursive dyadic partition halves a cell along each axis into 2^d children or keeps it whole; `fn`
    counts the cells of the coarsest one on whose cells x is constant. The penalty is not convex, yet its
    proximal operator is exact, within bounds too: bottom-up in O(N),

        cost(C) = min( min_c 1/2 sum_C (x - c)² + t,  sum over the children of cost ),  t = γ strength.

    Sides are padded to a power of two with pixels that weigh nothing.

    Parameters
    ----------
    strength : penalty of one cell, in units of the objective; one number or one an item, (B, 1, ...).
    dimensions : 2 for images (B, C, H, W), each channel a quad-tree; 3 for volumes (B, C, D, H, W).

    Raises
    ------
    UsageError
        For a negative strength, or other dimensions.

    References
    ----------
    Willett, Nowak, "Platelets: a multiscale approach for recovering edges and surfaces in photon-limited
    medical imaging", IEEE Trans. Med. Imaging 22 (2003) 332, doi 10.1109/TMI.2003.809622; Harmany, Marcia,
    Willett, IEEE Trans. Image Process. 21 (2012) 1084, arXiv 1005.4274.
    """

    def __init__(self, strength: Step = 1.0, *, dimensions: int = 2) -> None:
        if not bool((torch.as_tensor(strength) >= 0).all()):
            raise UsageError(f"strength = {strength}: a penalty must not be negative.")
        if dimensions not in (2, 3):
            raise UsageError(
                f"dimensions = {dimensions}: dyadic partitions are of images (2) or volumes (3)."
            )
        self.strength = strength
        self.dimensions = dimensions

    def fn(self, x: torch.Tensor) -> torch.Tensor:
        """strength · cells of each item, shape (B,)."""
        inside, _ = _pad(torch.ones_like(x, dtype=torch.float64), self.dimensions)
        low = torch.where(inside > 0, _pad(x.double(), self.dimensions)[0], float("inf"))
        high = torch.where(inside > 0, low, -float("inf"))
        cells = inside
        while cells.shape[-1] > 1:
            children = _children(cells, self.dimensions).sum(-1)
            low, high = _children(low, self.dimensions).amin(-1), _children(high, self.dimensions).amax(-1)
            cells = torch.where(high > low, children, children.clamp_max(1.0))
        each = self.strength.flatten() if isinstance(self.strength, torch.Tensor) else self.strength
        return each * cells.flatten(1).sum(1).to(x.dtype)

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_v fn(v) + ||v - x||² / (2 γ), exactly."""
        return self.prox_within(x, gamma)[0]

    def prox_within(
        self,
        x: torch.Tensor,
        gamma: Step,
        bounds: Bounds = (None, None),
        warm: torch.Tensor | None = None,
        *,
        iterations: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """argmin over v in bounds of fn(v) + ||v - x||² / (2 γ), exactly, and (x - v) / γ.

        Nothing is iterated, so that `warm` and `iterations` change nothing.
        """
        value, count, threshold, crop = self._leaves(x, gamma)
        pixel = _clipped(value, bounds)
        levels = []
        total, square = value, value.square()
        cost = torch.where(count > 0, 0.5 * (value - pixel).square() + threshold, 0.0)
        while count.shape[-1] > 1:
            count, total, square, split = (
                _children(a, self.dimensions).sum(-1) for a in (count, total, square, cost)
            )
            constant, whole = _merged(count, total, square, threshold, bounds)
            merged = whole <= split
            cost = torch.where(merged, whole, split)
            levels.append((constant, merged))
        # Down again: a cell that is kept whole overwrites everything below it.
        grey = pixel
        if levels:
            grey, kept = torch.zeros_like(levels[-1][0]), torch.zeros_like(levels[-1][1])
            for constant, merged in reversed(levels):
                grey = torch.where(kept, grey, constant)
                kept = kept | merged
                grey, kept = _spread(grey, self.dimensions), _spread(kept, self.dimensions)
            grey = torch.where(kept, grey, pixel)
        v = grey[crop].to(x.dtype)
        return v, (x - v) / gamma

    def _leaves(self, x: torch.Tensor, gamma: Step) -> tuple[torch.Tensor, torch.Tensor, Step, Any]:
        """Padded pixels in float64, 1 where they are real, the threshold, and what takes the padding off."""
        threshold = gamma * self.strength
        if isinstance(threshold, torch.Tensor):
            if threshold.numel() not in (1, x.shape[0]):
                raise UsageError("a dyadic partition takes one step size for all pixels of an item.")
            threshold = threshold.double().reshape(-1, *[1] * (x.ndim - 1))
        value, crop = _pad(x.double(), self.dimensions)
        return value, _pad(torch.ones_like(x, dtype=torch.float64), self.dimensions)[0], threshold, crop


class TranslationInvariantPartition(DyadicPartition):
    """Cycle spinning: the mean of `DyadicPartition.prox` over all circular shifts of the image.

    The cells of one size at all N positions serve every shift, so the tables of all shifts cost O(N log N)
    together. The mean is not the proximal operator of any known function, and `fn` says so with None.

    The parameters are those of `DyadicPartition`.

    References
    ----------
    Coifman, Donoho, "Translation-invariant de-noising" (1995), doi 10.1007/978-1-4612-2544-7_9; Harmany,
    Marcia, Willett (2012), arXiv 1005.4274.
    """

    def fn(self, x: torch.Tensor) -> None:  # type: ignore[override]
        """None: the average over shifts has no objective."""
        return

    def prox_within(
        self,
        x: torch.Tensor,
        gamma: Step,
        bounds: Bounds = (None, None),
        warm: torch.Tensor | None = None,
        *,
        iterations: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(1/N) sum over shifts of S^-1 v(S x), S circular on the padded sides, and (x - v) / γ."""
        value, count, threshold, crop = self._leaves(x, gamma)
        pixel = _clipped(value, bounds)
        side, axes = value.shape[-1], tuple(range(-self.dimensions, 0))
        total, square = value, value.square()
        cost = torch.where(count > 0, 0.5 * (value - pixel).square() + threshold, 0.0)
        levels, half = [], 1
        while half < side:
            # The children of the cell at p, of side 2·half, lie at p and p + half along each axis.
            count, total, square, split = (_box(a, half, axes) for a in (count, total, square, cost))
            constant, whole = _merged(count, total, square, threshold, bounds)
            merged = whole <= split
            cost = torch.where(merged, whole, split)
            levels.append((half, constant, merged))
            half *= 2
        # Every position is the root of one shift; how many shifts reach a cell, and what they put on it.
        reach, grey = torch.ones_like(value), torch.zeros_like(value)
        for half, constant, merged in reversed(levels):
            grey = grey + torch.where(merged, reach * constant, 0.0)
            reach = torch.where(merged, 0.0, reach)
            grey, reach = _box(grey, -half, axes), _box(reach, -half, axes)
        v = ((grey + reach * pixel) / side**self.dimensions)[crop].to(x.dtype)
        return v, (x - v) / gamma


def _merged(
    count: torch.Tensor, total: torch.Tensor, square: torch.Tensor, threshold: Step, bounds: Bounds
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best constant of each cell and the cost of keeping the cell whole, from its sums."""
    constant = _clipped(total / count.clamp_min(1), bounds)
    # 1/2 sum (x - c)²; the clamp is for cancellation.
    misfit = (0.5 * (square - constant * (2 * total - constant * count))).clamp_min(0)
    return constant, misfit + threshold * (count > 0)


def _clipped(x: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    low, high = bounds
    return x if low is None and high is None else x.clamp(low, high)


def _pad(x: torch.Tensor, dimensions: int) -> tuple[torch.Tensor, Any]:
    """x at the corner of zeros whose sides are one power of two, and the slices that take it out."""
    sizes = x.shape[-dimensions:]
    side = 1 << (max(sizes) - 1).bit_length()
    widths = [width for size in reversed(sizes) for width in (0, side - size)]
    return torch.nn.functional.pad(x, widths), (..., *(slice(0, size) for size in sizes))


def _children(x: torch.Tensor, dimensions: int) -> torch.Tensor:
    """The 2^d children of every cell along a new last axis."""
    parts = itertools.product((slice(0, None, 2), slice(1, None, 2)), repeat=dimensions)
    return torch.stack([x[(..., *part)] for part in parts], -1)


def _spread(x: torch.Tensor, dimensions: int) -> torch.Tensor:
    """Each cell's value on its children."""
    for axis in range(-dimensions, 0):
        x = x.repeat_interleave(2, dim=axis)
    return x


def _box(x: torch.Tensor, half: int, axes: tuple[int, ...]) -> torch.Tensor:
    """Sum over the corners p and p + half along each axis, circularly (its transpose for -half)."""
    for axis in axes:
        x = x + torch.roll(x, -half, axis)
    return x
