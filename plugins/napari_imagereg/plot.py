"""A small plot for the dock, painted by hand: matplotlib is too slow for a live curve."""

from __future__ import annotations

import math

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7")
"""Okabe and Ito's colours, told apart by colour-blind people too."""


class Plot(QWidget):
    """Curves by name on common axes, each with its own scale in height when `shared` is False."""

    def __init__(self, parent: QWidget | None = None, *, shared: bool = False, log: bool = True) -> None:
        super().__init__(parent)
        self._curves: dict[str, list[tuple[float, float]]] = {}
        self._shared, self._log = shared, log
        self._mark: float | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumHeight(64)

    def sizeHint(self) -> QSize:
        """Small."""
        return QSize(300, 72)

    def clear(self) -> None:
        """Take all curves and the mark away."""
        self._curves = {}
        self._mark = None
        self.update()

    def add(self, name: str, x: float, y: float) -> None:
        """Append a point to a curve."""
        if math.isfinite(y):
            self._curves.setdefault(name, []).append((x, y))
            self.update()

    def set_curve(self, name: str, xs: list[float], ys: list[float]) -> None:
        """Replace a curve."""
        self._curves[name] = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        self.update()

    def mark(self, x: float) -> None:
        """Draw a vertical line at x."""
        self._mark = x
        self.update()

    @property
    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """The points of each curve."""
        return self._curves

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw frame, curves and their last values."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        frame = QColor(text)
        frame.setAlpha(60)
        painter.setPen(frame)
        painter.drawRect(0, 0, self.width() - 1, self.height() - 1)
        points = [p for curve in self._curves.values() for p in curve]
        if not points:
            painter.setPen(frame)
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "no curve yet")
            return
        lowest, highest = min(p[0] for p in points), max(p[0] for p in points)
        wide = lowest > 0 and highest / lowest > 50

        def place(x: float) -> float:
            a, b, x = (math.log(v) for v in (lowest, highest, x)) if wide else (lowest, highest, x)
            return 4 + (self.width() - 8) * ((x - a) / (b - a) if b > a else 0.5)

        log = self._log and all(p[1] > 0 for p in points)
        common = self._range([p[1] for p in points], log)
        for index, (name, curve) in enumerate(self._curves.items()):
            bottom, top = common if self._shared else self._range([p[1] for p in curve], log)
            colour = QColor(COLOURS[index % len(COLOURS)])
            painter.setPen(QPen(colour, 1.6))
            polygon = QPolygonF(
                [
                    QPointF(
                        place(x),
                        self.height()
                        - 4
                        - (self.height() - 8) * ((self._height(y, log) - bottom) / (top - bottom)),
                    )
                    for x, y in curve
                ]
            )
            painter.drawPolyline(polygon)
            name = name if self._mark is not None else f"{name} {curve[-1][1]:.4g}"
            # At the right, where curves that fall leave room.
            line = QRectF(0, 2 + 13 * index, self.width() - 8, 14)
            painter.drawText(line, Qt.AlignmentFlag.AlignRight, name)
        if self._mark is not None and lowest <= self._mark <= highest:
            painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(place(self._mark), 2), QPointF(place(self._mark), self.height() - 3))

    @staticmethod
    def _height(y: float, log: bool) -> float:
        return math.log10(y) if log else y

    def _range(self, ys: list[float], log: bool) -> tuple[float, float]:
        heights = [self._height(y, log) for y in ys]
        low, high = min(heights), max(heights)
        return (low, high) if high > low else (low - 0.5, high + 0.5)
