"""What every test may ask for."""

from __future__ import annotations

import os
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
