"""What only a process of its own can show: what is imported, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow


def python(code: str, *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "QT_API": "pyqt6"},
        check=False,
    )


def test_manifest_readers_and_the_empty_dock_do_without_torch() -> None:
    done = python(
        """
        import sys
        from pathlib import Path
        import napari
        from npe2 import PluginManifest
        from napari_imagereg.readers import get_reader

        PluginManifest.from_distribution("imagereg")
        assert get_reader("nothing.h5") is None
        viewer = napari.Viewer(show=False)
        viewer.window.add_plugin_dock_widget("imagereg", "Workbench")
        for name in ("torch", "deepinv", "astra"):  # napari itself brings numba
            assert name not in sys.modules, name
        viewer.close()
        """
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("how", ["close", "exit"])
def test_closing_the_viewer_during_a_run_ends_the_process_well(how: str) -> None:
    done = python(
        f"""
        import sys, time
        import napari
        from napari_imagereg import samples
        from napari_imagereg.dock import Workbench
        from qtpy.QtWidgets import QApplication

        viewer = napari.Viewer(show=True)
        bench = Workbench(viewer)
        viewer.window.add_dock_widget(bench)
        data, keywords, _ = samples.shepp_logan()[0]
        viewer.add_image(data, **keywords)
        assert bench.session.measurement is not None
        bench.session.choose_method("sirt")
        bench.method.form.set_values({{"iterations": 100000}})
        bench.explorer.start_preview()
        until = time.monotonic() + 60
        while "preview" not in viewer.layers and time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.01)
        assert "preview" in viewer.layers, bench.footer.error()
        if {how!r} == "close":
            viewer.close()
            QApplication.processEvents()
        print("left", flush=True)
        """
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "left" in done.stdout
