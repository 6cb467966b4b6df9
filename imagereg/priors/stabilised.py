"""Changes of variable after which noise is about as large everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch

from imagereg.errors import UsageError
from imagereg.priors.weights import grey_range


class Stabilised(Protocol):
    """A monotone change of variable v = T(y)."""

    def to(self, y: torch.Tensor) -> torch.Tensor:
        """v, in the shape of y."""

    def back(self, v: torch.Tensor) -> torch.Tensor:
        """The mean of y whose v has the mean `v`, roughly: the inverse of T, its bias taken off."""

    def variance_ratio(self, v: torch.Tensor) -> torch.Tensor:
        """The variance of the noise where v has the mean `v`, over the one that it shall have."""


@dataclass(frozen=True)
class Unchanged:
    """v = y, for noise that is the same everywhere."""

    def to(self, y: torch.Tensor) -> torch.Tensor:
        """The same."""
        return y

    def back(self, v: torch.Tensor) -> torch.Tensor:
        """The same."""
        return v

    def variance_ratio(self, v: torch.Tensor) -> torch.Tensor:
        """1."""
        return torch.ones_like(v)


@dataclass(frozen=True)
class SquareRoot:
    """v = 2 (y + 3/8 gain)^1/2, in which Poisson noise has a variance of the gain, less below 3 photons.

    References
    ----------
    F. Anscombe, Biometrika 35 (1948) 246, doi:10.1093/biomet/35.3-4.246; M. Mäkitalo, A. Foi, IEEE Trans.
    Image Process. 20 (2011) 99, doi:10.1109/TIP.2010.2056693 (the exact inverse).
    """

    gain: float

    def to(self, y: torch.Tensor) -> torch.Tensor:
        """v; values below zero count as zero."""
        return 2 * (y.clamp_min(0) + 0.375 * self.gain).sqrt()

    def back(self, v: torch.Tensor) -> torch.Tensor:
        """The mean count whose E v is `v`, times the gain; not below zero."""
        counts, mean, _ = _square_roots_of_counts()
        unit = v / self.gain**0.5
        return self.gain * torch.where(
            unit < mean[-1], _between(unit, mean, counts), unit.square() / 4 - 0.125
        )

    def variance_ratio(self, v: torch.Tensor) -> torch.Tensor:
        """Var v over the gain: 0 without light, 1 for many photons."""
        _, mean, variance = _square_roots_of_counts()
        return _between(v / self.gain**0.5, mean, variance)


@cache
def _square_roots_of_counts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean counts l from 0 to 40, and mean and variance of 2 (z + 3/8)^1/2, z ~ Poisson(l)."""
    means = torch.linspace(0, 40**0.5, 400, dtype=torch.float64).square()
    z = torch.arange(160, dtype=torch.float64)
    chance = (torch.xlogy(z, means[:, None]) - means[:, None] - torch.lgamma(z + 1)).exp()
    root = 2 * (z + 0.375).sqrt()
    first, second = chance @ root, chance @ root.square()
    return means, first, second - first.square()


def _between(x: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The values at x, straight between the places, which rise; constant beyond their ends."""
    places, values = places.to(x), values.to(x)
    right = torch.searchsorted(places, x.contiguous()).clamp(1, len(places) - 1)
    part = (x - places[right - 1]) / (places[right] - places[right - 1])
    return torch.lerp(values[right - 1], values[right], part.clamp(0, 1))


@dataclass(frozen=True)
class Logarithm:
    """v = log y, in which speckle has the same variance everywhere; y below `floor` counts as the floor.

    Parameters
    ----------
    floor : least grey value.
    looks : of the speckle, for the inverse alone: E log y lies about 1 / (2 looks) below log E y.
    """

    floor: float
    looks: float = math.inf

    def to(self, y: torch.Tensor) -> torch.Tensor:
        """v."""
        return y.clamp_min(self.floor).log()

    def back(self, v: torch.Tensor) -> torch.Tensor:
        """exp(v + 1 / (2 looks))."""
        return (v + 0.5 / self.looks).exp()

    def variance_ratio(self, v: torch.Tensor) -> torch.Tensor:
        """1."""
        return torch.ones_like(v)


FLOOR = 1 / 255
"""Least grey value, relative to the range, that a logarithm is taken of."""


def for_noise(
    kind: str, y: torch.Tensor, *, level: float, offset: float = 0.0
) -> tuple[Stabilised, torch.Tensor]:
    """The change of variable for a kind of noise, and the data where it is defined.

    Parameters
    ----------
    kind : 'gaussian', 'poisson' or 'gamma'.
    y : (B, C, H, W).
    level : sigma, gain or looks, roughly.
    offset : grey value of no light, which is taken off data with Poisson noise.

    Raises
    ------
    UsageError
        For another kind.
    """
    if kind == "gaussian":
        return Unchanged(), y
    if kind == "poisson":
        return SquareRoot(level), (y - offset).clamp_min(0)
    if kind == "gamma":
        floor = FLOOR * (float(grey_range(y).max()) or 1.0)
        return Logarithm(floor, level), y.clamp_min(floor)
    raise UsageError(f"noise kind {kind!r}: give gaussian, poisson or gamma.")


def stable_level(kind: str, level: float) -> float:
    """Standard deviation after the change of variable: sigma, gain^1/2 or looks^-1/2."""
    return {"gaussian": level, "poisson": level**0.5, "gamma": level**-0.5}[kind]


def level_of(kind: str, stable: float) -> float:
    """The inverse of `stable_level`: sigma, gain or looks."""
    return {"gaussian": stable, "poisson": stable**2, "gamma": stable**-2.0}[kind]


def coarse(v: torch.Tensor, level: float) -> bool:
    """Whether most values of an image lie further apart than a quarter of its noise: those of few photons do.

    Parameters
    ----------
    v : (B, C, H, W), after the change of variable.
    level : standard deviation of its noise.
    """
    values = v.flatten()[: 2**20].unique()
    inner = values[(values >= values.quantile(0.02)) & (values <= values.quantile(0.98))]
    return len(inner) < 3 or float(inner.diff().median()) > 0.25 * level
