"""Sinograms in the order of their angles: what every estimator of the rotation axis works on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sinograms:
    """Line integrals of a few rows of a parallel beam, views in ascending order of angle.

    Parameters
    ----------
    values : (rows, views, columns).
    angles : (views,) in radians, ascending from 0, below 2 pi.
    closed : whether the views go all the way round.
    binning : number of detector columns that one of these columns holds.
    scanned : angle in radians from the first view of the scan to its last, where these are not its own
        views but rebinned from them, which takes the opening of the fan off.
    """

    values: NDArray[np.floating[Any]]
    angles: Array
    closed: bool
    binning: int = 1
    scanned: float | None = None

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]], angles: Array) -> Self:
        """Sort (rows, views, columns) by angle on the circle, beginning after the widest gap.

        Views closer than a fiftieth of the usual step are taken as one, so that a scan that repeats its
        first view at 2 pi counts it once.
        """
        turn = 2 * math.pi
        around = np.mod(np.asarray(angles, dtype=np.float64), turn)
        around[turn - around < 1e-9] = 0.0
        order = np.argsort(around, kind="stable")
        around = around[order]
        gaps = np.diff(around, append=around[0] + turn)
        usual = float(np.median(gaps[gaps > 1e-6])) if (gaps > 1e-6).any() else turn
        closed = bool(gaps.max() < 2.5 * usual) and around.size > 3
        first = 0 if closed else (int(gaps.argmax()) + 1) % around.size
        order = np.roll(order, -first)
        ordered = np.mod(np.roll(around, -first) - around[first], turn)
        group = np.concatenate([[0], np.cumsum(np.diff(ordered) > 0.02 * usual)])
        if closed and group[-1] > 0 and turn - ordered[-1] < 0.02 * usual:
            last = group == group[-1]
            ordered, group = np.where(last, ordered - turn, ordered), np.where(last, 0, group)
        counts = np.bincount(group)
        merged = np.bincount(group, weights=ordered) / counts
        sorted_values = np.asarray(values)[:, order]
        if counts.size < order.size:
            total = np.zeros((counts.size, values.shape[0], values.shape[2]))
            np.add.at(total, group, sorted_values.transpose(1, 0, 2))
            sorted_values = (total / counts[:, None, None]).transpose(1, 0, 2)
        return cls(np.ascontiguousarray(sorted_values, dtype=np.float32), merged - merged[0], closed)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.values.shape[2])

    @cached_property
    def step(self) -> float:
        """The usual angle from view to view, in radians."""
        return float(np.median(np.diff(self.angles))) if self.angles.size > 1 else math.pi

    @property
    def arc(self) -> float:
        """Angle covered in radians, one step for each view; 2 pi where the views close the circle."""
        return 2 * math.pi if self.closed else float(self.angles[-1]) + self.step

    @property
    def coverage(self) -> str:
        """What the views cover, in a clause, with the scan's own arc as `imagereg info` tells it."""
        own = math.degrees(float(self.angles[-1]))
        if self.scanned is None:
            return f"the views cover {own:.4g} degrees"
        return (
            f"the views cover {math.degrees(self.scanned):.4g} degrees, {own:.4g} of which hold all rays of "
            "a parallel beam"
        )

    @cached_property
    def levelled(self) -> NDArray[np.floating[Any]]:
        """The values above a straight line between the two edges of each view, where air is."""
        width = max(2, self.columns // 40)
        left = np.median(self.values[..., :width], axis=-1, keepdims=True)
        right = np.median(self.values[..., -width:], axis=-1, keepdims=True)
        return self.values - (left + (right - left) * np.linspace(0, 1, self.columns, dtype=np.float32))

    @cached_property
    def truncated(self) -> bool:
        """Whether the object leaves the field of view: an edge changes from view to view like the object."""
        width = max(2, self.columns // 40)
        height = float(np.percentile(self.values, 98) - np.percentile(self.values, 2)) + 1e-30
        for edge in (self.values[..., :width], self.values[..., -width:]):
            if float(np.median(smooth_deviation(edge.mean(axis=-1).T))) > 0.03 * height:
                return True
        return False

    def binned(self, most: int) -> Sinograms:
        """The same with columns averaged in groups, so that at most about `most` are left."""
        factor = max(1, math.ceil(self.columns / most))
        if factor == 1:
            return self
        kept = self.columns // factor * factor
        rows, views = self.values.shape[:2]
        values = self.values[..., :kept].reshape(rows, views, kept // factor, factor).mean(-1)
        return replace(self, values=values, binning=self.binning * factor)

    def thinned(self, most: int) -> Sinograms:
        """The same with every n-th view, so that at most about `most` are left."""
        every = max(1, round(self.angles.size / most))
        if every == 1:
            return self
        if self.closed:
            # An even number of views round the circle keeps them opposite to each other.
            count = max(2, self.angles.size // every // 2 * 2)
            picked = np.unique(np.round(np.arange(count) * self.angles.size / count).astype(int))
        else:
            picked = np.arange(0, self.angles.size, every)
        return replace(self, values=self.values[:, picked], angles=self.angles[picked])

    def detector_column(self, column: Any) -> Any:
        """The detector's column for a column of these sinograms."""
        return (np.asarray(column) + 0.5) * self.binning - 0.5

    def own_column(self, column: Any) -> Any:
        """The column of these sinograms for a column of the detector."""
        return (np.asarray(column) + 0.5) / self.binning - 0.5


def smooth_deviation(series: NDArray[np.floating[Any]]) -> Array:
    """Standard deviation along the first axis without what is independent from one entry to the next."""
    independent = 0.5 * np.mean(np.diff(series, axis=0) ** 2, axis=0)
    return np.asarray(np.sqrt(np.maximum(0.0, series.var(axis=0) - independent)), dtype=np.float64)
