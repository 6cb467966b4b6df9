"""Line integrals of stacks of slices: Joseph's method along rays in the plane, many slices at once.

Work goes in tiles of `STEPS` steps along the major axis and `STRIP` voxels across, visited by all rays
of a group of views with like directions before the next tile: what a tile reads stays in the first
cache, and the innermost loops do one multiply-add for each vector load. The transpose visits the same
tiles with the same weights, one tile's voxels owned by one thread.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from imagereg.projectors import simd
from imagereg.projectors.layout import OPTIONS, aligned
from imagereg.projectors.rays import (
    COLUMN,
    COUNT,
    FIRST,
    FROM,
    HEIGHT,
    MAJOR,
    PIXEL,
    ROW,
    SIGN,
    STEP,
    VIEW,
    WIDTH,
)

STEPS = 16
STRIP = 8  # for blocks of two vectors, and more for thinner ones


@njit(**OPTIONS)
def set_out(view: Any, run: Any, point: bool, edges: Any, start: Any, slope: Any, length: Any) -> None:
    """Where the rays of a run begin, how they go on and mm per step, in growing order on the grid."""
    first, count, sign = run[FIRST], run[COUNT], run[SIGN]
    for ray in range(count):
        column = first + ray if sign > 0 else first + count - 1 - ray
        u = view[PIXEL + COLUMN] + column * view[STEP + COLUMN]
        w = view[PIXEL + ROW] + column * view[STEP + ROW]
        du = u - view[FROM + COLUMN] if point else view[FROM + COLUMN]
        dw = w - view[FROM + ROW] if point else view[FROM + ROW]
        mm = math.sqrt((du * edges[WIDTH]) ** 2 + (dw * edges[HEIGHT]) ** 2)
        if run[MAJOR] == 0:
            slope[ray] = du / dw
            start[ray] = u - w * (du / dw)
            length[ray] = mm / abs(dw)
        else:
            slope[ray] = dw / du
            start[ray] = w - u * (dw / du)
            length[ray] = mm / abs(du)


@njit(**OPTIONS)
def first_beyond(start: Any, slope: Any, step: float, bound: float) -> int:
    """First ray that is at `bound` or beyond at `step`."""
    low, high = 0, start.size
    while low < high:
        middle = (low + high) // 2
        if start[middle] + step * slope[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**OPTIONS)
def tabulate(
    at: float,
    slope: float,
    low: float,
    high: float,
    major: int,
    minor: int,
    like: Any,
    offsets: Any,
    weights: Any,
    to: int,
) -> None:
    """Offsets of the voxels before a ray and weights of those after it, for `STEPS` steps."""
    real = like.dtype.type
    steps = simd.ramp(like, STEPS)
    place = simd.fma(real(slope), steps, simd.splat(like, at, STEPS))
    place = simd.minimum(simd.maximum(place, real(low)), real(high))
    before = simd.floor(place)
    simd.store(weights, to, simd.sub(place, before))
    along = simd.mul(simd.ramp(offsets, STEPS), major)
    simd.store(offsets, to, simd.add(simd.mul(simd.whole(before), minor), along))


@njit(**OPTIONS)
def read_two(
    voxels: Any, base: int, offsets: Any, weights: Any, t: int, n: int, minor: int, sums: Any, at: int
) -> None:
    """Add a ray's voxels to its sums: a block of two vectors."""
    v = simd.lanes_of(voxels)
    a, b = simd.load(sums, at, v), simd.load(sums, at + v, v)
    c, d = simd.splat(voxels, 0, v), simd.splat(voxels, 0, v)
    for k in range(t, t + n):
        p = base + offsets[k]
        after = weights[k]
        before = weights.dtype.type(1) - after
        a = simd.fma(before, simd.load(voxels, p, v), a)
        b = simd.fma(before, simd.load(voxels, p + v, v), b)
        c = simd.fma(after, simd.load(voxels, p + minor, v), c)
        d = simd.fma(after, simd.load(voxels, p + minor + v, v), d)
    simd.store(sums, at, simd.add(a, c))
    simd.store(sums, at + v, simd.add(b, d))


@njit(**OPTIONS)
def read_one(
    voxels: Any, base: int, offsets: Any, weights: Any, t: int, n: int, minor: int, sums: Any, at: int
) -> None:
    """Add a ray's voxels to its sums: a block of one vector."""
    v = simd.lanes_of(voxels)
    a, c = simd.load(sums, at, v), simd.splat(voxels, 0, v)
    for k in range(t, t + n):
        p = base + offsets[k]
        after = weights[k]
        before = weights.dtype.type(1) - after
        a = simd.fma(before, simd.load(voxels, p, v), a)
        c = simd.fma(after, simd.load(voxels, p + minor, v), c)
    simd.store(sums, at, simd.add(a, c))


