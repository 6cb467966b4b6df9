"""Recipe -> workbench -> recipe is the identity, for every field that the schema has."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from napari_imagereg.session import Session
from pydantic import BaseModel

from imagereg.physics.registry import kinds
from imagereg.recipe import Recipe

SCAN = {"input.path": "scan.npz", "preprocess": [{"flatfield": {}}]}
IMAGE = {"input.path": "image.npy", "method": {"name": "tv"}}

FIELDS: dict[str, dict[str, Any]] = {
    "version": {"version": 1, **SCAN},
    "input.path": {**SCAN},
    "input.format": {"input.format": "npz", **SCAN},
    "input.views": {"input.views": "::2", **SCAN},
    "input.rows": {"input.rows": "1:5:2", **SCAN},
    "input.hints": {"input.hints": {"pixel": 0.25, "centre": 13.5}, **SCAN},
    "preprocess": {
        **SCAN,
        "preprocess": [{"outliers": {}}, {"centre": {"column": 14.123456, "search": 0.2}}, {"bin": {}}],
    },
    "physics.kind": {**IMAGE, "physics": {"kind": "inpainting", "mask": "image.npy"}},
    "physics.volume.shape": {**SCAN, "physics.volume": {"shape": [20, 24], "voxel": 1.0}},
    "physics.volume.voxel": {**SCAN, "physics.volume": {"shape": [20, 24], "voxel": [1.0, 0.5]}},
    "physics.volume.centre": {
        **SCAN,
        "physics.volume": {"shape": [20, 24], "voxel": 1.0, "centre": [1.0, -2.0]},
    },
    "physics.cover": {**SCAN, "physics.cover": False},
    "physics.coupled": {**SCAN, "physics.coupled": True, "method": {"name": "tv"}},
    "physics.blur": {**IMAGE, "physics": {"kind": "blur", "blur": 0.0512345}},
    "physics.kernel": {**IMAGE, "physics": {"kind": "blur", "kernel": "kernel.npy"}},
    "physics.mask": {**IMAGE, "physics": {"kind": "inpainting", "mask": "image.npy"}},
    "physics.factor": {**IMAGE, "physics": {"kind": "downsampling", "factor": 3}},
    "physics.noise": {**IMAGE, "physics.noise": {"name": "gaussian", "sigma": 0.0123456789}},
    "method.name": {**SCAN, "method": {"name": "sirt", "iterations": 7}},
    "method.preset": {**SCAN, "method": {"name": "tv", "preset": "learned.yaml", "strength": 0.01}},
    "uncertainty.source": {**SCAN, "uncertainty": {"source": "noise"}},
    "uncertainty.runs": {**SCAN, "uncertainty": {"source": "seeds", "runs": 7}},
    "uncertainty.level": {**SCAN, "uncertainty": {"source": "bootstrap", "level": 0.8}},
    "uncertainty.calibration": {**SCAN, "uncertainty": {"source": "noise", "calibration": "c.json"}},
    "output.folder": {**SCAN, "output.folder": "results"},
    "output.formats": {**SCAN, "output.formats": ["hdf5", "npy"]},
    "output.history": {**SCAN, "output.history": False},
    "execution.device": {**SCAN, "execution.device": "cuda:1"},
    "execution.precision": {**SCAN, "execution.precision": "float64"},
    "execution.backend": {**SCAN, "execution.backend": "numba"},
    "execution.threads": {**SCAN, "execution.threads": 1},
    "execution.seed": {**SCAN, "execution.seed": 11},
    "execution.slab": {**SCAN, "execution.slab": 2},
    "execution.memory": {**SCAN, "execution.memory": 0.25},
}
"""For each field of a recipe the values, by dotted name, of a recipe that has it."""


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields, those of the sections inside."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        inner = [kind for kind in kinds if issubclass(kind, BaseModel)]
        if inner:
            yield from fields_of(inner[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def recipe_of(name: str, folder: Path) -> Recipe:
    """The recipe of a field, read from its file as a dropped one is."""
    plain: dict[str, Any] = {}
    for key, value in FIELDS[name].items():
        *path, last = key.split(".")
        node = plain
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    path = folder / "recipe.yaml"
    path.write_text(Recipe.parse(_text(plain), folder=folder).to_yaml())
    return Recipe.load(path)


def _text(plain: dict[str, Any]) -> str:
    from imagereg import yaml_text

    return yaml_text.dump(plain)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "scan.npz",
        projections=rng.integers(500, 900, (12, 6, 28)).astype(np.uint16),
        angles=np.linspace(0, np.pi, 12, endpoint=False),
        flats=np.full((3, 6, 28), 1000, dtype=np.uint16),
        darks=np.zeros((3, 6, 28), dtype=np.uint16),
    )
    np.save(tmp_path / "image.npy", rng.random((16, 16), dtype=np.float32))
    np.save(tmp_path / "kernel.npy", np.ones((3, 3), dtype=np.float32))
    (tmp_path / "learned.yaml").write_text("method: tv\nparameters: {strength: 0.03, iterations: 40}\n")
    return tmp_path


def test_no_field_is_forgotten() -> None:
    of_kinds = {f"physics.{name}" for kind in kinds().values() for name in kind.model_fields}
    assert set(FIELDS) == set(fields_of(Recipe)) | of_kinds


@pytest.mark.parametrize("name", FIELDS)
def test_a_session_gives_back_what_it_loads(name: str, folder: Path) -> None:
    recipe = recipe_of(name, folder)
    session = Session()
    session.load(recipe)
    assert session.recipe() == recipe
    # Also after another one, and without the file.
    other = recipe_of("execution.seed", folder)
    session.load(other)
    assert session.recipe() == other
    session.load(recipe)
    assert session.recipe() == recipe
    gone = Session()
    lost = recipe.with_values({"input.path": str(folder / "gone.npz")})
    gone.load(lost)
    assert gone.recipe() == lost


@pytest.mark.parametrize("name", FIELDS)
def test_the_copied_command_says_every_field(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    from typer.testing import CliRunner

    from imagereg.cli import app

    run = importlib.import_module("imagereg.cli.run")

    recipe = recipe_of(name, folder)
    session = Session()
    session.load(recipe)
    understood: list[Recipe] = []
    build = run.build_recipe

    def note(*args: Any, **kwargs: Any) -> Recipe:
        understood.append(build(*args, **kwargs)[0])
        raise SystemExit

    monkeypatch.setattr(run, "build_recipe", note)
    words = shlex.split(session.as_text("CLI"))
    monkeypatch.chdir(folder)
    CliRunner().invoke(app, words[1:])
    (again,) = understood
    assert again.resolved().model_copy(update={"output": None}) == recipe.resolved().model_copy(
        update={"output": None}
    )
    assert again.output.formats == recipe.output.formats
    assert again.output.history == recipe.output.history
    compile(session.as_text("Python"), "recipe.py", "exec")


@pytest.mark.parametrize(
    "name",
    ["input.views", "input.rows", "physics.kernel", "physics.blur", "physics.noise", "method.preset",
     "uncertainty.level", "output.formats", "execution.device"],
)  # fmt: skip
def test_the_dock_shows_a_recipe_and_an_edit_changes_nothing_else(
    viewer: Any, workbench: Any, folder: Path, name: str
) -> None:
    recipe = recipe_of(name, folder)
    workbench.open_recipe(folder / "recipe.yaml")
    assert workbench.footer.error() == ""
    session = workbench.session
    assert session.recipe() == recipe
    main = session.fitting()[session.method].main
    edited = "window" if session.method == "fbp" else "iterations"
    assert main in workbench.method.form.values() or not main
    workbench.method.form.set_values({edited: "hann" if edited == "window" else 33})
    workbench.method.error_bars.edited.emit()
    workbench.physics.image.noise.edited.emit()
    expected = recipe.with_values({edited: "hann" if edited == "window" else 33})
    assert session.recipe() == expected


def test_rows_and_views_are_seen_changed_and_honoured(
    viewer: Any, workbench: Any, qtbot: Any, folder: Path
) -> None:
    from imagereg.running.local import run

    recipe_of("input.rows", folder)
    workbench.open_recipe(folder / "recipe.yaml")
    session, part = workbench.session, workbench.data.part
    assert part.part() == (None, "1:5:2")
    assert session.measurement.rows == 2
    assert session.whole.rows == 6
    assert viewer.layers[0].data.shape[1] == 6
    workbench.preview._slice.setValue(1)
    assert session.row_of_file() == 3
    assert "row 3" in workbench.preview._slice.text()
    part.choose(views="::3", rows="2:5")
    assert session.row == 1
    assert session.row_of_file() == 3
    assert session.measurement.data.shape == (4, 3, 28)
    assert "a part of" in workbench.data._facts.text()
    part.choose(views="::3", rows="9:12")
    assert "select" in workbench.footer.error()
    assert part.part() == ("::3", "2:5")
    # The preview is that row of the volume, bit for bit.
    workbench.explorer.start_preview()
    qtbot.waitUntil(lambda: bool(session.runs) or bool(workbench.footer.error()), timeout=60000)
    assert workbench.footer.error() == ""
    shown = viewer.layers[session.runs[0].layer].data
    made = Recipe.parse(session.runs[0].recipe)
    assert (made.input.views, made.input.rows) == ("::3", "3:4")
    for rows, place in (("3:4", 0), ("2:5", 1)):
        again = made.with_values({"input.rows": rows, "output.folder": str(folder / f"out{place}")})
        *_, last = run(again)
        assert last.result is not None
        assert np.array_equal(np.asarray(last.result.image)[place], shown)
    part.choose()
    assert session.recipe().input.rows is None
    assert session.measurement is session.whole


def test_a_part_of_a_layer_without_a_file_is_run_as_a_volume(
    viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path
) -> None:
    stack = np.random.default_rng(0).random((4, 16, 18), dtype=np.float32)
    workbench.data.use_layer(viewer.add_image(stack, name="stack"))
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 3})
    workbench.data.part.choose(rows="1:3")
    workbench.runner.start(tmp_path / "out")
    qtbot.waitUntil(lambda: bool(workbench.session.runs) or bool(workbench.footer.error()), timeout=90000)
    assert workbench.footer.error() == ""
    assert viewer.layers[workbench.session.runs[0].layer].data.shape == (2, 16, 18)


def test_a_recipe_whose_scan_is_gone_says_so(workbench: Any, folder: Path) -> None:
    recipe_of("method.name", folder)
    (folder / "scan.npz").unlink()
    workbench.open_recipe(folder / "recipe.yaml")
    assert "scan.npz is not there" in workbench.footer.error()
    assert workbench.session.method == "sirt"
