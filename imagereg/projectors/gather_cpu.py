"""The transpose of Joseph's method for parallel rays, voxel by voxel.

A ray weighs the two voxels that it passes between with `1 - distance`, the distance counted in voxels
across. Seen from a voxel, these are the rays within one voxel of it: neighbours on the detector, whose
weights fall linearly from the voxel's shadow. So each voxel adds up its own value in registers, no two
threads meet, and the data are read with one multiply-add for each vector load.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from imagereg.projectors import simd
from imagereg.projectors.layout import OPTIONS, aligned
from imagereg.projectors.rays import PlaneRays
from imagereg.projectors.single_cpu import PAD

ACROSS = 16  # voxels of a row that are done together
DOWN = 8
CHUNK = 16  # views whose weights are tabulated together


def shadows(rays: PlaneRays) -> tuple[NDArray[np.float64], int]:
    """Where each view sees a voxel, and how many pairs of detector columns a voxel can meet.

    Returns
    -------
    (views, 6): detector column of voxel (0, 0), columns for a row and for a column of the grid, weight
    (mm) at the shadow's middle, its fall with each detector column, and half the shadow's width.
    """
    found = np.zeros((len(rays.views), 6))
    for view, major, *_ in rays.runs:
        u, w, step_u, step_w, du, dw = rays.views[view]
        slope = dw / du if major else du / dw
        start = w - u * slope if major else u - w * slope
        apart = step_w - step_u * slope if major else step_u - step_w * slope
        mm = math.hypot(du * rays.edges[0], dw * rays.edges[1]) / abs(du if major else dw)
        along, across = -slope / apart, 1 / apart
        down, right = (across, along) if major else (along, across)
        found[view] = (-start / apart, down, right, mm, mm * abs(apart), 1 / abs(apart))
    widest = math.ceil(2 * float(found[:, 5].max()) - 1e-12)
    return found, max(1, (widest + 1) // 2)


@njit(**OPTIONS)
def add_two(
    data: Any, base: int, offsets: Any, one: Any, two: Any, t: int, end: int, lanes: int, sums: Any, at: int
) -> None:
    """Add the data of a voxel's rays to its value: a block of two vectors."""
    v = simd.lanes_of(data)
    a, b = simd.load(sums, at, v), simd.load(sums, at + v, v)
    c, d = simd.splat(data, 0, v), simd.splat(data, 0, v)
    for k in range(t, end, ACROSS):
        p = base + offsets[k]
        a = simd.fma(one[k], simd.load(data, p, v), a)
        b = simd.fma(one[k], simd.load(data, p + v, v), b)
        c = simd.fma(two[k], simd.load(data, p + lanes, v), c)
        d = simd.fma(two[k], simd.load(data, p + lanes + v, v), d)
    simd.store(sums, at, simd.add(a, c))
    simd.store(sums, at + v, simd.add(b, d))


@njit(**OPTIONS)
def add_halves(
    data: Any, base: int, offsets: Any, one: Any, two: Any, t: int, end: int, lanes: int, sums: Any, at: int
) -> None:
    """As `add_two`, half a vector at a time."""
    v = simd.half_lanes_of(data)
    for lane in range(0, lanes, v):
        a, c = simd.load(sums, at + lane, v), simd.splat(data, 0, v)
        for k in range(t, end, ACROSS):
            p = base + offsets[k] + lane
            a = simd.fma(one[k], simd.load(data, p, v), a)
            c = simd.fma(two[k], simd.load(data, p + lanes, v), c)
        simd.store(sums, at + lane, simd.add(a, c))


@njit(**OPTIONS)
def add_one(
    data: Any, base: int, offsets: Any, one: Any, two: Any, t: int, end: int, lanes: int, sums: Any, at: int
) -> None:
    """As `add_two`, a block of one vector."""
    v = simd.lanes_of(data)
    a, c = simd.load(sums, at, v), simd.splat(data, 0, v)
    for k in range(t, end, ACROSS):
        p = base + offsets[k]
        a = simd.fma(one[k], simd.load(data, p, v), a)
        c = simd.fma(two[k], simd.load(data, p + lanes, v), c)
    simd.store(sums, at, simd.add(a, c))


