"""A story on a real scan, told through the widgets: from raw counts to the same image on the command line."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.real, pytest.mark.slow]


def wait(qtbot: Any, workbench: Any, ready: Any, seconds: int = 60) -> None:
    qtbot.waitUntil(lambda: ready() or bool(workbench.footer.error()), timeout=1000 * seconds)
    assert workbench.footer.error() == ""


def test_the_tooth_from_raw_counts_to_a_shell(
    viewer: Any, workbench: Any, qtbot: Any, shared: Path, tmp_path: Path
) -> None:
    from napari_imagereg.readers import get_reader

    path = shared / "tooth" / "tooth.h5"
    reader = get_reader(str(path))
    assert reader is not None
    data, keywords, _ = reader(str(path))[0]
    viewer.add_image(data, **keywords)
    session = workbench.session
    assert session.measurement.quantity == "counts"
    assert [next(iter(step)) for step in session.steps] == ["flatfield", "centre"]
    wait(qtbot, workbench, lambda: "checking" not in workbench.data.state())

    workbench.explorer.find_centre()
    wait(qtbot, workbench, lambda: session.centre is not None)
    assert session.centre == pytest.approx(295.9, abs=0.7)  # what is known of this scan
    workbench.explorer.sweep([session.centre - 3, session.centre, session.centre + 3])
    wait(qtbot, workbench, lambda: workbench.physics.strip.count() == 3)
    workbench.physics.strip.itemClicked.emit(workbench.physics.strip.item(1))
    assert session.centre == pytest.approx(295.9, abs=0.7)

    session.row = 0
    session.physics = {}
    # A coarse grid keeps the story short; the shell gets the same one.
    session.volume = {"shape": [160, 160], "voxel": session.measurement.geometry.pixel * 4}
    for number, (method, values) in enumerate((("fbp", {}), ("tv", {"iterations": 25, "strength": 0.02}))):
        session.choose_method(method)
        workbench.method.form.set_values(values)
        workbench.explorer.start_preview()
        wait(qtbot, workbench, lambda number=number: len(session.runs) > number)
    first, second = session.runs
    assert second.residual is not None
    session.update_run(first.number, tag="A")
    session.update_run(second.number, tag="B")
    workbench.runs.compare("swipe")
    assert workbench.runs.comparison.mode == "swipe"
    workbench.runs.compare("off")

    shown = viewer.layers[second.layer]
    from napari_imagereg.writers import write_layer

    attributes = shown.as_layer_data_tuple()[1]
    write_layer(str(tmp_path / "tooth.ome.zarr"), shown.data, attributes)
    from imagereg.io import read

    assert np.array_equal(np.squeeze(np.asarray(read(tmp_path / "tooth.ome.zarr").data[...])), shown.data)

    line = session.as_text("CLI", session.recipe(folder=tmp_path / "out", rows="0:1"))
    words = shlex.split(line)
    assert words[:2] == ["imagereg", "run"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    import tifffile

    whole = np.squeeze(tifffile.imread(tmp_path / "out" / "image.tif"))
    assert np.abs(whole - shown.data).max() <= 1e-5 * np.abs(whole).max()
