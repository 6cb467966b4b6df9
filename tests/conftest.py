"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real scans; its place is the setting IMAGEREG_SHARED, by default beside the project."""
    default = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("IMAGEREG_SHARED", default)) / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder of real scans at {folder}: set IMAGEREG_SHARED")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Problems that are so small that they only lose by waking other threads."""
    import numba
    import torch

    threads, compiled = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    numba.set_num_threads(compiled)