@njit(**OPTIONS)
def tabulate_row(
    seen: Any,
    row: int,
    column: int,
    pairs: int,
    columns: int,
    like: Any,
    base: int,
    lanes: int,
    offsets: Any,
    one: Any,
    two: Any,
    to: int,
) -> None:
    """Offsets and weights of the data that `ACROSS` neighbouring voxels take from one view."""
    real = like.dtype.type
    place = seen[0] + row * seen[1] + column * seen[2]
    corner = math.floor(place + min(0.0, (ACROSS - 1) * seen[2]) - seen[5])
    at = simd.fma(real(seen[2]), simd.ramp(like, ACROSS), simd.splat(like, place - corner, ACROSS))
    first = simd.add(simd.floor(simd.sub(at, real(seen[5]))), real(1))
    away = simd.sub(first, at)
    nothing, top, fall = simd.splat(like, 0, ACROSS), simd.splat(like, seen[3], ACROSS), real(-seen[4])
    whole = simd.add(simd.whole(first), int(max(min(corner, 1.0e9), -1.0e9)))
    for pair in range(pairs):
        near = simd.fma(fall, simd.absolute(away), top)
        simd.store(one, to, simd.maximum(near, nothing))
        away = simd.add(away, real(1))
        far = simd.fma(fall, simd.absolute(away), top)
        simd.store(two, to, simd.maximum(far, nothing))
        away = simd.add(away, real(1))
        inside = simd.minimum(simd.maximum(simd.add(whole, 2 * pair), -2), columns)
        simd.store(offsets, to, simd.mul(simd.add(inside, base), lanes))
        to += ACROSS


