"""Ways through the workbench beyond the first preview: findings, suggestions, recipes, errors, placement."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari_imagereg import samples

from imagereg.errors import ResourceError
from imagereg.recipe import Recipe


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    from imagereg.simulation import write_raw_scan

    path = tmp_path / "scan.h5"
    write_raw_scan(path, columns=64, rows=3, views=40, seed=1)
    return path


def wait_for_run(workbench: Any, qtbot: Any, count: int = 1) -> Any:
    qtbot.waitUntil(
        lambda: len(workbench.session.runs) >= count or bool(workbench.footer.error()), timeout=120000
    )
    assert workbench.footer.error() == ""
    return workbench.session.runs[-1]


def test_a_scan_that_is_opened_is_taken_and_checked(
    viewer: Any, workbench: Any, qtbot: Any, scan_file: Path
) -> None:
    from napari_imagereg.readers import get_reader

    reader = get_reader(str(scan_file))
    assert reader is not None
    data, keywords, _ = reader(str(scan_file))[0]
    viewer.add_image(data, **keywords)
    assert workbench.session.path == scan_file
    qtbot.waitUntil(lambda: "checking" not in workbench.data.state(), timeout=30000)
    assert workbench.data.state()


def test_a_finding_is_mended_by_its_button(viewer: Any, workbench: Any, qtbot: Any) -> None:
    from qtpy.QtWidgets import QPushButton

    data, keywords, _ = samples.shepp_logan()[0]
    from dataclasses import replace

    from napari_imagereg.layers import measurement_keywords

    bad = np.array(data)
    bad[3, 5] = np.nan
    scan = replace(keywords["metadata"]["imagereg"]["measurement"], data=bad)
    viewer.add_image(bad, **measurement_keywords(scan, name="bad"))
    qtbot.waitUntil(lambda: "checking" not in workbench.data.state(), timeout=30000)

    def fixes() -> list[Any]:
        buttons = workbench.data.findChildren(QPushButton)
        return [button for button in buttons if button.text() == "Fix" and "outliers" in button.toolTip()]

    (button,) = fixes()
    button.click()
    assert {"outliers": {}} in workbench.session.steps
    qtbot.wait(10)
    assert not fixes()


def test_suggest_finds_a_strength_with_its_curve(viewer: Any, workbench: Any, qtbot: Any) -> None:
    noisy = samples.noisy()[0][0][80:160, 80:160]
    workbench.data.use_layer(viewer.add_image(noisy, name="noisy"))
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 60})
    before = workbench.method.form.values()["strength"]
    workbench.prober.suggest()
    qtbot.waitUntil(lambda: not workbench.explorer.job.running, timeout=90000)
    assert workbench.footer.error() == ""
    found = workbench.method.form.values()["strength"]
    assert found != before
    (curve,) = workbench.method.curve.curves.values()
    assert len(curve) >= 3
    assert min(x for x, _ in curve) <= found <= max(x for x, _ in curve)


def test_a_step_is_looked_at_before_and_after(
    viewer: Any, workbench: Any, qtbot: Any, scan_file: Path
) -> None:
    workbench.data.open_path(scan_file)
    workbench.session.steps.append({"rings": {}})
    workbench.session.steps_changed.emit()
    workbench.prober.look_at_step("rings")
    qtbot.waitUntil(lambda: "rings difference" in viewer.layers, timeout=30000)
    before, after = (viewer.layers[f"rings {word}"].data for word in ("before", "after"))
    assert np.allclose(viewer.layers["rings difference"].data, after - before)
    # Counts and line integrals have no difference.
    workbench.prober.look_at_step("flatfield")
    qtbot.waitUntil(lambda: "flatfield after" in viewer.layers, timeout=30000)
    assert "flatfield difference" not in viewer.layers
    assert viewer.layers.units is not None


def test_the_account_of_a_result_is_in_its_layer(
    viewer: Any, workbench: Any, qtbot: Any, scan_file: Path
) -> None:
    workbench.data.open_path(scan_file)
    workbench.explorer.start_preview()
    run = wait_for_run(workbench, qtbot)
    account = viewer.layers[run.layer].metadata["imagereg"]
    assert account["method"] == "fbp"
    assert len(account["preprocess"]) == len(workbench.session.steps)
    assert account["versions"]["imagereg"]
    assert "method" in account["recipe"]


@pytest.mark.parametrize("ndim", [2, 3])
def test_results_lie_where_their_layer_lies(viewer: Any, workbench: Any, qtbot: Any, ndim: int) -> None:
    noisy = samples.noisy()[0][0][:40, :48]
    data = noisy if ndim == 2 else np.stack([noisy, noisy, noisy])
    layer = viewer.add_image(
        data,
        name="placed",
        scale=(2.0, 0.5, 0.25)[-ndim:],
        translate=(7.0, 3.0, -4.0)[-ndim:],
        rotate=30 if ndim == 2 else np.eye(3),
        units=("um",) * ndim,
        axis_labels=("z", "row", "column")[-ndim:],
    )
    workbench.data.use_layer(layer)
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 5})
    workbench.explorer.start_preview()
    run = wait_for_run(workbench, qtbot)
    result = viewer.layers[run.layer]
    assert result.ndim == 2
    corner = np.array([11.0, 17.0])
    expected = layer.data_to_world((*(0.0,) * (ndim - 2), *corner))[-2:]
    assert np.allclose(result.data_to_world(corner), expected)
    assert [str(unit) for unit in result.units] == [str(unit) for unit in layer.units[-2:]]
    assert tuple(result.axis_labels) == tuple(layer.axis_labels[-2:])


def test_colour_stays_colour(viewer: Any, workbench: Any, qtbot: Any) -> None:
    noisy = samples.noisy()[0][0][:32, :40].clip(0, 1)
    layer = viewer.add_image(np.stack([noisy, noisy, 1 - noisy], -1), rgb=True, name="colour")
    workbench.data.use_layer(layer)
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 5})
    workbench.explorer.start_preview()
    run = wait_for_run(workbench, qtbot)
    result = viewer.layers[run.layer]
    assert result.rgb
    assert result.data.shape == (32, 40, 3)


def test_lazy_stacks_are_previewed_slice_by_slice(viewer: Any, workbench: Any, qtbot: Any) -> None:
    import dask.array

    noisy = samples.noisy()[0][0][:32, :40]
    layer = viewer.add_image(dask.array.from_array(np.stack([noisy] * 4), chunks=(1, 32, 40)), name="lazy")
    workbench.data.use_layer(layer)
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 5})
    workbench.explorer.start_preview()
    run = wait_for_run(workbench, qtbot)
    assert viewer.layers[run.layer].data.shape == (32, 40)


def test_a_large_slice_is_previewed_on_a_coarser_grid(
    viewer: Any, workbench: Any, qtbot: Any, scan_file: Path
) -> None:
    from napari_imagereg.settings import Settings

    workbench.data.open_path(scan_file)
    workbench.explorer.settings = Settings(preview_size=32)
    workbench.explorer.start_preview()
    run = wait_for_run(workbench, qtbot)
    layer = viewer.layers[run.layer]
    assert layer.data.shape == (32, 32)
    assert np.allclose(layer.scale, 2 * workbench.session.measurement.geometry.pixel)
    assert any("coarser" in note for note in layer.metadata["imagereg"]["notes"])


def test_the_copied_command_gives_the_previewed_image(
    viewer: Any, workbench: Any, qtbot: Any, scan_file: Path, tmp_path: Path
) -> None:
    workbench.data.open_path(scan_file)
    workbench.session.centre = 31.5
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 8, "strength": 0.04})
    workbench.session.row = 1
    workbench.explorer.start_preview()
    run = wait_for_run(workbench, qtbot)
    shown = viewer.layers[run.layer].data
    recipe = Recipe.parse(run.recipe)
    command = shlex.split(workbench.session.as_text("CLI", recipe))
    assert "1:2" in command
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    import tifffile

    assert np.array_equal(np.squeeze(tifffile.imread(tmp_path / "out" / "image.tif")), shown)
    script = workbench.session.as_text("Python", recipe.with_values({"output.folder": str(tmp_path / "py")}))
    (tmp_path / "py").mkdir()
    names: dict[str, Any] = {}
    exec(compile(script, "script.py", "exec"), names)
    assert np.array_equal(np.squeeze(np.asarray(names["result"].image)), shown)


def test_a_recipe_that_is_dropped_restores_the_workbench(
    viewer: Any, workbench: Any, scan_file: Path, tmp_path: Path
) -> None:
    from napari_imagereg.readers import get_reader

    recipe = Recipe.of_mapping(
        {"input": str(scan_file), "preprocess": ["flatfield"], "method": {"name": "tv", "strength": 0.07}}
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    (tmp_path / "other.yaml").write_text("name: something else\n")
    assert get_reader(str(tmp_path / "other.yaml")) is None
    reader = get_reader(str(path))
    assert reader is not None
    data, keywords, _ = reader(str(path))[0]
    viewer.add_image(data, **keywords)
    assert workbench.footer.error() == ""
    assert workbench.session.recipe().sha256 == recipe.sha256
    assert workbench.method.form.values()["strength"] == 0.07


def test_out_of_memory_offers_ways_out(
    viewer: Any, workbench: Any, qtbot: Any, scan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_imagereg import explorer

    def looks(*_: Any, **__: Any) -> Any:
        raise ResourceError("tv ran out of memory; take fewer rows.")
        yield

    monkeypatch.setattr(explorer, "preview_looks", looks)
    workbench.data.open_path(scan_file)
    workbench.explorer.start_preview()
    qtbot.waitUntil(lambda: bool(workbench.footer.error()), timeout=30000)
    assert "memory" in workbench.footer.error()
    assert workbench.footer.offers_ways_out()
    monkeypatch.undo()
    workbench.footer.use_cpu.emit()
    wait_for_run(workbench, qtbot)
    assert workbench.session.device == "cpu"
    assert not workbench.footer.offers_ways_out()


def test_the_source_may_be_deleted_while_a_preview_runs(viewer: Any, workbench: Any, qtbot: Any) -> None:
    layer = viewer.add_image(samples.noisy()[0][0][:64, :64], name="noisy")
    workbench.data.use_layer(layer)
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 200})
    workbench.explorer.start_preview()
    viewer.layers.remove(layer)
    wait_for_run(workbench, qtbot)


def test_a_layer_without_a_file_is_run_as_a_volume_too(
    viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path
) -> None:
    data, keywords, _ = samples.sparse_fan()[0]
    viewer.add_image(data, **keywords)
    geometry = workbench.session.measurement.geometry
    workbench.session.steps = []  # the axis stays where the layer has it
    workbench.runner.start(tmp_path / "out")
    workbench.runner.start(tmp_path / "again")
    assert "cancel it or wait" in workbench.footer.error()
    workbench.footer.show_error("")
    run = wait_for_run(workbench, qtbot)
    assert viewer.layers[run.layer].metadata["imagereg"]["geometry"] == str(geometry)


def test_a_volume_is_cancelled(viewer: Any, workbench: Any, qtbot: Any, scan_file: Path) -> None:
    workbench.data.open_path(scan_file)
    workbench.session.choose_method("sirt")
    workbench.method.form.set_values({"iterations": 100_000})
    workbench.runner.start(scan_file.parent / "out")
    qtbot.waitUntil(lambda: "iteration" in workbench.footer.text(), timeout=60000)
    workbench.footer.cancel_button.click()
    qtbot.waitUntil(lambda: not workbench.runner.job.running, timeout=20000)
    assert workbench.footer.error() == ""
    assert "cancelled" in workbench.footer.text()


def test_every_control_says_what_it_is_for(viewer: Any, workbench: Any) -> None:
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QSlider

    workbench.set_level("Advanced")
    silent = [
        f"{type(part).__name__} {getattr(part, 'text', lambda: '')()} in {type(part.parent()).__name__}"
        for kind in (QAbstractButton, QComboBox, QSlider, QAbstractSpinBox)
        for part in workbench.findChildren(kind)
        if not part.toolTip() and not part.parent().toolTip() and not part.objectName().startswith("qt_")
    ]
    assert not silent, silent


@pytest.mark.parametrize("command", ["denoise", "deblur", "simulate"])
def test_the_menu_commands_work_on_the_chosen_layer(viewer: Any, qtbot: Any, command: str) -> None:
    from napari_imagereg import actions

    layer = viewer.add_image(samples.noisy()[0][0][:24, :24], name="noisy", scale=(2.0, 2.0))
    viewer.layers.selection.active = layer
    getattr(actions, command)()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=60000)
    result = viewer.layers[-1]
    if command == "simulate":
        assert result.metadata["imagereg"]["measurement"].truth.shape == (24, 24)
    else:
        assert result.data.shape == (24, 24)
        assert tuple(result.scale) == (2.0, 2.0)
        assert not np.array_equal(result.data, layer.data)


def test_each_image_task_gives_its_physics(viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path) -> None:
    picture = samples.noisy()[0][0][:32, :32]
    workbench.data.use_layer(viewer.add_image(picture, name="picture"))
    mask = np.ones((32, 32), dtype=np.float32)
    mask[8:12] = 0
    np.save(tmp_path / "mask.npy", mask)
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 3})
    for number, task in enumerate(("deblur", "super-resolution", "inpaint")):
        workbench.physics.image.set_task(task)
        if task == "inpaint":
            workbench.physics.image.set_mask(tmp_path / "mask.npy")
        workbench.explorer.start_preview()
        run = wait_for_run(workbench, qtbot, number + 1)
        side = 64 if task == "super-resolution" else 32
        assert viewer.layers[run.layer].data.shape == (side, side)
        # Whatever the task, the image covers the ground that its source covers.
        assert np.allclose(
            viewer.layers[run.layer].extent.world, viewer.layers["picture"].extent.world, atol=0.3
        )


def test_noise_is_said_or_estimated_and_goes_into_the_recipe(viewer: Any, workbench: Any, qtbot: Any) -> None:
    workbench.data.use_layer(viewer.add_image(samples.noisy()[0][0][:128, :128], name="noisy"))
    assert "noise" not in workbench.session.physics
    workbench.prober.estimate_noise()
    qtbot.waitUntil(
        lambda: "noise" in workbench.session.physics or bool(workbench.footer.error()), timeout=60000
    )
    assert workbench.footer.error() == ""
    found = workbench.session.recipe().physics.noise
    assert found["name"] == "gaussian"
    assert found["sigma"] == pytest.approx(0.1, rel=0.2)
    workbench.physics.image.set_task("deblur")
    assert workbench.session.recipe().physics.noise == found


def test_a_finding_can_be_ignored(viewer: Any, workbench: Any, qtbot: Any) -> None:
    from qtpy.QtWidgets import QPushButton

    bad = samples.noisy()[0][0][:32, :32].copy()
    bad[3, 5] = np.nan
    workbench.data.use_layer(viewer.add_image(bad, name="bad"))
    qtbot.waitUntil(lambda: "checking" not in workbench.data.state(), timeout=30000)
    before = workbench.data.state()
    assert "\N{WARNING SIGN}" in before
    buttons = workbench.data.findChildren(QPushButton)
    next(button for button in buttons if button.text() == "Ignore").click()
    assert workbench.data.state() != before
    assert np.isnan(viewer.layers["bad"].data[3, 5])


def test_a_volume_out_of_memory_is_tried_again_with_fewer_rows(
    viewer: Any, workbench: Any, scan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(workbench.runner.job, "start", lambda recipe, path: started.append(recipe))
    workbench.data.open_path(scan_file)
    workbench.runner.start(scan_file.parent / "out")
    workbench.runner.job.failed.emit("fbp needs about 90 GB at a time, the machine has 16 GB.", True)
    assert workbench.footer.offers_ways_out()
    workbench.footer.fewer_rows.emit()
    first, second = started
    assert first.execution.slab is None
    assert second.execution.slab == 1
    assert second.output.folder == first.output.folder


def test_help_tells_the_parameters_and_the_keys(viewer: Any, workbench: Any) -> None:
    from napari_imagereg.help import card

    from imagereg.methods.registry import methods

    for method in methods().values():
        page = card(method)
        assert all(name in page for name in method.model_fields)
        assert "Ctrl+Return" in page
    workbench.show_help().close()


def test_the_keys_of_the_help_are_those_of_the_dock(viewer: Any, workbench: Any) -> None:
    from napari_imagereg.help import KEYS
    from qtpy.QtGui import QKeySequence, QShortcut

    bound = {shortcut.key().toString() for shortcut in workbench.findChildren(QShortcut)}
    assert bound >= {QKeySequence(keys).toString() for keys in KEYS}


def test_edits_are_previewed_where_that_is_fast_and_the_newest_wins(
    viewer: Any, workbench: Any, qtbot: Any, scan_file: Path
) -> None:
    workbench.data.open_path(scan_file)
    workbench.session.centre = 31.5
    workbench.preview.set_auto(True)
    for window in ("hann", "ramp", "shepp-logan"):
        workbench.method.form.set_values({"window": window})
        qtbot.wait(20)
    run = wait_for_run(workbench, qtbot)
    qtbot.wait(500)
    assert len(workbench.session.runs) == 1
    assert run.parameters["window"] == "shepp-logan"
    # Iterative methods wait for the button.
    workbench.session.choose_method("sirt")
    workbench.method.form.set_values({"iterations": 7})
    qtbot.wait(500)
    assert len(workbench.session.runs) == 1


def test_a_recipe_runs_on_a_folder(viewer: Any, workbench: Any, qtbot: Any, scan_file: Path) -> None:
    import shutil

    shutil.copy(scan_file, scan_file.with_name("second.h5"))
    workbench.data.open_path(scan_file)
    workbench.session.centre = 31.5
    workbench.runner.start_batch(scan_file.parent)
    wait_for_run(workbench, qtbot, 2)
    results = scan_file.parent / "imagereg-results"
    assert {folder.name for folder in results.iterdir() if folder.is_dir()} == {"scan", "second"}
    first, second = (np.asarray(viewer.layers[run.layer].data) for run in workbench.session.runs)
    assert np.array_equal(first, second)


def test_a_check_that_fails_is_not_called_checked(
    workbench: Any, qtbot: Any, scan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qtpy.QtWidgets import QLabel

    import imagereg.preprocessing

    def broken(measurement: Any) -> Any:
        raise RuntimeError("the check itself broke")

    monkeypatch.setattr(imagereg.preprocessing, "health", broken)
    told: list[str] = []
    workbench.data.findings.told.connect(told.append)
    workbench.data.open_path(scan_file)
    qtbot.waitUntil(lambda: bool(told) and "not checked" in told[-1], timeout=60_000)
    words = [label.text() for label in workbench.data.findings.findChildren(QLabel)]
    assert any("could not be checked" in text and "the check itself broke" in text for text in words)


def test_a_kind_of_physics_of_another_package_has_a_form(
    workbench: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace
    from typing import ClassVar

    from napari_imagereg.panels.image_physics import OWN
    from napari_imagereg.session import TASKS

    from imagereg import discovery
    from imagereg.parameters import parameter
    from imagereg.physics.registry import PhysicsKind, kinds

    class Faded(PhysicsKind):
        """y = x / 2."""

        name: ClassVar[str] = "faded"
        title: ClassVar[str] = "Faded"
        summary: ClassVar[str] = "a picture that has faded"
        task: ClassVar[str] = "freshen"

        half_life: float = parameter(2.0, "time in which it loses a half", gt=0, unit="years")

    point = SimpleNamespace(load=lambda: Faded, value="faded")
    monkeypatch.setattr(
        discovery, "entry_points", lambda group: [point] if group == "imagereg.physics" else []
    )
    kinds.cache_clear()
    monkeypatch.setitem(TASKS, "freshen", "faded")
    monkeypatch.setitem(OWN, "freshen", ("half_life",))
    try:
        path = tmp_path / "picture.npy"
        np.save(path, np.random.default_rng(0).random((16, 16)).astype(np.float32))
        workbench.data.open_path(path)
        image = workbench.physics.image
        image.set_task("freshen")
        assert list(image.form) == ["half_life"] and not image.form.isHidden()
        image.form.row("half_life").set_value(7.0)
        assert workbench.session.physics == {"half_life": 7.0}
        assert image.form.values() == {"half_life": 7.0}
        image.set_task("deblur")
        assert image.form.isHidden() and "half_life" not in workbench.session.physics
    finally:
        kinds.cache_clear()
