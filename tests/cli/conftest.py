"""A small raw scan, and a way to call the command line as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw scan of 60 views, 3 rows, 96 columns (Data Exchange)."""
    from imagereg.simulation import write_raw_scan

    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    write_raw_scan(path, columns=96, rows=3, views=60, seed=3)
    return path


@pytest.fixture
def imagereg(tmp_path: Path) -> Call:
    """Call `imagereg` in an empty folder; returns the finished process with its texts."""

    def call(
        *words: str | Path, cwd: Path = tmp_path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "imagereg", *map(str, words)],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """The worker processes of this one, asked anew at each call."""

    def now() -> set[int]:
        found = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False)
        return {int(word) for word in found.stdout.split()}

    return now
