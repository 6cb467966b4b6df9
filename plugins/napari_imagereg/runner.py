"""Whole volumes and folders of scans, run one after the other in processes of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

from imagereg.errors import ImageregError
from imagereg.recipe import Recipe
from napari_imagereg.jobs import VolumeJob
from napari_imagereg.layers import follow_name
from napari_imagereg.panels.footer import Footer
from napari_imagereg.session import Session
from napari_imagereg.volume import VolumeDialog, show_output, source_path


class Runner(QObject):
    """Starts volume runs, follows them in the footer, and opens what they made."""

    def __init__(self, session: Session, viewer: Any, footer: Footer, parent: QWidget) -> None:
        super().__init__(parent)
        self._session, self._viewer, self._footer, self._parent = session, viewer, footer, parent
        self._queue: list[Recipe] = []
        self._failed: Path | None = None
        self._folder: Path | None = None
        self.job = VolumeJob(self)
        self.job.progressed.connect(self._show_progress)
        self.job.finished.connect(self._finish)
        self.job.failed.connect(self._fail)
        self.job.cancelled.connect(self._say_cancelled)
        footer.volume.connect(self.ask)
        footer.batch.connect(self.ask_batch)

    def ask(self) -> None:
        """Ask where to and show what it takes, then run the whole volume."""
        if self._session.measurement is None:
            self._footer.show_error("open some data first.")
            return
        try:
            dialog = VolumeDialog(self._session, self._parent)
        except ImageregError as error:
            self._footer.show_error(str(error))
            return
        if dialog.exec():
            self.start(dialog.folder())

    def start(self, folder: Path) -> None:
        """Run the whole volume into a folder; refused while another one runs."""
        if self._refuse():
            return
        self._footer.show_error("")
        self._failed = None
        try:
            path = source_path(self._session, folder)
            recipe = self._session.recipe(folder=folder).with_values({"input.path": str(path)})
        except ImageregError as error:
            self._footer.show_error(str(error))
            return
        self._start(recipe)

    def again(self) -> bool:
        """Run the volume again that ran out of memory, with what the panels say now; False if none did."""
        folder = self._failed
        if folder is not None:
            self.start(folder)
        return folder is not None

    def ask_batch(self) -> None:
        """Run the same recipe on every scan of a folder that the user picks."""
        name = QFileDialog.getExistingDirectory(self._parent, "Run this recipe on every scan of a folder")
        if name:
            self.start_batch(Path(name))

    def start_batch(self, folder: Path) -> None:
        """Run the same recipe on every scan of a folder, results in `imagereg-results` inside it."""
        if self._refuse():
            return
        from imagereg.running.jobs import batch_jobs

        pattern = f"*{self._session.path.suffix}" if self._session.path else None
        try:
            recipe = self._session.recipe()
            jobs = batch_jobs(folder, recipe, folder / "imagereg-results", pattern=pattern)
        except ImageregError as error:
            self._footer.show_error(str(error))
            return
        self._queue = [job.recipe for job in jobs]
        self._start(self._queue.pop(0))

    def cancel(self) -> None:
        """Interrupt the run; finished slabs stay, and the same run goes on from them later."""
        self._queue = []
        self.job.cancel()

    def _start(self, recipe: Recipe) -> None:
        folder = self._folder = Path(recipe.output.folder)
        self._footer.set_busy(True, can_keep=False)
        self._footer.show_progress(0.0, "starting a process")
        self.job.start(recipe, folder.with_name(f"{folder.name}.recipe.yaml"))

    def _show_progress(self, event: dict[str, Any]) -> None:
        remaining = event.get("remaining")
        eta = "" if remaining is None else f", {int(remaining // 60)}:{int(remaining % 60):02d} to go"
        self._footer.show_progress(event.get("fraction"), f"{event['event']}: {event['message'][:60]}{eta}")

    def _finish(self, folder: str) -> None:
        source = (
            self._viewer.layers[name] if (name := self._session.layer_name) in self._viewer.layers else None
        )
        layer = show_output(self._viewer, Path(folder), source)
        self._footer.show_progress(1.0, f"{Path(folder).name} is complete")
        account = layer.metadata.get("imagereg", {})
        metrics = account.get("metrics", {})
        run = self._session.add_run(
            method=account.get("method", ""),
            parameters=account.get("parameters", {}),
            iterations=account.get("iterations", 0),
            seconds=account.get("seconds", {}).get("total", 0.0),
            residual=metrics.get("residual"),
            metrics=metrics,
            layer=layer.name,
            recipe=account.get("recipe", ""),
        )
        follow_name(self._session, run.number, layer)
        self._next()

    def end(self) -> None:
        """The viewer closes: interrupt what runs."""
        self._queue = []
        self.job.end()

    def _refuse(self) -> bool:
        if self.job.running:
            self._footer.show_error("a volume is being reconstructed: cancel it or wait for it.")
        return self.job.running

    def _say_cancelled(self) -> None:
        self._footer.show_progress(0.0, "cancelled; the same run goes on from here")

    def _fail(self, sentence: str, resources: bool) -> None:
        self._failed = self._folder if resources else None
        self._footer.show_error(sentence, resources=resources)
        self._next()

    def _next(self) -> None:
        if self._queue:
            self._start(self._queue.pop(0))
