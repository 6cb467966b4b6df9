"""The plugin's tests need a display: Xvfb here, never Qt's offscreen platform (it has no OpenGL)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _display() -> subprocess.Popen[bytes] | None:
    """Start a virtual display where there is none; without Xvfb this is a failure, not a skip."""
    if sys.platform != "linux" or os.environ.get("DISPLAY"):
        return None
    number = 100 + os.getpid() % 800
    try:
        process = subprocess.Popen(
            ["Xvfb", f":{number}", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise RuntimeError("the plugin's tests need Xvfb: run .ci/system-packages, or set DISPLAY") from None
    socket = f"/tmp/.X11-unix/X{number}"
    for _ in range(100):
        if Path(socket).exists():
            break
        time.sleep(0.05)
    os.environ["DISPLAY"] = f":{number}"
    return process


_server = _display()
os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
os.environ.setdefault("QT_API", "pyqt6")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A window's tests watch the clock and share one display."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.alone)


def pytest_unconfigure(config: Any) -> None:
    if _server is not None:
        _server.terminate()


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    """A viewer that is closed after the test."""
    return make_napari_viewer()


@pytest.fixture
def workbench(viewer: Any, qtbot: Any) -> Iterator[Any]:
    """The workbench docked in a viewer."""
    from napari_imagereg.dock import Workbench

    bench = Workbench(viewer)
    viewer.window.add_dock_widget(bench, name="imagereg", area="right")
    yield bench
    bench.end()
    qtbot.wait(50)
