"""Compiled differences, their transpose and the dual step of total variation, each in one pass over memory.

Images are (N, D, H, W) and fields (N, K, D, H, W): K = 2 differences along H and W, K = 3 along D as well.
Differences are forward and 0 beyond the last sample.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# The loops over columns are small functions on slices: only there the compiler sees that no index wraps
# around, and vectorises.


@numba.njit(fastmath=True, cache=True)
def _along(out: Array, here: Array, factor: float) -> None:
    last = here.size - 1
    for j in range(last):
        out[j] = factor * (here[j + 1] - here[j])
    out[last] = 0


@numba.njit(fastmath=True, cache=True)
def _across(out: Array, here: Array, there: Array, factor: float) -> None:
    for j in range(here.size):
        out[j] = factor * (there[j] - here[j])


@numba.njit(parallel=True, fastmath=True, cache=True)
def gradient(x: Array, factors: Array, out: Array) -> None:
    """out <- D x; `factors` multiply the differences along each of the last K axes."""
    items, depth, height, _ = x.shape
    k = factors.size
    for row in numba.prange(items * depth * height):
        n, d, i = row // (depth * height), row // height % depth, row % height
        here = x[n, d, i]
        if k == 3:
            _across(out[n, 0, d, i], here, x[n, min(d + 1, depth - 1), i], factors[0])
        _across(out[n, k - 2, d, i], here, x[n, d, min(i + 1, height - 1)], factors[k - 2])
        _along(out[n, k - 1, d, i], here, factors[k - 1])


@numba.njit(fastmath=True, cache=True)
def _back_along(out: Array, v: Array, factor: float) -> None:
    last = v.size - 1
    if last == 0:
        out[0] = 0
        return
    out[0] = -factor * v[0]
    for j in range(1, last):
        out[j] = factor * (v[j - 1] - v[j])
    out[last] = factor * v[last - 1]


@numba.njit(fastmath=True, cache=True)
def _add_back_across(out: Array, before: Array, v: Array, enters: float, leaves: float) -> None:
    for j in range(v.size):
        out[j] += enters * before[j] - leaves * v[j]


@numba.njit(parallel=True, fastmath=True, cache=True)
def gradient_adjoint(v: Array, factors: Array, out: Array) -> None:
    """out <- D^T v."""
    items, k, depth, height, _ = v.shape
    for row in numba.prange(items * depth * height):
        n, d, i = row // (depth * height), row // height % depth, row % height
        target = out[n, d, i]
        _back_along(target, v[n, k - 1, d, i], factors[k - 1])
        f = factors[k - 2]
        # What lies beyond the edge of the field is multiplied by 0.
        enters, leaves = f * (i > 0), f * (i < height - 1)
        _add_back_across(target, v[n, k - 2, d, max(i - 1, 0)], v[n, k - 2, d, i], enters, leaves)
        if k == 3:
            f = factors[0]
            enters, leaves = f * (d > 0), f * (d < depth - 1)
            _add_back_across(target, v[n, 0, max(d - 1, 0), i], v[n, 0, d, i], enters, leaves)


@numba.njit(fastmath=True, cache=True)
def _rise(out: Array, v: Array, step: float) -> None:
    for j in range(out.size):
        out[j] = v[j] + step * out[j]


@numba.njit(fastmath=True, cache=True)
def _clip(a: Array, radius: Array) -> None:
    for j in range(a.size):
        a[j] = min(max(a[j], -radius[j]), radius[j])


@numba.njit(fastmath=True, cache=True)
def _shorten2(a: Array, b: Array, radius: Array) -> None:
    for j in range(a.size):
        size, r = np.sqrt(a[j] * a[j] + b[j] * b[j]), radius[j]
        part = r / size if size > r else a.dtype.type(1)
        a[j] *= part
        b[j] *= part


@numba.njit(fastmath=True, cache=True)
def _shorten3(a: Array, b: Array, c: Array, radius: Array) -> None:
    for j in range(a.size):
        size, r = np.sqrt(a[j] * a[j] + b[j] * b[j] + c[j] * c[j]), radius[j]
        part = r / size if size > r else a.dtype.type(1)
        a[j] *= part
        b[j] *= part
        c[j] *= part


@numba.njit(parallel=True, fastmath=True, cache=True)
def dual_step(
    v: Array, x: Array, step: Array, radius: Array, factors: Array, isotropic: bool, out: Array
) -> None:
    """out <- projection of v + step D x onto |out_i| <= radius_i.

    `step` is (N,); `radius` is (N, D or 1, H or 1, W), one length a pixel; the length of a pixel's
    differences is that of their vector, or of each alone where not `isotropic`.
    """
    items, depth, height, _ = x.shape
    k = factors.size
    for row in numba.prange(items * depth * height):
        n, d, i = row // (depth * height), row // height % depth, row % height
        here, s = x[n, d, i], step[n]
        r = radius[n, min(d, radius.shape[1] - 1), min(i, radius.shape[2] - 1)]
        if k == 3:
            _across(out[n, 0, d, i], here, x[n, min(d + 1, depth - 1), i], factors[0])
            _rise(out[n, 0, d, i], v[n, 0, d, i], s)
        _across(out[n, k - 2, d, i], here, x[n, d, min(i + 1, height - 1)], factors[k - 2])
        _rise(out[n, k - 2, d, i], v[n, k - 2, d, i], s)
        _along(out[n, k - 1, d, i], here, factors[k - 1])
        _rise(out[n, k - 1, d, i], v[n, k - 1, d, i], s)
        if not isotropic:
            for c in range(k):
                _clip(out[n, c, d, i], r)
        elif k == 3:
            _shorten3(out[n, 0, d, i], out[n, 1, d, i], out[n, 2, d, i], r)
        else:
            _shorten2(out[n, 0, d, i], out[n, 1, d, i], r)
