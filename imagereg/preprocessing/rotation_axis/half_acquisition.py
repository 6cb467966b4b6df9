"""The rotation axis near an edge of the detector: half acquisitions, where a whole turn sees twice as far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagereg.preprocessing.edges import Edges
from imagereg.preprocessing.rotation_axis.opposite_views import opposite_views
from imagereg.preprocessing.rotation_axis.rebinning import parallel
from imagereg.preprocessing.rotation_axis.sinograms import Sinograms
from imagereg.preprocessing.rotation_axis.vote import Abstention, Vote, lowest, spread

if TYPE_CHECKING:
    from imagereg.preprocessing.rotation_axis.look import Seen

NAME = "halves"
NEAREST = 0.02  # share of the columns that the axis is from the edge at least

Array = NDArray[np.float64]


def side(sinograms: Sinograms) -> str:
    """The edge, 'left' or 'right', that the object leaves in a whole turn; '' where it is none or both."""
    if not sinograms.closed:
        return ""
    left, right = Edges(np.ascontiguousarray(sinograms.values.transpose(1, 0, 2))).object_seen
    if left == right:
        return ""
    return "left" if left else "right"


def widest(columns: int) -> tuple[float, float]:
    """First and last column to search for an axis near an edge."""
    return NEAREST * columns, (1 - NEAREST) * columns - 1


def likely(sinograms: Sinograms, search: tuple[float, float]) -> bool:
    """Whether a whole turn is to be searched up to its edges.

    That is where the object leaves one edge, or opposite views match best outside the columns of `search`.
    """
    if not sinograms.closed:
        return False
    if side(sinograms):
        return True
    vote = _opposite(sinograms, widest(round(sinograms.columns * sinograms.binning)))
    return isinstance(vote, Vote) and not search[0] <= vote.column <= search[1]


def halves(sinograms: Sinograms, search: tuple[float, float]) -> Vote | Abstention:
    """The column c about which the far sides of opposite views hold the same mass at all angles.

    With H(a, c) the sum of the view at a from the axis to the far edge, H(a, c) + H(a + pi, c) is the mass
    of the object, which does not depend on the angle. A column that is off by d adds 2 d p(a, c), which
    does, so that

        E(c) = var_a [H(a, c) + H(a + pi, c)]

    is lowest at the axis. Stripes are the same at all angles and drop out.

    Source: order zero of S. Helgason, Acta Math. 113 (1965) and D. Ludwig, Comm. Pure Appl. Math. 19 (1966),
    for views of which each sees one side; the form with two halves is worked out here.

    Parameters
    ----------
    search : first and last detector column to consider.
    """
    edge = side(sinograms)
    if not edge:
        return Abstention(NAME, "the object leaves both edges or none, or the views are no whole turn")
    flip = edge == "right"
    values = sinograms.values[..., ::-1] if flip else sinograms.values
    count = sinograms.columns
    low, high = sorted(float(sinograms.own_column(column)) for column in search)
    if flip:
        low, high = count - 1 - high, count - 1 - low
    # Beyond the middle the far side is the one that the object leaves; and there is no mass in nothing.
    places = np.arange(max(1, math.floor(low)), min(0.52 * count, math.ceil(high)) + 0.25, 0.25)
    if places.size < 3:
        return Abstention(NAME, "the axis is not sought on the side that the object leaves")
    found, sigmas, curves = [], [], []
    for row in values:
        curve, sigma = _scatter(row.astype(np.float64), sinograms, places)
        found.append(lowest(places, curve))
        sigmas.append(sigma[int(np.argmin(curve))])
        curves.append(curve)
    pooled = np.mean(curves, axis=0)
    best = lowest(places, pooled)

    def on_detector(place: float) -> float:
        return float(sinograms.detector_column(count - 1 - place if flip else place))

    rows = tuple(on_detector(place) for place in found)
    columns = np.array([on_detector(place) for place in places])
    uncertainty = math.hypot(float(np.median(sigmas)) * sinograms.binning, spread(rows))
    order = np.argsort(columns)
    return Vote(NAME, on_detector(best), uncertainty, rows, columns[order], pooled[order])


def _opposite(sinograms: Sinograms, search: tuple[float, float]) -> Vote | Abstention:
    return opposite_views(sinograms, search, least=2 * NEAREST)


def _overlap(sinograms: Sinograms, search: tuple[float, float]) -> Vote | Abstention:
    """Opposite views compared by their values in the band that both see (Vo 2021, doi 10.1364/OE.418448)."""
    return opposite_views(sinograms, search, least=2 * NEAREST, order=0, name="overlap")


ESTIMATORS = (_opposite, _overlap, halves)


def start(seen: Seen, search: tuple[float, float]) -> float:
    """The column to begin with: for a fan, whose views are rebinned about it, the likeliest of a few."""
    middle = (seen.geometry.columns - 1) / 2
    if seen.geometry.kind == "parallel":
        return middle
    best, found = 0.0, middle
    for place in np.linspace(*search, 9):
        vote = _opposite(parallel(seen.values, seen.geometry, float(place)), search)
        if isinstance(vote, Vote) and float(vote.scores.min()) < best:
            best, found = float(vote.scores.min()), vote.column
    return found


def _scatter(row: Array, sinograms: Sinograms, places: Array) -> tuple[Array, Array]:
    """Variance over the angles of the mass of both far sides, and how sure it is, for each place."""
    views, count = row.shape
    turn = 2 * math.pi
    # Sum from the far edge down to each border between columns, then to places between borders.
    tail = np.concatenate([np.cumsum(row[:, ::-1], axis=1)[:, ::-1], np.zeros((views, 1))], axis=1)
    borders = places + 0.5
    left = np.floor(borders).astype(int)
    share = borders - left
    mass = tail[:, left] * (1 - share) + tail[:, left + 1] * share
    there = row[:, np.clip(np.rint(places).astype(int), 0, count - 1)]
    angles = sinograms.angles
    around = np.concatenate([angles, [angles[0] + turn]])
    opposite = np.mod(angles + math.pi - angles[0], turn) + angles[0]
    before = np.clip(np.searchsorted(around, opposite, side="right") - 1, 0, views - 1)
    part = ((opposite - around[before]) / (around[before + 1] - around[before]))[:, None]
    whole = mass + mass[before] * (1 - part) + mass[(before + 1) % views] * part
    scatter = whole.var(axis=0)
    slope = 2 * there.std(axis=0) + 1e-30
    return scatter, np.sqrt(scatter) / (slope * math.sqrt(views / 2))
