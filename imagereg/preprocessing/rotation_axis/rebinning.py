"""Fans rebinned to a parallel beam, so that the same estimators serve both."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.geometry import Geometry
from imagereg.geometry.fan import PointSource
from imagereg.preprocessing.rotation_axis.sinograms import Sinograms

Array = NDArray[np.float64]


def parallel(values: NDArray[np.floating[Any]], geometry: Geometry, column: float) -> Sinograms:
    """Parallel-beam sinograms of a scan whose rotation axis is taken to be on detector column `column`.

    A ray of a fan in view a, at the angle g from the detector's normal, is the ray of the parallel beam
    at the angle a - g and the distance t = SO sin g - o cos g from the axis, with SO from source to axis
    and o the axis' distance from the central ray. The column of the rebinned sinogram is
    column + t M / pixel, M the magnification, so that the axis stays on `column` if it was there.

    Parameters
    ----------
    values : (rows, views, columns).
    geometry : the scan's; per-view shifts along the columns are undone.
    """
    values = _unshifted(values, geometry)
    sorted_views = Sinograms.of(values, geometry.angles)
    if not isinstance(geometry, PointSource):
        return sorted_views
    centred = geometry.with_centre(column)
    assert isinstance(centred, PointSource)
    pixel, count = centred.pixel, centred.columns
    source, detector, offset = centred.source_origin, centred.source_detector, centred.axis_offset
    distance = (np.arange(count) - column) * pixel / centred.magnification
    sine = distance / math.hypot(source, offset)
    gamma = np.arcsin(np.clip(sine, -1, 1)) + math.atan2(offset, source)
    given = float(np.atleast_1d(np.asarray(centred.detector_offset, dtype=float))[0])
    place = (detector * np.tan(gamma) - given) / pixel + (count - 1) / 2
    left = np.clip(np.floor(place).astype(int), 0, count - 2)
    share = np.clip(place - left, 0, 1).astype(np.float32)
    across = sorted_views.values[..., left] * (1 - share) + sorted_views.values[..., left + 1] * share
    return _along_views(across, replace(sorted_views, scanned=float(np.ptp(geometry.angles))), gamma)


def _along_views(across: NDArray[np.floating[Any]], sinograms: Sinograms, gamma: Array) -> Sinograms:
    """Take column s of the parallel view at the angle a from the fan's view at a + gamma(s)."""
    angles, turn = sinograms.angles, 2 * math.pi
    if sinograms.closed:
        wanted = angles
        grid = np.concatenate([angles, [angles[0] + turn]])
        source = np.mod(wanted[:, None] + gamma, turn)
    else:
        first, last = angles[0] - float(gamma.min()), angles[-1] - float(gamma.max())
        if last <= first:
            first, last = angles[0], angles[-1]
        wanted = np.linspace(first, last, max(2, round((last - first) / sinograms.step) + 1))
        grid = angles
        source = np.clip(wanted[:, None] + gamma, angles[0], angles[-1])
    before = np.clip(np.searchsorted(grid, source, side="right") - 1, 0, grid.size - 2)
    share = ((source - grid[before]) / (grid[before + 1] - grid[before])).astype(np.float32)
    after = (before + 1) % angles.size
    columns = np.arange(gamma.size)
    values = across[:, before, columns] * (1 - share) + across[:, after, columns] * share
    return replace(
        sinograms, values=np.ascontiguousarray(values, dtype=np.float32), angles=wanted - wanted[0]
    )


def _unshifted(values: NDArray[np.floating[Any]], geometry: Geometry) -> NDArray[np.floating[Any]]:
    """Views with the detector's displacement in each view undone along the columns."""
    if geometry.shifts is None or not geometry.shifts[:, 0].any():
        return values
    columns = np.arange(geometry.columns)
    moved = np.empty_like(values)
    for view, shift in enumerate(geometry.shifts[:, 0] / geometry.pixel):
        for row in range(values.shape[0]):
            moved[row, view] = np.interp(columns - shift, columns, values[row, view])
    return moved
