"""Rays anywhere in space: Joseph's method one ray at a time, for tilted detectors and steep cones.

A ray steps along the grid axis that it follows most closely and interpolates in the plane across it.
The transpose lets every thread own a slab of planes and gives all rays the same weights in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from imagereg.projectors.layout import OPTIONS

PIXEL, TO_COLUMN, TO_ROW, FROM = 0, 3, 6, 9
"""Of a view in space, each as (x, row, slice): first pixel, column step, row step, source or direction."""
X, ROW, SLICE = 0, 1, 2
START, SLOPE, LENGTH = 0, 3, 6
"""Of a ray: places at step 0 of its major axis, slopes, and mm per step."""


@njit(**OPTIONS)
def set_out(view: Any, row: int, column: int, point: bool, edges: Any, ray: Any) -> int:
    """Major axis of a ray (0 x, 1 rows, 2 slices); places, slopes and mm per step go to `ray`.

    view : first pixel, column step, row step, source or direction, each as (x, row, slice) in voxels.
    ray : place of all three axes at step 0 of the major one, slopes, and mm per step.
    """
    major = 0
    mm = 0.0
    for axis in range(3):
        at = view[PIXEL + axis] + column * view[TO_COLUMN + axis] + row * view[TO_ROW + axis]
        along = at - view[FROM + axis] if point else view[FROM + axis]
        ray[START + axis], ray[SLOPE + axis] = at, along
        mm += (along * edges[axis]) ** 2
        if abs(along) > abs(ray[SLOPE + major]):
            major = axis
    per_step, origin = ray[SLOPE + major], ray[START + major]
    for axis in range(3):
        ray[SLOPE + axis] /= per_step
        ray[START + axis] -= origin * ray[SLOPE + axis]
    ray[LENGTH] = math.sqrt(mm) / abs(per_step)
    return major


@njit(**OPTIONS)
def _clip(ray: Any, major: int, shape: Any, first: int, last: int) -> tuple[int, int]:
    """Steps from `first` up to `last` on which the ray is within a voxel of the grid."""
    low, high = float(first), float(last - 1)
    for axis in range(3):
        if axis == major:
            continue
        start, slope, end = ray[START + axis], ray[SLOPE + axis], float(shape[axis])
        if slope == 0:
            if not -1 < start < end:
                return 0, 0
            continue
        one, two = (-1 - start) / slope, (end - start) / slope
        low, high = max(low, min(one, two)), min(high, max(one, two))
    return (math.ceil(low), math.floor(high) + 1) if high >= low else (0, 0)


@njit(**OPTIONS)
def _walk(
    image: Any,
    origin: int,
    shape: Any,
    strides: Any,
    ray: Any,
    major: int,
    first: int,
    last: int,
    value: Any,
    transposed: bool,
) -> Any:
    """Sum of a ray's voxels, or `value` given to them."""
    one, two = (major + 1) % 3, (major + 2) % 3
    real = image.dtype.type
    total = real(0)
    for step in range(first, last):
        p, q = ray[START + one] + step * ray[SLOPE + one], ray[START + two] + step * ray[SLOPE + two]
        before_p, before_q = math.floor(p), math.floor(q)
        part_p, part_q = p - before_p, q - before_q
        corner = origin + step * strides[major] + before_p * strides[one] + before_q * strides[two]
        for a in range(2):
            if not 0 <= before_p + a < shape[one]:
                continue
            weight_p = part_p if a else 1 - part_p
            for b in range(2):
                if not 0 <= before_q + b < shape[two]:
                    continue
                weight = real(weight_p * (part_q if b else 1 - part_q))
                at = corner + a * strides[one] + b * strides[two]
                if transposed:
                    image[at] += weight * value
                else:
                    total += weight * image[at]
    return total


@njit(parallel=True, **OPTIONS)
def forward(
    image: Any,
    origin: int,
    shape: Any,
    strides: Any,
    views: Any,
    point: bool,
    edges: Any,
    rows: int,
    columns: int,
    out: Any,
    to: int,
) -> None:
    """Line integrals of one volume into (views, rows, columns) of the flat `out`, from `to` on."""
    for line in prange(views.shape[0] * rows):
        view, row = line // rows, line % rows
        ray = np.empty(7)
        for column in range(columns):
            major = set_out(views[view], row, column, point, edges, ray)
            first, last = _clip(ray, major, shape, 0, shape[major])
            total = _walk(image, origin, shape, strides, ray, major, first, last, image[origin], False)
            out[to + line * columns + column] = image.dtype.type(ray[LENGTH]) * total


@njit(parallel=True, **OPTIONS)
def back(
    data: Any,
    at: int,
    shape: Any,
    strides: Any,
    views: Any,
    point: bool,
    edges: Any,
    rows: int,
    columns: int,
    slabs: int,
    out: Any,
    origin: int,
) -> None:
    """Add the transposed projection of (views, rows, columns) of the flat `data` to one volume."""
    for axis in range(3):
        thick = (shape[axis] + slabs - 1) // slabs
        for slab in prange(slabs):
            low, high = slab * thick, min(shape[axis], slab * thick + thick)
            ray = np.empty(7)
            for view in range(views.shape[0]):
                for row in range(rows):
                    for column in range(columns):
                        major = set_out(views[view], row, column, point, edges, ray)
                        if major != axis:
                            continue
                        first, last = _clip(ray, major, shape, low, high)
                        source = at + (view * rows + row) * columns + column
                        value = data.dtype.type(ray[LENGTH]) * data[source]
                        _walk(out, origin, shape, strides, ray, major, first, last, value, True)
