"""The rotation axis from views half a turn apart, which are mirror images of each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imagereg.preprocessing.rotation_axis.sinograms import Sinograms
from imagereg.preprocessing.rotation_axis.vote import Abstention, Vote, lowest, rivalry, spread

NAME = "opposite_views"
_BLUR = 1.5
_MOST_PAIRS = 48

Array = NDArray[np.float64]


def opposite_views(
    sinograms: Sinograms,
    search: tuple[float, float],
    *,
    least: float = 0.15,
    order: int = 1,
    name: str = NAME,
) -> Vote | Abstention:
    """The column c that makes p(a + pi, t) = p(a, 2c - t) most likely, over all pairs of opposite views.

    Views are compared by the correlation r of their derivatives on the n columns where they overlap;
    under white noise -n log(1 - r^2) / 2 is the gain in log-likelihood over unrelated views, so that
    small overlaps do not win by chance. Views are interpolated between neighbours where none lies
    exactly opposite; a scan that just misses half a turn is extrapolated by half a step at both ends.

    Parameters
    ----------
    search : first and last detector column to consider.
    least : share of the columns that opposite views must have in common.
    order : derivative of the views that is compared; 0 compares their values.
    """
    count = sinograms.columns
    length = 1 << (2 * count - 1).bit_length()
    twice = 2 * count - 1
    overlap = np.convolve(np.ones(count), np.ones(count))
    columns = np.asarray(sinograms.detector_column(np.arange(twice) / 2))
    allowed = (columns >= search[0]) & (columns <= search[1]) & (overlap >= max(8.0, least * count))
    angles = _angles(sinograms)
    if not angles.size or not allowed.any():
        return Abstention(name, "no two views lie half a turn apart")
    curves = []
    for row in sinograms.values:
        pairs = [(_view(row, sinograms, a), _view(row, sinograms, a + math.pi)) for a in angles]
        curve = np.zeros(twice)
        for one, other in pairs:
            if one is not None and other is not None:
                curve -= _gain(one, other, overlap, length, order)
        curves.append(curve[allowed])
    if not any(curve.any() for curve in curves):
        return Abstention(name, "no two views lie half a turn apart")
    columns = columns[allowed]
    pooled = np.mean(curves, axis=0)
    rows = tuple(lowest(columns, curve) for curve in curves)
    likelihood = np.exp(-(pooled - pooled.min()))
    likelihood /= likelihood.sum()
    mean = float(likelihood @ columns)
    deviation = math.sqrt(float(likelihood @ (columns - mean) ** 2))
    share, far = rivalry(columns, pooled, apart=0.03 * count * sinograms.binning)
    doubt = far * max(0.0, share - 0.8)
    parts = [0.1 * sinograms.binning, deviation, spread(rows), doubt]
    if not sinograms.closed and sinograms.angles[-1] < math.pi:
        # The pair is extrapolated by straight lines: a point at the rim bends away from them.
        parts.append(0.4 * sinograms.step**2 * count * sinograms.binning)
    return Vote(name, lowest(columns, pooled), math.hypot(*parts), rows, columns, pooled)


def _angles(sinograms: Sinograms) -> Array:
    """Angles a for which views at a and at a + pi are both within reach."""
    angles, step = sinograms.angles, sinograms.step
    room = 2 * math.pi if sinograms.closed else float(angles[-1]) - math.pi
    if room < -2.2 * step:
        return np.empty(0)
    if room < 0:
        return np.array([room / 2])
    fitting = angles[(angles <= room + 1e-9) & (angles < math.pi - 1e-9)]
    if fitting.size > _MOST_PAIRS:
        fitting = fitting[np.linspace(0, fitting.size - 1, _MOST_PAIRS).astype(int)]
    return fitting


def _view(row: NDArray[np.floating], sinograms: Sinograms, angle: float) -> Array | None:
    """The projection at an angle by a straight line through the nearest views; None where out of reach."""
    away = sinograms.angles - angle
    if sinograms.closed:
        away = (away + math.pi) % (2 * math.pi) - math.pi
    step = sinograms.step
    nearest = int(np.argmin(np.abs(away)))
    if abs(away[nearest]) < 0.03 * step:
        return row[nearest].astype(np.float64)
    near = np.flatnonzero(np.abs(away) <= 2.7 * step)
    if near.size < 2 or abs(away[nearest]) > 1.2 * step:
        return None
    before, after = near[away[near] < 0], near[away[near] > 0]
    if before.size and after.size:
        near = np.array([before[np.argmax(away[before])], after[np.argmin(away[after])]])
    line = np.stack([np.ones(near.size), away[near] / step], axis=1)
    return np.asarray(np.linalg.pinv(line)[0] @ row[near], dtype=np.float64)


def _gain(one: Array, other: Array, overlap: Array, length: int, order: int) -> Array:
    """Log-likelihood gained by taking `other` as the mirror of `one`, for each sum of columns 2c."""
    from scipy.ndimage import gaussian_filter1d

    twice = overlap.size
    first = gaussian_filter1d(one, _BLUR, order=order, mode="nearest")
    second = (-1) ** order * gaussian_filter1d(other, _BLUR, order=order, mode="nearest")
    ones = np.ones(one.size)
    spectra = [np.fft.rfft(v, length) for v in (first, second, ones, first**2, second**2)]

    def along(a: int, b: int) -> Array:
        return np.fft.irfft(spectra[a] * spectra[b], length)[:twice]

    sum_first, sum_second = along(0, 2), along(2, 1)
    covariance = along(0, 1) - sum_first * sum_second / overlap
    variance = (along(3, 2) - sum_first**2 / overlap) * (along(2, 4) - sum_second**2 / overlap)
    least = 1e-12 * float(first @ first) * float(second @ second) + 1e-300
    correlation = np.clip(covariance / np.sqrt(np.maximum(variance, least)), 0.0, 0.9999)
    return np.asarray(-0.5 * overlap / (4 * _BLUR) * np.log1p(-(correlation**2)))
