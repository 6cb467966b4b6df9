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
from imagereg.projectors.rays import HEIGHT, WIDTH, PlaneRays
from imagereg.projectors.single_cpu import PAD

PLACE, PER_ROW, PER_COLUMN, TOP, FALL, HALF = range(6)
"""Of what a view sees of the grid: see `shadow_table`."""

ACROSS = 16  # voxels of a row that are done together
DOWN = 32
CHUNK = 8  # views whose weights are tabulated together
FRACTION = 45  # bits below the point of places on the detector
_POINT = float(1 << FRACTION)
_MOST = 1 << (62 - FRACTION)  # columns that such places can count


def shadow_table(rays: PlaneRays) -> tuple[NDArray[np.float64], int]:
    """Where each view sees a voxel, and how many pairs of detector columns a voxel can meet.

    Returns
    -------
    (views, 6): detector column of voxel (0, 0) (`PLACE`), columns for a row (`PER_ROW`) and for a column
    (`PER_COLUMN`) of the grid, weight (mm) at the shadow's middle (`TOP`), its fall with each detector column
    (`FALL`), and half the shadow's width (`HALF`).
    """
    found = np.zeros((len(rays.views), 6))
    for view, major, *_ in rays.runs:
        u, w, step_u, step_w, du, dw = rays.views[view]
        slope = dw / du if major else du / dw
        start = w - u * slope if major else u - w * slope
        apart = step_w - step_u * slope if major else step_u - step_w * slope
        mm = math.hypot(du * rays.edges[WIDTH], dw * rays.edges[HEIGHT]) / abs(du if major else dw)
        along, across = -slope / apart, 1 / apart
        down, right = (across, along) if major else (along, across)
        found[view] = (-start / apart, down, right, mm, mm * abs(apart), 1 / abs(apart))
    widest = math.ceil(2 * float(found[:, HALF].max()) - 1e-12)
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
def two_weights(like: Any, part: Any, half: float, top: float, fall: float) -> tuple[Any, Any]:
    """Weights of the first two columns of a shadow whose lower end lies `part` of a column below the first.

    The shadow is `half` wide on each side, at most one column, and falls from `top` by `fall` a column.
    """
    real = like.dtype.type
    lanes = simd.lanes_in(part)
    nothing = simd.splat(like, 0, lanes)
    from_middle = simd.absolute(simd.sub(real(1 - half), part))
    near = simd.fma(real(-fall), from_middle, simd.splat(like, top, lanes))
    far = simd.fma(real(fall), part, simd.splat(like, top - fall * (2 - half), lanes))
    return simd.maximum(near, nothing), simd.maximum(far, nothing)


