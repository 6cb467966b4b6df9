"""Memory of large arrays, reused within a process."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt


def keep_large_arrays() -> bool:
    """Let the C library keep freed arrays for the next ones instead of giving each back to the system.

    By default an array above 32 MB comes from the system page by page, cleared, and goes back when it is
    freed: element-wise work on stacks of slices then spends about half of its time on that. For a process
    whose work is one run; what it has freed stays with it until it ends.

    Returns
    -------
    Whether the C library was told: that of Linux (glibc) alone knows how.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    kept = library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    return bool(kept and library.mallopt(_MMAP_THRESHOLD, 2**30))
