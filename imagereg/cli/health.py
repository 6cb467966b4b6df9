"""What `imagereg doctor` looks at."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from imagereg.cores import usable_cores


class Row(NamedTuple):
    """One line of the report."""

    name: str
    value: str
    good: bool


def examine() -> list[Row]:
    """Python, packages, processors, memory, disk, GPU and display of this machine."""
    from imagereg.provenance import versions
    from imagereg.running.plan import total_memory

    rows = [Row(name, version, True) for name, version in versions().items()]
    rows.append(Row("processor cores", str(usable_cores()), True))
    rows.append(Row("memory", f"{total_memory() / 1e9:.1f} GB", True))
    free = shutil.disk_usage(Path.cwd()).free
    rows.append(Row("free disk here", f"{free / 1e9:.1f} GB", free > 1e9))
    rows.append(_cuda())
    rows.append(_astra())
    for name, use in (
        ("napari", "the plugin: pip install 'imagereg[gui]'"),
        ("dask", "clusters: pip install 'imagereg[dask]'"),
    ):
        present = find_spec(name) is not None
        rows.append(Row(name, "installed" if present else f"not installed (optional, for {use})", True))
    if sys.platform == "linux":
        shown = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        rows.append(Row("display", "present" if shown else "none (only the plugin needs one)", True))
    return rows


def _cuda() -> Row:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Row("GPU", f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free", True)
    return Row("GPU", "none: projectors run on the processor (numba)", True)


def _astra() -> Row:
    if find_spec("astra") is None:
        return Row("ASTRA", "not installed: no GPU projectors", sys.platform == "darwin")
    import torch

    if not torch.cuda.is_available():
        return Row("ASTRA", "installed; its CUDA kernels need a GPU", True)
    import astra

    return Row(
        "ASTRA",
        "CUDA kernels ready" if astra.use_cuda() else "installed without CUDA",
        bool(astra.use_cuda()),
    )
