"""Filling in what was not measured: pixels from their neighbours in the same row, or from other rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def fill_pixels(frames: NDArray[np.float32], bad: Mask) -> None:
    """Replace pixels that are bad in every frame, in place, by straight lines along their row.

    Parameters
    ----------
    frames : (frames, rows, columns).
    bad : (rows, columns). A row with no good pixel at all is left as it is.
    """
    columns = np.arange(bad.shape[1])
    for row in np.flatnonzero(bad.any(axis=1)):
        good = np.flatnonzero(~bad[row])
        if good.size == 0:
            continue
        for column in np.flatnonzero(bad[row]):
            after = int(np.searchsorted(good, column))
            left, right = good[max(after - 1, 0)], good[min(after, good.size - 1)]
            share = 0.0 if right == left else (columns[column] - left) / (right - left)
            frames[:, row, column] = (1 - share) * frames[:, row, left] + share * frames[:, row, right]


def fill_values(frames: NDArray[np.float32], bad: Mask) -> None:
    """Replace single values, in place, by straight lines along their row, or along views for a whole row.

    Parameters
    ----------
    frames, bad : (frames, rows, columns).
    """
    lost: Mask = np.all(bad, axis=2)
    torn: Mask = np.any(bad, axis=2) & ~lost
    for view, row in zip(*np.nonzero(torn), strict=True):
        line, gaps = frames[view, row], bad[view, row]
        good = np.flatnonzero(~gaps)
        line[gaps] = np.interp(np.flatnonzero(gaps), good, line[good])
    for row in np.flatnonzero(lost.any(axis=0)):
        kept = np.flatnonzero(~lost[:, row])
        if kept.size == 0:
            frames[:, row] = 0.0
            continue
        for view in np.flatnonzero(lost[:, row]):
            after = int(np.searchsorted(kept, view))
            before, beyond = kept[max(after - 1, 0)], kept[min(after, kept.size - 1)]
            share = 0.0 if beyond == before else (view - before) / (beyond - before)
            frames[view, row] = (1 - share) * frames[before, row] + share * frames[beyond, row]


def count_of(number: int, thing: str) -> str:
    """'1 pixel', '3 pixels'."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
