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

PAD = 40  # voxels of nothing on either side of a row: more than a window's length


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
def _window(
    rows: Any,
    line: int,
    width: int,
    first: int,
    last: int,
    start: float,
    slope: float,
    apart: Any,
    spread: Any,
    middle: float,
    narrow: bool,
    total: Any,
    at: int,
) -> None:
    """Sums along one vector of rays, from row `first` up to `last`.

    `start` and `slope` are those of the first ray; the others lie `apart + (row - middle) * spread` away.
    """
    lanes = simd.lanes_of(rows)
    sums, corrections = simd.splat(rows, 0, lanes), simd.splat(rows, 0, lanes)
    real = rows.dtype.type
    for row in range(first, last):
        place = start + row * slope
        base = math.floor(place)
        to = simd.add(simd.fma(real(row - middle), spread, apart), real(place - base))
        if not narrow:
            to = simd.minimum(simd.maximum(to, real(-1 - base)), real(width - base))
        whole = simd.floor(to)
        after = simd.sub(to, whole)
        index = simd.whole(whole)
        corner = row * line + PAD + base
        if narrow:
            one = simd.lookup(rows, corner, index)
            two = simd.lookup(rows, corner, simd.add(index, 1))
        else:
            one = simd.gather(rows, corner, index)
            two = simd.gather(rows, corner, simd.add(index, 1))
        sums = simd.add(sums, one)
        corrections = simd.fma(after, simd.sub(two, one), corrections)
    simd.store(total, at, simd.add(sums, corrections))


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
    lanes = simd.lanes_of(rows)
    line = width + 2 * PAD
    middle = 0.5 * (depth - 1)
    for k in prange(runs.shape[0]):
        run = runs[k]
        count = run[3]
        start, slope, length = np.empty(count), np.empty(count), np.empty(count)
        set_out(views[run[0]], run, point, edges, start, slope, length)
        apart, spread, total = aligned(lanes, rows), aligned(lanes, rows), aligned(lanes, rows)
        for begin in range(0, count, lanes):
            end = min(begin + lanes, count) - 1
            for lane in range(lanes):
                ray = min(begin + lane, end)
                apart[lane] = start[ray] - start[begin] + middle * (slope[ray] - slope[begin])
                spread[lane] = slope[ray] - slope[begin]
            widest = 0.0
            for row in (0, depth - 1):
                widest = max(widest, start[end] - start[begin] + row * (slope[end] - slope[begin]))
            one, two = inside(start[begin], slope[begin], -1.0 - widest, float(width), depth)
            _window(
                rows,
                line,
                width,
                one,
                two,
                start[begin],
                slope[begin],
                simd.load(apart, 0, lanes),
                simd.load(spread, 0, lanes),
                middle,
                widest < 2 * lanes - 3,
                total,
                0,
            )
            for lane in range(end - begin + 1):
                ray = begin + lane
                column = run[2] + (ray if run[4] > 0 else count - 1 - ray)
                out[to + run[0] * view_step + column] = rows.dtype.type(length[ray]) * total[lane]
