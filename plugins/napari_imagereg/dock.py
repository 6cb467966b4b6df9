"""The workbench: five steps, the history and the footer in one dock, wired to the session and the jobs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from imagereg.errors import ImageregError
from imagereg.recipe import Recipe
from napari_imagereg.jobs import Job, Look, preview_looks
from napari_imagereg.layers import contrast, replace_layer, result_keywords
from napari_imagereg.panels.data import DataPanel
from napari_imagereg.panels.footer import Footer
from napari_imagereg.panels.geometry import GeometryPanel
from napari_imagereg.panels.method import MethodPanel
from napari_imagereg.panels.preview import PreviewPanel
from napari_imagereg.panels.runs import RunsPanel
from napari_imagereg.panels.steps import StepsPanel
from napari_imagereg.runner import Runner
from napari_imagereg.session import session_of
from napari_imagereg.settings import Settings

LIVE = "preview"


class Workbench(QWidget):
    """The dock. It holds no mathematics: it shows a session, starts jobs and shows what they give."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session = session_of(napari_viewer)
        self.settings = Settings.load()
        self.session.device = self.settings.device
        self.setAcceptDrops(True)
        self.setMinimumWidth(340)
        self.job = Job(self)
        self._live: Any = None
        self._recipe: Recipe | None = None

        self.data = DataPanel(self.session, napari_viewer)
        self.physics = GeometryPanel(self.session)
        self.steps = StepsPanel(self.session)
        self.method = MethodPanel(self.session)
        self.preview = PreviewPanel(self.session)
        self.runs = RunsPanel(self.session, napari_viewer)
        self.footer = Footer()
        self.runner = Runner(self.session, napari_viewer, self.footer, self)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(2, 2, 2, 2)
        outer.setSpacing(2)
        outer.addLayout(self._head())
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(2, 2, 8, 2)
        column.setSpacing(2)
        for panel in (self.data, self.physics, self.steps, self.method, self.preview, self.runs):
            column.addWidget(panel)
        column.addStretch()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        outer.addWidget(scroll, 1)
        outer.addWidget(self.footer)
        self._connect()

    def _head(self) -> QHBoxLayout:
        """The device and the level of detail."""
        line = QHBoxLayout()
        self._device = QComboBox()
        self._device.addItems(["auto", "cpu", "cuda"])
        self._device.setCurrentText(self.session.device)
        self._device.setToolTip("Where the work is done; auto takes a GPU where there is one.")
        self._device.activated.connect(lambda _: setattr(self.session, "device", self._device.currentText()))
        self._level = QComboBox()
        self._level.addItems(["Basic", "Advanced"])
        self._level.setToolTip("How many parameters the forms show.")
        self._level.activated.connect(lambda _: self.set_level(self._level.currentText()))
        line.addWidget(QLabel("device"))
        line.addWidget(self._device)
        line.addStretch()
        line.addWidget(self._level)
        return line

    def _connect(self) -> None:
        session, footer = self.session, self.footer
        for panel in (self.data, self.physics, self.runs):
            panel.failed.connect(self.fail)
        self.physics.find_centre.connect(self.find_centre)
        self.physics.sweep.connect(self.sweep)
        self.steps.look.connect(self.look_at_step)
        self.method.edited.connect(self.preview.edited)
        self.method.suggest.connect(self.suggest)
        session.physics_changed.connect(self.preview.edited)
        session.steps_changed.connect(self.preview.edited)
        self.preview.wanted.connect(self.start_preview)
        self.runs.reopen.connect(self.reopen)
        self.runs.export.connect(self.export)
        footer.keep.connect(self.job.stop_and_keep)
        footer.cancel.connect(self.cancel)
        footer.copy.connect(self.copy_as)
        footer.save.connect(self.save_recipe)
        footer.load.connect(self.ask_recipe)
        self.job.failed.connect(self.fail)
        self.job.ended.connect(lambda: footer.set_busy(self.runner.job.running, can_keep=False))
        self.runner.job.ended.connect(lambda: footer.set_busy(self.job.running))
        self.destroyed.connect(self.job.cancel)

    # ------------------------------------------------------------------ small things
    def set_level(self, level: str) -> None:
        """Show basic parameters only, or all."""
        self._level.setCurrentText(level)
        self.steps.set_advanced(level == "Advanced")
        self.method.set_advanced(level == "Advanced")

    def fail(self, sentence: str) -> None:
        """Show what went wrong, where the user looks."""
        self.footer.show_error(sentence)

    def cancel(self) -> None:
        """Cancel whatever runs; the image of a cancelled preview goes away."""
        if self.job.running:
            self.job.cancel()
            self._drop_live()
        if self.runner.job.running:
            self.footer.cancel_button.setText("Cancelling\N{HORIZONTAL ELLIPSIS}")
            self.runner.cancel()

    # ------------------------------------------------------------------ preview
    def start_preview(self) -> None:
        """Reconstruct the slice of the preview with what the panels say; a running preview is replaced."""
        measurement = self.session.measurement
        if measurement is None:
            return
        self.footer.show_error("")
        try:
            recipe = self.session.recipe()
        except ImageregError as error:
            self.fail(str(error))
            return
        self._recipe = recipe
        self._drop_live()
        self._take_over(self._show_look, self._finish_preview)
        self.preview.begin()
        self.footer.set_busy(True)
        self.footer.show_progress(0.0, f"{recipe.method.name}\N{HORIZONTAL ELLIPSIS}")
        row = self.session.row
        self.job.start(lambda keep: preview_looks(recipe, measurement, row, keep))

    def _take_over(self, looked: Any, finished: Any) -> None:
        """Send the job's values to these slots from now on."""
        for signal, slot in ((self.job.looked, looked), (self.job.finished, finished)):
            with contextlib.suppress(RuntimeError, TypeError):
                signal.disconnect()
            signal.connect(slot)

    def _show_look(self, look: Look) -> None:
        self.preview.show_look(look)
        fraction = look.iteration / look.total if look.total else None
        self.footer.show_progress(
            fraction, f"iteration {look.iteration}" + (f"/{look.total}" if look.total else "")
        )
        if self._live is None or self._live not in self.viewer.layers:
            measurement = self.session.measurement
            assert measurement is not None
            keywords = result_keywords(look.image, measurement, name=LIVE)
            if look.measurement is not None:
                keywords = result_keywords(look.image, look.measurement, name=LIVE)
            self._live = self.viewer.add_image(look.image, **keywords)
        elif self._live.data.shape != look.image.shape:
            self._live.data = look.image
        else:
            self._live.data = look.image
            self._live.contrast_limits = contrast(look.image)

    def _finish_preview(self, look: Look | None) -> None:
        if look is None or self._recipe is None:
            return
        recipe, measurement = self._recipe, look.measurement or self.session.measurement
        assert measurement is not None
        self._drop_live()
        run = self.session.add_run(
            method=recipe.method.name,
            parameters=recipe.resolved_method().model_dump(mode="json"),
            iterations=look.iteration,
            seconds=look.seconds,
            residual=look.residual,
            metrics=look.metrics,
            layer="",
            recipe=recipe.to_yaml(),
            finished=look.finished,
        )
        provenance = {"recipe": recipe.to_yaml(), "finished": look.finished, "notes": list(look.notes)}
        name = f"{self.session.layer_name or 'data'} \N{BLACK RIGHT-POINTING SMALL TRIANGLE} {run.title}"
        layer = self.viewer.add_image(
            look.image, **result_keywords(look.image, measurement, name=name, provenance=provenance)
        )
        self.session.update_run(run.number, layer=layer.name)
        self.preview.show_look(look)
        if len(self.session.runs) == 1:
            self.viewer.reset_view()

    def _drop_live(self) -> None:
        if self._live is not None and self._live in self.viewer.layers:
            self.viewer.layers.remove(self._live)
        self._live = None

    # ------------------------------------------------------------------ centre, steps, suggestion
    def _small_job(self, text: str, work: Any, done: Any) -> None:
        """Run one function in the job's thread and hand its value to `done`."""
        self.footer.show_error("")
        self._take_over(lambda _: None, done)
        self.footer.set_busy(True, can_keep=False)
        self.footer.show_progress(None, text)

        def once(keep: Any) -> Any:
            yield work()

        self.job.start(once)

    def _before_centre(self) -> Any:
        from imagereg.preprocessing import preprocess

        assert self.session.measurement is not None
        names = [step for step in self.session.steps if "centre" not in step]
        return preprocess(self.session.measurement, names)

    def find_centre(self) -> None:
        """Find the centre of rotation from the data."""
        from imagereg.preprocessing import find_centre

        self._small_job(
            "finding the centre of rotation",
            lambda: find_centre(self._before_centre()),
            self.physics.show_estimate,
        )

    def sweep(self, columns: list[float]) -> None:
        """Reconstruct with the axis on several columns."""
        from imagereg.preprocessing import centre_sweep

        row = self.session.row

        def work() -> Any:
            ready = self._before_centre()
            ready = ready.select(rows=slice(row, row + 1)) if ready.rows > 1 else ready
            return columns, centre_sweep(ready, columns)

        self._small_job(
            "reconstructing the sweep", work, lambda found: self.physics.show_sweep(found[0], found[1])
        )

    def look_at_step(self, name: str) -> None:
        """Show the data before and after one step, and their difference."""
        from imagereg.preprocessing import preprocess

        measurement = self.session.measurement
        if measurement is None:
            return
        names = [next(iter(step)) for step in self.session.steps]
        if name not in names:
            self.fail(f"tick the step {name!r} first.")
            return
        place = names.index(name)

        def work() -> Any:
            before = preprocess(measurement, self.session.steps[:place])
            return before, preprocess(before, [self.session.steps[place]])

        def show(pair: Any) -> None:
            before, after = (np.asarray(m.data[...], dtype=np.float32) for m in pair)
            for label, array in (("before", before), ("after", after)):
                replace_layer(self.viewer, measurement, f"{name} {label}", array)
            if before.shape == after.shape:
                replace_layer(self.viewer, measurement, f"{name} difference", after - before, colormap="PiYG")

        self._small_job(f"running {name}", work, show)

    def suggest(self) -> None:
        """Find the main parameter of the method from the data, on the preview's slice."""
        from napari_imagereg.suggest import suggestion

        measurement = self.session.measurement
        if measurement is None:
            return
        try:
            recipe = self.session.recipe()
        except ImageregError as error:
            self.fail(str(error))
            return
        row = self.session.row

        def show(found: Any) -> None:
            self.method.form.set_values({found.name: found.value})
            self.method.curve.clear()
            self.method.curve.set_curve(found.by, list(found.tried), list(found.scores))
            self.method.curve.show()
            self.footer.show_error("")

        self._small_job("choosing from the data", lambda: suggestion(recipe, measurement, row), show)

    # ------------------------------------------------------------------ recipes and output
    def copy_as(self, form: str) -> None:
        """Put the recipe on the clipboard as a command, Python or YAML."""
        run = self.runs.selected()
        try:
            recipe = Recipe.parse(run.recipe) if run is not None else self.session.recipe()
            text = self.session.as_text(form, recipe)  # type: ignore[arg-type]
        except ImageregError as error:
            self.fail(str(error))
            return
        QApplication.clipboard().setText(text)

    def save_recipe(self) -> None:
        """Write the recipe where the user says."""
        name, _ = QFileDialog.getSaveFileName(self, "Save the recipe", "recipe.yaml", "Recipes (*.yaml)")
        if name:
            Path(name).write_text(self.session.as_text("YAML"), encoding="utf-8")

    def ask_recipe(self) -> None:
        """Open a recipe that the user picks."""
        name, _ = QFileDialog.getOpenFileName(self, "Open a recipe", "", "Recipes (*.yaml *.yml)")
        if name:
            self.open_recipe(Path(name))

    def open_recipe(self, path: Path) -> None:
        """Restore everything that a recipe says: data, steps, physics, method."""
        try:
            recipe = Recipe.load(path)
            if recipe.input.path.exists() and recipe.input.path != self.session.path:
                self.data.open_path(recipe.input.path, **recipe.input.hints)
            self.session.load(recipe)
        except ImageregError as error:
            self.fail(str(error))

    def reopen(self, number: int) -> None:
        """Put a run's parameters back into the panels."""
        run = next(run for run in self.session.runs if run.number == number)
        recipe = Recipe.parse(run.recipe)
        self.session.parameters[recipe.method.name] = recipe.method.parameters
        self.session.method = recipe.method.name
        self.session.method_changed.emit()

    def export(self, number: int) -> None:
        """Write a run's image with its recipe inside."""
        run = next(run for run in self.session.runs if run.number == number)
        if run.layer not in self.viewer.layers:
            self.fail("the layer of this run is gone; run it again.")
            return
        name, _ = QFileDialog.getSaveFileName(self, "Export", f"{run.method}-{run.number}.ome.tif")
        if name:
            from napari_imagereg.writers import write_layer

            layer = self.viewer.layers[run.layer]
            try:
                write_layer(name, layer.data, layer.as_layer_data_tuple()[1])
            except ImageregError as error:
                self.fail(str(error))

    # ------------------------------------------------------------------ drag and drop, end
    def dragEnterEvent(self, event: Any) -> None:
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Open what was dropped: a recipe restores everything, a scan is opened."""
        for url in event.mimeData().urls():
            path = Path(url.toLocalFile())
            if path.suffix in (".yaml", ".yml"):
                self.open_recipe(path)
            else:
                self.data.open_path(path)

    def closeEvent(self, event: Any) -> None:
        """End the preview and stop following the volume, which goes on."""
        self.job.cancel()
        self.runner.job.forget()
        super().closeEvent(event)
