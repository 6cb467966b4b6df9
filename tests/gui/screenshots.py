"""Pictures of the workbench at every stage of a story: python tests/gui/screenshots.py FOLDER [light]."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_API", "pyqt6")
# Previews must not depend on what the user prefers.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")


def main(folder: Path, theme: str = "dark") -> None:
    """Drive the real widgets and write one PNG a stage."""
    import napari
    from napari_imagereg import samples
    from napari_imagereg.dock import Workbench
    from qtpy.QtWidgets import QApplication

    folder.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.theme = theme
    viewer.window.resize(1280, 800)
    bench = Workbench(viewer)
    viewer.window.add_dock_widget(bench, name="Workbench", area="right")

    def settle(seconds: float = 0.4) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.01)

    def wait(ready: Callable[[], bool], seconds: float = 90) -> None:
        until = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > until:
                raise TimeoutError(f"nothing came: {bench.footer.error()} {bench.footer.text()}")
            settle(0.05)

    def shoot(name: str, *, top: Any = None) -> None:
        settle()
        if top is not None:
            bar: Any = bench.scroll_area.verticalScrollBar()
            bar.setValue(max(0, top.y() - 4))
        settle()
        viewer.window.screenshot(str(folder / f"{name}.png"), canvas_only=False, flash=False)

    def preview(method: str, **values: Any) -> None:
        count = len(bench.session.runs)
        bench.session.choose_method(method)
        bench.method.form.set_values(values)
        bench.explorer.start_preview()
        wait(lambda: len(bench.session.runs) > count)

    shoot("01-empty")
    data, keywords, _ = samples.raw_scan()[0]
    viewer.add_image(data, **keywords)
    wait(lambda: "checking" not in bench.data.state())
    shoot("02-opened", top=bench.data)
    bench.explorer.find_centre()
    wait(lambda: bench.session.centre is not None)
    middle = float(bench.session.centre or 0.0)
    bench.explorer.sweep([middle + offset for offset in (-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4)])
    wait(lambda: bench.physics.strip.count() == 9)
    shoot("03-sweep", top=bench.physics)
    preview("fbp")
    preview("tv", iterations=60)
    shoot("04-previews", top=bench.method)
    first, second = bench.session.runs[-1], bench.session.runs[-2]
    bench.session.update_run(first.number, tag="A")
    bench.session.update_run(second.number, tag="B")
    for mode in ("swipe", "difference", "grid"):
        bench.runs.compare(mode)
        shoot(f"05-{mode}", top=bench.preview)
    bench.runs.compare("off")
    bench.runs.show_profile()
    shoot("06-profile", top=bench.runs)
    bench.set_level("Advanced")
    shoot("07-advanced", top=bench.method)
    bench.set_level("Basic")
    bench.explorer.suggest()
    wait(lambda: not bench.explorer.job.running, 150)
    shoot("08-suggest", top=bench.method)
    bench.fail("fbp is for line integrals and the data are counts; put the step 'flatfield' before it.")
    shoot("09-error")
    bench.end()
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
