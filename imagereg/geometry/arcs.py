"""Angles on the circle: the arc that each view stands for, and where views are missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_MISSING = 8.0  # a gap this many times as wide as most is a missing wedge, which random angles do not have
_SAME = 1e-9  # radians between views that count as one


def shares(angles: Floats, period: float) -> tuple[Floats, float]:
    """Arc in radians that each view stands for on a circle of `period`, and the widest gap that is missing.

    Half the distance to each neighbour (its Voronoi cell on the circle), coinciding views sharing theirs
    alike. A missing wedge counts as one ordinary gap, so that the views next to it do not stand for what
    they have not seen. Angles may come in any order, over any number of turns.
    """
    place = np.mod(angles, period)
    place[period - place < _SAME] = 0.0
    order = np.argsort(place, kind="stable")
    fresh = np.diff(place[order], prepend=-np.inf) > _SAME
    group = np.empty(place.size, dtype=int)
    group[order] = np.cumsum(fresh) - 1
    distinct = place[order][fresh]
    gaps = np.diff(distinct, append=distinct[0] + period)
    ordinary = float(np.quantile(gaps, 0.75, method="higher"))
    missing = gaps > _MISSING * ordinary
    widest = float(gaps[missing].max()) if missing.any() else 0.0
    counted = np.where(missing, ordinary, gaps)
    cells = (counted + np.roll(counted, 1)) / 2
    return (cells / np.bincount(group))[group], widest
