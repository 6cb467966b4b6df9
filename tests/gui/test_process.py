"""What only a process of its own can show: what is imported, and how it ends in the middle of work."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from imagereg.simulation import write_raw_scan


def python(code: str, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "QT_API": "pyqt6"},
        check=False,
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child that nobody waited for is dead all the same.
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "zombie" not in status.read_text(encoding="utf-8")


def test_closing_in_the_middle_of_a_preview_and_a_volume_leaves_nothing(tmp_path: Path) -> None:
    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=2, views=40, seed=1)
    done = python(
        """
        import sys, threading, time
        from pathlib import Path
        import napari
        from qtpy.QtWidgets import QApplication

        folder = Path(sys.argv[1])

        def wait(ready, seconds=120):
            until = time.monotonic() + seconds
            while not ready():
                assert time.monotonic() < until, bench.footer.error()
                QApplication.processEvents()
                time.sleep(0.01)

        viewer = napari.Viewer(show=True)
        _, bench = viewer.window.add_plugin_dock_widget("imagereg", "Workbench")
        for name in ("torch", "deepinv", "astra"):  # napari itself brings numba
            assert name not in sys.modules, f"{name} is imported by the empty dock"
        bench.data.open_path(folder / "scan.h5")
        bench.session.centre = 31.5
        bench.session.choose_method("sirt")
        bench.method.form.set_values({"iterations": 100000})
        bench.runner.start(folder / "out")
        child = bench.runner.job.pid
        bench.explorer.start_preview()
        wait(lambda: "preview" in viewer.layers)
        viewer.close()
        QApplication.processEvents()
        print("child", child, flush=True)
        until = time.monotonic() + 20
        while any(t.name.startswith("imagereg") for t in threading.enumerate()):
            assert time.monotonic() < until, "a thread is left"
            time.sleep(0.01)
        """,
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    child = int(done.stdout.split("child")[1].split()[0])
    until = time.monotonic() + 60
    while alive(child):
        assert time.monotonic() < until, "the run of the volume is left"
        time.sleep(0.1)


def test_leaving_without_closing_ends_the_process_well() -> None:
    done = python(
        """
        import time
        import napari
        import numpy as np
        from qtpy.QtWidgets import QApplication

        viewer = napari.Viewer(show=True)
        _, bench = viewer.window.add_plugin_dock_widget("imagereg", "Workbench")
        bench.data.use_layer(viewer.add_image(np.random.default_rng(0).random((64, 64), dtype=np.float32)))
        bench.session.choose_method("tv")
        bench.method.form.set_values({"iterations": 100000, "tolerance": 1e-12})
        bench.explorer.start_preview()
        until = time.monotonic() + 120
        while "preview" not in viewer.layers:
            assert time.monotonic() < until, bench.footer.error()
            QApplication.processEvents()
            time.sleep(0.01)
        print("left", flush=True)
        """
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "left" in done.stdout
