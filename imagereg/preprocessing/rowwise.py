"""The same work on every row, on all cores: for SciPy's filters, which let other threads run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.cores import usable_cores


def over_rows(work: Callable[[NDArray[Any]], NDArray[Any]], frames: NDArray[Any]) -> NDArray[Any]:
    """`work` of each (views, columns) slice of (views, rows, columns), put together again."""
    rows = range(frames.shape[1])
    if len(rows) == 1:
        return work(frames[:, 0])[:, None]
    with ThreadPoolExecutor(min(usable_cores(), len(rows))) as pool:
        done = list(pool.map(lambda row: work(np.ascontiguousarray(frames[:, row])), rows))
    return np.stack(done, axis=1)
