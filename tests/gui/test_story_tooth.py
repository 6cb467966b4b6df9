"""A story on a real scan, told through the widgets: from raw counts to the same image in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.real]

KNOWN_CENTRE = 295.9
SIDE = 64  # a coarse grid keeps the story short


def wait(qtbot: Any, workbench: Any, ready: Any, seconds: int = 180) -> None:
    qtbot.waitUntil(lambda: ready() or bool(workbench.footer.error()), timeout=1000 * seconds)
    assert workbench.footer.error() == ""


def preview(qtbot: Any, workbench: Any, method: str, **values: Any) -> Any:
    count = len(workbench.session.runs)
    workbench.session.choose_method(method)
    workbench.method.form.set_values(values)
    workbench.preview.button.click()
    wait(qtbot, workbench, lambda: len(workbench.session.runs) > count)
    return workbench.session.runs[-1]


def in_a_shell(line: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        line, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_tooth_from_raw_counts_to_a_shell(
    viewer: Any, workbench: Any, qtbot: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_imagereg.readers import get_reader
    from qtpy.QtWidgets import QApplication, QFileDialog

    from imagereg.io import read

    # Opened by the reader, and taken by the workbench with what the file says.
    path = shared / "tooth" / "tooth.h5"
    reader = get_reader(str(path))
    assert reader is not None
    data, keywords, _ = reader(str(path))[0]
    viewer.add_image(data, **keywords)
    session = workbench.session
    assert session.measurement.quantity == "counts"
    assert [next(iter(step)) for step in session.steps] == ["flatfield", "centre"]
    wait(qtbot, workbench, lambda: "checking" not in workbench.data.state())

    # The centre: found, then chosen from the strip.
    workbench.prober.find_centre()
    wait(qtbot, workbench, lambda: session.centre is not None)
    assert session.centre == pytest.approx(KNOWN_CENTRE, abs=0.7)
    workbench.prober.sweep([session.centre - 3, session.centre, session.centre + 3])
    wait(qtbot, workbench, lambda: workbench.physics.strip.count() == 3)
    workbench.physics.strip.itemClicked.emit(workbench.physics.strip.item(1))
    assert session.centre == pytest.approx(KNOWN_CENTRE, abs=0.7)

    # The flat field, before and after.
    workbench.prober.look_at_step("flatfield")
    wait(qtbot, workbench, lambda: "flatfield after" in viewer.layers)
    after = viewer.layers["flatfield after"].data
    assert np.median(after) < 1 < np.median(viewer.layers["flatfield before"].data)

    pixel = session.measurement.geometry.pixel
    session.volume = {"shape": [SIDE, SIDE], "voxel": pixel * session.measurement.geometry.columns / SIDE}
    preview(qtbot, workbench, "tv", iterations=15, strength=0.02)
    workbench.prober.suggest()
    wait(qtbot, workbench, lambda: not workbench.explorer.job.running)
    chosen = workbench.method.form.values()["strength"]
    assert workbench.method.curve.curves
    first = preview(qtbot, workbench, "tv", iterations=15, strength=chosen)
    second = preview(qtbot, workbench, "space_variant_tv", iterations=15, strength=chosen)
    assert second.residual is not None

    session.update_run(first.number, tag="A")
    session.update_run(second.number, tag="B")
    workbench.runs.compare("swipe")
    assert workbench.runs.comparison.mode == "swipe"
    workbench.runs.comparison.swipe(0.3)
    workbench.runs.compare("off")

    # Exported with the buttons, read again: the same numbers in the same place.
    shown = viewer.layers[second.layer]
    target = tmp_path / "tooth.ome.zarr"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(target), ""))
    workbench.outputs.export(second.number)
    exported = read(target)
    assert np.array_equal(np.squeeze(np.asarray(exported.data[...])), shown.data)
    assert exported.pixel == ()  # the scan does not say how large a pixel is

    # The copied line in a shell, and the copied script in Python: bit for bit.
    workbench.outputs.copy_run(second.number, "CLI")
    line = QApplication.clipboard().text()
    assert line.startswith("imagereg run ")
    in_a_shell(line, tmp_path)
    whole = np.squeeze(np.asarray(read(tmp_path / "out" / "image.ome.zarr").data[...]))
    assert np.array_equal(whole, shown.data)
    workbench.outputs.copy_run(second.number, "Python")
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").rename(tmp_path / "shell")
    exec(compile(QApplication.clipboard().text(), "copied.py", "exec"), names)
    assert np.array_equal(np.squeeze(np.asarray(names["result"].image)), shown.data)
