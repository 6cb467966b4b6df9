"""The same work on every row, on all cores: for SciPy's filters, which let other threads run."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray


def over_rows(work: Callable[[NDArray[Any]], NDArray[Any]], frames: NDArray[Any]) -> NDArray[Any]:
    """`work` of each (views, columns) slice of (views, rows, columns), put together again."""
    rows = range(frames.shape[1])
    if len(rows) == 1:
        return work(frames[:, 0])[:, None]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(cores, len(rows))) as pool:
        done = list(pool.map(lambda row: work(np.ascontiguousarray(frames[:, row])), rows))
    return np.stack(done, axis=1)
