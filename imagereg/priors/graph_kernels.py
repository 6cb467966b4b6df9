"""Compiled graph Laplacian of a window graph: weights are made anew at each use and never stored.

Making the weight exp(-t) of a pair of pixels in registers takes less time than reading it, with its column
index, from a sparse matrix, and no memory where compressed rows take 170 MB for 512 x 512 pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Radii = tuple[int, int, int]

_ROWS = 32  # of a block: larger ones share more weights, smaller ones keep more cores busy
_ONE, _FLOOR, _PART = np.float32(1), np.float32(-40), np.float32(1 / 128)
_LEAST = np.float32(1e-7)  # weights that count between groups
_C2, _C3, _C4, _C5, _C6 = (np.float32(1 / math.factorial(k)) for k in range(2, 7))

# The loops over columns are small functions on slices: only there the compiler sees that no index wraps
# around, and vectorises.


@numba.njit(fastmath=True, cache=True)
def _decay_single(t: Array) -> None:
    # e^-t = (e^(-t/128))^128 by Taylor and seven squarings: no branch, so that it runs in SIMD lanes. The
    # relative error is 1e-5 at most; beyond t = 40 a weight is nothing.
    for j in range(t.size):
        v = max(-t[j], _FLOOR) * _PART
        p = _ONE + v * (_ONE + v * (_C2 + v * (_C3 + v * (_C4 + v * (_C5 + v * _C6)))))
        p *= p
        p *= p
        p *= p
        p *= p
        p *= p
        p *= p
        t[j] = p * p


@numba.njit(cache=True)
def _decay_double(t: Array) -> None:
    for j in range(t.size):
        t[j] = math.exp(-t[j])


@numba.njit(fastmath=True, cache=True)
def _add_squares(w: Array, a: Array, b: Array) -> None:
    for j in range(w.size):
        e = a[j] - b[j]
        w[j] += e * e


@numba.njit(fastmath=True, cache=True)
def _add_weights(degree: Array, square: Array, w: Array) -> None:
    for j in range(w.size):
        degree[j] += w[j]
        square[j] += w[j] * w[j]


@numba.njit(cache=True)
def _pair_weights(
    guide: Array, buffer: Array, b: int, here: tuple[int, int], there: tuple[int, int], dx: int
) -> Array:
    """Weights of the pairs (pixel of row `here`, pixel `dx` columns on in row `there`)."""
    width = guide.shape[4]
    low, high = max(0, -dx), min(width, width - dx)
    w = buffer[: high - low]
    w[:] = 0
    for g in range(guide.shape[1]):
        _add_squares(
            w, guide[b, g, here[0], here[1], low:high], guide[b, g, there[0], there[1], low + dx : high + dx]
        )
    if guide.itemsize == 4:
        _decay_single(w)
    else:
        _decay_double(w)
    return w


@numba.njit(fastmath=True, cache=True)
def _make_flows(w: Array, a: Array, b: Array, flow: Array) -> None:
    for j in range(w.size):
        flow[j] = w[j] * (a[j] - b[j])


@numba.njit(fastmath=True, cache=True)
def _give(out: Array, flow: Array) -> None:
    for j in range(flow.size):
        out[j] += flow[j]


@numba.njit(fastmath=True, cache=True)
def _take(out: Array, flow: Array) -> None:
    for j in range(flow.size):
        out[j] -= flow[j]


@numba.njit(parallel=True, cache=True)
def apply(guide: Array, x: Array, out: Array, radii: Radii) -> None:
    """out_p = sum_q w_pq (x_p - x_q).

    A weight within a block of rows of one slice is made once, for both of its pixels.

    Parameters
    ----------
    guide : (B, G, D, H, W), divided by sqrt(G s) so that w_pq = exp(-sum_g (guide_p - guide_q)^2).
    x, out : (B, C, D, H, W).
    radii : of the windows, along D, H, W.
    """
    batch, channels, depth, height, width = x.shape
    rz, ry, rx = min(radii[0], depth - 1), min(radii[1], height - 1), min(radii[2], width - 1)
    blocks = (height + _ROWS - 1) // _ROWS
    for block in numba.prange(batch * depth * blocks):
        b, d = block // (depth * blocks), (block // blocks) % depth
        first = (block % blocks) * _ROWS
        end = min(first + _ROWS, height)
        buffer, flow = np.empty(width, guide.dtype), np.empty(width, x.dtype)
        for c in range(channels):
            out[b, c, d, first:end, :] = 0
        for i in range(first, end):
            for e in range(max(0, d - rz), min(depth, d + rz + 1)):
                for k in range(max(0, i - ry), min(height, i + ry + 1)):
                    both = e == d and first <= k < end
                    if both and k < i:
                        continue
                    for dx in range(1 if both and k == i else -rx, rx + 1):
                        w = _pair_weights(guide, buffer, b, (d, i), (e, k), dx)
                        low, high = max(0, -dx), min(width, width - dx)
                        for c in range(channels):
                            f = flow[: high - low]
                            _make_flows(w, x[b, c, d, i, low:high], x[b, c, e, k, low + dx : high + dx], f)
                            _give(out[b, c, d, i, low:high], f)
                            if both:
                                _take(out[b, c, d, k, low + dx : high + dx], f)


@numba.njit(parallel=True, cache=True)
def weigh(guide: Array, degrees: Array, squares: Array, radii: Radii) -> None:
    """degrees_p = sum_q w_pq and squares_p = sum_q w_pq^2, both (B, D, H, W); guide as in `apply`."""
    batch, _, depth, height, width = guide.shape
    rz, ry, rx = min(radii[0], depth - 1), min(radii[1], height - 1), min(radii[2], width - 1)
    for row in numba.prange(batch * depth * height):
        b, d, i = row // (depth * height), (row // height) % depth, row % height
        buffer = np.empty(width, guide.dtype)
        degrees[b, d, i, :] = 0
        squares[b, d, i, :] = 0
        for e in range(max(0, d - rz), min(depth, d + rz + 1)):
            for k in range(max(0, i - ry), min(height, i + ry + 1)):
                for dx in range(-rx, rx + 1):
                    if e == d and k == i and dx == 0:
                        continue
                    w = _pair_weights(guide, buffer, b, (d, i), (e, k), dx)
                    low, high = max(0, -dx), min(width, width - dx)
                    _add_weights(degrees[b, d, i, low:high], squares[b, d, i, low:high], w)


@numba.njit(cache=True)
def _window(guide: Array, weights: Array, shifts: Array, d: int, i: int, radii: Radii) -> int:
    """Weights and places of all neighbours of a row of pixels, and their number."""
    depth, height = guide.shape[2], guide.shape[3]
    rz, ry, rx = min(radii[0], depth - 1), min(radii[1], height - 1), min(radii[2], guide.shape[4] - 1)
    pairs = 0
    for e in range(max(0, d - rz), min(depth, d + rz + 1)):
        for k in range(max(0, i - ry), min(height, i + ry + 1)):
            for dx in range(-rx, rx + 1):
                if e != d or k != i or dx != 0:
                    _pair_weights(guide, weights[pairs], 0, (d, i), (e, k), dx)
                    shifts[pairs, 0] = e
                    shifts[pairs, 1] = k
                    shifts[pairs, 2] = dx
                    pairs += 1
    return pairs


@numba.njit(cache=True)
def _list(
    groups: Array,
    own: int,
    weights: Array,
    shifts: Array,
    p: int,
    names: Array,
    values: Array,
) -> int:
    """The list of pixel p of a row, its own group `own`, from the weights of its neighbours."""
    count, recent, degree = 0, 0, 0.0
    for pair in range(len(shifts) + 1):
        name, value = own, degree
        if pair < len(shifts):
            q = p + shifts[pair, 2]
            if q < 0 or q >= groups.shape[2]:
                continue
            weight = weights[pair, min(p, q)]
            if weight < _LEAST:
                continue
            name, value = groups[shifts[pair, 0], shifts[pair, 1], q], -weight
            degree += weight
        if recent >= count or names[recent] != name:
            recent = 0
            while recent < count and names[recent] != name:
                recent += 1
            if recent == names.size:
                continue
            if recent == count:
                names[count] = name
                values[count] = 0
                count += 1
        values[recent] += value
    return count


@numba.njit(parallel=True, cache=True)
def grouped_rows(
    guide: Array,
    groups: Array,
    first: int,
    names: Array,
    values: Array,
    counts: Array,
    radii: Radii,
) -> None:
    """Rows of L Z as short lists, Z being the groups' indicators: -sum of w_pq over q in a group.

    Sums are in double precision, so that a row of L Z adds up to nothing. What finds no room is left out.

    Parameters
    ----------
    guide : (1, G, D, H, W) as in `apply`.
    groups : (D, H, W), the group of each pixel.
    first : first of the D H rows of pixels of which the lists are made.
    names, values, counts : (rows, W, room), (rows, W, room) and (rows, W): groups, sums and their number.
    """
    height, width = groups.shape[1], groups.shape[2]
    most = (2 * radii[0] + 1) * (2 * radii[1] + 1) * (2 * radii[2] + 1)
    for row in numba.prange(counts.shape[0]):
        d, i = (first + row) // height, (first + row) % height
        weights, shifts = np.empty((most, width), guide.dtype), np.empty((most, 3), np.int64)
        pairs = _window(guide, weights, shifts, d, i, radii)
        # A pixel's whole window at once, so that its list stays at hand.
        for p in range(width):
            counts[row, p] = _list(
                groups, groups[d, i, p], weights, shifts[:pairs], p, names[row, p], values[row, p]
            )
