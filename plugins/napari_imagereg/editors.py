"""Editors for single parameters: toggles, choices, numbers with log sliders, text."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSlider,
    QSpinBox,
    QWidget,
)

SLIDER_STEPS = 200
OPEN_DECADES = 3.0
"""A log slider without a bound on one side reaches this many decades from the default."""


def narrow(combo: QComboBox, *, letters: int) -> None:
    """Let a list be as wide as some letters, not as its longest entry; when open it shows the whole."""
    combo.setMinimumContentsLength(letters)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


class Editor(QWidget):
    """Base of editors: `value`, `set_value`, and `changed` when the user edits."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.box = QHBoxLayout(self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(3)

    def value(self) -> Any:
        """The current value."""
        raise TypeError

    def set_value(self, value: Any) -> None:
        """Show a value."""
        raise TypeError


class ToggleEditor(Editor):
    """True or false."""

    def __init__(self) -> None:
        super().__init__()
        self._check = QCheckBox()
        self._check.toggled.connect(lambda _: self.changed.emit())
        self.box.addWidget(self._check)
        self.box.addStretch()

    def value(self) -> bool:
        """True where ticked."""
        return bool(self._check.isChecked())

    def set_value(self, value: Any) -> None:
        """Tick or untick."""
        self._check.setChecked(bool(value))


class ChoiceEditor(Editor):
    """One of several words."""

    def __init__(self, choices: tuple[Any, ...]) -> None:
        super().__init__()
        self._choices = list(choices)
        self._combo = QComboBox()
        narrow(self._combo, letters=8)
        self._combo.addItems([str(choice) for choice in choices])
        self._combo.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.box.addWidget(self._combo, 1)

    def value(self) -> Any:
        """The chosen one."""
        return self._choices[self._combo.currentIndex()]

    def set_value(self, value: Any) -> None:
        """Choose."""
        if value in self._choices:
            self._combo.setCurrentIndex(self._choices.index(value))


class NumberEditor(Editor):
    """A whole number or a number within bounds; optional numbers have a tick that switches them on."""

    def __init__(
        self, *, whole: bool, low: float, high: float, optional: bool, log: bool, default: Any
    ) -> None:
        super().__init__()
        self._whole, self._optional = whole, optional
        self._tick = QCheckBox()
        self._tick.setVisible(optional)
        self._spin: Any = QSpinBox() if whole else _ScientificSpinBox()
        self._spin.setRange(
            *(
                (int(max(low, -(2**31))), int(min(high, 2**31 - 1)))
                if whole
                else (max(low, -1e12), min(high, 1e12))
            )
        )
        self._spin.setKeyboardTracking(False)
        self._slider: QSlider | None = None
        self._given: tuple[Any, Any] = (None, None)
        self.box.addWidget(self._tick)
        start = float(default) if isinstance(default, int | float) and default else 1.0
        if log:
            bottom = (
                math.log10(low) if low > 0 and math.isfinite(low) else math.log10(abs(start)) - OPEN_DECADES
            )
            top = (
                math.log10(high)
                if math.isfinite(high) and high > 0
                else math.log10(abs(start)) + OPEN_DECADES
            )
            self._range = (max(bottom, math.log10(abs(start)) - 6), min(top, math.log10(abs(start)) + 6))
            self._slider = QSlider(Qt.Orientation.Horizontal)
            self._slider.setRange(0, SLIDER_STEPS)
            self._slider.valueChanged.connect(self._from_slider)
            self.box.addWidget(self._slider, 1)
            self._spin.setFixedWidth(104)
        self.box.addWidget(self._spin, 0 if log else 1)
        self._spin.valueChanged.connect(self._from_spin)
        self._tick.toggled.connect(self._enable)
        self._tick.toggled.connect(lambda _: self.changed.emit())
        self.set_value(default)

    def value(self) -> Any:
        """The number, or None where it is optional and switched off."""
        if self._optional and not self._tick.isChecked():
            return None
        shown, given = self._given
        if self._spin.value() == shown:
            # A box shows so many digits within its bounds: what was given stays exact until it is moved.
            return given
        return int(self._spin.value()) if self._whole else float(self._spin.value())

    def set_value(self, value: Any) -> None:
        """Show a number; None switches an optional one off."""
        if self._optional:
            self._tick.setChecked(value is not None)
            self._enable(value is not None)
        if value is not None:
            number = int(value) if self._whole else float(value)
            self._given = (None, None)
            self._spin.setValue(number)
            self._given = (self._spin.value(), number)

    def _enable(self, on: bool) -> None:
        self._spin.setEnabled(on)
        if self._slider is not None:
            self._slider.setEnabled(on)

    def _from_slider(self, place: int) -> None:
        bottom, top = self._range
        number = 10 ** (bottom + (top - bottom) * place / SLIDER_STEPS)
        number = float(f"{number:.2g}")
        self._spin.setValue(round(number) if self._whole else number)

    def _from_spin(self, number: float) -> None:
        if self._slider is not None and number > 0:
            bottom, top = self._range
            self._slider.blockSignals(True)
            self._slider.setValue(round((math.log10(number) - bottom) / (top - bottom) * SLIDER_STEPS))
            self._slider.blockSignals(False)
        self.changed.emit()


