"""The workbench: five steps, the history and the footer in one dock, wired to the session and the jobs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QFileDialog,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from imagereg.errors import ImageregError
from imagereg.recipe import Recipe
from napari_imagereg.diagnostics import Examiner
from napari_imagereg.estimating import Estimator
from napari_imagereg.explorer import Explorer
from napari_imagereg.gallery import GALLERY
from napari_imagereg.help import KEYS, HelpDialog
from napari_imagereg.jobs import ThreadJob, VolumeJob
from napari_imagereg.outputs import Outputs
from napari_imagereg.panels.data import DataPanel
from napari_imagereg.panels.footer import Footer
from napari_imagereg.panels.geometry import GeometryPanel
from napari_imagereg.panels.head import Head
from napari_imagereg.panels.method import MethodPanel
from napari_imagereg.panels.preview import PreviewPanel
from napari_imagereg.panels.runs import RunsPanel
from napari_imagereg.panels.steps import StepsPanel
from napari_imagereg.panels.trust import TrustPanel
from napari_imagereg.runner import Runner
from napari_imagereg.session import session_of
from napari_imagereg.settings import Settings
from napari_imagereg.slice_tasks import Prober
from napari_imagereg.tour import Tour


class Workbench(QWidget):
    """The dock. It holds no mathematics: it shows a session, starts jobs and shows what they give."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session = session_of(napari_viewer)
        self.settings = Settings.load()
        self.session.device = self.settings.device
        self.setAcceptDrops(True)
        self.setMinimumWidth(360)

        self.head = Head(self.session)
        self.data = DataPanel(self.session, napari_viewer)
        self.physics = GeometryPanel(self.session)
        self.steps = StepsPanel(self.session)
        self.method = MethodPanel(self.session)
        self.preview = PreviewPanel(self.session)
        self.runs = RunsPanel(self.session, napari_viewer)
        self.trust = TrustPanel(self.session)
        self.footer = Footer()
        self.explorer = Explorer(
            self, self, by_region=self.preview.by_region, complaint=self.method.form.error
        )
        self.prober = Prober(self, self.explorer)
        self.examiner = Examiner(self, self.explorer, self.runs.selected)
        self.estimator = Estimator(self, self.explorer)
        self.outputs = Outputs(self, self)
        self.runner = Runner(self.session, napari_viewer, self.footer, self)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(2, 2, 2, 2)
        outer.setSpacing(2)
        outer.addWidget(self.head)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(2, 2, 8, 2)
        column.setSpacing(2)
        self.panels = (
            self.data,
            self.physics,
            self.steps,
            self.method,
            self.preview,
            self.runs,
            self.trust,
        )
        for panel in self.panels:
            column.addWidget(panel)
        column.addStretch()
        self.scroll_area = scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        outer.addWidget(scroll, 1)
        outer.addWidget(self.footer)
        self._connect()

    def _connect(self) -> None:
        session, footer, explorer = self.session, self.footer, self.explorer
        for panel in (self.data, self.physics, self.method, self.runs):
            panel.failed.connect(self.fail)
        self.physics.find_centre.connect(self.prober.find_centre)
        self.physics.sweep.connect(self.prober.sweep)
        self.physics.image.noise.estimate.connect(self.prober.estimate_noise)
        self.steps.look.connect(self.prober.look_at_step)
        self.method.edited.connect(self.preview.edited)
        self.method.suggest.connect(self.prober.suggest)
        self.method.sweep.connect(self.prober.sweep_parameter)
        self.preview.listen(session.physics_changed, self.preview.edited)
        self.preview.listen(session.steps_changed, self.preview.edited)
        # What runs belongs to the data before.
        self.preview.listen(session.data_changed, explorer.cancel)
        self.preview.listen(session.execution_changed, self.head.show_device)
        for signal in (
            session.data_changed,
            session.physics_changed,
            session.steps_changed,
            session.method_changed,
            session.execution_changed,
        ):
            self.preview.listen(signal, self.estimator.edited)
        self.method.edited.connect(self.estimator.edited)
        self.prober.centre_found.connect(self.physics.show_estimate)
        self.prober.noise_found.connect(self.physics.image.show_noise)
        self.prober.axis_swept.connect(self.physics.show_sweep)
        self.prober.suggested.connect(self.method.show_suggestion)
        self.prober.parameter_swept.connect(self.method.show_sweep)
        self.examiner.fit_found.connect(self.trust.show_fit)
        self.examiner.halves_found.connect(self.trust.show_halves)
        self.estimator.takes.connect(self.preview.show_takes)
        explorer.preview_began.connect(self.preview.begin)
        explorer.looked.connect(self.preview.show_look)
        explorer.legend_changed.connect(self.preview.show_legend)
        explorer.busy.connect(lambda can_keep: footer.set_busy(True, can_keep=can_keep))
        explorer.began.connect(self.estimator.give_way)
        explorer.previewed.connect(self.estimator.learn)
        self.preview.wanted.connect(explorer.start_preview)
        self.preview.region_wanted.connect(explorer.show_region)
        self.runs.reopen.connect(self.outputs.reopen)
        self.runs.export.connect(self.outputs.export)
        self.runs.copy.connect(self.outputs.copy_run)
        self.trust.residual.connect(self.examiner.show_residual)
        self.trust.halves.connect(self.examiner.compare_halves)
        footer.keep.connect(explorer.job.stop_and_keep)
        footer.cancel.connect(self.cancel)
        footer.copy.connect(self.outputs.copy_as)
        footer.save.connect(self.outputs.save_recipe)
        footer.load.connect(self.ask_recipe)
        footer.use_cpu.connect(self._use_cpu)
        footer.bin_data.connect(self._bin_data)
        footer.fewer_rows.connect(self._take_fewer_rows)
        self.head.level_chosen.connect(self.set_level)
        self.head.help_wanted.connect(self.show_help)
        self.head.trial_wanted.connect(self.try_out)
        self.data.trial_wanted.connect(self.try_out)
        for part in (self.head, self.data):
            part.tour_wanted.connect(self.start_tour)
        self.data.recipe_dropped.connect(lambda path: self.open_recipe(Path(path)))
        explorer.job.ended.connect(lambda: footer.set_busy(self.runner.job.running, can_keep=False))
        self.runner.job.ended.connect(lambda: footer.set_busy(explorer.job.running))
        heard = [panel.heard for panel in self.panels]
        jobs, volume = (explorer.job, self.data.findings.checker, self.estimator.job), self.runner.job
        self.destroyed.connect(lambda: _release(heard, jobs, volume))
        calls = (
            explorer.start_preview,
            self.runner.ask,
            explorer.job.stop_and_keep,
            self.cancel,
            lambda: self.outputs.copy_as("CLI"),
        )
        for keys, call in zip(KEYS, calls, strict=True):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(call)

    # ------------------------------------------------------------------ small things
    def set_level(self, level: str) -> None:
        """Show basic parameters only, or all."""
        self.head.show_level(level)
        self.steps.set_advanced(level == "Advanced")
        self.method.set_advanced(level == "Advanced")

    def show_help(self) -> HelpDialog:
        """Open the card of the chosen method beside the work."""
        dialog = HelpDialog(self.session.fitting()[self.session.method], self)
        dialog.show()
        return dialog

    def start_tour(self) -> Tour:
        """Walk through the dock; a tour that is under way begins anew."""
        for tour in self.findChildren(Tour):
            tour.close()
        return Tour(self)

    def try_out(self, make: str = GALLERY[0].make) -> None:
        """Open a sample with what suits it and reconstruct it."""
        self.data.open_sample(make)
        self.explorer.start_preview()

    def source(self) -> Any:
        """The layer of the open data; None where there is none."""
        return self.data.source()

    def progress(self, fraction: float | None, text: str) -> None:
        """Say in the footer how far the work is."""
        self.footer.show_progress(fraction, text)

    def fail(self, sentence: str, resources: bool = False) -> None:
        """Show what went wrong, where the user looks; with ways out where memory did not suffice."""
        self.footer.show_error(sentence, resources=resources)

    def _use_cpu(self) -> None:
        self.session.device = "cpu"
        self.session.execution_changed.emit()
        self._again()

    def _take_fewer_rows(self) -> None:
        rows = 1 if self.session.measurement is None else self.session.measurement.rows
        self.session.slab = max(1, (self.session.slab or min(rows, 32)) // 2)
        self._again()

    def _again(self) -> None:
        """Try once more what ran out of memory."""
        if not self.runner.again():
            self.explorer.start_preview()

    def _bin_data(self) -> None:
        self.session.bin_data()
        self._again()

    def cancel(self) -> None:
        """Cancel whatever runs; the image of a cancelled preview goes away."""
        self.explorer.cancel()
        if self.runner.job.running:
            self.footer.cancel_button.setText("Cancelling\N{HORIZONTAL ELLIPSIS}")
            self.runner.cancel()

    # ------------------------------------------------------------------ recipes and scans from outside
    def ask_recipe(self) -> None:
        """Open a recipe that the user picks."""
        name, _ = QFileDialog.getOpenFileName(self, "Open a recipe", "", "Recipes (*.yaml *.yml)")
        if name:
            self.open_recipe(Path(name))

    def open_recipe(self, path: Path) -> None:
        """Restore everything that a recipe says: data, steps, physics, method."""
        try:
            recipe = Recipe.load(path)
            source = recipe.input
            if source.path.exists() and source.path != self.session.path:
                self.data.open_path(source.path, format=source.format, **source.hints)
            self.session.load(recipe)
            if not source.path.exists():
                self.fail(f"{source.path} is not there; all else of the recipe is taken.")
        except ImageregError as error:
            self.fail(str(error))

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

    # ------------------------------------------------------------------ end
    def end(self) -> None:
        """End what runs: the preview is dropped, the volume is interrupted and can be gone on with."""
        self.explorer.job.cancel()
        self.data.findings.checker.cancel()
        self.estimator.end()
        self.runner.end()

    def showEvent(self, event: Any) -> None:
        """Watch the viewer's window from now on."""
        super().showEvent(event)
        outermost: QWidget = self
        while (parent := outermost.parentWidget()) is not None:
            outermost = parent
        if outermost is not self:
            outermost.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """End what runs when the viewer's window closes."""
        if event.type() == QEvent.Type.Close:
            self.end()
        return bool(super().eventFilter(watched, event))

    def closeEvent(self, event: Any) -> None:
        """End what runs when the dock closes."""
        self.end()
        super().closeEvent(event)


def _release(heard: list[list[tuple[Any, Any]]], jobs: tuple[ThreadJob, ...], volume: VolumeJob) -> None:
    """What a dock that is gone must not hold or hear any more."""
    for job in jobs:
        job.abandon()
    volume.cancel()
    for signal, slot in (pair for pairs in heard for pair in pairs):
        with contextlib.suppress(ValueError, KeyError):
            signal.disconnect(slot)
