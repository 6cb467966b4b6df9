"""The rotation axis from the empty double wedge in the Fourier transform of a full-turn sinogram."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imagereg.preprocessing.rotation_axis.sinograms import Sinograms
from imagereg.preprocessing.rotation_axis.vote import Abstention, Vote, lowest, spread

NAME = "double_wedge"
_OVERSAMPLING = 8
_GROUPS = 4
_BLUR = 3.0

Array = NDArray[np.float64]


def double_wedge(sinograms: Sinograms, search: tuple[float, float]) -> Vote | Abstention:
    """The column about which half a turn, mirrored, continues itself with the least energy in the wedge.

    A sinogram p(a, t) of an object of radius R has no energy at angular frequencies |k| > |w| R. Half a
    turn of views, with A_k(w) = sum_a p^(a, w) exp(-i k a), continues as p(a + pi, t) = p(a, 2c - t), so
    that the energy outside is, up to a constant,

        E(c) = 2 Re sum_w exp(2 i w c) sum_{k > w R} (-1)^k A_k(w) A_{-k}(w),

    which one inverse Fourier transform gives for all c at once. Four groups of angular frequencies give
    four answers with independent noise. Where the object leaves the field of view, derivatives of the
    views are taken, which are local, and faded out towards the edges.

    Source: the wedge criterion is that of N. T. Vo, M. Drakopoulos, R. C. Atwood and C. Reinhard, Opt.
    Express 22, 19078 (2014), doi 10.1364/OE.22.019078; the closed form is worked out here.

    Parameters
    ----------
    search : first and last detector column to consider.
    """
    if sinograms.arc < math.pi - 0.7 * sinograms.step:
        return Abstention(NAME, f"{sinograms.coverage}, less than 180")
    small = sinograms.binned(1024).thinned(720 * (2 if sinograms.arc > 1.5 * math.pi else 1))
    if small.angles.size < 8:
        return Abstention(NAME, "there are fewer than eight views")
    length = 1 << (2 * small.columns - 1).bit_length()
    samples = 2 * length * _OVERSAMPLING
    axis = small.detector_column(np.arange(samples) * (length / (2 * samples)))
    inside = (axis >= search[0]) & (axis <= search[1])
    columns = axis[inside]
    curves = []
    for row in small.values:
        products = sum(_products(row, small, start, length) for start in _starts(small))
        spectrum = np.zeros((_GROUPS, samples // 2 + 1), dtype=complex)
        spectrum[:, : length // 2 + 1] = products
        curve = np.fft.irfft(spectrum, samples, axis=1)[:, inside]
        curves.append(curve / (curve.sum(axis=0).std() + 1e-30))
    pooled = np.mean(curves, axis=0)
    best = lowest(columns, pooled.sum(axis=0))
    rows = tuple(lowest(columns, curve.sum(axis=0)) for curve in curves)
    near = np.abs(columns - best) <= max(4.0, 0.03 * sinograms.columns) * small.binning
    groups = [lowest(columns[near], group[near]) for group in pooled]
    parts = (
        0.08 * small.binning,
        spread(rows),
        float(np.std(groups)) / math.sqrt(_GROUPS),
        # Between two views a point at the rim moves by this many columns.
        0.005 * sinograms.step * sinograms.columns * sinograms.binning,
        0.003 * sinograms.columns * sinograms.binning if sinograms.truncated else 0.0,
    )
    return Vote(NAME, best, math.hypot(*parts), rows, columns, pooled.sum(axis=0))


def _starts(sinograms: Sinograms) -> list[float]:
    """Angles at which half a turn begins: one for 180 degrees, several where there is more."""
    room = sinograms.arc - math.pi
    if room < 4 * sinograms.step:
        return [0.0]
    return list(np.linspace(0.0, room, 5 if sinograms.closed else 3)[: 4 if sinograms.closed else 3])


def _products(
    row: NDArray[np.floating], sinograms: Sinograms, start: float, length: int
) -> NDArray[np.complex128]:
    """(groups, frequencies): sum over k outside the wedge of (-1)^k A_k A_{-k}, in groups of k."""
    taken = (sinograms.angles >= start - 1e-9) & (sinograms.angles < start + math.pi - 0.3 * sinograms.step)
    angles, views = sinograms.angles[taken] - start, row[taken]
    parity = 1.0
    if sinograms.truncated:
        transform, parity = np.fft.rfft(_local(views), length, axis=1), -1.0
    else:
        left, right = views[:, :1], views[:, -1:]
        bridge = right + (left - right) * np.linspace(0, 1, length - views.shape[1])
        transform = np.fft.rfft(np.concatenate([views, bridge], axis=1), axis=1)
    frequency = 2 * math.pi * np.arange(transform.shape[1]) / length
    orders = np.arange(1, angles.size)
    waves = np.exp(-1j * np.outer(orders, angles)) * np.gradient(angles)
    product = (waves @ transform) * (waves.conj() @ transform)
    outside = orders[:, None] > frequency * sinograms.columns / 2 + 2
    outside &= frequency > frequency[2]
    product *= np.where(orders % 2, -parity, parity)[:, None] * outside
    return np.array([product[group::_GROUPS].sum(axis=0) for group in range(_GROUPS)])


def _local(views: NDArray[np.floating]) -> Array:
    """Derivatives of the views along the columns, faded out at both edges."""
    from scipy.ndimage import gaussian_filter1d

    fade = np.ones(views.shape[1])
    width = max(2, views.shape[1] // 10)
    fade[:width] = np.sin(np.linspace(0, np.pi / 2, width)) ** 2
    fade[-width:] = fade[:width][::-1]
    return np.asarray(
        gaussian_filter1d(views.astype(np.float64), _BLUR, axis=1, order=1, mode="nearest") * fade
    )
