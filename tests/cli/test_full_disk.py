"""A run on a disk that fills up: one sentence, finished slabs stay, and the same command ends it later."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagereg.io import read
from imagereg.recipe import Recipe
from imagereg.running.local import run
from imagereg.simulation import write_raw_scan

pytestmark = pytest.mark.alone


def image(folder: Path) -> np.ndarray[Any, Any]:
    return np.asarray(read(folder / "image.ome.zarr").data[...])


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Eight slabs of 16 kB each, and an image whose only chunk has 130 kB."""
    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=8, views=30, seed=2)
    return Recipe.of_mapping(
        {
            "input": str(tmp_path / "scan.h5"),
            "preprocess": ["flatfield", {"centre": {"column": 31.4}}],
            "execution": {"slab": 1, "threads": 1},
            "output": {"folder": str(tmp_path / "whole")},
        }
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of 200 kB: room for the slabs, and not for the image beside them."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def refused(recipe: Recipe, folder: Path, *more: str, **limits: Any) -> list[str]:
    """Call the command line, which must end with a sentence and code 4; its words, to call it again."""
    list(run(recipe))  # also fills the caches of compiled kernels, which are files too
    path = Path(recipe.output.folder).parent / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    words = [sys.executable, "-m", "imagereg", "run", str(path), "--json", "-o", str(folder), *more]
    failed = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, **limits)
    assert failed.returncode == 4, failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr
    assert "space" in failed.stderr or "disk is full" in failed.stderr
    assert not (folder / "image.ome.zarr").exists()
    return words


def goes_on(words: list[str], folder: Path, whole: Path, slabs: int) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert next(e for e in events if e["event"] == "plan")["resumed"] == slabs
    np.testing.assert_array_equal(image(folder), image(whole))


def test_a_limit_of_file_size(recipe: Recipe, tmp_path: Path) -> None:
    words = refused(recipe, tmp_path / "out", preexec_fn=no_large_files)
    assert len(list((tmp_path / "out" / ".partial").glob("slab-*.json"))) == 8
    goes_on(words, tmp_path / "out", tmp_path / "whole", 8)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_file_system(recipe: Recipe, tmp_path: Path, small_disk: Path, workers: str) -> None:
    words = refused(recipe, small_disk / "out", "--workers", workers)
    kept = len(list((small_disk / "out" / ".partial").glob("slab-*.json")))
    assert kept >= 4
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    goes_on(words, small_disk / "out", tmp_path / "whole", kept)
