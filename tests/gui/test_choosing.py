"""Choosing by eye and knowing how sure: sweeps, error bars, legends, and what is shown when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari_imagereg import samples
from napari_imagereg.sweeping import values_around

from imagereg.errors import UsageError
from imagereg.methods.registry import method
from imagereg.phantoms import simulate


def small_scan() -> Any:
    from imagereg.geometry import ParallelBeam
    from imagereg.physics import RelativeNoise

    geometry = ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), 48, pixel=1.0)
    return simulate("shepp_logan", geometry, noise=RelativeNoise(0.01), attenuation=0.02)


def open_scan(viewer: Any, workbench: Any) -> Any:
    from napari_imagereg.layers import measurement_keywords

    scan = small_scan()
    layer = viewer.add_image(scan.data, **measurement_keywords(scan, name="scan"))
    workbench.data.use_layer(layer)
    return layer


def wait(workbench: Any, qtbot: Any, ready: Any) -> None:
    qtbot.waitUntil(lambda: ready() or bool(workbench.footer.error()), timeout=120_000)
    assert workbench.footer.error() == ""


def preview(workbench: Any, qtbot: Any, name: str, **values: Any) -> Any:
    count = len(workbench.session.runs)
    workbench.session.choose_method(name)
    workbench.method.form.set_values(values)
    workbench.explorer.start_preview()
    wait(workbench, qtbot, lambda: len(workbench.session.runs) > count)
    return workbench.session.runs[-1]


def test_values_lie_around_the_present_one_within_the_bounds() -> None:
    values = values_around(method("tv", strength=0.05))
    assert len(values) == 7
    assert 0.05 in values
    assert list(values) == sorted(values)
    assert max(values_around(method("fbp"))) <= 1  # a cutoff above the highest frequency is none
    steps = values_around(method("sirt", iterations=4))
    assert all(isinstance(value, int) and value >= 1 for value in steps)
    assert len(set(steps)) == len(steps)


def test_a_method_without_a_main_parameter_is_not_swept() -> None:
    class Bare(type(method("tv"))):  # type: ignore[misc]
        """A method that nothing is to be chosen of."""

        main = ""

    with pytest.raises(UsageError, match="no main parameter"):
        values_around(Bare())


def test_a_sweep_shows_pictures_and_a_click_takes_the_value(viewer: Any, workbench: Any, qtbot: Any) -> None:
    noisy = samples.noisy()[0][0][80:128, 80:128]
    workbench.data.use_layer(viewer.add_image(noisy, name="noisy"))
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 5, "strength": 0.05})
    workbench.method.sweep.emit()
    wait(workbench, qtbot, lambda: not workbench.explorer.job.running)
    strip = workbench.method.strip
    assert strip.count() == 7
    assert not strip.isHidden()
    assert strip.currentItem().text() == "0.05"
    assert "strength" in strip.item(6).toolTip()
    strip.itemClicked.emit(strip.item(6))
    assert workbench.method.form.values()["strength"] == pytest.approx(0.5)
    # Pictures belong to the method that made them.
    workbench.session.choose_method("tikhonov")
    assert strip.isHidden()


def test_error_bars_are_asked_for_in_the_dock(viewer: Any, workbench: Any, qtbot: Any) -> None:
    from imagereg.recipe import Recipe

    open_scan(viewer, workbench)
    workbench.method.error_bars.choose("bootstrap", 3)
    run = preview(workbench, qtbot, "fbp")
    asked = Recipe.parse(run.recipe).uncertainty
    assert asked is not None
    assert (asked.source, asked.runs) == ("bootstrap", 3)
    std = viewer.layers[f"{run.layer} std"]
    assert std.data.shape == viewer.layers[run.layer].data.shape
    assert float(np.max(std.data)) > 0
    assert "Not calibrated" in workbench.preview.legend()
    workbench.method.error_bars.choose("none")
    assert workbench.session.recipe().uncertainty is None


def test_the_geometry_says_the_axis_that_was_chosen(viewer: Any, workbench: Any) -> None:
    from qtpy.QtWidgets import QLabel

    open_scan(viewer, workbench)
    workbench.physics.centre.setValue(21.25)
    texts = [label.text() for label in workbench.physics.findChildren(QLabel)]
    assert any("axis on column 21.25" in text for text in texts)


def test_the_history_leaves_no_figure_cut_off(viewer: Any, workbench: Any, qtbot: Any) -> None:
    open_scan(viewer, workbench)
    viewer.window._qt_window.show()
    table = workbench.runs.table
    run = preview(workbench, qtbot, "tv", iterations=3)
    assert "psnr" in run.metrics
    for known in (True, False):
        if not known:
            workbench.session.update_run(run.number, metrics={}, method="space_variant_tv")
        assert table.isColumnHidden(7) is not known
        qtbot.waitUntil(lambda: table.viewport().width() > 200, timeout=5000)
        for column in (0, 1, 3, 4, 5, 6, *([7] if known else [])):
            right = table.columnViewportPosition(column) + table.columnWidth(column)
            assert right <= table.viewport().width(), column
            wanted = table.fontMetrics().horizontalAdvance(table.item(0, column).text())
            assert table.columnWidth(column) >= wanted, column


def test_a_difference_says_what_its_colours_mean(viewer: Any, workbench: Any, qtbot: Any) -> None:
    from qtpy.QtWidgets import QLabel

    open_scan(viewer, workbench)
    for tag, window in (("A", "ramp"), ("B", "hann")):
        run = preview(workbench, qtbot, "fbp", window=window)
        workbench.session.update_run(run.number, tag=tag)

    def said() -> str:
        shown = [label for label in workbench.runs.findChildren(QLabel) if not label.isHidden()]
        return " ".join(label.text() for label in shown)

    workbench.runs.compare("difference")
    assert "green where A is larger" in said()
    workbench.runs.compare("grid")
    assert "green" not in said()
    names = [layer.name for layer in viewer.layers if layer.name[:2] in ("A:", "B:")]
    assert len(names) == 2
    assert all("scan" not in name for name in names)  # short enough for half a canvas
    workbench.runs.compare("off")


def test_labels_alone_are_no_data(viewer: Any, workbench: Any) -> None:
    viewer.add_labels(np.zeros((8, 8), dtype=int))
    assert workbench.session.measurement is None
    assert not workbench.preview.button.isEnabled()
    workbench.explorer.start_preview()
    assert "open some data" in workbench.footer.error()
