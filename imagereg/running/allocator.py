"""Memory of large arrays: reused within a run, given back to the system after work."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt


def keep_large_arrays() -> bool:
    """Let the C library keep freed arrays for the next ones instead of giving each back to the system.

    By default an array above 32 MB comes from the system page by page, cleared, and goes back when it is
    freed: element-wise work on stacks of slices then spends about half of its time on that. For a process
    whose work is one run; `give_back` then returns what is free, where a piece of work is done.

    Returns
    -------
    Whether the C library was told: glibc knows how, others do not.
    """
    told = getattr(_library(), "mallopt", None)
    if told is None:
        return False
    return bool(told(_TRIM_THRESHOLD, 2**31 - 1) and told(_MMAP_THRESHOLD, 2**30))


def give_back() -> None:
    """Return freed memory to the system where the C library would keep it: glibc does, others do not.

    Each thread of work frees into a heap of its own, so that a process with many of them would hold what the
    largest of them took, several times over. Takes some milliseconds; best called where nobody waits.
    """
    trim = getattr(_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _library() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # systems where a process has no library of its own
        return None
