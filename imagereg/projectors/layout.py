"""How images and data lie in memory while they are projected.

Stacks are interleaved: a block of `lanes` slices, the slice innermost, so that one vector instruction
does a voxel of all of them. Voxels have a border of zeros, so that no ray has to ask where it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

OPTIONS: dict[str, Any] = {
    "cache": True,
    "error_model": "numpy",
    "boundscheck": False,
    "nogil": True,
    # NaN and infinity keep their meaning: a bad pixel must not spread silently.
    "fastmath": {"nsz", "arcp", "contract", "reassoc"},
}


@njit(**OPTIONS)
def aligned(size: int, like: Any) -> Any:
    """An array of `size` elements of the type of `like` that begins on a cache line."""
    memory = np.empty(size + 16, like.dtype)
    return memory[(-memory.ctypes.data % 64) // like.itemsize :][:size]


def aligned_zeros(size: int, dtype: Any) -> np.ndarray:
    """As `aligned`, from the host's side and filled with zeros."""
    memory = np.zeros(size + 16, dtype)
    return memory[(-memory.ctypes.data % 64) // memory.itemsize :][:size]


@njit(parallel=True, **OPTIONS)
def interleave(
    image: Any,
    slices: Any,
    rows: int,
    columns: int,
    row_step: int,
    before: int,
    after: int,
    lanes: int,
    out: Any,
) -> None:
    """Copy slices that begin at `slices` in `image` into one block, (rows, before + columns + after, lanes).

    Lanes beyond the last slice and the `before` and `after` elements of each row become zero.
    """
    width = before + columns + after
    for row in prange(rows):
        start = row * width * lanes
        out[start : start + before * lanes] = 0
        out[start + (before + columns) * lanes : start + width * lanes] = 0
        for first in range(0, columns, 16):
            last = min(first + 16, columns)
            for lane in range(slices.size):
                source = slices[lane] + row * row_step
                at = start + before * lanes + lane
                for column in range(first, last):
                    out[at + column * lanes] = image[source + column]
            for lane in range(slices.size, lanes):
                at = start + before * lanes + lane
                for column in range(first, last):
                    out[at + column * lanes] = 0


@njit(parallel=True, **OPTIONS)
def pad_rows(
    image: Any, start: int, rows: int, columns: int, row_step: int, column_step: int, pad: int, out: Any
) -> None:
    """Copy one slice into rows with `pad` zeros before and after; steps swapped, its transpose."""
    width = columns + 2 * pad
    for block in prange((rows + 15) // 16):
        end = min(rows, block * 16 + 16)
        for row in range(block * 16, end):
            out[row * width : row * width + pad] = 0
            out[row * width + pad + columns : (row + 1) * width] = 0
        for first in range(0, columns, 16):
            last = min(first + 16, columns)
            for row in range(block * 16, end):
                at = row * width + pad
                source = start + row * row_step
                for column in range(first, last):
                    out[at + column] = image[source + column * column_step]


@njit(parallel=True, **OPTIONS)
def turn(data: Any, at: int, views: int, rows: int, columns: int, before: int, line: int, out: Any) -> None:
    """Views (rows, columns) with the rows innermost: (views, before + columns + 2, line), zeros around."""
    width = before + columns + 2
    for part in prange(views * width):
        view, place = part // width, part % width
        column = place - before
        to = part * line
        filled = rows if 0 <= column < columns else 0
        for row in range(filled):
            out[to + row] = data[at + (view * rows + row) * columns + column]
        for row in range(filled, line):
            out[to + row] = 0


def data_slices(shape: tuple[int, ...], items: int) -> tuple[NDArray[np.int64], int]:
    """Offset of each slice's data, and of a view after the one before, of (views, [rows,] columns)."""
    size, columns = int(np.prod(shape)), shape[-1]
    rows = shape[1] if len(shape) == 3 else 1
    starts = np.arange(items, dtype=np.int64)[:, None] * size + np.arange(rows)[None, :] * columns
    return starts.ravel(), rows * columns


def blocks(slices: int, lanes: int) -> list[tuple[int, int, int]]:
    """How to part a stack: (first slice, number of slices, lanes of the block; 1 for a slice alone).

    `lanes` numbers fill a vector. Blocks of two vectors cost least per slice; a block that stays partly
    empty costs as much as a full one, and three slices alone cost less than half a vector together.
    """
    parts = []
    first = 0
    while first < slices:
        left = slices - first
        if left > lanes + lanes // 4:
            size = 2 * lanes
        elif left > lanes // 2 + lanes // 8:
            size = lanes
        elif left > lanes // 4 - 1:
            size = lanes // 2
        else:
            size = 1
        count = min(size, left)
        parts.append((first, count, size))
        first += count
    return parts
