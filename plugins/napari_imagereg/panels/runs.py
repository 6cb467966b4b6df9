"""What was tried: a table, A/B tags, comparisons, profiles, and the way back to the parameters."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QHeaderView,
    QInputDialog,
    QMenu,
    QPushButton,
    QSlider,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from imagereg.errors import UsageError
from imagereg.running.allocator import give_back
from napari_imagereg.compare import MODES, Comparison, profile
from napari_imagereg.history import Run
from napari_imagereg.layers import leave_scans
from napari_imagereg.panels.base import Panel, note
from napari_imagereg.plot import Plot
from napari_imagereg.session import Session

COLUMNS = {
    "#": "number of the run",
    "tag": "A and B are compared",
    "method": "method",
    "main": "value of the method's main parameter",
    "it": "iterations",
    "s": "seconds",
    "resid.": "residual, ||A x - y|| / ||y||",
    "PSNR": "peak signal to noise in dB, where the truth is known",
}
METHOD, PSNR = (list(COLUMNS).index(name) for name in ("method", "PSNR"))


class RunsPanel(Panel):
    """The history of a session; the two runs tagged A and B are compared."""

    reopen = Signal(int)
    export = Signal(int)
    copy = Signal(int, str)
    failed = Signal(str)

    def __init__(self, session: Session, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__("Runs", parent)
        self._session, self._viewer = session, viewer
        self.comparison = Comparison(viewer, self)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        for column, tip in enumerate(COLUMNS.values()):
            self.table.horizontalHeaderItem(column).setToolTip(tip)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        # Names of methods give way, so that no figure is cut off.
        self.table.horizontalHeader().setSectionResizeMode(METHOD, QHeaderView.ResizeMode.Stretch)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.table.setToolTip("Double-click a run to see its image alone.")
        self.table.cellDoubleClicked.connect(lambda *_: self.show_alone())
        self.layout_.addWidget(self.table)
        buttons = []
        for text, tip, call in (
            ("A", "Tag as A.", lambda: self._tag("A")),
            ("B", "Tag as B.", lambda: self._tag("B")),
            ("Reopen", "Put this run's parameters back into the form.", lambda: self._emit(self.reopen)),
            ("Export", "Write this image with its recipe.", lambda: self._emit(self.export)),
            ("Rename", "Give this run and its layer a name.", self._ask_name),
            ("Delete", "Forget this run and remove its layer.", self.delete),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, call=call: call())
            if len(text) == 1:
                button.setMaximumWidth(30)
            buttons.append(button)
        copy = QPushButton("Copy as")
        copy.setToolTip("Put on the clipboard what makes exactly this image, outside the viewer.")
        menu = QMenu(copy)
        for form in ("CLI", "Python", "YAML"):
            menu.addAction(form).triggered.connect(lambda _=False, form=form: self._emit(self.copy, form))
        copy.setMenu(menu)
        self.row(*buttons[:4])
        self.row(copy, *buttons[4:])
        self._mode = QComboBox()
        self._mode.addItems(list(MODES))
        self._mode.setToolTip("How A and B are shown against each other.")
        self._mode.activated.connect(lambda _: self._compare())
        self._lock = QCheckBox("lock contrast")
        self._lock.setChecked(True)
        profile_button = QPushButton("Profile")
        profile_button.setToolTip("Values along the first line of the Shapes layer 'profile', in A and B.")
        profile_button.clicked.connect(self.show_profile)
        self._lock.setToolTip("Give A and B one grey range, also when it is changed.")
        self.row("Compare", self._mode, profile_button, stretch=1)
        self.row(self._lock)
        self._swipe = QSlider(Qt.Orientation.Horizontal)
        self._swipe.setRange(0, 100)
        self._swipe.setValue(50)
        self._swipe.setToolTip("Left of the line A, right of it B.")
        self._swipe.valueChanged.connect(lambda value: self.comparison.swipe(value / 100))
        self._swipe.hide()
        self.layout_.addWidget(self._swipe)
        self._said = note()
        self._said.hide()
        self.layout_.addWidget(self._said)
        self.profile_plot = Plot(shared=True, log=False, values=False)
        self.profile_plot.hide()
        self.layout_.addWidget(self.profile_plot)
        self.listen(session.runs_changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the session's runs, the newest first."""
        from imagereg.methods.registry import methods

        chosen = self._chosen()
        self.table.clearSelection()
        self.table.setRowCount(len(self._session.runs))
        for row, run in enumerate(reversed(self._session.runs)):
            main = methods()[run.method].main if run.method in methods() else ""
            value = run.parameters.get(main, "")
            cells = (
                str(run.number),
                run.tag,
                run.method,
                f"{value:.3g}" if isinstance(value, int | float) else str(value),
                str(run.iterations),
                f"{run.seconds:.1f}",
                "" if run.residual is None else f"{run.residual:.3g}",
                f"{run.metrics['psnr']:.2f}" if "psnr" in run.metrics else "",
            )
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setData(Qt.ItemDataRole.UserRole, run.number)
                item.setToolTip(run.title)
                self.table.setItem(row, column, item)
            if run.number == chosen:
                # New runs come in above: the choice stays with its run.
                self.table.selectRow(row)
        self.table.setColumnHidden(PSNR, not any("psnr" in run.metrics for run in self._session.runs))
        lines = min(max(len(self._session.runs), 1), 6)
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + 22 * lines + 6)
        self.set_state(f"{len(self._session.runs)}" if self._session.runs else "none yet")

    def selected(self) -> Run | None:
        """The chosen run, or the newest."""
        number = self._chosen()
        runs = self._session.runs
        return next((run for run in runs if run.number == number), runs[-1] if runs else None)

    def _chosen(self) -> int | None:
        rows = self.table.selectionModel().selectedRows() if self.table.selectionModel() else []
        item = self.table.item(rows[0].row(), 0) if rows else None
        return None if item is None else int(item.data(Qt.ItemDataRole.UserRole))

    def show_alone(self) -> None:
        """Show the chosen run's image and hide those of the other runs, and scans and residual maps."""
        chosen = self.selected()
        if chosen is None:
            return
        self._leave()
        for run in self._session.runs:
            layer = self._layer(run)
            if layer is not None:
                layer.visible = run.number == chosen.number
                if layer.visible:
                    self._viewer.layers.selection.active = layer
        shown = self._layer(chosen)
        if shown is not None and any("angle" in layer.axis_labels for layer in self._viewer.layers):
            leave_scans(self._viewer, shown)

    def compare(self, mode: str) -> None:
        """Show A against B in a mode."""
        self._mode.setCurrentText(mode)
        self._compare()

    def show_profile(self) -> None:
        """Draw the values of A and B along the profile line, making the line where there is none."""
        runs = [run for run in (self._session.tagged("A"), self._session.tagged("B")) if run is not None]
        runs = runs or ([self._session.runs[-1]] if self._session.runs else [])
        if not runs:
            return
        layer = self._layer(runs[0])
        if layer is None:
            return
        line = self._line(layer)
        self.profile_plot.clear()
        self.profile_plot.axis = "pixels along the line"
        for run in runs:
            shown = self._layer(run)
            if shown is not None:
                picture = np.asarray(shown.data)
                picture = picture if picture.ndim == 2 else picture[picture.shape[0] // 2]
                distance, values = profile(picture, tuple(line[0]), tuple(line[1]))
                name = f"{run.tag}: {shown.name}" if run.tag else shown.name
                self.profile_plot.set_curve(name, list(distance), list(values))
        self.profile_plot.show()

    def _line(self, layer: Any) -> Any:
        name = "profile"
        if name not in self._viewer.layers:
            height, width = layer.data.shape[-2:]
            self._viewer.add_shapes(
                [[[height / 2, width * 0.1], [height / 2, width * 0.9]]],
                shape_type="line",
                name=name,
                edge_color="#e69f00",
                edge_width=max(1.0, width / 200),
                scale=layer.scale[-2:],
                translate=layer.translate[-2:],
                units=layer.units[-2:],
            )
        return np.asarray(self._viewer.layers[name].data[0])[:, -2:]

    def _tag(self, tag: str) -> None:
        run = self.selected()
        if run is not None:
            self._session.update_run(run.number, tag=tag)
            self._compare()

    def _emit(self, signal: Any, *more: str) -> None:
        run = self.selected()
        if run is not None:
            signal.emit(run.number, *more)

    def _ask_name(self) -> None:
        run = self.selected()
        if run is None:
            return
        name, taken = QInputDialog.getText(self, "Rename", "Name of the run and its layer:", text=run.title)
        if taken and name:
            self.rename(run.number, name)

    def rename(self, number: int, name: str) -> None:
        """Give a run and its layer a name."""
        run = next(run for run in self._session.runs if run.number == number)
        layer = self._layer(run)
        if layer is not None:
            layer.name = name
        self._session.update_run(number, name=name)

    def delete(self) -> None:
        """Forget the chosen run and remove its layer."""
        run = self.selected()
        if run is None:
            return
        self._leave()
        if run.layer in self._viewer.layers:
            self._viewer.layers.remove(run.layer)
        self._session.remove_run(run.number)
        # In a thread, for it takes as long as a frame.
        threading.Thread(target=give_back, name="imagereg-memory").start()

    def _leave(self) -> None:
        """Leave the comparison."""
        self.comparison.clear()
        self._mode.setCurrentText("off")
        self._swipe.hide()
        self._said.hide()

    def _compare(self) -> None:
        mode: Any = self._mode.currentText()
        first, second = self._session.tagged("A"), self._session.tagged("B")
        layers = [self._layer(run) for run in (first, second) if run is not None]
        if mode != "off" and (len(layers) < 2 or None in layers):
            self._leave()
            self.failed.emit("tag two runs as A and B to compare them.")
            return
        self._swipe.setVisible(mode == "swipe")
        self._said.hide()
        try:
            self.comparison.show(
                mode, *(layers if len(layers) == 2 else (None, None)), lock=self._lock.isChecked()
            )
        except UsageError as error:
            self._mode.setCurrentText("off")
            self._swipe.hide()
            self.failed.emit(str(error))
        self._said.setText(self.comparison.legend)
        self._said.setVisible(bool(self.comparison.legend))

    def _layer(self, run: Run) -> Any:
        return self._viewer.layers[run.layer] if run.layer in self._viewer.layers else None
