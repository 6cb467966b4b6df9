"""Pictures side by side, each with its value: click the best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem

EDGE = 96
"""Edge of a picture in pixels of the screen."""


class Strip(QListWidget):
    """A row of small pictures in one grey range; `taken` tells the value of the one that was clicked."""

    taken = Signal(float)

    def __init__(self, tip: str) -> None:
        super().__init__()
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setIconSize(QSize(EDGE, EDGE))
        self.setFixedHeight(EDGE + 44)
        self.setSpacing(2)
        self.setMovement(QListView.Movement.Static)
        self.setToolTip(tip)
        for signal in (self.itemClicked, self.itemActivated):
            signal.connect(lambda item: self.taken.emit(item.data(Qt.ItemDataRole.UserRole)))
        self.hide()

    def show_pictures(
        self, values: Sequence[float], pictures: Any, *, now: float, form: str = ".2f", seen: str = ""
    ) -> None:
        """Fill the strip, (n, height, width), with the picture nearest to the value `now` in its middle.

        Parameters
        ----------
        form : how values are written.
        seen : what a picture's tooltip adds to its value.
        """
        self.clear()
        stack = np.asarray(pictures, dtype=np.float32)
        low, high = (float(v) for v in np.percentile(stack, (1, 99.5)))
        for value, picture in zip(values, stack, strict=True):
            grey = np.clip((picture - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
            grey = np.ascontiguousarray(grey)
            height, width = grey.shape
            image = QImage(grey.data, width, height, width, QImage.Format.Format_Grayscale8)
            item = QListWidgetItem(QIcon(QPixmap.fromImage(image.copy())), format(value, form))
            item.setData(Qt.ItemDataRole.UserRole, float(value))
            item.setToolTip(f"{seen} {value:{form}}".strip())
            self.addItem(item)
        nearest = min(range(len(values)), key=lambda k: abs(values[k] - now))
        self.setCurrentRow(nearest)
        self.show()
        self.scrollToItem(self.item(nearest), QListView.ScrollHint.PositionAtCenter)