@njit(parallel=True, **OPTIONS)
def back_stack(
    data: Any,
    seen: Any,
    pairs: int,
    columns: int,
    shape: Any,
    lanes: int,
    out: Any,
    slices: Any,
    row_step: int,
) -> None:
    """Transposed projections of one block of slices.

    data : (views, 2 + columns + 2, lanes), two zeros on either side; flat.
    out : flat image, the slices of the block at `slices`, a row every `row_step`.
    """
    rows, width = shape[0], shape[1]
    line = columns + 4
    across = (width + ACROSS - 1) // ACROSS
    down = (rows + DOWN - 1) // DOWN
    vector = simd.lanes_of(data)
    for tile in prange(across * down):
        top, left = (tile // across) * DOWN, (tile % across) * ACROSS
        sums = aligned(DOWN * ACROSS * lanes, data)
        sums[:] = 0
        size = CHUNK * pairs * ACROSS
        one, two = aligned(size, data), aligned(size, data)
        offsets = np.empty(size, np.int32)
        bottom = min(rows, top + DOWN)
        for chunk in range(0, seen.shape[0], CHUNK):
            last = min(chunk + CHUNK, seen.shape[0])
            base = chunk * line * lanes
            end = (last - chunk) * pairs * ACROSS
            for row in range(top, bottom):
                for view in range(chunk, last):
                    tabulate_row(
                        seen[view],
                        row,
                        left,
                        pairs,
                        columns,
                        data,
                        (view - chunk) * line + 2,
                        lanes,
                        offsets,
                        one,
                        two,
                        (view - chunk) * pairs * ACROSS,
                    )
                at = (row - top) * ACROSS * lanes
                for voxel in range(ACROSS):
                    if lanes == 2 * vector:
                        add_two(data, base, offsets, one, two, voxel, end, lanes, sums, at)
                    elif lanes == vector:
                        add_one(data, base, offsets, one, two, voxel, end, lanes, sums, at)
                    else:
                        add_halves(data, base, offsets, one, two, voxel, end, lanes, sums, at)
                    at += lanes
        for row in range(top, bottom):
            for lane in range(slices.size):
                to = slices[lane] + row * row_step + left
                at = (row - top) * ACROSS * lanes + lane
                for voxel in range(min(ACROSS, width - left)):
                    out[to + voxel] = sums[at + voxel * lanes]


@njit(**OPTIONS)
def _row_of_voxels(
    data: Any,
    seen: Any,
    first: int,
    last: int,
    row: int,
    left: int,
    pairs: int,
    columns: int,
    sums: Any,
    at: int,
) -> None:
    lanes = simd.lanes_of(data)
    real = data.dtype.type
    total, other = simd.load(sums, at, lanes), simd.splat(data, 0, lanes)
    nothing, steps = simd.splat(data, 0, lanes), simd.ramp(data, lanes)
    line = columns + 2 * PAD
    for view in range(first, last):
        step, half = seen[view, 2], seen[view, 5]
        place = seen[view, 0] + row * seen[view, 1] + left * step
        corner = math.floor(place + min(0.0, (lanes - 1) * step) - half)
        to = simd.fma(real(step), steps, simd.splat(data, place - corner, lanes))
        begin = simd.add(simd.floor(simd.sub(to, real(half))), real(1))
        away = simd.sub(begin, to)
        index = simd.whole(begin)
        base = int(max(min(corner, columns + 2.0), -float(PAD)))
        start = view * line + PAD + base
        top, fall = simd.splat(data, seen[view, 3], lanes), real(-seen[view, 4])
        narrow = (lanes - 1) * abs(step) + 2 * pairs + 2 < 2 * lanes
        if not narrow:
            index = simd.add(index, int(max(min(corner, 1.0e9), -1.0e9)) - base)
        for _ in range(pairs):
            near = simd.maximum(simd.fma(fall, simd.absolute(away), top), nothing)
            away = simd.add(away, real(1))
            far = simd.maximum(simd.fma(fall, simd.absolute(away), top), nothing)
            away = simd.add(away, real(1))
            if narrow:
                total = simd.fma(near, simd.lookup(data, start, index), total)
                other = simd.fma(far, simd.lookup(data, start, simd.add(index, 1)), other)
            else:
                safe = simd.minimum(simd.maximum(index, -2 - base), columns - base)
                total = simd.fma(near, simd.gather(data, start, safe), total)
                other = simd.fma(far, simd.gather(data, start, simd.add(safe, 1)), other)
            index = simd.add(index, 2)
    simd.store(sums, at, simd.add(total, other))


@njit(parallel=True, **OPTIONS)
def back_single(
    data: Any, seen: Any, pairs: int, columns: int, shape: Any, out: Any, to: int, row_step: int
) -> None:
    """Transposed projection of one slice.

    data : (views, PAD + columns + PAD), zeros on either side; flat.
    out : flat image, the slice's at `to`, a row every `row_step`.
    """
    rows, width = shape[0], shape[1]
    lanes = simd.lanes_of(data)
    across = (width + lanes - 1) // lanes
    for band in prange((rows + DOWN - 1) // DOWN):
        top = band * DOWN
        sums = aligned(DOWN * lanes, data)
        for block in range(across):
            left = block * lanes
            sums[:] = 0
            for chunk in range(0, seen.shape[0], 4 * CHUNK):
                last = min(chunk + 4 * CHUNK, seen.shape[0])
                for row in range(top, min(rows, top + DOWN)):
                    _row_of_voxels(
                        data, seen, chunk, last, row, left, pairs, columns, sums, (row - top) * lanes
                    )
            for row in range(top, min(rows, top + DOWN)):
                for voxel in range(min(lanes, width - left)):
                    out[to + row * row_step + left + voxel] = sums[(row - top) * lanes + voxel]
