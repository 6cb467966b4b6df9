"""What the two edges of the detector see: air at some level, or the object, which then leaves the view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.preprocessing.layout import Frames

Array = NDArray[np.float64]

_RISE = 0.015  # of the object's height: what a slope may rise over an edge's columns and still be air
_CHANCE = 4.0  # standard deviations that noise alone does not reach
_FIXED = 4.0  # standard deviations of what stripes do to the slope


@dataclass(frozen=True, eq=False)
class Edges:
    """Line integrals looked at along both edges of the detector.

    Air is flat along the columns in every view, whatever level it is at and however the beam drifts. An
    object that goes on beyond the edge is not: its slope there moves with the angle, or, where it is round
    about the axis, rises inwards on that edge in all views.

    Parameters
    ----------
    values : (views, rows, columns), finite, in ascending order of angle.
    """

    values: Frames

    @property
    def width(self) -> int:
        """Number of columns that count as an edge."""
        return max(3, self.values.shape[2] // 40)

    @cached_property
    def height(self) -> float:
        """How far the object rises above its surroundings."""
        low, high = np.percentile(self.values, [2, 98])
        return float(high - low) + 1e-30

    @cached_property
    def strips(self) -> tuple[Array, Array]:
        """Left and right edge, (views, rows, width) each, from the outside inwards."""
        width = self.width
        left, right = self.values[..., :width], self.values[..., -width:][..., ::-1]
        return left.astype(np.float64), right.astype(np.float64)

    @cached_property
    def object_seen(self) -> tuple[bool, bool]:
        """Whether the left and the right edge see the object."""
        left, right = self.strips
        seen = self._sees(left), self._sees(right)
        # A beam that drifts lifts both edges alike; an object that noise hides at its slopes does not.
        levels = [strip.mean(axis=2) for strip in (left, right)]
        apart = levels[0] - levels[1]
        if not any(seen) and _shared(apart - apart.mean(axis=0)) > 2 * _RISE * self.height:
            one, other = (_shared(level - level.mean(axis=0)) for level in levels)
            return one > other / 3, other > one / 3
        return seen

    @property
    def air(self) -> bool:
        """Whether both edges look like air in all views."""
        return not any(self.object_seen)

    @cached_property
    def noisy(self) -> bool:
        """Whether noise could hide the slope of an object at the edges."""
        least = max(_by_chance(self._rise(strip)) for strip in self.strips)
        return math.sqrt(_CHANCE * least) > 4 * _RISE * self.height

    @cached_property
    def level(self) -> float:
        """The median of both edges together."""
        return float(np.median(np.concatenate(self.strips, axis=2)))

    @cached_property
    def drift(self) -> tuple[float, float]:
        """Lowest and highest level of both edges together, in the mean over a tenth of the views."""
        level = np.concatenate(self.strips, axis=2).mean(axis=(1, 2))
        count = max(1, level.size // 10)
        smooth = np.convolve(level, np.ones(count) / count, mode="valid")
        return float(smooth.min()), float(smooth.max())

    @cached_property
    def darker(self) -> float:
        """How far the object lies below the air, as a share of all it differs from it: 0 to 1."""
        low, high = np.percentile(self.values, [1, 99])
        below, above = max(0.0, self.level - float(low)), max(0.0, float(high) - self.level)
        return below / (below + above + 1e-30)

    def _sees(self, strip: Array) -> bool:
        """Whether the slope along an edge is more than that of air under stripes and noise."""
        rise = self._rise(strip)
        steady = rise.mean(axis=0)
        if _shared(rise - steady) > _RISE * self.height:
            return True
        # A straight line through columns of this scatter rises so much by itself.
        allowed = _FIXED * self._stripes * math.sqrt(12 / self.width)
        return bool((steady > 2 * _RISE * self.height + allowed).any())

    @staticmethod
    def _rise(strip: Array) -> Array:
        """(views, rows): how far a straight line through an edge's columns rises inwards."""
        width = strip.shape[2]
        along = np.arange(width) - (width - 1) / 2
        return np.asarray(strip @ along / float(along @ along) * (width - 1))

    @cached_property
    def _stripes(self) -> float:
        """Root mean square of what is fixed to single columns."""
        from imagereg.preprocessing.stripes import stripe_strength

        return stripe_strength(self.values)


def _shared(changes: Array) -> float:
    """Root mean square of what neighbouring views share: an object's changes; 0 where noise may be all."""
    if len(changes) < 4:
        return 0.0
    products = changes[1:] * changes[:-1]
    power = float(np.mean(products))
    return math.sqrt(power) if power > _CHANCE * _by_chance(changes) else 0.0


def _by_chance(changes: Array) -> float:
    """Standard deviation of the mean product of neighbours where they share nothing."""
    return float(np.var(changes)) / math.sqrt(changes.size)


def mass_scatter(values: NDArray[np.floating[Any]]) -> float:
    """Standard deviation over the views of the sum of a view, which a whole object keeps constant."""
    return float(np.mean(np.std(np.sum(values, axis=2, dtype=np.float64), axis=0)))
