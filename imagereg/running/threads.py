"""How many processor threads the work takes, for torch and numba alike."""

from __future__ import annotations

import os
from functools import cache


def use_threads(threads: int | None) -> None:
    """Work with so many threads from here on; None for as many as there were before the first call.

    Sums over an image are rounded by how the threads part it: work that says nothing of threads must get
    the same number whatever ran before it in the same process. More than the machine has cores are not
    taken, for a recipe may come from a larger machine.
    """
    import numba
    import torch

    all_torch, all_numba = _at_first()
    # Cores of the machine, not of this process: a process that is kept to few of them rounds alike.
    torch.set_num_threads(min(threads, os.cpu_count() or threads) if threads else all_torch)
    numba.set_num_threads(min(threads or all_numba, numba.config.NUMBA_NUM_THREADS))


@cache
def _at_first() -> tuple[int, int]:
    import numba
    import torch

    return torch.get_num_threads(), numba.get_num_threads()
