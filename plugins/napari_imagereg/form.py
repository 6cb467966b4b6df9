"""A form for any declaration of parameters: bounds, units, log sliders, levels, reset, what was changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from imagereg.parameters import brought
from napari_imagereg.editors import make_editor

LONGEST_UNIT = 10
"""Units of more letters are told in the tooltip only, since they would cut the name."""

CHANGED = "#b87400"
"""Colour of the dot at a changed value, seen on both themes."""


class ParameterForm(QWidget):
    """Editors for the fields of a pydantic declaration, in the order of the declaration.

    `changed` is emitted after every edit; `values()` gives what differs from the defaults or all of it.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(3)
        self._model: type[BaseModel] | None = None
        self._rows: dict[str, _Row] = {}
        self._advanced = False
        self._message = QLabel()
        self._message.setWordWrap(True)
        self._message.setObjectName("error")
        self._message.hide()
        self._layout.addWidget(self._message)

    def show_model(
        self,
        model: type[BaseModel],
        values: dict[str, Any] | None = None,
        *,
        preset: dict[str, Any] | None = None,
    ) -> None:
        """Build the editors of a declaration and fill them with `values`, defaults for the rest.

        The values of a `preset` stand in for the defaults.
        """
        for row in self._rows.values():
            self._layout.removeWidget(row)
            row.setParent(None)
            row.deleteLater()
        self._model = model
        self._rows = {}
        values = {**self._brought(values or {}), **(values or {})}
        for position, (name, field) in enumerate(model.model_fields.items()):
            row = _Row(name, field, self, **({"preset": preset[name]} if preset and name in preset else {}))
            self._rows[name] = row
            self._layout.insertWidget(position, row)
            if name in values:
                row.set_value(values[name])
            row.changed.connect(lambda name=name: self._on_edit(name))
        self.set_advanced(self._advanced)
        self._check()

    def set_advanced(self, advanced: bool) -> None:
        """Show the parameters of level 'advanced' too; those that were changed are always shown."""
        self._advanced = advanced
        for row in self._rows.values():
            # What was changed is never hidden: it would act unseen.
            row.setVisible(advanced or row.level == "basic" or row.is_changed())

    def values(self, *, changed_only: bool = False) -> dict[str, Any]:
        """Values by name; with `changed_only` those that differ from the defaults."""
        return {n: row.value() for n, row in self._rows.items() if not changed_only or row.is_changed()}

    def set_values(self, values: dict[str, Any]) -> None:
        """Put values into the editors, with what they bring; the declaration complains of unknown names."""
        for name, value in {**values, **self._brought(values)}.items():
            if name in self._rows:
                self._rows[name].set_value(value)
        self._on_edit()

    def error(self) -> str:
        """What is wrong with the values, or an empty string."""
        return self._message.text() if not self._message.isHidden() else ""

    def row(self, name: str) -> _Row:
        """The editor of one parameter."""
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def _brought(self, names: Collection[str]) -> dict[str, Any]:
        return brought(self._model, names) if self._model else {}

    def _on_edit(self, name: str = "") -> None:
        if name and self._rows[name].is_changed():
            for other, value in self._brought([name]).items():
                self._rows[other].set_value(value)
        self._check()
        self.changed.emit()

    def _check(self) -> None:
        if self._model is None:
            return
        try:
            self._model(**self.values())
        except ValidationError as error:
            first = error.errors()[0]
            self._message.setText(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
            self._message.show()
        else:
            self._message.hide()


class _Row(QWidget):
    """One parameter: dot where changed, name with unit, editor, reset."""

    changed = Signal()

    def __init__(self, name: str, field: FieldInfo, parent: QWidget, **preset: Any) -> None:
        super().__init__(parent)
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        self.name = name
        self.level = str(extra.get("level", "basic"))
        default = field.get_default(call_default_factory=True)
        self._default = preset.get("preset", default)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self._dot = QLabel("\N{BULLET}")
        self._dot.setFixedWidth(10)
        # The viewer's style pads labels, which would cut the dot; orange is told apart by everybody.
        self._dot.setStyleSheet(f"padding: 0px; color: {CHANGED};")
        self._dot.setToolTip(f"Changed: not {'what the preset says' if preset else 'the default'}.")
        told = str(extra.get("unit", ""))
        unit = f" ({told})" if 0 < len(told) <= LONGEST_UNIT else ""
        label = QLabel(name.replace("_", " ") + unit)
        label.setMinimumWidth(96)
        label.setMaximumWidth(150)
        tip = f"{field.description or name}\ndefault: {default}{' ' + told if told else ''}"
        tip += f"\npreset: {self._default}" if preset else ""
        self.editor = make_editor(field, self._default, log=bool(extra.get("log")))
        self.editor.set_value(self._default)
        self.editor.changed.connect(self._on_change)
        self._reset = QToolButton()
        self._reset.setText("\N{ANTICLOCKWISE OPEN CIRCLE ARROW}")
        self._reset.setToolTip(f"back to {self._default}")
        self._reset.setAutoRaise(True)
        self._reset.clicked.connect(lambda: self.set_value(self._default))
        for widget in (label, self.editor, *self.editor.findChildren(QWidget)):
            widget.setToolTip(tip)
        layout.addWidget(self._dot)
        layout.addWidget(label)
        layout.addWidget(self.editor, 1)
        layout.addWidget(self._reset)
        self._mark()

    def value(self) -> Any:
        """The current value."""
        return self.editor.value()

    def set_value(self, value: Any) -> None:
        """Put a value into the editor."""
        self.editor.set_value(value)
        self._on_change()

    def is_changed(self) -> bool:
        """True where the value is not the default."""
        return bool(self.value() != self._default)

    def _on_change(self) -> None:
        self._mark()
        self.changed.emit()

    def _mark(self) -> None:
        changed = self.is_changed()
        self._dot.setText("\N{BULLET}" if changed else "")
        self._reset.setEnabled(changed)
