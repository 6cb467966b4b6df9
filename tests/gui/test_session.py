"""The session, without Qt: what fits, recipes there and back, runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari_imagereg.session import Session

from imagereg.geometry import ParallelBeam
from imagereg.measurement import Measurement
from imagereg.recipe import Recipe


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    from imagereg.simulation import write_raw_scan

    path = tmp_path / "scan.h5"
    write_raw_scan(path, columns=64, rows=2, views=40, seed=1)
    return path


def test_a_scan_brings_its_steps_and_method(scan_file: Path) -> None:
    from imagereg.io import read

    session = Session()
    session.take(read(scan_file), path=scan_file)
    assert session.task == "tomography"
    assert [next(iter(step)) for step in session.steps][:1] == ["flatfield"]
    assert session.refusals()[session.method] == ""
    assert "cone" in session.refusals()["fdk"]
    session.steps = []
    assert "counts" in session.refusals()["fbp"]


def test_an_image_is_denoised_and_keeps_its_task(scan_file: Path) -> None:
    session = Session()
    session.take(Measurement(np.zeros((8, 8), dtype=np.float32)))
    assert session.task == "denoise"
    assert session.refusals()["fbp"]
    assert session.refusals()["tv"] == ""
    assert session.recipe().physics.kind == "identity"


def test_recipe_to_session_and_back_is_the_identity(scan_file: Path) -> None:
    recipe = Recipe.of_mapping(
        {
            "input": {"path": str(scan_file), "hints": {"pixel": 0.01}},
            "preprocess": [{"flatfield": {}}, {"centre": {"column": 30.5}}],
            "physics": {"volume": {"shape": [48, 48], "voxel": 0.01}},
            "method": {"name": "tv", "strength": 0.3},
            "output": {"folder": "out"},
            "execution": {"seed": 3, "precision": "float64", "threads": 1, "slab": 1},
        }
    )
    session = Session()
    session.load(recipe)
    again = session.recipe(folder="out")
    assert again.sha256 == recipe.sha256
    assert again.execution == recipe.execution
    assert session.centre == 30.5


def test_the_recipe_as_cli_python_and_yaml(scan_file: Path) -> None:
    from imagereg.io import read

    session = Session()
    session.take(read(scan_file), path=scan_file)
    session.choose_method("tv")
    session.set_parameters({"strength": 0.5})
    command = session.as_text("CLI")
    assert command.startswith("imagereg run ")
    assert "strength=0.5" in command
    compile(session.as_text("Python"), "recipe.py", "exec")
    assert Recipe.parse(session.as_text("YAML")).sha256 == session.recipe().sha256


def test_tags_belong_to_one_run_each() -> None:
    session = Session()
    for layer in ("a", "b"):
        session.add_run(
            method="fbp",
            parameters={},
            iterations=1,
            seconds=0.1,
            residual=0.1,
            metrics={},
            layer=layer,
            recipe="",
        )
    session.update_run(1, tag="A")
    session.update_run(2, tag="A")
    tagged = session.tagged("A")
    assert tagged is not None
    assert tagged.layer == "b"
    assert [run.tag for run in session.runs] == ["", "A"]
    session.remove_run(2)
    assert session.tagged("A") is None


def test_layers_of_scans_and_results_share_a_unit() -> None:
    from napari_imagereg.layers import measurement_keywords, result_keywords

    geometry = ParallelBeam(np.linspace(0, np.pi, 10), 16, pixel=0.5, rows=3)
    scan = Measurement(np.zeros((10, 3, 16), dtype=np.float32), geometry=geometry)
    raw = measurement_keywords(scan, name="scan")
    result = result_keywords(np.zeros((3, 16, 16)), scan, name="image")
    assert raw["units"] == result["units"] == ("mm",) * 3
    assert result["scale"] == (0.5, 0.5, 0.5)


def test_new_data_leave_the_physics_of_the_old_behind(scan_file: Path) -> None:
    from imagereg.io import read

    session = Session()
    image = Measurement(np.zeros((8, 8), dtype=np.float32))
    session.take(image)
    session.task = "deblur"
    session.physics = {"blur": 2.0, "noise": {"name": "gaussian", "sigma": 0.1}}
    session.take(image)
    assert session.physics == {"blur": 2.0}
    session.take(read(scan_file), path=scan_file)
    assert session.physics == {}
    assert session.recipe().physics.kind == "auto"
