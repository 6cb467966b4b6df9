"""The estimate beside the preview button: there without being asked for, true to what the panels say."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from napari_imagereg import estimating, samples

from imagereg.methods.registry import method
from imagereg.running.plan import Plan, Slab, seconds_from_run, seconds_of
from imagereg.sections import Uncertainty


def test_time_follows_iterations_and_runs() -> None:
    tv = method("tv", iterations=50)
    assert seconds_of(tv, 0.1) == pytest.approx(0.1 * tv.passes * 50)
    assert seconds_of(tv, 0.1, asked=Uncertainty(runs=4)) == pytest.approx(5 * seconds_of(tv, 0.1))
    assert seconds_of(tv, 0.1, asked=Uncertainty(source="method")) == seconds_of(tv, 0.1)
    assert seconds_from_run(tv, 3.0, 30) == pytest.approx(5.0)
    assert seconds_from_run(method("fbp"), 3.0, 1) == 3.0


def test_the_brief_words_warn_where_memory_is_short() -> None:
    plan = Plan((Slab(0, 0, 1),), (8, 8), 400_000_000, 8_000_000_000, 1, seconds=1.83)
    assert plan.brief == "about 1.8 s, 400 MB"
    short = Plan((Slab(0, 0, 1),), (8, 8), 9_000_000_000, 8_000_000_000, 1)
    assert short.brief == "9 GB of 8 GB"


def said(workbench: Any, qtbot: Any, word: str) -> str:
    qtbot.waitUntil(lambda: word in workbench.preview.takes(), timeout=60000)
    return str(workbench.preview.takes())


def test_a_scan_is_estimated_and_a_preview_corrects_it(
    viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=4, views=60, seed=1)
    prepared: list[Any] = []
    ground = estimating.ground_of
    monkeypatch.setattr(estimating, "ground_of", lambda *a, **k: prepared.append(a) or ground(*a, **k))
    workbench.data.open_path(tmp_path / "scan.h5")
    first = said(workbench, qtbot, "about")
    assert "B" in first
    assert "one projection" in workbench.preview._takes.toolTip()
    # Parameters change the estimate without another projection.
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 20})
    qtbot.waitUntil(lambda: workbench.preview.takes() != first, timeout=30000)
    second = workbench.preview.takes()
    workbench.method.form.set_values({"iterations": 20_000})
    qtbot.waitUntil(lambda: workbench.preview.takes() != second, timeout=30000)
    assert len(prepared) == 1
    # Other data, another one.
    workbench.data.part.choose(views="::2")
    qtbot.waitUntil(lambda: len(prepared) == 2, timeout=30000)
    said(workbench, qtbot, "about")
    workbench.method.form.set_values({"iterations": 10})
    workbench.explorer.start_preview()
    qtbot.waitUntil(lambda: len(workbench.session.runs) == 1, timeout=60000)
    qtbot.waitUntil(lambda: "last preview" in workbench.preview._takes.toolTip(), timeout=30000)


def test_a_picture_is_estimated_by_its_memory(viewer: Any, workbench: Any, qtbot: Any) -> None:
    workbench.data.use_layer(viewer.add_image(samples.noisy()[0][0][:64, :64], name="noisy"))
    words = said(workbench, qtbot, "B")
    assert "about" not in words
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 5})
    workbench.explorer.start_preview()
    said(workbench, qtbot, "about")


def test_the_gui_does_not_wait_for_the_estimate(
    viewer: Any, workbench: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any, **__: Any) -> Any:
        time.sleep(1.0)
        return SimpleNamespace(part=None, pass_seconds=None)

    monkeypatch.setattr(estimating, "ground_of", slow)
    workbench.data.use_layer(viewer.add_image(samples.noisy()[0][0][:64, :64], name="noisy"))
    workbench.estimator._pause.stop()
    began = time.perf_counter()
    workbench.estimator._refresh()
    assert time.perf_counter() - began < 0.1
    assert workbench.estimator.job.running
    # A preview does not wait for it either.
    workbench.explorer.start_preview()
    assert not workbench.estimator.job.running
    workbench.cancel()


def test_a_volume_that_is_too_large_is_binned_before_it_runs(
    viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_imagereg.volume import VolumeDialog

    from imagereg.running import plan
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=4, views=60, seed=1)
    workbench.data.open_path(tmp_path / "scan.h5")
    workbench.session.choose_method("tv")
    # One row of 64 columns takes more than this, one of 32 less.
    monkeypatch.setattr(plan, "total_memory", lambda: 1_000_000)
    dialog = VolumeDialog(workbench.session, workbench)
    qtbot.waitUntil(dialog.estimated, timeout=30000)
    assert "bin the data" in dialog._takes.text()
    assert not dialog._start.isEnabled()
    assert not dialog.bin_button.isHidden()
    dialog.bin_button.click()
    qtbot.waitUntil(dialog.estimated, timeout=30000)
    assert "voxels" in dialog._takes.text()
    assert dialog._start.isEnabled()
    assert dialog.bin_button.isHidden()
    assert workbench.session.steps[0] == {"bin": {}}
    dialog.reject()
