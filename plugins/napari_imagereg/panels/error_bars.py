"""How sure the image is: where its error bars come from, and how many runs they take."""

from __future__ import annotations

from typing import Any, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSpinBox, QWidget

from imagereg.sections import Uncertainty

NONE = "none"


class ErrorBarsRow(QWidget):
    """One line: the source of the error bars and the number of runs, as the recipe declares them."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        declared = Uncertainty.model_fields
        self._kept: dict[str, Any] = {}
        self._source = QComboBox()
        self._source.addItems([NONE, *get_args(declared["source"].annotation)])
        self._source.setToolTip(
            "Images of the standard deviation and of intervals beside the result. "
            f"{declared['source'].description}."
        )
        self._runs = QSpinBox()
        self._runs.setRange(2, 10_000)
        self._runs.setValue(declared["runs"].default)
        self._runs.setSuffix(" runs")
        self._runs.setKeyboardTracking(False)
        self._runs.setToolTip(f"{str(declared['runs'].description).capitalize()}: so many times the work.")
        self._source.activated.connect(lambda _: self._tell())
        self._runs.valueChanged.connect(lambda _: self._tell())
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("Error bars"))
        line.addWidget(self._source, 1)
        line.addWidget(self._runs, 1)
        self.show_section({})

    def section(self) -> dict[str, Any]:
        """The recipe's section of uncertainty; empty where none is asked for."""
        source = self._source.currentText()
        return {} if source == NONE else {**self._kept, "source": source, "runs": self._runs.value()}

    def show_section(self, section: dict[str, Any]) -> None:
        """Show a recipe's section without telling of an edit; what has no control here is kept."""
        self._kept = dict(section)
        self._source.setCurrentText(str(section.get("source", NONE)))
        self._runs.blockSignals(True)
        self._runs.setValue(int(section.get("runs", self._runs.value())))
        self._runs.blockSignals(False)
        self._show_runs()

    def choose(self, source: str, runs: int | None = None) -> None:
        """Ask for error bars as a user does."""
        self._source.setCurrentText(source)
        if runs is not None:
            self._runs.setValue(runs)
        self._tell()

    def _show_runs(self) -> None:
        self._runs.setVisible(self._source.currentText() not in (NONE, "method"))

    def _tell(self) -> None:
        self._show_runs()
        self.edited.emit()
