"""`run` says what is wrong with the data, mends what it safely can, and asks for the rest by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Call


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A raw scan with a dropped view, zingers, and a detector whose columns changed after the flats."""
    from imagereg.simulation import write_raw_scan

    path = tmp_path / "faulty.h5"
    write_raw_scan(path, columns=96, rows=3, views=90, seed=3)
    with h5py.File(path, "r+") as file:
        counts = file["exchange/data"]
        frames = counts[...].astype(np.float64)
        frames *= 1 + 0.08 * np.random.default_rng(0).standard_normal(96)
        frames[40] = 0
        frames[[10, 60], [0, 2], [30, 70]] *= 40
        counts[...] = np.clip(frames, 0, np.iinfo(counts.dtype).max if counts.dtype.kind in "iu" else None)
    return path


def test_run_prints_what_check_prints_and_mends_what_is_safe(imagereg: Call, faulty: Path) -> None:
    told = json.loads(imagereg("check", faulty, "--json").stdout.splitlines()[-1])
    done = imagereg("run", faulty, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert len(told["findings"]) >= 3
    for finding in told["findings"]:
        assert finding in done.stdout
    account = json.loads((faulty.parent / "out" / "provenance.json").read_text())
    assert account["findings"] == told["findings"]
    recipe = yaml.safe_load((faulty.parent / "out" / "recipe.yaml").read_text())
    names = [next(iter(step)) for step in recipe["preprocess"]]
    assert names == ["bad_views", "outliers", "flatfield", "centre"]
    assert "bad_views of this run mends it" in done.stdout and "views 40" in done.stdout
    assert "the step rings would mend it and is not in this run: ask for it" in done.stdout
    assert "method              fbp, the default for these data: " in done.stdout


def test_steps_that_were_asked_for_are_taken_as_they_are(imagereg: Call, faulty: Path) -> None:
    words = ("run", faulty, "-o", "out", "-m", "fbp", "-p", "flatfield", "-p", "rings")
    done = imagereg(*words)
    assert done.returncode == 0, done.stderr
    assert "the step bad_views would mend it and is not in this run" in done.stdout
    assert "the step rings of this run mends it" in done.stdout
    assert "method              fbp, as asked" in done.stdout


def test_an_image_compared_with_itself(imagereg: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.random.default_rng(0).random((24, 24)).astype(np.float32))
    done = imagereg("compare", "one.npy", "one.npy", "--json", "-o", "both.png")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["first_to_second"]["rmse"] == 0
    assert (tmp_path / "both.png").stat().st_size > 0


def test_what_is_not_known_has_no_millimetres(imagereg: Call, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "scan.npy", rng.random((40, 32)).astype(np.float32) + 1)
    hint = ("--hint", "angles=linspace(0,180,N)", "-p", "none", "-m", "fbp")
    for name, more in (("px", ()), ("mm", ("--hint", "pixel=0.01"))):
        assert imagereg("run", "scan.npy", *hint, *more, "-o", name).returncode == 0
    import zarr

    units = [
        [axis.get("unit") for axis in zarr.open(tmp_path / name / "image.ome.zarr", mode="r").attrs["ome"][
            "multiscales"][0]["axes"]]
        for name in ("px", "mm")
    ]  # fmt: skip
    assert units == [[None, None], ["millimeter", "millimeter"]]
