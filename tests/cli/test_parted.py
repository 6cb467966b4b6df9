"""One coupled volume on two processes equals that of one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagereg.errors import UsageError
from imagereg.io import read
from imagereg.recipe import Recipe
from imagereg.running.local import run
from imagereg.running.processes import Processes
from imagereg.running.reports import InProcess
from imagereg.running.run_on_workers import run_spread
from imagereg.simulation import write_raw_scan

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parted") / "scan.h5"
    write_raw_scan(path, columns=40, rows=7, views=30, seed=5)
    return path


def recipe_of(scan: Path, folder: Path, **method: Any) -> Recipe:
    return Recipe.of_mapping(
        {
            "input": str(scan),
            "preprocess": ["outliers", "flatfield", {"centre": {"column": 20.2}}],
            "physics": {"coupled": True},
            "method": method,
            "execution": {"threads": 1},
            "output": {"folder": str(folder)},
        }
    )


def image(folder: Path) -> np.ndarray[Any, Any]:
    return np.asarray(read(folder / "image.ome.zarr").data[...])


@pytest.mark.parametrize(
    "method",
    [
        {"name": "tv", "iterations": 40},
        {"name": "tv", "iterations": 20, "isotropic": False, "fidelity": "least_squares"},
        {"name": "tikhonov", "iterations": 20},
        {"name": "cgls"},
    ],
    ids=["tv", "anisotropic", "tikhonov", "cgls"],
)
def test_two_processes_give_the_volume_of_one(scan: Path, tmp_path: Path, method: dict[str, Any]) -> None:
    list(run(recipe_of(scan, tmp_path / "one", **method)))
    *rest, last = run_spread(recipe_of(scan, tmp_path / "two", **method), Processes(2, threads=1))
    one, two = image(tmp_path / "one"), image(tmp_path / "two")
    assert one.shape == two.shape == (7, 40, 40)
    assert np.abs(one - two).max() <= 1e-5 * np.ptp(one)
    assert last.result is not None
    assert any(event.stage == "reconstruct" and event.fraction for event in rest)
    accounts = [json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("one", "two")]
    for key, value in accounts[0]["metrics"].items():
        assert accounts[1]["metrics"][key] == pytest.approx(value, rel=1e-4, abs=1e-7)
    assert accounts[0]["iterations"] == accounts[1]["iterations"]


def test_what_cannot_be_parted_is_refused_in_one_sentence(scan: Path, tmp_path: Path) -> None:
    svtv = recipe_of(scan, tmp_path / "a", name="space_variant_tv")
    with pytest.raises(UsageError, match="whole coupled volume in one process"):
        list(run_spread(svtv, Processes(2)))
    with pytest.raises(UsageError, match="processes of one machine"):
        list(run_spread(recipe_of(scan, tmp_path / "b", name="tv"), InProcess()))
    assert not (tmp_path / "a").exists()
