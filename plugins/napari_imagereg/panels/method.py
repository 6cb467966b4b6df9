"""Step 4: the method, its parameters, and a strength that the data suggest."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QComboBox, QPushButton, QWidget

from napari_imagereg.editors import narrow
from napari_imagereg.form import ParameterForm
from napari_imagereg.panels.base import Panel, note
from napari_imagereg.panels.error_bars import ErrorBarsRow
from napari_imagereg.panels.presets import PresetRow
from napari_imagereg.panels.strip import Strip
from napari_imagereg.plot import Plot
from napari_imagereg.session import Session
from napari_imagereg.suggest import RULES, Suggestion
from napari_imagereg.sweeping import Sweep


class MethodPanel(Panel):
    """Methods that fit can be chosen, the others say why not; the form is built from the declaration."""

    edited = Signal()
    failed = Signal(str)
    suggest = Signal(str)
    sweep = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("4  Method", parent)
        self._session = session
        self._swept = ""
        self._combo = QComboBox()
        self._combo.setModel(QStandardItemModel(self._combo))
        self._combo.setToolTip(
            "Methods that fit the data can be chosen; the others say in a tooltip why not."
        )
        self._combo.activated.connect(self._choose)
        self._suggest = QPushButton("Suggest")
        self._suggest.setToolTip("Find the main parameter from the data and show the curve.")
        self._suggest.clicked.connect(lambda: self.suggest.emit(RULES[self._rule.currentIndex()]))
        self._sweep = QPushButton("Sweep\N{HORIZONTAL ELLIPSIS}")
        self._sweep.setToolTip(
            "Reconstruct this slice, small, with seven values of the main parameter; click the best picture."
        )
        self._sweep.clicked.connect(self.sweep.emit)
        self._rule = QComboBox()
        self._rule.addItems([rule.replace("_", " ") for rule in RULES])
        self._rule.setToolTip(
            "What decides: views held out, residual as large as the noise (discrepancy), generalised "
            "cross-validation, Stein's risk estimate, the corner of the L-curve."
        )
        self._rule.hide()
        narrow(self._combo, letters=14)
        narrow(self._rule, letters=10)
        self.layout_.addWidget(self._combo)
        self._summary = note()
        self.layout_.addWidget(self._summary)
        self.presets = PresetRow(session)
        self.presets.failed.connect(self.failed.emit)
        self.presets.edited.connect(self.edited.emit)
        self.layout_.addWidget(self.presets)
        self.form = ParameterForm()
        self.form.changed.connect(self._keep)
        self.layout_.addWidget(self.form)
        self.row(self._suggest, self._sweep, self._rule)
        self.strip = Strip("The slice with these values of the main parameter: click the best picture.")
        self.strip.taken.connect(self._take)
        self.layout_.addWidget(self.strip)
        self.curve = Plot(log=False)
        self.curve.hide()
        self.layout_.addWidget(self.curve)
        self._evidence = note()
        self._evidence.hide()
        self.layout_.addWidget(self._evidence)
        self.error_bars = ErrorBarsRow()
        self.error_bars.edited.connect(self._keep_error_bars)
        self.layout_.addWidget(self.error_bars)
        self.listen(session.method_changed, self.refresh)
        self.listen(session.data_changed, self.refresh)
        self.listen(session.steps_changed, self._refresh_choices)
        self.listen(session.physics_changed, self._refresh_choices)
        self.refresh()

    def set_advanced(self, advanced: bool) -> None:
        """Show advanced parameters."""
        self.form.set_advanced(advanced)
        self._rule.setVisible(advanced)

    def show_suggestion(self, found: Suggestion) -> None:
        """Draw the trials; a chosen value goes into the form, with the sentence that speaks for it."""
        self.curve.clear()
        by = found.by.replace("_", " ")
        self.curve.set_curve(f"{by}: score of {found.name}", list(found.tried), list(found.scores))
        self.curve.axis = found.name.replace("_", " ")
        self.curve.show()
        if found.value is not None:
            self.form.set_values({found.name: found.value})
            self.curve.mark(found.value)
            self._evidence.setText(f"{found.name} = {found.value:.4g}: {found.sentence}")
            self._evidence.show()

    def show_sweep(self, found: Sweep) -> None:
        """Show the pictures so far, each with its value."""
        self._swept = found.name
        now = self.form.values().get(found.name, found.values[0])
        words = found.name.replace("_", " ")
        self.strip.show_pictures(found.values, found.pictures, now=now, form=".3g", seen=words)

    def _take(self, value: float) -> None:
        """Put the value of a picture into the form."""
        present = self.form.values()[self._swept]
        self.form.set_values({self._swept: round(value) if isinstance(present, int) else value})

    def refresh(self) -> None:
        """Show the session's method."""
        self._refresh_choices()
        declared = self._session.fitting()[self._session.method]
        self._summary.setText(f"{declared.summary[:1].upper()}{declared.summary[1:].rstrip('.')}.")
        self._summary.setToolTip(declared.reference)
        for button in (self._suggest, self._sweep):
            button.setEnabled(bool(declared.main))
        self.strip.hide()
        self.error_bars.show_section(self._session.uncertainty)
        self.curve.hide()
        self._evidence.hide()
        self.presets.refresh()
        self.form.blockSignals(True)
        self.form.show_model(declared, self._session.parameters_of(), preset=self._session.preset_of())
        self.form.blockSignals(False)
        self.set_state(declared.title)

    def _refresh_choices(self) -> None:
        model = self._combo.model()
        model.clear()
        refusals = self._session.refusals()
        for row, (name, declared) in enumerate(self._session.fitting().items()):
            item = QStandardItem(declared.title)
            item.setData(name, Qt.ItemDataRole.UserRole)
            reason = refusals[name]
            item.setToolTip(reason or declared.summary)
            if reason and self._session.measurement is not None:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            model.appendRow(item)
            if name == self._session.method:
                self._combo.setCurrentIndex(row)

    def reason(self, name: str) -> str:
        """The tooltip of a method in the list: why it cannot be chosen, or what it does."""
        model = self._combo.model()
        for row in range(model.rowCount()):
            if model.item(row).data(Qt.ItemDataRole.UserRole) == name:
                return str(model.item(row).toolTip())
        return ""

    def _choose(self, index: int) -> None:
        name = self._combo.itemData(index, Qt.ItemDataRole.UserRole)
        self._session.choose_method(name)
        self.edited.emit()

    def _keep_error_bars(self) -> None:
        self._session.uncertainty = self.error_bars.section()
        self.edited.emit()

    def _keep(self) -> None:
        self._session.set_parameters(self.form.values(changed_only=True))
        self.edited.emit()