class TextEditor(Editor):
    """Anything else, written as it is in a recipe (YAML)."""

    def __init__(self, default: Any) -> None:
        super().__init__()
        self._line = QLineEdit()
        self._line.editingFinished.connect(self.changed.emit)
        self._current = default
        self.box.addWidget(self._line, 1)
        self.set_value(default)

    def value(self) -> Any:
        """What the text means: number, list, name; nothing for an empty line."""
        import yaml

        from imagereg import yaml_text

        text = self._line.text().strip()
        if text == self._text(self._current):
            return self._current
        if not text:
            return None
        try:
            return yaml_text.load(text)
        except yaml.YAMLError:
            return text

    def set_value(self, value: Any) -> None:
        """Show a value."""
        self._current = value
        self._line.setText(self._text(value))

    @staticmethod
    def _text(value: Any) -> str:
        if value is None:
            return ""
        return str(list(value)) if isinstance(value, tuple) else str(value)


class _ScientificSpinBox(QDoubleSpinBox):
    """A spin box for numbers of any magnitude: shows 4 digits, steps by a tenth of the number."""

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(12)

    def textFromValue(self, value: float) -> str:
        if value and abs(value) < 0.01:
            mantissa, _, power = f"{value:.3e}".partition("e")
            return f"{float(mantissa):g}e{int(power)}"
        return f"{value:.4g}"

    def valueFromText(self, text: str | None) -> float:
        return float(text or 0)

    def validate(self, text: str | None, position: int) -> Any:
        from qtpy.QtGui import QValidator

        try:
            float(text or "")
        except ValueError:
            return (QValidator.State.Intermediate, text, position)
        return (QValidator.State.Acceptable, text, position)

    def stepBy(self, steps: int) -> None:
        value = self.value()
        size = 10 ** (math.floor(math.log10(abs(value))) - 1) if value else 0.1
        self.setValue(value + steps * size)


def make_editor(field: FieldInfo, default: Any, *, log: bool) -> Editor:
    """The editor that fits a field's type and bounds."""
    kinds = [k for k in _alternatives(field.annotation) if k is not type(None)]
    optional = type(None) in _alternatives(field.annotation)
    choices = tuple(c for kind in kinds if get_origin(kind) is Literal for c in get_args(kind))
    if choices and all(get_origin(kind) is Literal for kind in kinds):
        return ChoiceEditor((*choices, *((None,) if optional else ())))
    if kinds == [bool]:
        return ToggleEditor()
    if kinds in ([int], [float]) or (set(kinds) == {int, float}):
        low, high = _bounds(field)
        return NumberEditor(
            whole=kinds == [int], low=low, high=high, optional=optional, log=log, default=default
        )
    return TextEditor(default)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if (
        origin is not None
        and origin is not Literal
        and getattr(origin, "__name__", "") in ("Union", "UnionType")
    ):
        return get_args(annotation)
    return (annotation,)


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """Inclusive bounds; exclusive ones are moved in by a hair."""
    low, high = -math.inf, math.inf
    for constraint in field.metadata:
        for name, edge in (("ge", 0.0), ("gt", 1e-12)):
            bound = getattr(constraint, name, None)
            if bound is not None:
                low = float(bound) + edge
        for name, edge in (("le", 0.0), ("lt", -1e-12)):
            bound = getattr(constraint, name, None)
            if bound is not None:
                high = float(bound) + edge
    return low, high
