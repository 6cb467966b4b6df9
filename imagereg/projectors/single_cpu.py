"""Line integrals of one slice: Joseph's method, a vector of neighbouring rays at once.

On each row of the image the rays of a vector read from a window of two vectors' length, which two loads
and two permutations turn into the voxels before and after each ray. The rays along columns walk the
transposed image.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from imagereg.projectors import simd
from imagereg.projectors.joseph_cpu import set_out
from imagereg.projectors.layout import OPTIONS, aligned
from imagereg.projectors.rays import COUNT, FIRST, SIGN, VIEW

PAD = 40  # voxels of nothing on either side of a row: more than a window's length
FRACTION = 48  # bits below the point of places on a row
_POINT = float(1 << FRACTION)
_MOST = 1 << (62 - FRACTION)  # voxels of a row that such places can count


@njit(**OPTIONS)
def inside(start: float, slope: float, low: float, high: float, depth: int) -> tuple[int, int]:
    """First step and the one after the last on which `start + step * slope` lies between the bounds."""
    if slope == 0:
        return (0, depth) if low < start < high else (0, 0)
    one, two = (low - start) / slope, (high - start) / slope
    first = min(max(math.ceil(min(one, two)), 0.0), float(depth))
    last = min(max(math.floor(max(one, two)) + 1, 0.0), float(depth))
    return int(first), max(int(first), int(last))


@njit(**OPTIONS)
def _narrow(
    rows: Any,
    line: int,
    first: int,
    last: int,
    start: float,
    slope: float,
    apart: Any,
    spread: Any,
    total: Any,
) -> None:
    """Sums along one vector of rays within a window of two vectors, from row `first` up to `last`.

    `start` and `slope` are those of the first ray; the others lie `apart + row * spread` away, with rows
    counted from `first`.
    """
    lanes = simd.window_lanes_of(rows)
    sums, corrections = simd.splat(rows, 0, lanes), simd.splat(rows, 0, lanes)
    passed, one_row = simd.splat(rows, 0, lanes), simd.splat(rows, 1, lanes)
    place, step = int((start + first * slope) * _POINT), int(slope * _POINT)
    corner = first * line + PAD
    for _ in range(first, last):
        to = simd.add(simd.fma(passed, spread, apart), simd.fraction(rows, place, FRACTION, lanes))
        whole = simd.floor(to)
        index = simd.whole(whole)
        at = corner + (place >> FRACTION)
        before = simd.lookup(rows, at, index)
        after = simd.lookup(rows, at, simd.add(index, 1))
        sums = simd.add(sums, before)
        corrections = simd.fma(simd.sub(to, whole), simd.sub(after, before), corrections)
        passed = simd.add(passed, one_row)
        place += step
        corner += line
    simd.store(total, 0, simd.add(sums, corrections))


@njit(**OPTIONS)
def _wide(
    rows: Any,
    line: int,
    width: int,
    first: int,
    last: int,
    start: float,
    slope: float,
    apart: Any,
    spread: Any,
    total: Any,
) -> None:
    """As `_narrow`, for rays that lie farther apart."""
    lanes = simd.window_lanes_of(rows)
    real = rows.dtype.type
    sums = simd.splat(rows, 0, lanes)
    for row in range(first, last):
        place = start + row * slope
        base = math.floor(place)
        to = simd.add(simd.fma(real(row - first), spread, apart), real(place - base))
        to = simd.minimum(simd.maximum(to, real(-1 - base)), real(width - base))
        whole = simd.floor(to)
        index = simd.whole(whole)
        at = row * line + PAD + base
        before, after = simd.gather(rows, at, index), simd.gather(rows, at, simd.add(index, 1))
        sums = simd.add(sums, simd.fma(simd.sub(to, whole), simd.sub(after, before), before))
    simd.store(total, 0, sums)


@njit(parallel=True, **OPTIONS)
def forward_single(
    rows: Any,
    depth: int,
    width: int,
    views: Any,
    runs: Any,
    point: bool,
    edges: Any,
    out: Any,
    to: int,
    view_step: int,
) -> None:
    """Line integrals of one slice along the rays of `runs`, which share their major axis.

    rows : the slice, or its transpose, in rows with `PAD` zeros on either side; flat.
    out : flat data, the slice's at `to`, a view every `view_step`.
    """
    lanes = simd.window_lanes_of(rows)
    line = width + 2 * PAD
    for k in prange(runs.shape[0]):
        run = runs[k]
        count = run[COUNT]
        start, slope, length = np.empty(count), np.empty(count), np.empty(count)
        set_out(views[run[VIEW]], run, point, edges, start, slope, length)
        apart, spread, total = aligned(lanes, rows), aligned(lanes, rows), aligned(lanes, rows)
        for begin in range(0, count, lanes):
            end = min(begin + lanes, count) - 1
            widest = 0.0
            for row in (0, depth - 1):
                widest = max(widest, start[end] - start[begin] + row * (slope[end] - slope[begin]))
            one, two = inside(start[begin], slope[begin], -1.0 - widest, float(width), depth)
            for lane in range(lanes):
                ray = min(begin + lane, end)
                apart[lane] = start[ray] - start[begin] + one * (slope[ray] - slope[begin])
                spread[lane] = slope[ray] - slope[begin]
            away, more = simd.load(apart, 0, lanes), simd.load(spread, 0, lanes)
            if widest < 2 * lanes - 3 and width < _MOST:
                _narrow(rows, line, one, two, start[begin], slope[begin], away, more, total)
            else:
                _wide(rows, line, width, one, two, start[begin], slope[begin], away, more, total)
            for lane in range(end - begin + 1):
                ray = begin + lane
                column = run[FIRST] + (ray if run[SIGN] > 0 else count - 1 - ray)
                out[to + run[VIEW] * view_step + column] = rows.dtype.type(length[ray]) * total[lane]
