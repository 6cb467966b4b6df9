"""Cones and shifted parallel beams with upright detectors: a vector of detector rows at once.

The rays of one detector column lie in a plane parallel to the rotation axis, so they share their path
across the slices: at each step two voxel columns are blended once, and the rays of a vector of rows
read the blend where they cross it. Voxels lie with the slice innermost. The transpose gives each voxel of
a column what the rays around it carry, with the same weights; a thread owns a band of voxel columns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from imagereg.projectors import simd
from imagereg.projectors.joseph_cpu import set_out
from imagereg.projectors.layout import OPTIONS, aligned
from imagereg.projectors.rays import COUNT, DEPTH, FIRST, FROM, MAJOR, PIXEL, SIGN, STEP, VIEW
from imagereg.projectors.single_cpu import inside

SOURCE, LOWEST, PER_ROW = range(3)
"""Of a view's lift: slice of the source, of the lowest detector row above it, slices per detector row."""

BAND = 4
PAD = 40  # zeros after each voxel column and around each detector column: more than a window's length


@njit(**OPTIONS)
def heights(view: Any, lift: Any, run: Any, ray: int, point: bool) -> tuple[float, float]:
    """How far along the ray, as a part of the way to the detector, step 0 lies, and each step goes."""
    if not point:
        return 1.0, 0.0
    column = run[FIRST] + (ray if run[SIGN] > 0 else run[COUNT] - 1 - ray)
    axis = 1 - run[MAJOR]
    at = view[PIXEL + axis] + column * view[STEP + axis]
    step = 1 / (at - view[FROM + axis])
    return -view[FROM + axis] * step, step


@njit(**OPTIONS)
def _rows_of_rays(
    voxels: Any,
    corner: int,
    strides: tuple[int, int],
    depth: int,
    line: tuple[float, float],
    span: tuple[int, int],
    way: tuple[float, float],
    lift: tuple[float, float, float],
    row: int,
    narrow: bool,
    total: Any,
) -> None:
    """Sums along a vector of rays above each other: where their line is, which steps, how high they lie."""
    major, minor = strides
    start, slope = line
    begin, step = way
    source, low, apart = lift
    lanes = simd.window_lanes_of(voxels)
    real = voxels.dtype.type
    sums, corrections = simd.splat(voxels, 0, lanes), simd.splat(voxels, 0, lanes)
    for at in range(span[0], span[1]):
        place = start + at * slope
        before = math.floor(place)
        after = real(place - before)
        p = corner + at * major + before * minor
        part = begin + at * step
        bottom = source + part * (low + row * apart)
        gap = part * apart
        base = math.floor(min(max(min(bottom, bottom + (lanes - 1) * gap), -1.0), float(depth)))
        to = simd.fma(real(gap), simd.ramp(voxels, lanes), simd.splat(voxels, bottom - base, lanes))
        to = simd.minimum(simd.maximum(to, real(-1 - base)), real(depth - base))
        whole = simd.floor(to)
        above = simd.sub(to, whole)
        index = simd.whole(whole)
        p += base
        if narrow:
            near = simd.load(voxels, p, lanes)
            one = simd.fma(after, simd.sub(simd.load(voxels, p + minor, lanes), near), near)
            near = simd.load(voxels, p + lanes, lanes)
            two = simd.fma(after, simd.sub(simd.load(voxels, p + minor + lanes, lanes), near), near)
            under = simd.permute(one, two, index)
            over = simd.permute(one, two, simd.add(index, 1))
        else:
            near = simd.gather(voxels, p, index)
            under = simd.fma(after, simd.sub(simd.gather(voxels, p + minor, index), near), near)
            near = simd.gather(voxels, p + 1, index)
            over = simd.fma(after, simd.sub(simd.gather(voxels, p + minor + 1, index), near), near)
        sums = simd.add(sums, under)
        corrections = simd.fma(above, simd.sub(over, under), corrections)
    simd.store(total, 0, simd.add(sums, corrections))


