"""The rotation axis that gives the sharpest reconstruction, on a coarse and then a fine grid."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imagereg.preprocessing.rotation_axis.sinograms import Sinograms
from imagereg.preprocessing.rotation_axis.vote import Abstention, Vote, lowest, rivalry, spread

NAME = "sharpness"
_COARSE, _FINE = 160, 320
_ROWS = 5
# Half a turn holds every frequency once, so that its energy says nothing; a whole turn holds each twice.
_SHARES = {"half": (1.0, 1.0, 0.0), "whole": (1.0, 0.0, 2.0)}
_CUT = 0.25  # cycles per column at which the window of the ramp filter ends

Array = NDArray[np.float64]


def sharpest(sinograms: Sinograms, search: tuple[float, float]) -> Vote | Abstention:
    """The column whose filtered back-projection has the sparsest and steepest edges, or the fewest levels.

    Figures are scaled to [0, 1] along the curve and added. Where half a turn was measured, a wrong axis
    makes crescents: the sparsity of the gradient, ||grad f||_1 / ||grad f||_2, and the entropy of the grey
    levels grow. Where a whole turn was measured, it doubles edges: the first grows and ||grad f||_2^2,
    which counts twice, falls.

    Source: entropy for this purpose is from T. Donath, F. Beckmann and A. Schreyer, J. Opt. Soc. Am. A
    23, 1048 (2006), doi 10.1364/JOSAA.23.001048.

    Parameters
    ----------
    search : first and last detector column to consider.
    """
    if sinograms.angles.size < 12:
        return Abstention(NAME, "there are fewer than twelve views")
    if sinograms.arc < math.radians(60):
        return Abstention(NAME, f"{sinograms.coverage}, less than 60")
    few = replace(sinograms, values=sinograms.values[:_ROWS])
    coarse = few.binned(_COARSE).thinned(2 * _COARSE if few.closed else _COARSE)
    columns, scores, _ = score_curve(coarse, search, 1)
    width = float(coarse.binning)
    best = lowest(columns, scores)
    share, far = rivalry(columns, scores, apart=0.03 * few.columns * few.binning)
    fine = few.binned(_FINE).thinned(2 * _FINE if few.closed else _FINE)
    near = (max(search[0], best - 4 * width), min(search[1], best + 4 * width))
    inner_columns, inner_scores, inner_rows = score_curve(fine, near, 2)
    best = lowest(inner_columns, inner_scores)
    rows = tuple(lowest(inner_columns, curve) for curve in inner_rows)
    doubt = far * max(0.0, share - 0.7)
    at_the_end = best <= columns[1] or best >= columns[-2]
    parts = (
        0.25 * fine.binning * max(1.0, 0.2 * _undersampling(fine)),
        spread(rows),
        doubt,
        0.25 * (search[1] - search[0]) if at_the_end else 0.0,
        # A missing wedge hides the edges that would tell along one direction.
        0.01 * few.columns * few.binning if few.arc < math.pi - few.step else 0.0,
    )
    return Vote(NAME, best, math.hypot(*parts), rows, columns, scores)


def _undersampling(sinograms: Sinograms) -> float:
    """Views that the columns ask for (pi/2 a column over half a turn) per view that there is."""
    distinct = sinograms.angles.size / (2 if sinograms.closed else 1)
    return math.pi / 2 * sinograms.columns / distinct


def score_curve(
    sinograms: Sinograms, search: tuple[float, float], oversampling: int
) -> tuple[Array, Array, list[Array]]:
    """Detector columns, the score of each (the mean over rows), and the scores of each row."""
    from imagereg.preprocessing.rotation_axis.kernels import sharpness

    low, high = (float(sinograms.own_column(column)) for column in search)
    count = max(3, math.ceil((high - low) * oversampling) + 1)
    shares = _SHARES["whole" if sinograms.closed else "half"]
    curves = []
    for row in range(sinograms.values.shape[0]):
        images = reconstructions(sinograms, row, low, count, oversampling)
        size = images.shape[0]
        middle = images[..., count // 2]
        floor, ceiling = np.percentile(middle, [0.5, 99.5])
        margin = 0.2 * (ceiling - floor) + 1e-12
        figures = sharpness(images, 0.98 * size / 2, float(floor - margin), float(ceiling + margin))
        lowest_figure = figures.min(axis=0)
        scaled = (figures - lowest_figure) / (figures.max(axis=0) - lowest_figure + 1e-12)
        curves.append((scaled * shares).sum(axis=1).astype(np.float64))
    columns = sinograms.detector_column(low + np.arange(count) / oversampling)
    return columns, np.mean(curves, axis=0), curves


def reconstructions(
    sinograms: Sinograms, row: int, first: float, count: int, oversampling: int, *, size: int | None = None
) -> NDArray[np.float32]:
    """(H, H, count) filtered back-projections of a row, for axes at first, first + 1/oversampling, ...

    `first` is a column of these sinograms; pixels are as wide as their columns.
    """
    from imagereg.preprocessing.rotation_axis.kernels import backproject

    filtered = _upsampled(_filtered(sinograms.levelled[row]), oversampling)
    filtered = filtered * _weights(sinograms)[:, None].astype(np.float32)
    size = size or sinograms.columns
    margin = math.ceil(size / 2 * 1.5 * oversampling) + count + 4
    filtered = np.ascontiguousarray(np.pad(filtered, ((0, 0), (margin, margin))))
    coordinates = ((np.arange(size) - (size - 1) / 2) * oversampling).astype(np.float32)
    images = np.zeros((size, size, count), dtype=np.float32)
    cosines, sines = np.cos(sinograms.angles), np.sin(sinograms.angles)
    backproject(
        filtered,
        cosines.astype(np.float32),
        sines.astype(np.float32),
        float(first * oversampling + margin),
        coordinates,
        images,
    )
    return images


def _filtered(views: NDArray[np.floating]) -> NDArray[np.float32]:
    """Views under a ramp filter with a Hann window, led from edge to edge outside by straight lines."""
    count = views.shape[1]
    length = 1 << (2 * count - 1).bit_length()
    left, right = views[:, :1], views[:, -1:]
    ramp_down = np.linspace(1, 0, length - count, dtype=np.float32)
    padded = np.concatenate([views, right * ramp_down + left * ramp_down[::-1]], axis=1)
    frequency = np.fft.rfftfreq(length)
    window = frequency * (0.5 + 0.5 * np.cos(np.pi * np.minimum(frequency / _CUT, 1)))
    return np.fft.irfft(np.fft.rfft(padded, axis=1) * window, length, axis=1)[:, :count].astype(np.float32)


def _upsampled(views: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return views
    from scipy.interpolate import CubicSpline

    count = views.shape[1]
    places = np.arange((count - 1) * factor + 1) / factor
    return CubicSpline(np.arange(count), views, axis=1)(places).astype(np.float32)


def _weights(sinograms: Sinograms) -> Array:
    """Angle that each view stands for; views with an opposite share it smoothly over the common arc."""
    angles = sinograms.angles
    if sinograms.closed:
        ahead = np.diff(angles, append=2 * math.pi)
        return (ahead + np.roll(ahead, 1)) / 4
    weights = np.gradient(angles)
    common = float(angles[-1]) - math.pi
    if common > sinograms.step:
        rise = np.clip(angles / common, 0, 1)
        fall = np.clip((angles[-1] - angles) / common, 0, 1)
        weights = weights * np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2
    return np.asarray(weights)
