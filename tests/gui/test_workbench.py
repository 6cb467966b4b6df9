"""The dock in a real viewer: what a user does, from opening to comparing."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari_imagereg import samples
from napari_imagereg.layers import contrast, measurement_keywords
from napari_imagereg.previewing import preview_looks

from imagereg.geometry import ParallelBeam
from imagereg.phantoms import simulate
from imagereg.physics import RelativeNoise

SIDE = 96


def open_sample(viewer: Any, make: Any) -> Any:
    data, keywords, _ = make()[0]
    return viewer.add_image(data, **keywords)


@cache
def small_scan() -> Any:
    geometry = ParallelBeam(np.linspace(0, np.pi, 60, endpoint=False), SIDE, pixel=1.0)
    return simulate("shepp_logan", geometry, noise=RelativeNoise(0.01), attenuation=0.02)


def open_small_scan(viewer: Any) -> Any:
    scan = small_scan()
    return viewer.add_image(scan.data, **measurement_keywords(scan, name="Shepp-Logan"))


def use(workbench: Any, layer: Any) -> None:
    workbench.data.use_layer(layer)


def run_preview(workbench: Any, qtbot: Any, method: str, **parameters: Any) -> Any:
    before = len(workbench.session.runs)
    workbench.session.choose_method(method)
    workbench.method.form.set_values(parameters)
    workbench.explorer.start_preview()
    qtbot.waitUntil(
        lambda: len(workbench.session.runs) > before or bool(workbench.footer.error()), timeout=60000
    )
    assert workbench.footer.error() == ""
    return workbench.session.runs[-1]


def test_the_manifest_is_valid_and_every_command_imports() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("imagereg")
    assert manifest.name == "imagereg"
    commands: Any = manifest.contributions.commands
    assert len(commands) >= 10
    for command in commands:
        assert callable(_load(command.python_name)), command.id


def _load(name: str) -> Any:
    import importlib

    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def test_every_sample_has_a_truth_and_lies_in_one_unit() -> None:
    for make in (
        samples.shepp_logan,
        samples.sparse_fan,
        samples.limited_angle,
        samples.noisy,
        samples.blurred,
    ):
        data, keywords, kind = make()[0]
        held = keywords["metadata"]["imagereg"]
        truth = held["measurement"].truth if "measurement" in held else held["truth"]
        assert kind == "image"
        assert truth is not None
        assert np.isfinite(np.asarray(data)).all()
        assert len(set(keywords.get("units", ("pixel",)))) == 1


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8)),
        np.zeros((3, 8, 8), dtype=">f4"),
        np.zeros((2, 3, 8, 8)),
        np.full((8, 8), np.nan),
        np.zeros((8, 8), dtype=bool),
    ],
    ids=["2-D", "big-endian stack", "4-D", "NaN", "bool"],
)
def test_the_dock_opens_whatever_is_there(viewer: Any, workbench: Any, array: Any) -> None:
    layer = viewer.add_image(array.astype(np.uint8) if array.dtype == bool else array)
    viewer.add_labels(np.zeros((8, 8), dtype=int))
    use(workbench, layer)
    fits = array.ndim <= 3
    assert (workbench.session.measurement is not None) == fits
    assert bool(workbench.footer.error()) != fits


def test_preview_gives_a_registered_layer_and_a_run(viewer: Any, workbench: Any, qtbot: Any) -> None:
    source = open_small_scan(viewer)
    before = np.array(source.data)
    use(workbench, source)
    run = run_preview(workbench, qtbot, "fbp")
    layer = viewer.layers[run.layer]
    assert layer.data.shape == (SIDE, SIDE)
    assert [str(unit) for unit in layer.units] == [str(unit) for unit in source.units]
    assert "recipe" in layer.metadata["imagereg"]
    assert run.metrics["psnr"] > 15
    assert run.residual is not None
    assert np.array_equal(source.data, before)
    assert "preview" not in viewer.layers
    assert workbench.runs.table.rowCount() == 1


def test_live_iterates_then_stop_and_keep(viewer: Any, workbench: Any, qtbot: Any) -> None:
    use(workbench, open_small_scan(viewer))
    workbench.session.choose_method("sirt")
    workbench.method.form.set_values({"iterations": 50_000})
    workbench.explorer.start_preview()
    qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=30000)
    first = np.array(viewer.layers["preview"].data)
    qtbot.waitUntil(lambda: not np.array_equal(viewer.layers["preview"].data, first), timeout=30000)
    live = viewer.layers["preview"]
    assert tuple(live.contrast_limits) == pytest.approx(contrast(live.data))
    assert tuple(live.contrast_limits) != pytest.approx(contrast(first))
    assert workbench.footer.keep_button.isEnabled()
    workbench.footer.keep_button.click()
    qtbot.waitUntil(lambda: len(workbench.session.runs) == 1, timeout=10000)
    run = workbench.session.runs[0]
    assert 0 < run.iterations < 50_000
    assert "kept" in run.finished
    assert run.layer in viewer.layers


def test_cancel_answers_at_once_and_keeps_nothing(viewer: Any, workbench: Any, qtbot: Any) -> None:
    use(workbench, open_small_scan(viewer))
    workbench.session.choose_method("sirt")
    workbench.method.form.set_values({"iterations": 50_000})
    workbench.explorer.start_preview()
    qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=30000)
    began = time.perf_counter()
    workbench.footer.cancel_button.click()
    assert time.perf_counter() - began < 0.3
    assert not workbench.explorer.job.running
    assert workbench.footer.text() == "ready"
    qtbot.waitUntil(lambda: "preview" not in viewer.layers, timeout=2000)
    qtbot.wait(400)
    assert workbench.session.runs == []
    assert workbench.footer.text() == "ready"


def test_a_second_preview_replaces_the_first(viewer: Any, workbench: Any, qtbot: Any) -> None:
    use(workbench, open_small_scan(viewer))
    workbench.session.choose_method("sirt")
    workbench.method.form.set_values({"iterations": 50_000})
    workbench.explorer.start_preview()
    run = run_preview(workbench, qtbot, "fbp")
    assert run.method == "fbp"
    assert len(workbench.session.runs) == 1


def test_the_live_layer_may_be_deleted_while_it_runs(viewer: Any, workbench: Any, qtbot: Any) -> None:
    use(workbench, open_small_scan(viewer))
    workbench.session.choose_method("sirt")
    workbench.method.form.set_values({"iterations": 400})
    workbench.explorer.start_preview()
    qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=30000)
    viewer.layers.remove("preview")
    workbench.footer.keep_button.click()
    qtbot.waitUntil(lambda: len(workbench.session.runs) == 1, timeout=30000)


def test_a_stop_while_a_look_is_drawn_still_ends_with_the_account(viewer: Any, workbench: Any) -> None:
    use(workbench, open_small_scan(viewer))
    session = workbench.session
    session.choose_method("sirt")
    session.set_parameters({"iterations": 400})
    stop = threading.Event()
    looks = preview_looks(session.recipe(), session.measurement, 0, stop)
    first = next(looks)
    stop.set()
    *_, last = looks
    assert not first.finished
    assert "stopped" in last.finished
    assert "sirt" in last.provenance["recipe"]


def test_an_anisotropic_moved_layer_gives_a_result_in_its_place(
    viewer: Any, workbench: Any, qtbot: Any
) -> None:
    noisy = samples.noisy()[0][0][:96, :128]
    layer = viewer.add_image(noisy, scale=(0.5, 0.25), units=("um", "um"), name="noisy")
    use(workbench, layer)
    assert workbench.session.task == "denoise"
    run = run_preview(workbench, qtbot, "tv", iterations=20)
    result = viewer.layers[run.layer]
    assert tuple(result.scale) == (0.5, 0.25)
    assert [str(u) for u in result.units] == [str(u) for u in layer.units]


def test_methods_that_do_not_fit_say_why(viewer: Any, workbench: Any) -> None:
    use(workbench, open_small_scan(viewer))
    assert "cone" in workbench.method.reason("fdk")
    assert "parallel" in workbench.method.reason("fdk")


def test_the_centre_is_found_swept_and_taken(viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path) -> None:
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=SIDE, rows=2, views=60, seed=2)
    workbench.data.open_path(tmp_path / "scan.h5")
    workbench.prober.find_centre()
    qtbot.waitUntil(lambda: workbench.session.centre is not None, timeout=60000)
    found = workbench.session.centre
    workbench.prober.sweep([found - 2, found, found + 2])
    qtbot.waitUntil(lambda: workbench.physics.strip.count() == 3, timeout=60000)
    item = workbench.physics.strip.item(2)
    workbench.physics.strip.itemClicked.emit(item)
    assert workbench.session.centre == pytest.approx(found + 2, abs=0.01)
    assert {"centre": {"column": workbench.session.centre}} in list(workbench.session.recipe().preprocess)


def test_compare_modes_leave_the_viewer_as_it_was(viewer: Any, workbench: Any, qtbot: Any) -> None:
    use(workbench, open_small_scan(viewer))
    for number, window in enumerate(("ramp", "hann")):
        run = run_preview(workbench, qtbot, "fbp", window=window)
        workbench.session.update_run(run.number, tag="AB"[number])
    before = {layer.name: (layer.visible, np.array(layer.data)) for layer in viewer.layers}
    for mode in ("grid", "swipe", "flicker", "difference"):
        workbench.runs.compare(mode)
        qtbot.wait(50)
        if mode == "swipe":
            workbench.runs.comparison.swipe(0.3)
        if mode == "difference":
            assert any(" - " in layer.name for layer in viewer.layers)
        workbench.runs.compare("off")
        after = {layer.name: (layer.visible, np.array(layer.data)) for layer in viewer.layers}
        assert set(after) == set(before)
        for name, (visible, data) in before.items():
            assert after[name][0] == visible, (mode, name)
            assert np.array_equal(after[name][1], data, equal_nan=True), (mode, name)
    workbench.runs.show_profile()
    assert len(workbench.runs.profile_plot.curves) == 2
    first, second = workbench.session.runs
    workbench.runs.table.selectRow(1)  # the newest is on top
    workbench.runs.table.cellDoubleClicked.emit(1, 0)
    assert viewer.layers[first.layer].visible
    assert not viewer.layers[second.layer].visible
    # A new run does not take the choice from the one that has it.
    run_preview(workbench, qtbot, "fbp", window="cosine")
    assert workbench.runs.selected().number == first.number


def test_a_recipe_restores_everything(viewer: Any, workbench: Any, tmp_path: Path) -> None:
    from imagereg.recipe import Recipe
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=2, views=40, seed=1)
    recipe = Recipe.of_mapping(
        {
            "input": str(tmp_path / "scan.h5"),
            "preprocess": ["flatfield", {"centre": {"column": 31.25}}],
            "method": {"name": "tv", "strength": 0.07},
        }
    )
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    workbench.open_recipe(tmp_path / "r.yaml")
    assert workbench.footer.error() == ""
    assert workbench.session.method == "tv"
    assert workbench.method.form.values()["strength"] == 0.07
    assert workbench.session.recipe(folder=tmp_path / "out").sha256 == recipe.sha256


def test_the_whole_volume_runs_in_a_process_of_its_own(
    viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path
) -> None:
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=3, views=40, seed=1)
    workbench.data.open_path(tmp_path / "scan.h5")
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 6})
    workbench.runner.start(tmp_path / "out")
    qtbot.waitUntil(lambda: len(workbench.session.runs) == 1 or bool(workbench.footer.error()), timeout=90000)
    assert workbench.footer.error() == ""
    run = workbench.session.runs[0]
    assert viewer.layers[run.layer].data.shape == (3, 64, 64)
    assert (tmp_path / "out" / "provenance.json").exists()
    # The same recipe from Python gives the same image.
    from imagereg.recipe import Recipe
    from imagereg.running.local import run as run_recipe

    recipe = Recipe.load(tmp_path / "out" / "recipe.yaml").with_values(
        {"output.folder": str(tmp_path / "again")}
    )
    *_, last = run_recipe(recipe)
    assert last.result is not None
    assert np.array_equal(np.asarray(last.result.image), np.asarray(viewer.layers[run.layer].data))
    # And so does the copied line, in a shell.
    command = shlex.split(workbench.session.as_text("CLI", recipe.with_values({"output.folder": "line"})))
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(
        tifffile.imread(tmp_path / "line" / "image.tif"), np.asarray(viewer.layers[run.layer].data)
    )


def test_errors_arrive_as_one_sentence_in_the_dock(workbench: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 100)
    workbench.data.open_path(tmp_path / "bad.h5")
    assert "bad.h5" in workbench.footer.error()
    assert "\n" not in workbench.footer.error()


def test_closing_the_viewer_during_a_run_leaves_no_thread(make_napari_viewer: Any, qtbot: Any) -> None:
    import threading

    from napari_imagereg.dock import Workbench

    viewer = make_napari_viewer()
    bench = Workbench(viewer)
    viewer.window.add_dock_widget(bench, name="imagereg")
    bench.data.use_layer(open_small_scan(viewer))
    bench.session.choose_method("sirt")
    bench.method.form.set_values({"iterations": 100000})
    bench.explorer.start_preview()
    qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=30000)
    bench.explorer.job.cancel()
    viewer.close()
    deadline = time.monotonic() + 10
    while any(t.name == "imagereg-preview" for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(t.name == "imagereg-preview" for t in threading.enumerate())


def test_scan_and_result_share_the_viewer_without_a_warning(viewer: Any, workbench: Any, qtbot: Any) -> None:
    use(workbench, open_small_scan(viewer))
    run_preview(workbench, qtbot, "fbp")
    assert viewer.layers.units is not None


def test_the_screenshot_shows_the_dock(viewer: Any, workbench: Any, qtbot: Any) -> None:
    use(workbench, open_small_scan(viewer))
    run_preview(workbench, qtbot, "fbp")
    picture = workbench.grab().toImage()
    assert picture.width() > 300
    colours = {
        picture.pixel(x, y) for x in range(0, picture.width(), 7) for y in range(0, picture.height(), 7)
    }
    assert len(colours) > 20


def test_the_dock_can_be_closed_and_opened_again(viewer: Any, qtbot: Any) -> None:
    from napari_imagereg.dock import Workbench
    from qtpy.QtWidgets import QApplication

    first = Workbench(viewer)
    holder = viewer.window.add_dock_widget(first, name="first")
    viewer.window.remove_dock_widget(holder)
    first.setParent(None)
    first.deleteLater()
    QApplication.sendPostedEvents(None, 52)  # DeferredDelete
    QApplication.processEvents()
    second = Workbench(viewer)
    viewer.window.add_dock_widget(second, name="second")
    viewer.add_image(np.zeros((8, 8)), name="later")
    second.data.use_layer(viewer.layers["later"])
    second.session.choose_method("tv")
    assert second.method.form.values()
    assert second.session.task == "denoise"
    second.end()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_cut_off_in_a_small_window(viewer: Any, workbench: Any, qtbot: Any, theme: str) -> None:
    from qtpy.QtWidgets import QComboBox, QLineEdit, QPushButton, QSpinBox

    from imagereg.methods.registry import methods

    viewer.theme = theme
    viewer.window.resize(1280, 800)
    viewer.window._qt_window.show()
    use(workbench, open_small_scan(viewer))
    qtbot.waitUntil(workbench.isVisible, timeout=10000)
    workbench.set_level("Advanced")
    area = workbench.scroll_area
    for name in methods():
        workbench.session.choose_method(name)
        qtbot.wait(1)
        width = area.viewport().width()
        assert area.widget().minimumSizeHint().width() <= width, name
        for kind in (QComboBox, QLineEdit, QPushButton):
            for part in workbench.findChildren(kind):
                if part.isVisible() and area.widget().isAncestorOf(part):
                    right = part.mapTo(area.widget(), part.rect().topRight()).x()
                    assert right <= width, (name, part)
    number = workbench.preview.findChild(QSpinBox)
    number.setRange(0, 2159)
    number.setValue(2159)
    text = number.findChild(QLineEdit)
    assert text.fontMetrics().horizontalAdvance(number.text()) <= text.width()
    assert workbench.footer.isVisible()