@njit(parallel=True, **OPTIONS)
def forward(
    voxels: Any,
    shape: Any,
    tall: int,
    views: Any,
    lifts: Any,
    runs: Any,
    point: bool,
    edges: Any,
    rows: int,
    columns: int,
    out: Any,
    to: int,
) -> None:
    """Line integrals of one volume into (views, rows, columns) of the flat `out`, from `to` on.

    voxels : (rows + 3, columns + 3, tall), the slices innermost and followed by `PAD` zeros; flat.
    lifts : (views, 3): `SOURCE`, `LOWEST`, `PER_ROW`.
    """
    depth, high, wide = shape[0], shape[1], shape[2]
    down = (wide + 3) * tall
    lanes = simd.window_lanes_of(voxels)
    for k in prange(runs.shape[0]):
        run = runs[k]
        count = run[COUNT]
        view, lift = views[run[VIEW]], lifts[run[VIEW]]
        start, slope, length = np.empty(count), np.empty(count), np.empty(count)
        set_out(view, run, point, edges, start, slope, length)
        total = aligned(lanes, voxels)
        major, minor, steps, width = (tall, down, wide, high) if run[MAJOR] == 1 else (down, tall, high, wide)
        for ray in range(count):
            column = run[FIRST] + (ray if run[SIGN] > 0 else count - 1 - ray)
            first, last = inside(start[ray], slope[ray], -1.0, float(width), steps)
            begin, step = heights(view, lift, run, ray, point)
            farthest = max(abs(begin), abs(begin + (steps - 1) * step))
            narrow = farthest * abs(lift[PER_ROW]) * (lanes - 1) + 3 < 2 * lanes
            for row in range(0, rows, lanes):
                _rows_of_rays(
                    voxels, down + tall, (major, minor), depth, (start[ray], slope[ray]), (first, last),
                    (begin, step), (lift[SOURCE], lift[LOWEST], lift[PER_ROW]), row, narrow, total,
                )  # fmt: skip
                for lane in range(min(lanes, rows - row)):
                    rise = step * (lift[LOWEST] + (row + lane) * lift[PER_ROW]) * edges[DEPTH]
                    mm = math.sqrt(length[ray] ** 2 + rise**2)
                    here = to + (run[VIEW] * rows + row + lane) * columns + column
                    out[here] = voxels.dtype.type(mm) * total[lane]


@njit(**OPTIONS)
def _column_of_voxels(
    voxels: Any,
    p: int,
    minor: int,
    depth: int,
    after: Any,
    data: Any,
    at: int,
    rows: int,
    bottom: float,
    gap: float,
) -> None:
    """Give two voxel columns what the rays of one detector column bring to them at one step."""
    lanes = simd.window_lanes_of(voxels)
    real = voxels.dtype.type
    half = abs(1 / gap)
    pairs = (math.ceil(2 * half - 1e-12) + 1) // 2
    narrow = (lanes - 1) * half + 2 * pairs + 2 < 2 * lanes
    fall, nothing = real(-abs(gap)), simd.splat(voxels, 0, lanes)
    ends = bottom + (rows - 1) * gap
    lowest = max(0, math.floor(max(min(bottom, ends), 0.0)))
    highest = min(depth, math.ceil(min(max(bottom, ends), depth + 0.0)) + 1)
    for slab in range(lowest - lowest % lanes, highest, lanes):
        place = (slab - bottom) / gap
        corner = math.floor(min(place, place + (lanes - 1) / gap) - half)
        to = simd.fma(real(1 / gap), simd.ramp(voxels, lanes), simd.splat(voxels, place - corner, lanes))
        begin = simd.add(simd.floor(simd.sub(to, real(half))), real(1))
        away = simd.sub(begin, to)
        index = simd.whole(begin)
        base = int(max(min(corner, rows + 2.0), -float(PAD)))
        if not narrow:
            index = simd.add(index, int(max(min(corner, 1.0e9), -1.0e9)) - base)
        total = nothing
        for _ in range(pairs):
            near = simd.maximum(simd.fma(fall, simd.absolute(away), simd.splat(voxels, 1, lanes)), nothing)
            away = simd.add(away, real(1))
            far = simd.maximum(simd.fma(fall, simd.absolute(away), simd.splat(voxels, 1, lanes)), nothing)
            away = simd.add(away, real(1))
            if narrow:
                total = simd.fma(near, simd.lookup(data, at + base, index), total)
                total = simd.fma(far, simd.lookup(data, at + base, simd.add(index, 1)), total)
            else:
                safe = simd.minimum(simd.maximum(index, -2 - base), rows - base)
                total = simd.fma(near, simd.gather(data, at + base, safe), total)
                total = simd.fma(far, simd.gather(data, at + base, simd.add(safe, 1)), total)
            index = simd.add(index, 2)
        here = p + slab
        simd.store(voxels, here, simd.fma(real(1) - after, total, simd.load(voxels, here, lanes)))
        here += minor
        simd.store(voxels, here, simd.fma(after, total, simd.load(voxels, here, lanes)))


