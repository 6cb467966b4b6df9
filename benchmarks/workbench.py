"""The workbench in numbers: how fast the dock opens, how the viewer answers at work, what stays in memory.

    python benchmarks/workbench.py      print the table, write benchmarks/results/workbench.json

Needs a display; under Linux without one: xvfb-run -s "-screen 0 1600x1000x24" python benchmarks/workbench.py
Times are those of this machine as it is loaded, with its OpenGL, which is software under Xvfb.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_API", "pyqt6")
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

RESULT = Path(__file__).resolve().parent / "results" / "workbench.json"
RUNS = 10
SIZE = 512  # columns of the scan whose preview is watched
WATCHED = 5.0  # seconds


def main() -> None:
    """Measure everything in one viewer, as a session goes."""
    import napari

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    settle(1.0)
    began, worked = time.perf_counter(), time.process_time()
    _, bench = viewer.window.add_plugin_dock_widget("imagereg", "Workbench")
    settle(0.0)
    figures: dict[str, float] = {
        "dock opens, s": time.perf_counter() - began,
        "dock opens, s of processor": time.process_time() - worked,
    }
    figures |= watch(viewer, bench)
    figures |= memory(viewer, bench)
    figures["load average"] = os.getloadavg()[0]
    figures["processors"] = float(os.cpu_count() or 1)
    for name, value in figures.items():
        print(f"{name:<46}{value:10.3f}")
    RESULT.write_text(json.dumps({name: round(value, 4) for name, value in figures.items()}, indent=1) + "\n")
    bench.end()
    viewer.close()


def watch(viewer: Any, bench: Any) -> dict[str, float]:
    """Gaps between events of a 10 ms timer while a solver runs and its iterates are drawn; then cancel."""
    import numpy as np
    from napari_imagereg.layers import measurement_keywords
    from qtpy.QtCore import QTimer

    from imagereg.geometry import ParallelBeam
    from imagereg.phantoms import simulate

    geometry = ParallelBeam(np.linspace(0, np.pi, 180, endpoint=False), SIZE, pixel=1.0)
    scan = simulate("shepp_logan", geometry, attenuation=0.01)
    viewer.add_image(scan.data, **measurement_keywords(scan, name="scan"))
    bench.session.choose_method("tv")
    bench.method.form.set_values({"iterations": 100_000, "tolerance": 1e-12})
    bench.explorer.start_preview()
    wait(lambda: "preview" in viewer.layers)
    gaps: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        gaps.append(now - last)
        last = now

    timer = QTimer()
    timer.setInterval(10)
    timer.timeout.connect(tick)
    timer.start()
    settle(WATCHED)
    timer.stop()
    began = time.perf_counter()
    bench.footer.cancel_button.click()
    cancelled = time.perf_counter() - began
    while any(thread.name == "imagereg-preview" for thread in threading.enumerate()):
        time.sleep(0.002)
    ended = time.perf_counter() - began
    settle(0.3)
    steps = statistics.quantiles(gaps, n=100)
    return {
        "frame, median, ms": 1000 * steps[49],
        "frame, 95th percentile, ms": 1000 * steps[94],
        "frame, longest, ms": 1000 * max(gaps),
        "cancel answers, ms": 1000 * cancelled,
        "cancelled thread ends, ms": 1000 * ended,
    }


def memory(viewer: Any, bench: Any) -> dict[str, float]:
    """Resident memory before ten previews, with their results, without them, and the same once more."""
    bench.method.form.set_values({"iterations": 12, "tolerance": 1e-3})
    preview(bench)
    bench.runs.delete()
    figures = {"memory before ten runs, MB": resident()}
    for words in ("", ", ten runs later"):
        for _ in range(RUNS):
            preview(bench)
        figures[f"memory with ten results{words}, MB"] = resident()
        for _ in range(RUNS):
            bench.runs.delete()
        settle(0.5)
        figures[f"memory without them{words}, MB"] = resident()
    return figures


def preview(bench: Any) -> None:
    """One preview, waited for."""
    count = len(bench.session.runs)
    bench.explorer.start_preview()
    wait(lambda: len(bench.session.runs) > count)


def resident() -> float:
    """Resident memory of this process in MB, with what waits for the collector given back."""
    gc.collect()
    settle(0.2)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def settle(seconds: float) -> None:
    """Let the viewer work for a while, and at least once.

    Qt deletes what is to be deleted in its own loop only, which a script does not run.
    """
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication

    until = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        if time.monotonic() >= until:
            return
        time.sleep(0.002)


def wait(ready: Callable[[], bool], seconds: float = 120) -> None:
    """Let the viewer work until something is there."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("nothing came")
        settle(0.02)


if __name__ == "__main__":
    main()
