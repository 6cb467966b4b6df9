"""Pixel-driven back-projection on the CPU, for filtered back-projection."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit, prange

from imagereg.geometry import Geometry, Volume
from imagereg.projectors import gather_cpu, simd, single_cpu
from imagereg.projectors.backends import is_stack
from imagereg.projectors.layout import OPTIONS, aligned_zeros, blocks, data_slices, interleave, pad_rows, turn
from imagereg.projectors.pixel_driven import Shadows, shadows
from imagereg.projectors.simd import VECTOR_BYTES
from imagereg.projectors.single_cpu import PAD

PLACE, PER_COLUMN, PER_ROW, PER_SLICE = range(4)
"""Of the linear functions of `Shadows`: at voxel 0, and for each column, row and slice of the grid."""

TALL = 48  # zeros after each detector column: more than a window's length


@njit(parallel=True, **OPTIONS)
def fan_back(data: Any, column: Any, depth: Any, columns: int, shape: Any, out: Any, to: int) -> None:
    """One slice: data at (c0 + c1 j + c2 i) / depth, over depth squared.

    data : (views, PAD + columns + PAD), zeros on either side; flat.
    column, depth : (views, 3), functions of (1, grid column, grid row).
    """
    rows, width = shape[0], shape[1]
    lanes = simd.window_lanes_of(data)
    real = data.dtype.type
    line = columns + 2 * PAD
    for row in prange(rows):
        for left in range(0, width, lanes):
            steps = simd.ramp(data, lanes)
            total = simd.splat(data, 0, lanes)
            for view in range(column.shape[0]):
                above = column[view, PLACE] + left * column[view, PER_COLUMN] + row * column[view, PER_ROW]
                below = depth[view, PLACE] + left * depth[view, PER_COLUMN] + row * depth[view, PER_ROW]
                end = (above + (lanes - 1) * column[view, PER_COLUMN]) / (
                    below + (lanes - 1) * depth[view, PER_COLUMN]
                )
                begin = above / below
                corner = math.floor(min(begin, end))
                base = int(max(min(corner, columns + 2.0), -float(PAD)))
                inverse = simd.div(
                    real(1), simd.fma(real(depth[view, PER_COLUMN]), steps, simd.splat(data, below, lanes))
                )
                # Relative to the window's corner, which keeps the precision that a long detector would cost.
                over = simd.splat(data, above - corner * below, lanes)
                over = simd.fma(
                    real(column[view, PER_COLUMN] - corner * depth[view, PER_COLUMN]), steps, over
                )
                at = simd.mul(over, inverse)
                first = simd.floor(at)
                index = simd.whole(first)
                start = view * line + PAD + base
                if abs(end - begin) + 3 < 2 * lanes:
                    one = simd.lookup(data, start, index)
                    two = simd.lookup(data, start, simd.add(index, 1))
                else:
                    index = simd.add(index, int(max(min(corner, 1.0e9), -1.0e9)) - base)
                    index = simd.minimum(simd.maximum(index, -2 - base), columns - base)
                    one = simd.gather(data, start, index)
                    two = simd.gather(data, start, simd.add(index, 1))
                value = simd.fma(simd.sub(at, first), simd.sub(two, one), one)
                total = simd.fma(simd.mul(inverse, inverse), value, total)
            _give(out, to + row * width + left, min(lanes, width - left), total)


@njit(**OPTIONS)
def _give(out: Any, at: int, count: int, values: Any) -> None:
    lanes = simd.window_lanes_of(out)
    if count == lanes:
        simd.store(out, at, values)
        return
    some = np.empty(lanes, out.dtype)
    simd.store(some, 0, values)
    for lane in range(count):
        out[at + lane] = some[lane]


@njit(parallel=True, **OPTIONS)
def cone_back(
    data: Any, column: Any, row: Any, depth: Any, rows: int, columns: int, shape: Any, tall: int, voxels: Any
) -> None:
    """Add some views to a volume with its slices innermost, (rows, columns, tall) flat.

    data : (views, 1 + columns + 2, rows + TALL), the detector's rows innermost and zeros around; flat.
    column, row, depth : (views, 4), functions of (1, grid column, grid row, slice); only `row` of the last.
    """
    slices, high, wide = shape[0], shape[1], shape[2]
    line = rows + TALL
    lanes = simd.window_lanes_of(data)
    real = data.dtype.type
    for i in prange(high):
        for j in range(wide):
            here = (i * wide + j) * tall
            for view in range(column.shape[0]):
                below = 1 / (depth[view, PLACE] + j * depth[view, PER_COLUMN] + i * depth[view, PER_ROW])
                c = (column[view, PLACE] + j * column[view, PER_COLUMN] + i * column[view, PER_ROW]) * below
                if not -1 < c < columns:
                    continue
                before = math.floor(c)
                after = real(c - before)
                weight = real(below * below)
                start = (view * (columns + 3) + before + 1) * line
                lowest = (row[view, PLACE] + j * row[view, PER_COLUMN] + i * row[view, PER_ROW]) * below
                step = row[view, PER_SLICE] * below
                narrow = (lanes - 1) * abs(step) + 3 < 2 * lanes
                for slab in range(0, slices, lanes):
                    bottom = lowest + slab * step
                    edge = min(max(min(bottom, bottom + (lanes - 1) * step), -1.0), float(rows))
                    base = math.floor(edge)
                    at = simd.fma(real(step), simd.ramp(data, lanes), simd.splat(data, bottom - base, lanes))
                    at = simd.minimum(simd.maximum(at, real(-1 - base)), real(rows - base))
                    first = simd.floor(at)
                    index = simd.whole(first)
                    p = start + base
                    if narrow:
                        left = simd.load(data, p, lanes)
                        one = simd.fma(after, simd.sub(simd.load(data, p + line, lanes), left), left)
                        left = simd.load(data, p + lanes, lanes)
                        two = simd.fma(after, simd.sub(simd.load(data, p + line + lanes, lanes), left), left)
                        under = simd.permute(one, two, index)
                        over = simd.permute(one, two, simd.add(index, 1))
                    else:
                        left = simd.gather(data, p, index)
                        under = simd.fma(after, simd.sub(simd.gather(data, p + line, index), left), left)
                        left = simd.gather(data, p + 1, index)
                        over = simd.fma(after, simd.sub(simd.gather(data, p + line + 1, index), left), left)
                    value = simd.fma(simd.sub(at, first), simd.sub(over, under), under)
                    old = simd.load(voxels, here + slab, lanes)
                    simd.store(voxels, here + slab, simd.fma(weight, value, old))


def back_project_on_cpu(geometry: Geometry, volume: Volume, data: torch.Tensor) -> torch.Tensor:
    """See `pixel_driven.back_project_pixels`; untilted detectors."""
    seen = shadows(geometry, volume)
    out = torch.empty((*data.shape[:2], *volume.shape), dtype=data.dtype)
    source, target = data.numpy().reshape(-1), out.numpy().reshape(-1)
    items = data.shape[0] * data.shape[1]
    if not is_stack(geometry, volume):
        for item in range(items):
            _volume(geometry, volume, seen, source, item, target)
        return out
    rows, width = volume.shape[-2:]
    starts, view_step = data_slices(tuple(data.shape[2:]), items)
    slices = np.arange(len(starts), dtype=np.int64) * rows * width
    shape = np.array([rows, width], dtype=np.int64)
    columns, views = geometry.columns, geometry.views
    if geometry.kind == "parallel":
        _parallel(seen, source, starts, view_step, columns, shape, target, slices)
        return out
    padded = np.empty(views * (columns + 2 * PAD), source.dtype)
    for start, to in zip(starts, slices, strict=True):
        pad_rows(source, int(start), views, columns, view_step, 1, PAD, padded)
        fan_back(padded, seen.column[:, :3].copy(), seen.depth[:, :3].copy(), columns, shape, target, int(to))
    return out


def _parallel(
    seen: Shadows, data: Any, starts: Any, view_step: int, columns: int, shape: Any, out: Any, slices: Any
) -> None:
    """Linear interpolation is what the transpose does with triangles one detector column wide."""
    views, width = len(seen.column), int(shape[1])
    # A voxel larger than a pixel takes the mean over its shadow.
    half = np.maximum(1.0, np.abs(seen.column[:, 1:3]).max(1))
    table = np.stack(
        [
            seen.column[:, PLACE],
            seen.column[:, PER_ROW],
            seen.column[:, PER_COLUMN],
            1 / half,
            1 / half**2,
            half,
        ],
        axis=1,
    )
    pairs = (math.ceil(2 * float(half.max()) - 1e-12) + 1) // 2
    for first, count, lanes in blocks(len(starts), VECTOR_BYTES // data.itemsize):
        if lanes == 1:
            lines = np.empty(views * (columns + 2 * single_cpu.PAD), data.dtype)
            pad_rows(data, int(starts[first]), views, columns, view_step, 1, single_cpu.PAD, lines)
            gather_cpu.back_single(lines, table, pairs, columns, shape, out, int(slices[first]), width)
            continue
        chosen = slice(first, first + count)
        stack = aligned_zeros(views * (columns + 4) * lanes, data.dtype)
        interleave(data, starts[chosen], views, columns, view_step, 2, 2, lanes, stack)
        gather_cpu.back_stack(stack, table, pairs, columns, shape, lanes, out, slices[chosen], width)


def _volume(geometry: Geometry, volume: Volume, seen: Shadows, data: Any, item: int, out: Any) -> None:
    depth, high, wide = volume.shape
    views, rows, columns = geometry.views, geometry.rows, geometry.columns
    shape = np.array(volume.shape, dtype=np.int64)
    tall = -(-depth // 16) * 16
    voxels = aligned_zeros(high * wide * tall, data.dtype)
    size = (columns + 3) * (rows + TALL)
    few = min(views, 16)
    turned = aligned_zeros(few * size + 64, data.dtype)
    guarded = turned[16:]
    for first in range(0, views, few):
        chosen = slice(first, min(views, first + few))
        at = (item * views + first) * rows * columns
        turn(data, at, chosen.stop - first, rows, columns, 1, rows + TALL, guarded)
        cone_back(
            guarded,
            seen.column[chosen],
            seen.row[chosen],
            seen.depth[chosen],
            rows,
            columns,
            shape,
            tall,
            voxels,
        )
    to = item * depth * high * wide
    out[to : to + depth * high * wide].reshape(depth, high, wide)[:] = voxels.reshape(high, wide, tall)[
        :, :, :depth
    ].transpose(2, 0, 1)