@njit(parallel=True, **OPTIONS)
def back(
    data: Any,
    at: int,
    shape: Any,
    tall: int,
    views: Any,
    lifts: Any,
    runs: Any,
    point: bool,
    edges: Any,
    rows: int,
    columns: int,
    together: int,
    voxels: Any,
) -> None:
    """Add the transposed projection of (views, rows, columns) of the flat `data`, from `at` on, to `voxels`.

    `together` runs, which share a major axis, are turned to (columns, rows) at a time.
    """
    depth, high, wide = shape[0], shape[1], shape[2]
    down = (wide + 3) * tall
    line = rows + 2 * PAD
    turned = aligned(together * columns * line, data)
    start, slope = np.empty((together, columns)), np.empty((together, columns))
    begin, step = np.empty((together, columns)), np.empty((together, columns))
    for chunk in range(0, runs.shape[0], together):
        members = min(together, runs.shape[0] - chunk)
        for member in prange(members):
            run = runs[chunk + member]
            view, lift = views[run[VIEW]], lifts[run[VIEW]]
            length = np.empty(columns)
            set_out(view, run, point, edges, start[member], slope[member], length)
            for ray in range(run[COUNT]):
                column = run[FIRST] + (ray if run[SIGN] > 0 else run[COUNT] - 1 - ray)
                begin[member, ray], step[member, ray] = heights(view, lift, run, ray, point)
                to = (member * columns + ray) * line
                turned[to : to + PAD] = 0
                turned[to + PAD + rows : to + line] = 0
                for row in range(rows):
                    rise = step[member, ray] * (lift[LOWEST] + row * lift[PER_ROW]) * edges[DEPTH]
                    mm = data.dtype.type(math.sqrt(length[ray] ** 2 + rise**2))
                    turned[to + PAD + row] = mm * data[at + (run[VIEW] * rows + row) * columns + column]
        across = runs[chunk, MAJOR] == 1
        major, minor, steps, width = (tall, down, wide, high) if across else (down, tall, high, wide)
        for band in prange((steps + BAND - 1) // BAND):
            for member in range(members):
                run = runs[chunk + member]
                lift = lifts[run[VIEW]]
                for ray in range(run[COUNT]):
                    source = (member * columns + ray) * line + PAD
                    for here in range(band * BAND, min(steps, band * BAND + BAND)):
                        place = start[member, ray] + here * slope[member, ray]
                        if not -1 < place < width:
                            continue
                        before = math.floor(place)
                        part = begin[member, ray] + here * step[member, ray]
                        p = down + tall + here * major + before * minor
                        _column_of_voxels(
                            voxels,
                            p,
                            minor,
                            depth,
                            voxels.dtype.type(place - before),
                            turned,
                            source,
                            rows,
                            lift[SOURCE] + part * lift[LOWEST],
                            part * lift[PER_ROW],
                        )
