"""What the noise of an image is like: said by the user, or estimated where it is Gaussian."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QWidget

UNKNOWN = "not said"
KINDS = {
    "gaussian": ("sigma", 0.1, "Standard deviation of the noise, in the image's grey values."),
    "poisson": ("gain", 1.0, "Grey value of one photon: 1 for counts."),
    "gamma": ("looks", 10.0, "Number of looks that are averaged: few mean strong speckle."),
}
"""Noise models: the name of the parameter, a first value, and what it means."""


class NoiseRow(QWidget):
    """One line: the kind of noise, its parameter, and a button that estimates it."""

    edited = Signal()
    estimate = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model: dict[str, Any] | None = None
        self._kind = QComboBox()
        self._kind.addItems([UNKNOWN, *KINDS])
        self._kind.setToolTip(
            "What the noise of the image is like; methods that are made for one kind need to know."
        )
        self._value = QDoubleSpinBox()
        self._value.setDecimals(6)
        self._value.setRange(1e-6, 1e6)
        self._value.setKeyboardTracking(False)
        self._value.setToolTip("The parameter of the noise.")
        self._button = QPushButton("Estimate")
        self._button.setToolTip("Find the standard deviation of Gaussian noise from this slice.")
        self._kind.activated.connect(lambda _: self._choose())
        self._value.valueChanged.connect(self._set_value)
        self._button.clicked.connect(self.estimate.emit)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("Noise"))
        line.addWidget(self._kind, 1)
        line.addWidget(self._value, 1)
        line.addWidget(self._button)
        self.show_model(None)

    def model(self) -> dict[str, Any] | None:
        """The noise model as recipes write it, None where nothing is said."""
        return None if self._model is None else dict(self._model)

    def show_model(self, model: dict[str, Any] | None) -> None:
        """Show a noise model without telling of an edit; one that has no control here is named."""
        self._model = None if model is None else dict(model)
        kind = UNKNOWN if model is None else str(model["name"])
        if self._kind.findText(kind) < 0:
            self._kind.addItem(kind)
        self._kind.setCurrentText(kind)
        self._value.setVisible(kind in KINDS)
        if kind in KINDS:
            name, first, meaning = KINDS[kind]
            self._value.blockSignals(True)
            self._value.setValue(float((model or {}).get(name, first)))
            self._value.blockSignals(False)
            self._value.setToolTip(meaning)

    def _choose(self) -> None:
        kind = self._kind.currentText()
        if kind in KINDS:
            self.show_model({"name": kind, KINDS[kind][0]: KINDS[kind][1]})
        elif kind == UNKNOWN:
            self.show_model(None)
        self.edited.emit()

    def _set_value(self, value: float) -> None:
        assert self._model is not None
        self._model[KINDS[self._model["name"]][0]] = value
        self.edited.emit()
