"""The part of the data to work on: views and rows, written as recipes write them."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QWidget

from imagereg.measurement import Measurement

TIPS = {
    "views": "Views to take, start:stop:step: ::6 takes every sixth. Empty for all of them.",
    "rows": "Detector rows (slices) to take, start:stop or one number. Empty for all of them.",
}


class PartRow(QWidget):
    """One line with a range of views and a range of rows; an empty one takes all."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        self._words: dict[str, QLabel] = {}
        self._lines: dict[str, QLineEdit] = {}
        for name, tip in TIPS.items():
            word, text = QLabel(name), QLineEdit()
            text.setPlaceholderText("all")
            text.setToolTip(tip)
            text.setClearButtonEnabled(True)
            text.editingFinished.connect(self.edited.emit)
            line.addWidget(word)
            line.addWidget(text, 1)
            self._words[name], self._lines[name] = word, text

    def part(self) -> tuple[str | None, str | None]:
        """Views and rows as recipes write them, None for all."""
        views, rows = (self._lines[name].text().strip() or None for name in TIPS)
        return views, rows

    def show_part(self, whole: Measurement | None, views: str | None, rows: str | None) -> None:
        """Show what is taken; ranges that the data do not have are hidden."""
        scan = whole is not None and whole.geometry is not None
        stacked = whole is not None and (whole.rows > 1 or (scan and len(whole.data.shape) == 3))
        for name, text, there in (("views", views, scan), ("rows", rows, stacked)):
            self._lines[name].setText(text or "")
            self._lines[name].setVisible(there)
            self._words[name].setVisible(there)
        self.setVisible(scan or stacked)

    def choose(self, *, views: str = "", rows: str = "") -> None:
        """Ask for a part as a user does."""
        self._lines["views"].setText(views)
        self._lines["rows"].setText(rows)
        self.edited.emit()
