"""The head of the dock: the device, the level of detail, and help."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QMenu, QToolButton, QWidget

from napari_imagereg.gallery import GALLERY
from napari_imagereg.session import Session

LEVELS = ("Basic", "Advanced")


class Head(QWidget):
    """One line above the panels."""

    level_chosen = Signal(str)
    help_wanted = Signal()
    tour_wanted = Signal()
    trial_wanted = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._device = QComboBox()
        self._device.addItems(["auto", "cpu", "cuda"])
        self._device.setToolTip("Where the work is done; auto takes a GPU where there is one.")
        self._device.activated.connect(lambda _: self._choose_device())
        self._level = QComboBox()
        self._level.addItems(list(LEVELS))
        self._level.setToolTip("How many parameters the forms show; what was changed is always shown.")
        self._level.activated.connect(lambda _: self.level_chosen.emit(self._level.currentText()))
        about = QToolButton()
        about.setText("?")
        about.setMinimumWidth(34)
        about.setToolTip("The chosen method and its sources, the keys, a tour, and samples to try.")
        about.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(about)
        self.menu.setToolTipsVisible(True)
        self.menu.addAction("The chosen method, and the keys").triggered.connect(
            lambda: self.help_wanted.emit()
        )
        self.menu.addAction("A tour of the dock").triggered.connect(lambda: self.tour_wanted.emit())
        self.menu.addSection("Try it")
        for shown in GALLERY:
            action = self.menu.addAction(shown.title)
            action.setToolTip(shown.tip)
            action.triggered.connect(lambda _=False, make=shown.make: self.trial_wanted.emit(make))
        about.setMenu(self.menu)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("device"))
        line.addWidget(self._device)
        line.addStretch()
        line.addWidget(self._level)
        line.addWidget(about)
        self.show_device()

    def show_device(self) -> None:
        """Show the session's device, also one that is not in the list."""
        if self._device.findText(self._session.device) < 0:
            self._device.addItem(self._session.device)
        self._device.setCurrentText(self._session.device)

    def show_level(self, level: str) -> None:
        """Show how much the forms show."""
        self._level.setCurrentText(level)

    def _choose_device(self) -> None:
        self._session.device = self._device.currentText()
        self._session.execution_changed.emit()
