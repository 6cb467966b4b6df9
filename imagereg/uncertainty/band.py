"""An interval for each pixel, and the nested family of intervals that calibration picks from."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.uncertainty.samples import quantiles, ranks

FLOOR = 0.05
"""Least half-width, over the root mean square half-width of its image: no pixel is taken for certain."""


@dataclass(frozen=True, eq=False)
class Band:
    """T_i = [lower_i, upper_i] around centre_i for each pixel i.

    Attributes
    ----------
    centre, lower, upper : (B, C, ...) with lower < centre < upper.
    """

    centre: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor

    @classmethod
    def of(
        cls,
        image: torch.Tensor,
        level: float,
        *,
        samples: torch.Tensor | None = None,
        std: torch.Tensor | None = None,
        mean: torch.Tensor | None = None,
    ) -> Band:
        """The interval of nominal `level` around `image`, from `samples` or `std`.

        From samples z: [m + q_low(z) - mean(z), m + q_high(z) - mean(z)] with the order statistics of
        `ranks`; from a standard deviation, or where the samples are too few for that: m -+ std times the
        normal quantile. Half-widths are at least `FLOOR` times their root mean square in the item.

        Parameters
        ----------
        image : (B, C, ...) the point estimate m.
        level : between 0 and 1.
        samples, std : (S, B, C, ...) and (B, C, ...), one of them at least.
        mean : (B, C, ...) of the samples, where it is known.

        Raises
        ------
        UsageError
            When there is neither, or the level is out of range.
        """
        check_level(level)
        if samples is not None and ranks(int(samples.shape[0]), level) is not None:
            mean = torch.as_tensor(samples).mean(0) if mean is None else mean
            low, high = quantiles(samples, level)
            below, above = mean - low, high - mean
        else:
            if std is None and samples is not None and samples.shape[0] > 1:
                std = torch.as_tensor(samples).std(0)
            if std is None:
                raise UsageError("there are neither two samples nor a standard deviation to go by.")
            below = above = std * NormalDist().inv_cdf((1 + level) / 2)
        below, above = _floored(below.to(image), above.to(image))
        return cls(image, image - below, image + above)

    def scaled(self, factor: Step) -> Band:
        """T_factor = [m - factor (m - lower), m + factor (upper - m)]: nested, factor 1 as it is.

        factor : a number, or one an item, (B, 1, ...).
        """
        below, above = self.centre - self.lower, self.upper - self.centre
        return Band(self.centre, self.centre - factor * below, self.centre + factor * above)

    @property
    def width(self) -> torch.Tensor:
        """upper - lower."""
        return self.upper - self.lower

    def scores(self, truth: torch.Tensor) -> torch.Tensor:
        """Smallest factor with which each pixel's interval holds the truth, in the shape of the image.

        s_i = (x_i - m_i) / (upper_i - m_i) above the centre and (m_i - x_i) / (m_i - lower_i) below it.
        """
        if truth.shape != self.centre.shape:
            raise UsageError(
                f"the truth has shape {tuple(truth.shape)} and the image {tuple(self.centre.shape)}."
            )
        off = truth.to(self.centre) - self.centre
        return torch.where(off >= 0, off / (self.upper - self.centre), -off / (self.centre - self.lower))

    def coverage(self, truth: torch.Tensor) -> float:
        """Fraction of pixels whose interval holds the truth, its ends included."""
        return float((self.scores(truth) <= 1).double().mean())


def check_level(level: float) -> None:
    """Raise where a level is none."""
    if not 0 < level < 1:
        raise UsageError(f"level = {level}: give a probability between 0 and 1, for example 0.9.")


def _floored(below: torch.Tensor, above: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Half-widths with the least that the whole item allows, and never zero."""
    square = (below.square() + above.square()).flatten(1).mean(1) / 2
    least = FLOOR * square.sqrt()
    if not bool((least > 0).all()):
        raise UsageError(
            "all samples are the same, so that there is no spread to go by; a method without randomness "
            "needs the source 'bootstrap' or 'noise', not 'seeds'."
        )
    least = least.reshape(-1, *[1] * (below.ndim - 1))
    return torch.maximum(below, least), torch.maximum(above, least)
