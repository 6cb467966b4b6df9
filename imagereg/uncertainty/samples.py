"""From samples of an image to mean, standard deviation and quantiles, without holding them twice."""

from __future__ import annotations

import math
from typing import Any

import torch

from imagereg.errors import UsageError

BLOCK = 1 << 22
"""Pixels that are sorted at a time."""


class Moments:
    """Mean and standard deviation of samples that come one by one.

    mean_n = mean_(n-1) + (x - mean_(n-1)) / n, and the sum of squares about the mean alongside, so that
    nothing is subtracted that is nearly equal.

    References
    ----------
    B. Welford, Technometrics 4 (1962) 419, doi:10.1080/00401706.1962.10490022.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: torch.Tensor | None = None
        self._squares: torch.Tensor | None = None

    def add(self, sample: torch.Tensor) -> None:
        """Take one more sample in, any shape, the same every time."""
        self.count += 1
        if self._mean is None or self._squares is None:
            self._mean, self._squares = sample.detach().clone(), torch.zeros_like(sample)
            return
        off = sample.detach() - self._mean
        self._mean = self._mean + off / self.count
        self._squares = self._squares + off * (sample.detach() - self._mean)

    @property
    def mean(self) -> torch.Tensor:
        """Mean of the samples so far."""
        if self._mean is None:
            raise UsageError("no sample was taken yet: let it run longer.")
        return self._mean

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation with the divisor n - 1; zero for one sample."""
        if self._squares is None:
            raise UsageError("no sample was taken yet: let it run longer.")
        return (self._squares / max(1, self.count - 1)).sqrt()


def ranks(count: int, level: float) -> tuple[int, int] | None:
    """Ranks (from 1) of the ends of an interval of `level`; None where so few samples have no such ranks.

    floor((S + 1) a / 2) and ceil((S + 1)(1 - a / 2)), a = 1 - level: between these order statistics of S
    samples lies another draw of their distribution with a probability of at least `level`.
    """
    tail = (1 - level) / 2
    low, high = math.floor((count + 1) * tail + 1e-9), math.ceil((count + 1) * (1 - tail) - 1e-9)
    return (low, high) if low >= 1 and high <= count else None


def quantiles(samples: Any, level: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Ends of the central interval of `level` of each pixel, order statistics (see `ranks`).

    Pixels are sorted in blocks, so that samples may lie on disk (anything with `shape` and slicing).

    Parameters
    ----------
    samples : (S, ...).
    level : between 0 and 1.

    Raises
    ------
    UsageError
        When the samples are too few for the level.
    """
    count, shape = int(samples.shape[0]), tuple(samples.shape[1:])
    found = ranks(count, level)
    if found is None:
        least = math.ceil(2 / (1 - level) - 1 - 1e-9)
        raise UsageError(
            f"{count} samples have no quantiles for an interval of {level:.0%}; take at least {least}."
        )
    low, high = found
    flat = samples.reshape(count, -1)
    lower, upper = [], []
    for start in range(0, flat.shape[1], BLOCK):
        ordered = torch.as_tensor(flat[:, start : start + BLOCK]).sort(0).values
        lower.append(ordered[low - 1].clone())
        upper.append(ordered[high - 1].clone())
    return torch.cat(lower).reshape(shape), torch.cat(upper).reshape(shape)
