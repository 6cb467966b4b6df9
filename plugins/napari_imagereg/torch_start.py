"""The first import of torch in a viewer, made safe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from imagereg.running.lean_start import start_lean


def make_torch_safe() -> None:
    """Call before torch or deepinv is imported: keeps triton away where Mesa's software OpenGL is loaded.

    Both bring LLVM, and loading triton's second ends the process with a segmentation fault. torch looks
    for triton and does without it where it is not found; nothing here compiles with it. torchvision's own
    networks, which would look for it too and keep the interpreter for seconds, are left for later.
    """
    start_lean()
    maps = Path("/proc/self/maps")
    if "triton" in sys.modules or not maps.exists():
        return
    if "libLLVM" in maps.read_text(encoding="utf-8", errors="replace"):
        cast("dict[str, Any]", sys.modules)["triton"] = None
