"""What each ray counts for in filtered back-projection.

The integral over directions becomes a sum with a view's share of the arc for its weight. A line that is
measured twice shares one weight between its two rays: D. L. Parker, Med. Phys. 9 (1982) 254,
doi:10.1118/1.595078, for arcs shorter than a turn; G. Wang, Med. Phys. 29 (2002) 1634,
doi:10.1118/1.1489043, for a detector that reaches farther on one side of the axis.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imagereg.geometry import Geometry
from imagereg.geometry.arcs import shares
from imagereg.geometry.base import ASIDE
from imagereg.geometry.fan import PointSource

Floats = NDArray[np.float64]


def view_weights(geometry: Geometry) -> Floats:
    """(views, columns): share of the arc times redundancy, and for a fan the Jacobian of its rays.

    With t the distance of a ray from the axis and theta its direction, dt dtheta of a fan is
    (so cos g + a sin g) dg dbeta for the axis `a` aside of the central ray; the cosine of the cone's
    angle is not in it.
    """
    t = _from_axis(geometry)
    if not isinstance(geometry, PointSource):
        share, _ = shares(geometry.angles, math.pi)
        twice = shares(geometry.angles, 2 * math.pi)[1] == 0
        return share[:, None] * (_aside(t) if twice else np.ones_like(t))
    origin, axis = geometry.source_origin, geometry.axis_offset
    share, gap = shares(geometry.angles, 2 * math.pi)
    fan = np.arctan(t / origin)
    s = origin * np.tan(fan + math.atan2(axis, origin))
    jacobian = (origin + axis * s / origin) / np.hypot(origin, s)
    redundancy = 0.5 * _aside(t) if gap == 0 else parker(geometry.angles, fan)
    return share[:, None] * redundancy * jacobian


def widened(geometry: Geometry) -> tuple[Geometry, int, int]:
    """The scan with a detector as long on its shorter side as on the longer one, where Wang's weights apply.

    Filtered projections reach beyond the detector, and what they hold there belongs to the image; without
    partners it would not matter, since the object is on the detector.

    Returns
    -------
    The scan, and the numbers of columns added before the first and after the last.
    """
    if shares(geometry.angles, 2 * math.pi)[1] > 0:
        return geometry, 0, 0
    t = _from_axis(geometry)
    low, high = float(-t.min()), float(t.max())
    if not _one_sided(low, high):
        return geometry, 0, 0
    pixel = geometry.pixel / geometry.magnification
    extra = math.ceil(abs(high - low) / pixel)
    before, after = (extra, 0) if high > low else (0, extra)
    given = np.zeros(2)
    offset = np.atleast_1d(np.asarray(geometry.detector_offset, dtype=np.float64))
    given[: offset.size] = offset
    given[0] += (after - before) / 2 * geometry.pixel
    columns = geometry.columns + extra
    return replace(geometry, columns=columns, detector_offset=(given[0], given[1])), before, after


def _from_axis(geometry: Geometry) -> Floats:
    """(views, columns): where rays pass the axis, in mm along the columns (a fan: tangent times so)."""
    across = (np.arange(geometry.columns) - (geometry.columns - 1) / 2) * geometry.pixel
    s = (geometry.offsets[:, :1] + across[None, :]) / geometry.magnification
    if isinstance(geometry, PointSource):
        fan = np.arctan2(s, geometry.source_origin)
        turned = math.atan2(geometry.axis_offset, geometry.source_origin)
        return geometry.source_origin * np.tan(fan - turned)
    return s - geometry.axis_offset


def _one_sided(low: float, high: float) -> bool:
    short, far = min(low, high), max(low, high)
    return short > 0 and far > ASIDE * short


def parker(angles: Floats, fan: Floats) -> Floats:
    """Parker's weights of the rays at `fan` (views, columns) from the axis, for any arc below a turn.

    The two rays of a line, (b, g) and (b + pi - 2 g, -g), get weights that add up to one. Arcs beyond the
    shortest that suffices are used in full, by taking the fan for wider than it is.
    """
    place = np.mod(angles, 2 * math.pi)
    order = np.sort(place)
    gaps = np.diff(order, append=order[0] + 2 * math.pi)
    start = order[(int(np.argmax(gaps)) + 1) % order.size]
    arc = 2 * math.pi - float(gaps.max())
    opening = float(np.abs(fan).max())
    half = max((arc - math.pi) / 2, opening + 1e-6)
    # An arc that is too short lies in the middle of the one that would do.
    begin = np.mod(place - start, 2 * math.pi)[:, None] + (math.pi + 2 * half - arc) / 2
    weights = np.ones_like(fan)
    rising = begin < 2 * (half + fan)
    weights = np.where(rising, np.sin(math.pi / 4 * begin / (half + fan)) ** 2, weights)
    falling = begin > math.pi + 2 * fan
    left = np.maximum(math.pi + 2 * half - begin, 0)
    return np.where(falling, np.sin(math.pi / 4 * left / (half - fan)) ** 2, weights)


def _aside(t: Floats) -> Floats:
    """Twice the weight of a ray at `t` whose partner of the other half turn is at -t (Wang's)."""
    low, high = float(-t.min()), float(t.max())
    if not _one_sided(low, high):
        return np.ones_like(t)
    towards = t if high > low else -t
    return 1 + np.sin(math.pi / 2 * np.clip(towards / min(low, high), -1, 1))
