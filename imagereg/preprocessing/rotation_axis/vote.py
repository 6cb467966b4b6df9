"""What an estimator says of the rotation axis, and how several of them are heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vote:
    """One estimator's answer.

    Parameters
    ----------
    name : the estimator.
    column : detector column of the axis (0 is the middle of the first column).
    uncertainty : one standard deviation in columns, as far as the estimator can tell by itself.
    rows : the answer of each row by itself.
    columns, scores : the curve that was searched, the lowest score being best; empty where there is none.
    """

    name: str
    column: float
    uncertainty: float
    rows: tuple[float, ...] = ()
    columns: Array = field(default_factory=lambda: np.empty(0))
    scores: Array = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Abstention:
    """Why an estimator has no answer, in one clause."""

    name: str
    reason: str


def lowest(columns: Array, scores: Array) -> float:
    """Position of the lowest score between samples, by the parabola through it and its neighbours."""
    at = int(np.argmin(scores))
    if not 0 < at < scores.size - 1:
        return float(columns[at])
    before, here, after = (float(scores[at + k]) for k in (-1, 0, 1))
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    return float(columns[at] + shift * (columns[at + 1] - columns[at]))


def rivalry(columns: Array, scores: Array, *, apart: float) -> tuple[float, float]:
    """How deep the best other valley is, from 0 (none) to 1 (as deep), and how far away it lies.

    Depth is measured from the median of the curve; a valley is a local minimum at least `apart` columns
    from the lowest score.
    """
    at = int(np.argmin(scores))
    inner = scores[1:-1]
    valley = np.concatenate([[False], (inner <= scores[:-2]) & (inner <= scores[2:]), [False]])
    valley &= np.abs(columns - columns[at]) >= apart
    depth = float(np.median(scores) - scores[at])
    if not valley.any() or depth <= 0:
        return (0.0 if depth > 0 else 1.0), float(np.ptp(columns)) / 4
    index = np.flatnonzero(valley)
    other = int(index[np.argmin(scores[index])])
    share = float(np.clip((np.median(scores) - scores[other]) / depth, 0.0, 1.0))
    return share, float(abs(columns[other] - columns[at]))


def spread(values: Sequence[float]) -> float:
    """Standard error of the median of a few values, by their median deviation; 0 for a single one."""
    if len(values) < 2:
        return 0.0
    array = np.asarray(values)
    return float(1.8 * np.median(np.abs(array - np.median(array))) / np.sqrt(array.size))


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The first value, in ascending order, with at least half of the weight on it and below."""
    order = np.argsort(values)
    reached = np.cumsum(np.asarray(weights, dtype=float)[order])
    return float(np.asarray(values, dtype=float)[order[int(np.searchsorted(reached, reached[-1] / 2))]])
