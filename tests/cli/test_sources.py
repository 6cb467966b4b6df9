"""No output takes the place of what a run reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr

if TYPE_CHECKING:
    from conftest import Call

PICTURE = np.random.default_rng(0).uniform(size=(24, 24)).astype(np.float32)


def refused(done: object, path: Path, before: bytes) -> None:
    assert done.returncode == 2, done.stderr  # type: ignore[attr-defined]
    assert "choose another folder with -o" in done.stderr  # type: ignore[attr-defined]
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["plainly", "by a link to the folder", "by a link to the file"])
def test_the_input_is_not_overwritten_by_the_image(imagereg: Call, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    raw = folder / "image.tif"
    tifffile.imwrite(raw, PICTURE)
    source, out = raw, folder
    if how == "by a link to the folder":
        out = tmp_path / "link"
        out.symlink_to(folder)
    elif how == "by a link to the file":
        source = tmp_path / "elsewhere.tif"
        source.symlink_to(raw)
    before = raw.read_bytes()
    refused(imagereg("run", source, "--iterations", "3", "-o", out, "--overwrite"), raw, before)
    assert sorted(path.name for path in folder.iterdir()) == ["image.tif"]


def test_a_kernel_or_mask_is_not_overwritten_either(imagereg: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", PICTURE)
    out = tmp_path / "out"
    out.mkdir()
    mask = out / "image.tif"
    tifffile.imwrite(mask, (PICTURE > 0.2).astype(np.uint8))
    before = mask.read_bytes()
    words = ("run", tmp_path / "data.npy", "--method", "tv", "--set", "physics.kind=inpainting")
    done = imagereg(*words, "--set", f"physics.mask={mask}", "-o", out, "--overwrite")
    refused(done, mask, before)


def test_nothing_is_written_into_a_store_that_is_read(imagereg: Call, tmp_path: Path) -> None:
    store = tmp_path / "z.zarr"
    zarr.create_array(store, data=PICTURE)
    before = sorted(str(path) for path in store.rglob("*"))
    for out in (store, store / "inside"):
        done = imagereg("run", store, "--iterations", "3", "-o", out)
        assert done.returncode == 2
        assert "among the files of the input" in done.stderr
    assert sorted(str(path) for path in store.rglob("*")) == before


def test_a_folder_of_its_own_beside_the_data_is_welcome(imagereg: Call, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", PICTURE)
    done = imagereg("run", tmp_path / "image.tif", "--iterations", "3", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["replaced", "written to"])
def test_an_input_that_changes_during_a_run_ends_it_and_keeps_what_is_done(tmp_path: Path, how: str) -> None:
    from imagereg.errors import InputError
    from imagereg.recipe import Recipe
    from imagereg.running.local import run

    path = tmp_path / "stack.npy"
    np.save(path, np.stack([PICTURE] * 4))
    plain = {
        "input": str(path),
        "method": {"name": "tv", "iterations": 3},
        "execution": {"slab": 1, "threads": 1},
        "output": {"folder": str(tmp_path / "out")},
    }
    seen = 0
    with pytest.raises(InputError, match="was changed or replaced while it was read") as caught:
        for event in run(Recipe.of_mapping(plain)):
            seen += event.stage == "reconstruct"
            if event.stage == "reconstruct" and seen == 4:  # the second slab
                other = np.stack([2 * PICTURE] * 4)
                if how == "replaced":
                    np.save(tmp_path / "other.npy", other)
                    (tmp_path / "other.npy").replace(path)
                else:
                    np.save(path, other)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out" / "provenance.json").exists()
    slabs = list((tmp_path / "out" / ".partial").glob("*.npy"))
    np.testing.assert_allclose(np.load(slabs[0]).max(), PICTURE.max(), rtol=0.5)


def test_a_run_reads_its_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    import imagereg.io
    import imagereg.preprocessing
    from imagereg.cli.app import app
    from imagereg.running import prepared_run
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=32, rows=1, views=24, seed=1)
    calls: list[str] = []

    def counted(name: str, function: Any) -> Any:
        def call(*values: Any, **named: Any) -> Any:
            calls.append(name)
            return function(*values, **named)

        return call

    monkeypatch.setattr(imagereg.io, "read", counted("read", imagereg.io.read))
    looked = counted("health", imagereg.preprocessing.health)
    monkeypatch.setattr(imagereg.preprocessing, "health", looked)
    monkeypatch.setattr(prepared_run, "health", looked)
    asked = ["run", str(tmp_path / "scan.h5"), "--method", "fbp", "-o", str(tmp_path / "out")]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    assert sorted(calls) == ["health", "read"]


def test_what_was_read_is_not_taken_for_a_file_that_changed(tmp_path: Path) -> None:
    from imagereg.cli.options import build_recipe
    from imagereg.running.setup import load_input

    path = tmp_path / "picture.npy"
    np.save(path, np.zeros((8, 8), np.float32))
    recipe, opened = build_recipe(path)
    assert opened is not None and opened.holds(recipe)
    assert load_input(recipe, opened) is opened.measurement
    assert not opened.holds(recipe.with_values({"input.hints.pixel": 0.5}))
    np.save(path, np.ones((9, 8), np.float32))
    assert load_input(recipe, opened).data.shape[-2:] == (9, 8)