@njit(**OPTIONS)
def tabulate_row(
    seen: Any,
    view: int,
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
    half = seen[view, HALF]
    end = seen[view, PLACE] + row * seen[view, PER_ROW] + column * seen[view, PER_COLUMN] - half
    corner = math.floor(end + min(0.0, (ACROSS - 1) * seen[view, PER_COLUMN]))
    safe = int(max(min(corner, 1.0e9), -1.0e9))
    v = simd.lanes_of(like)
    for group in range(0, ACROSS, v):
        start = end - corner + group * seen[view, PER_COLUMN]
        at = simd.fma(real(seen[view, PER_COLUMN]), simd.ramp(like, v), simd.splat(like, start, v))
        whole = simd.floor(at)
        part = simd.sub(at, whole)
        first = simd.add(simd.whole(whole), safe + 1)
        for pair in range(pairs):
            place = to + pair * ACROSS + group
            near, far = (
                two_weights(like, part, half, seen[view, TOP], seen[view, FALL])
                if pairs == 1
                else pair_weights(like, part, half - 2 * pair, seen[view, TOP], seen[view, FALL])
            )
            simd.store(one, place, near)
            simd.store(two, place, far)
            inside = simd.minimum(simd.maximum(simd.add(first, 2 * pair), -2), columns)
            simd.store(offsets, place, simd.mul(simd.add(inside, base), lanes))


@njit(**OPTIONS)
def pair_weights(like: Any, part: Any, half: float, top: float, fall: float) -> tuple[Any, Any]:
    """As `two_weights` for the columns of any pair of a wide shadow; `half` counts from the pair."""
    real = like.dtype.type
    lanes = simd.lanes_in(part)
    nothing, most = simd.splat(like, 0, lanes), simd.splat(like, top, lanes)
    away = simd.sub(real(1 - half), part)
    near = simd.fma(real(-fall), simd.absolute(away), most)
    far = simd.fma(real(-fall), simd.absolute(simd.add(away, real(1))), most)
    return simd.maximum(near, nothing), simd.maximum(far, nothing)


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
                        seen,
                        view,
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
def _narrow(
    data: Any, seen: Any, view: int, top: int, bottom: int, left: int, columns: int, sums: Any
) -> None:
    """Add one view to a block of rows whose voxels look into windows of two vectors, two columns each."""
    lanes = simd.window_lanes_of(data)
    real = data.dtype.type
    step, half = seen[view, PER_COLUMN], seen[view, HALF]
    lowest = seen[view, PLACE] + top * seen[view, PER_ROW] + left * step - half
    lowest += min(0.0, (lanes - 1) * step)
    place, down = int(lowest * _POINT), int(seen[view, PER_ROW] * _POINT)
    apart = simd.fma(
        real(step), simd.ramp(data, lanes), simd.splat(data, -min(0.0, (lanes - 1) * step), lanes)
    )
    start = view * (columns + 2 * PAD) + PAD + 1
    for at in range(0, (bottom - top) * lanes, lanes):
        to = simd.add(apart, simd.fraction(data, place, FRACTION, lanes))
        whole = simd.floor(to)
        index = simd.whole(whole)
        near, far = two_weights(data, simd.sub(to, whole), half, seen[view, TOP], seen[view, FALL])
        base = start + min(max(place >> FRACTION, -PAD), columns + 2)
        total = simd.fma(near, simd.lookup(data, base, index), simd.load(sums, at, lanes))
        total = simd.fma(far, simd.lookup(data, base, simd.add(index, 1)), total)
        simd.store(sums, at, total)
        place += down


@njit(**OPTIONS)
def _wide(
    data: Any,
    seen: Any,
    view: int,
    top: int,
    bottom: int,
    left: int,
    pairs: int,
    columns: int,
    sums: Any,
) -> None:
    """As `_narrow`, wherever the voxels' shadows lie and however many columns they cover."""
    lanes = simd.window_lanes_of(data)
    real = data.dtype.type
    half = seen[view, HALF]
    start = view * (columns + 2 * PAD) + PAD
    for row in range(top, bottom):
        end = seen[view, PLACE] + row * seen[view, PER_ROW] + left * seen[view, PER_COLUMN] - half
        corner = math.floor(end)
        safe = int(max(min(corner, 1.0e9), -1.0e9))
        to = simd.fma(
            real(seen[view, PER_COLUMN]), simd.ramp(data, lanes), simd.splat(data, end - corner, lanes)
        )
        whole = simd.floor(to)
        first = simd.add(simd.whole(whole), safe + 1)
        part = simd.sub(to, whole)
        at = (row - top) * lanes
        total = simd.load(sums, at, lanes)
        for pair in range(pairs):
            near, far = pair_weights(data, part, half - 2 * pair, seen[view, TOP], seen[view, FALL])
            index = simd.minimum(simd.maximum(simd.add(first, 2 * pair), -2), columns)
            total = simd.fma(near, simd.gather(data, start, index), total)
            total = simd.fma(far, simd.gather(data, start, simd.add(index, 1)), total)
        simd.store(sums, at, total)


@njit(parallel=True, **OPTIONS)
def back_single(
    data: Any, seen: Any, pairs: int, columns: int, shape: Any, out: Any, to: int, row_step: int
) -> None:
    """Transposed projection of one slice.

    data : (views, PAD + columns + PAD), zeros on either side; flat.
    out : flat image, the slice's at `to`, a row every `row_step`.
    """
    rows, width = shape[0], shape[1]
    lanes = simd.window_lanes_of(data)
    across = (width + lanes - 1) // lanes
    farthest = 0.0
    for view in range(seen.shape[0]):
        extent = (rows + DOWN) * abs(seen[view, PER_ROW]) + (width + lanes) * abs(seen[view, PER_COLUMN])
        farthest = max(farthest, abs(seen[view, PLACE]) + extent + seen[view, HALF])
    near = pairs == 1 and farthest < _MOST
    for band in prange((rows + DOWN - 1) // DOWN):
        top = band * DOWN
        sums = aligned(DOWN * lanes, data)
        bottom = min(rows, top + DOWN)
        for block in range(across):
            left = block * lanes
            sums[:] = 0
            for view in range(seen.shape[0]):
                if near and (lanes - 1) * abs(seen[view, PER_COLUMN]) + 3 < 2 * lanes:
                    _narrow(data, seen, view, top, bottom, left, columns, sums)
                else:
                    _wide(data, seen, view, top, bottom, left, pairs, columns, sums)
            for row in range(top, bottom):
                for voxel in range(min(lanes, width - left)):
                    out[to + row * row_step + left + voxel] = sums[(row - top) * lanes + voxel]
