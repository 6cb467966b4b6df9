"""Presets of the chosen method: those that are shipped, the user's own, and files that were learned."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QPushButton,
    QToolButton,
    QWidget,
)

from imagereg.errors import ImageregError
from imagereg.presets import Preset, load_preset, presets_for, save_preset
from napari_imagereg.editors import narrow
from napari_imagereg.session import Session

DEFAULTS = "defaults"
OTHER = "from a file\N{HORIZONTAL ELLIPSIS}"


class PresetRow(QWidget):
    """One line: what the form starts from, a button that keeps its values, and one that brings them back."""

    edited = Signal()
    failed = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._combo = QComboBox()
        narrow(self._combo, letters=10)
        self._combo.activated.connect(self._choose)
        save = QPushButton("Save")
        save.setToolTip("Keep the values of the form as a preset of this method, under a name.")
        save.clicked.connect(self._ask_name)
        self._reset = QToolButton()
        self._reset.setText("\N{ANTICLOCKWISE OPEN CIRCLE ARROW}")
        self._reset.setToolTip("Bring all parameters back to what the preset says.")
        self._reset.clicked.connect(self.reset)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("Preset"))
        line.addWidget(self._combo, 1)
        line.addWidget(save)
        line.addWidget(self._reset)
        self.refresh()

    def refresh(self) -> None:
        """List the presets of the session's method and show its own."""
        method, chosen = self._session.method, self._session.presets.get(self._session.method)
        entries: dict[str, str | None] = {DEFAULTS: None, **presets_for(method)}
        if chosen is not None and chosen not in entries.values():
            entries[Path(chosen).stem] = chosen
        self._combo.clear()
        for words, preset in entries.items():
            self._combo.addItem(words, preset)
            if preset is not None:
                self._combo.setItemData(
                    self._combo.count() - 1, self._about(preset, method), Qt.ItemDataRole.ToolTipRole
                )
        self._combo.addItem(OTHER)
        self._combo.setCurrentIndex(list(entries.values()).index(chosen))
        about = self._about(chosen, method) if chosen else "what the method declares"
        self._combo.setToolTip(f"Values that the form starts from: {about}")

    def names(self) -> list[str]:
        """What can be chosen."""
        return [self._combo.itemText(place) for place in range(self._combo.count())]

    def choose(self, words: str) -> None:
        """Start from the preset of these words as a user does."""
        self._choose(self._combo.findText(words))

    def save(self, name: str) -> None:
        """Keep the values of the form under a name and start from them."""
        session = self._session
        try:
            values = {**session.preset_of(), **session.parameters_of()}
            path = save_preset(name, Preset(session.method, values, {"by": "hand", "in": "the workbench"}))
            session.choose_preset(str(path))
        except ImageregError as error:
            self.failed.emit(str(error))

    def reset(self) -> None:
        """Forget what was changed."""
        self._session.choose_preset(self._session.presets.get(self._session.method))
        self.edited.emit()

    def open_file(self, path: str) -> None:
        """Start from the preset in a file, as `imagereg learn` writes them."""
        self._take(path)

    def _choose(self, place: int) -> None:
        if self._combo.itemText(place) != OTHER:
            self._take(self._combo.itemData(place))
            return
        name, _ = QFileDialog.getOpenFileName(self, "Open a preset", "", "Presets (*.yaml *.yml)")
        if name:
            self.open_file(name)
        else:
            self.refresh()

    def _take(self, preset: str | None) -> None:
        try:
            self._session.choose_preset(preset)
        except ImageregError as error:
            self.failed.emit(str(error))
            self.refresh()
        else:
            self.edited.emit()

    def _ask_name(self) -> None:
        name, taken = QInputDialog.getText(
            self, "Save a preset", f"Name of the preset of {self._session.method}:"
        )
        if taken and name.strip():
            self.save(name)

    @staticmethod
    def _about(preset: str, method: str) -> str:
        """What is known of a preset: by what it was learned, from what, and its values."""
        try:
            found = load_preset(preset, method=method)
        except ImageregError as error:
            return str(error)
        facts = [f"{name} {value}" for name, value in found.learned.items() if name not in ("imagereg",)]
        values = [f"{name} = {value}" for name, value in found.parameters.items()]
        return "\n".join([f"{preset}: {', '.join(facts)}", *values])
