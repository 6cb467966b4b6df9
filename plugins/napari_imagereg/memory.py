"""Memory that work has freed, given back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Return freed memory to the system where the C library would keep it: glibc does, others do not.

    Each thread of work frees into a heap of its own, so that a session of many previews would hold what the
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
