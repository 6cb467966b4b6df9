"""What a process whose work is ours does first."""

from __future__ import annotations

from imagereg.running.allocator import keep_large_arrays
from imagereg.running.lean_start import start_lean


def own_process() -> None:
    """Keep freed arrays for the next ones and start quickly; call it before torchvision is imported."""
    keep_large_arrays()
    start_lean()