@njit(**OPTIONS)
def read_half(
    voxels: Any, base: int, offsets: Any, weights: Any, t: int, n: int, minor: int, sums: Any, at: int
) -> None:
    """Add a ray's voxels to its sums: a block of half a vector."""
    v = simd.half_lanes_of(voxels)
    a, c = simd.load(sums, at, v), simd.splat(voxels, 0, v)
    for k in range(t, t + n):
        p = base + offsets[k]
        after = weights[k]
        before = weights.dtype.type(1) - after
        a = simd.fma(before, simd.load(voxels, p, v), a)
        c = simd.fma(after, simd.load(voxels, p + minor, v), c)
    simd.store(sums, at, simd.add(a, c))


@njit(**OPTIONS)
def write_vectors(
    voxels: Any,
    base: int,
    offsets: Any,
    weights: Any,
    t: int,
    n: int,
    minor: int,
    sums: Any,
    at: int,
    lanes: int,
) -> None:
    """Give a ray's sums to its voxels: the transpose of `read_...`, half a vector at a time."""
    v = simd.half_lanes_of(voxels)
    for lane in range(0, lanes, v):
        value = simd.load(sums, at + lane, v)
        for k in range(t, t + n):
            p = base + offsets[k] + lane
            after = weights[k]
            before = weights.dtype.type(1) - after
            simd.store(voxels, p, simd.fma(before, value, simd.load(voxels, p, v)))
            p += minor
            simd.store(voxels, p, simd.fma(after, value, simd.load(voxels, p, v)))


@njit(**OPTIONS)
def write_lane(
    voxels: Any, base: int, offsets: Any, weights: Any, t: int, n: int, minor: int, sums: Any, at: int
) -> None:
    """Give a ray's sum to its voxels in a slice of its own."""
    value = sums[at]
    for k in range(t, t + n):
        p = base + offsets[k]
        after = weights[k] * value
        voxels[p] += value - after
        voxels[p + minor] += after


@njit(**OPTIONS)
def write_two(
    voxels: Any, base: int, offsets: Any, weights: Any, t: int, n: int, minor: int, sums: Any, at: int
) -> None:
    """Give a ray's sums to its voxels: the transpose of `read_two`."""
    v = simd.lanes_of(voxels)
    one, two = simd.load(sums, at, v), simd.load(sums, at + v, v)
    for k in range(t, t + n):
        p = base + offsets[k]
        after = weights[k]
        before = weights.dtype.type(1) - after
        simd.store(voxels, p, simd.fma(before, one, simd.load(voxels, p, v)))
        simd.store(voxels, p + v, simd.fma(before, two, simd.load(voxels, p + v, v)))
        p += minor
        simd.store(voxels, p, simd.fma(after, one, simd.load(voxels, p, v)))
        simd.store(voxels, p + v, simd.fma(after, two, simd.load(voxels, p + v, v)))


@njit(**OPTIONS)
def visit(
    voxels: Any,
    origin: int,
    strides: tuple[int, int],
    width: int,
    tile: tuple[int, int],
    start: Any,
    slope: Any,
    counts: Any,
    sums: Any,
    lanes: int,
    transposed: bool,
    offsets: Any,
    weights: Any,
    reached: Any,
) -> None:
    """Let all rays of a group cross one tile: its first step, and how many.

    `origin` is the offset of the tile's first voxel, `strides` the steps between voxels along and across,
    `width` the number of voxels across; sums are (views, rays, lanes).
    """
    major, minor = strides
    first, steps = tile
    vector = simd.lanes_of(voxels)
    rays = start.shape[1]
    middle = first + 0.5 * (steps - 1)
    reach = 1.0
    for view in range(counts.size):
        ends = max(abs(slope[view, 0]), abs(slope[view, counts[view] - 1]))
        reach = max(reach, 1 + ends * 0.5 * (steps - 1))
    for view in range(counts.size):
        n = counts[view]
        reached[view] = first_beyond(start[view, :n], slope[view, :n], middle, -reach)
    edge = width - 1 + reach
    wide = STRIP * 2 * vector // lanes
    strip = -reach
    while strip < edge:
        base = math.floor(strip)
        strip += wide
        end = min(strip, edge)
        low, high = -1.0 - base, float(width - base)
        corner = origin + base * minor
        for view in range(counts.size):
            begin = reached[view]
            ray = begin
            t = 0
            while ray < counts[view] and start[view, ray] + middle * slope[view, ray] < end:
                at = start[view, ray] + first * slope[view, ray] - base
                tabulate(at, slope[view, ray], low, high, major, minor, voxels, offsets, weights, t)
                t += STEPS
                ray += 1
                if t == offsets.size:
                    _cross(
                        voxels, corner, offsets, weights, (begin, ray), steps, minor, sums, view * rays,
                        lanes, transposed,
                    )  # fmt: skip
                    begin = ray
                    t = 0
            _cross(
                voxels, corner, offsets, weights, (begin, ray), steps, minor, sums, view * rays, lanes,
                transposed,
            )  # fmt: skip
            reached[view] = ray


