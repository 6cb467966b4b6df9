"""Noise of counted photons in line integrals that came without a word about it: told by how it grows."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)

BINS = 6
"""Intervals of line integrals in which the noise is looked at."""

FEWEST = 12
"""Tiles of an interval at least."""

LEAST_RANGE = 0.7
"""Of line integrals: over less, a factor of two in variance, the trend does not show."""


def photon_variance(data: torch.Tensor, energy: torch.Tensor, tile: int, decile: float) -> list[float | None]:
    """v of each item where the variance of its line integrals p grows as v exp(p); None where it does not.

    Photons behind an object are fewer by exp(-p), so that the variance of p = -log(counts / blank) is
    exp(p) / blank. In each of `BINS` intervals of p the quietest tiles give a variance (see
    `imagereg.noise.level.estimate`); v is the mean of variance over exp(p) where log variance rises with p
    by a slope near 1, and steadily.

    Parameters
    ----------
    data : (B, C, ..., views, columns) line integrals.
    energy : (B, C, ..., tiles down, tiles across) mean squares of finest details of overlapping tiles.
    tile : edge of a tile in data, which overlap by half.
    decile : first decile of a tile's energy over the variance.
    """
    lines = data.reshape(data.shape[0], -1, *data.shape[-2:])
    means = F.avg_pool2d(lines, tile, tile // 2)
    tiles = energy.reshape(data.shape[0], -1, *energy.shape[-2:])
    down, across = (min(a, b) for a, b in zip(means.shape[-2:], tiles.shape[-2:], strict=True))
    return [
        _trend(m[..., :down, :across].flatten().double(), e[..., :down, :across].flatten().double() / decile)
        for m, e in zip(means, tiles, strict=True)
    ]


def _trend(means: torch.Tensor, energy: torch.Tensor) -> float | None:
    """v of one item (see `photon_variance`)."""
    means, energy = means[energy > 0], energy[energy > 0]
    if means.numel() < BINS * FEWEST:
        return None
    low, high = float(means.quantile(0.02)), float(means.quantile(0.98))
    if high - low < LEAST_RANGE:
        return None
    edges = torch.linspace(low, high, BINS + 1, dtype=means.dtype)
    points = []
    for left, right in itertools.pairwise(edges.tolist()):
        inside = (means >= left) & (means <= right)
        if int(inside.sum()) >= FEWEST:
            points.append((float(means[inside].mean()), float(energy[inside].quantile(0.1).log())))
    if len(points) < 4:
        return None
    p, logarithm = torch.tensor(points, dtype=torch.float64).T
    centred = p - p.mean()
    slope = float((centred * logarithm).sum() / centred.square().sum())
    scatter = float((logarithm - logarithm.mean() - slope * centred).std())
    if not 0.5 <= slope <= 1.5 or scatter > 0.25 * abs(slope) * float(p.max() - p.min()):
        return None
    return float((logarithm - p).mean().exp())
