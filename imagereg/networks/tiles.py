"""Large images in overlapping tiles that are blended without seams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from imagereg.errors import UsageError

Denoise = Callable[[torch.Tensor, Any], torch.Tensor]


class Tiled:
    """D(x, sigma) = sum_i w_i D(x on tile i, sigma), sum_i w_i = 1 at every pixel.

    Across an overlap of o pixels a tile has no weight on its outer quarter, where the network lacks what
    lies beyond, then rises as a sine squared over the half, and falls alike where it meets the next one. A
    network that looks o / 4 pixels far gives what it gives on the whole image.

    Parameters
    ----------
    denoiser : D(x, sigma), x (B, C, H, W).
    tile : edge of the tiles in pixels.
    overlap : of neighbours, in pixels; a quarter of the tile where not given.
    multiple : tiles begin at multiples of it, so that networks with coarser scales see the grid of the whole.

    Raises
    ------
    UsageError
        When tiles overlap by half of their edge or more, or do not fit the multiple.
    """

    def __init__(
        self, denoiser: Denoise, tile: int, *, overlap: int | None = None, multiple: int = 8
    ) -> None:
        overlap = max(4, tile // 4 // multiple * multiple) if overlap is None else overlap
        if not 0 < overlap <= tile // 2 or tile % multiple or overlap % multiple:
            raise UsageError(
                f"tiles of {tile} pixels that overlap by {overlap}: give multiples of {multiple}, the "
                "overlap at most half of the tile."
            )
        self.denoiser, self.tile, self.overlap, self.multiple = denoiser, tile, overlap, multiple

    def __call__(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        """The image denoised; images within one tile as they are."""
        height, width = x.shape[-2:]
        if max(height, width) <= self.tile:
            return self.denoiser(x, sigma)
        rows, columns = self.spans(height), self.spans(width)
        found = torch.zeros_like(x)
        for top, bottom, down in rows:
            for left, right, across in columns:
                weight = down.to(x)[:, None] * across.to(x)
                part = self.denoiser(x[..., top:bottom, left:right].contiguous(), sigma)
                found[..., top:bottom, left:right] += weight * part.to(x.dtype)
        return found

    def spans(self, length: int) -> list[tuple[int, int, torch.Tensor]]:
        """First pixel, end and weights (float64) of each tile along an axis; the weights sum to one."""
        stride = self.tile - self.overlap
        starts = [0]
        while starts[-1] + self.tile < length:
            starts.append(starts[-1] + stride)
        ends = [min(start + self.tile, length) for start in starts]
        spans = []
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            weight = torch.ones(end - start, dtype=torch.float64)
            if number:
                rise = _rise(ends[number - 1] - start)
                weight[: len(rise)] *= rise
            if number + 1 < len(starts):
                rise = _rise(end - starts[number + 1])
                weight[-len(rise) :] *= 1 - rise
            spans.append((start, end, weight))
        return spans


def _rise(overlap: int) -> torch.Tensor:
    """From 0 to 1 over an overlap, constant on the quarters at its ends."""
    place = (torch.arange(overlap, dtype=torch.float64) + 0.5) / overlap
    return torch.sin(torch.pi / 2 * (2 * place - 0.5).clamp(0, 1)).square()