@njit(**OPTIONS)
def _cross(
    voxels: Any,
    corner: int,
    offsets: Any,
    weights: Any,
    members: tuple[int, int],
    steps: int,
    minor: int,
    sums: Any,
    line: int,
    lanes: int,
    transposed: bool,
) -> None:
    """Let some rays of a view, whose offsets and weights are tabulated, cross a tile."""
    begin, end = members
    vector = simd.lanes_of(voxels)
    if transposed:
        # Every other ray first: neighbours share voxels, and a processor that is to add to what it has
        # not yet written waits.
        for odd in range(2):
            for ray in range(begin + odd, end, 2):
                t, at = (ray - begin) * STEPS, (line + ray) * lanes
                if lanes == 2 * vector:
                    write_two(voxels, corner, offsets, weights, t, steps, minor, sums, at)
                elif lanes == 1:
                    write_lane(voxels, corner, offsets, weights, t, steps, minor, sums, at)
                else:
                    write_vectors(voxels, corner, offsets, weights, t, steps, minor, sums, at, lanes)
        return
    for ray in range(begin, end):
        t, at = (ray - begin) * STEPS, (line + ray) * lanes
        if lanes == 2 * vector:
            read_two(voxels, corner, offsets, weights, t, steps, minor, sums, at)
        elif lanes == vector:
            read_one(voxels, corner, offsets, weights, t, steps, minor, sums, at)
        else:
            read_half(voxels, corner, offsets, weights, t, steps, minor, sums, at)


@njit(parallel=True, **OPTIONS)
def forward_stack(
    voxels: Any,
    shape: Any,
    views: Any,
    runs: Any,
    groups: Any,
    point: bool,
    edges: Any,
    lanes: int,
    out: Any,
    slices: Any,
    view_step: int,
) -> None:
    """Line integrals of one block of slices.

    voxels : (rows + 2, columns + 2 or 3, lanes), a border of zeros around; flat.
    groups : first run of each group, and the number of runs at the end.
    out : flat data, the slices of the block at `slices`, a view every `view_step`.
    """
    rows, columns = shape[0], shape[1]
    down = shape[2] * lanes
    for group in prange(groups.size - 1):
        members = groups[group + 1] - groups[group]
        longest = 0
        for k in range(members):
            longest = max(longest, runs[groups[group] + k, COUNT])
        start, slope = np.zeros((members, longest)), np.zeros((members, longest))
        length = np.zeros((members, longest))
        counts = np.zeros(members, np.int64)
        reached = np.zeros(members, np.int64)
        for k in range(members):
            run = runs[groups[group] + k]
            counts[k] = run[COUNT]
            set_out(views[run[VIEW]], run, point, edges, start[k], slope[k], length[k])
        sums = aligned(members * longest * lanes, voxels)
        sums[:] = 0
        weights = aligned(64 * STEPS, voxels)
        offsets = np.empty(64 * STEPS, np.int32)
        across = runs[groups[group], MAJOR] == 1
        major, minor = (lanes, down) if across else (down, lanes)
        depth, width = (columns, rows) if across else (rows, columns)
        for first in range(0, depth, STEPS):
            origin = down + lanes + first * major
            visit(
                voxels, origin, (major, minor), width, (first, min(STEPS, depth - first)), start, slope,
                counts, sums, lanes, False, offsets, weights, reached,
            )  # fmt: skip
        for k in range(members):
            run = runs[groups[group] + k]
            for begin in range(0, run[COUNT], 16):
                for lane in range(slices.size):
                    to = slices[lane] + run[VIEW] * view_step + run[FIRST]
                    for ray in range(begin, min(begin + 16, run[COUNT])):
                        column = ray if run[SIGN] > 0 else run[COUNT] - 1 - ray
                        mm = voxels.dtype.type(length[k, ray])
                        out[to + column] = mm * sums[(k * longest + ray) * lanes + lane]
