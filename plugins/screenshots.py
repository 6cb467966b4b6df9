"""Pictures of the workbench at every stage of a story: python -m plugins.screenshots [FOLDER] [STAGE ...].

Drives the real widgets in a window of 1280 x 800 and writes small PNGs. Without a display it starts Xvfb.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZE = (1280, 800)
FRONT = "07-runs"
"""The stage that stands on the project's front page."""

COLOURS = 256
"""A palette of so many colours keeps the files small."""


def main(folder: Path, themes: tuple[str, ...] = ("dark", "light")) -> None:
    """Tell the story once a theme; the light one in the stages that show most."""
    os.environ.setdefault("QT_API", "pyqt6")
    # What the user prefers must not show.
    os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
    folder.mkdir(parents=True, exist_ok=True)
    if "dark" in themes:
        scan = Story(folder, "dark")
        scan.scan()
        scan.end()
        picture = Story(folder, "dark")
        picture.picture()
        picture.end()
    if "light" in themes:
        light = Story(folder, "light")
        light.short()
        light.end()


class Story:
    """One viewer with its workbench, and the ways to wait for it and to take its picture."""

    def __init__(self, folder: Path, theme: str) -> None:
        import napari

        self.folder = folder
        self.viewer = napari.Viewer(show=True, show_welcome_screen=False)
        self.viewer.theme = theme
        self.viewer.window.resize(*SIZE)
        _, self.bench = self.viewer.window.add_plugin_dock_widget("imagereg", "Workbench")

    # ------------------------------------------------------------------ stories
    def scan(self) -> None:
        """From raw counts to a compared reconstruction."""
        from napari_imagereg import samples

        bench = self.bench
        self.shoot("01-empty")
        tour = bench.start_tour()
        tour.show_stop(1)
        self.shoot("20-tour")
        tour.close()
        self.open(samples.raw_scan)
        self.shoot("02-checked", top=bench.data)
        bench.data.findings.mend("outliers")
        bench.prober.find_centre()
        self.wait(lambda: bench.session.centre is not None and not bench.explorer.job.running)
        bench.physics.ask_sweep()
        self.wait(lambda: bench.physics.strip.count() > 3)
        self.shoot("03-centre", top=bench.physics)
        bench.steps.choose("flatfield")
        bench.prober.look_at_step("flatfield")
        self.wait(lambda: "flatfield after" in self.viewer.layers and not bench.explorer.job.running)
        self.shoot("04-steps", top=bench.steps)
        for name in ("before", "after"):
            self.viewer.layers.remove(f"flatfield {name}")
        self.preview("fbp")
        bench.session.choose_method("tv")
        bench.method.form.set_values({"iterations": 60})
        bench.explorer.start_preview()
        self.wait(lambda: "preview" in self.viewer.layers and len(_points(bench.preview.plot)) > 8)
        self.shoot("05-live", top=bench.method)
        self.wait(lambda: len(bench.session.runs) == 2)
        bench.prober.suggest()
        self.wait(lambda: not bench.explorer.job.running, 240)
        self.shoot("06-suggest", top=bench.method)
        self.preview("tv", **bench.method.form.values(changed_only=True))
        first, second = bench.session.runs[-1], bench.session.runs[0]
        bench.session.update_run(first.number, tag="A")
        bench.session.update_run(second.number, tag="B")
        self.shoot("07-runs", top=bench.preview)
        for number, mode in ((8, "swipe"), (9, "difference"), (10, "grid")):
            bench.runs.compare(mode)
            self.shoot(f"{number:02d}-{mode}", top=bench.runs)
        bench.runs.compare("off")
        bench.runs.show_profile()
        self.shoot("11-profile", top=bench.runs)
        self.viewer.layers.remove("profile")
        bench.trust.open()
        bench.examiner.show_residual()
        self.wait(lambda: bool(bench.trust.said()[0]) and not bench.explorer.job.running)
        self.shoot("21-residual", top=bench.trust)
        bench.examiner.compare_halves()
        self.wait(lambda: bool(bench.trust.said()[1]))
        self.shoot("22-half-sets", top=bench.trust)
        bench.trust.open(False)
        bench.runs.show_alone()
        bench.set_level("Advanced")
        self.shoot("12-advanced", top=bench.method)
        bench.set_level("Basic")
        bench.fail("tv ran out of memory on the GPU; take fewer rows at a time, or use the cpu.", True)
        self.shoot("13-memory", top=bench.preview)
        bench.footer.show_error("")
        self.volume_dialog("14-volume")
        bench.prober.sweep_parameter()
        self.wait(lambda: not bench.explorer.job.running)
        self.shoot("17-sweep", top=bench.method)
        bench.method.error_bars.choose("bootstrap", 6)
        self.preview("fbp")
        layer = self.viewer.layers[f"{bench.session.runs[-1].layer} std"]
        layer.visible, self.viewer.layers.selection.active = True, layer
        self.shoot("18-error-bars", top=bench.preview)

    def picture(self) -> None:
        """An image task: the blurred picture."""
        from napari_imagereg import samples

        bench = self.bench
        data, keywords, _ = samples.blurred()[0]
        bench.data.use_layer(self.viewer.add_image(data, **keywords))
        bench.physics.image.set_task("deblur")
        self.preview("tv", iterations=80)
        self.shoot("15-deblur", top=bench.physics)
        data, keywords, _ = samples.noisy()[0]
        bench.data.use_layer(self.viewer.add_image(data, **keywords))
        bench.physics.image.set_task("denoise")
        bench.session.choose_method("noise2score")
        bench.method.form.set_values({"weights": "", "steps": 120})
        bench.explorer.start_preview()
        self.wait(lambda: len(_points(bench.preview.plot)) > 8, 240)
        self.shoot("19-learning", top=bench.method)
        bench.cancel()

    def short(self) -> None:
        """One reconstruction in the light theme."""
        from napari_imagereg import samples

        bench = self.bench
        self.open(samples.raw_scan)
        bench.prober.find_centre()
        self.wait(lambda: bench.session.centre is not None and not bench.explorer.job.running)
        self.preview("tv", iterations=60)
        self.shoot("16-light", top=bench.method)

    # ------------------------------------------------------------------ ways
    def open(self, sample: Callable[[], Any]) -> None:
        """Open a sample and wait for its findings."""
        data, keywords, _ = sample()[0]
        self.viewer.add_image(data, **keywords)
        self.wait(lambda: "checking" not in self.bench.data.state())

    def preview(self, method: str, **values: Any) -> None:
        """Preview with a method and wait for its run."""
        bench = self.bench
        count = len(bench.session.runs)
        bench.session.choose_method(method)
        bench.method.form.set_values(values)
        bench.explorer.start_preview()
        self.wait(lambda: len(bench.session.runs) > count)

    def volume_dialog(self, name: str) -> None:
        """The dialog that says what a whole volume takes."""
        from napari_imagereg.volume import VolumeDialog

        dialog = VolumeDialog(self.bench.session, self.bench)
        dialog.show()
        self.wait(dialog.estimated)
        self.settle()
        self._save(dialog.grab(), name)
        dialog.reject()

    def settle(self, seconds: float = 0.5) -> None:
        """Let the viewer draw for a while."""
        from qtpy.QtWidgets import QApplication

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.01)

    def wait(self, ready: Callable[[], bool], seconds: float = 180) -> None:
        """Let the viewer work until something is there."""
        until = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > until or self.bench.footer.error():
                raise TimeoutError(f"nothing came: {self.bench.footer.error()} {self.bench.footer.text()}")
            self.settle(0.05)

    def shoot(self, name: str, *, top: Any = None) -> None:
        """Scroll a panel to the top of the dock and take the window's picture."""
        self.settle()
        if top is not None:
            bar: Any = self.bench.scroll_area.verticalScrollBar()
            bar.setValue(max(0, top.y() - 4))
        self.settle()
        window: Any = self.viewer.window._qt_window
        self._save(window.grab(), name)

    def _save(self, pixels: Any, name: str) -> None:
        from PIL import Image

        path = self.folder / f"{name}.png"
        pixels.save(str(path))
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
        small.save(path, optimize=True)

    def end(self) -> None:
        """Close the viewer."""
        self.bench.end()
        self.viewer.close()
        self.settle()


def _points(plot: Any) -> list[Any]:
    return [point for curve in plot.curves.values() for point in curve]


if __name__ == "__main__":
    if sys.platform == "linux" and not os.environ.get("DISPLAY") and shutil.which("xvfb-run"):
        line = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", sys.executable, "-m", "plugins.screenshots"]
        raise SystemExit(subprocess.call([*line, *sys.argv[1:]], cwd=ROOT))
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    main(chosen, tuple(sys.argv[2:]) or ("dark", "light"))
    if chosen.resolve() == ROOT / "docs" / "images":
        shutil.copy(chosen / f"{FRONT}.png", ROOT / "docs" / "workbench.png")
