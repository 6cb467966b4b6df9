"""A small plot for the dock, painted by hand: matplotlib is too slow for a live curve."""

from __future__ import annotations

import math

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

ON_DARK = ("#3d9fdb", "#d98f00", "#00a67c", "#cc79a7")
ON_LIGHT = ("#0a63a8", "#8f5c00", "#00704f", "#a03a78")
"""After Okabe and Ito: told apart by colour-blind people, and read as small text on their ground."""

LINE = 14
"""Height of a line of text in pixels."""


class Plot(QWidget):
    """Curves by name above an axis, each with its own scale in height when `shared` is False.

    The names and last values stand above the frame, in the colours of their curves.
    """

    def __init__(
        self, parent: QWidget | None = None, *, shared: bool = False, log: bool = True, values: bool = True
    ) -> None:
        super().__init__(parent)
        self._curves: dict[str, list[tuple[float, float]]] = {}
        self._shared, self._log, self._values = shared, log, values
        self._mark: float | None = None
        self.axis = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumHeight(104)

    def sizeHint(self) -> QSize:
        """Small."""
        return QSize(300, 104)

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

    # ------------------------------------------------------------------ painting
    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw names, frame, curves and the ends of the axis."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(text)
        faint.setAlpha(70)
        curves = {name: curve for name, curve in self._curves.items() if curve}
        top = LINE * self._write_names(painter, curves) + 3
        frame = QRectF(0.5, top, self.width() - 1, self.height() - top - LINE - 2)
        painter.setPen(faint)
        painter.drawRect(frame)
        if not curves:
            painter.drawText(frame, Qt.AlignmentFlag.AlignCenter, "no curve yet")
            return
        xs = [x for curve in curves.values() for x, _ in curve]
        ys = [y for curve in curves.values() for _, y in curve]
        across = _Scale(min(xs), max(xs), log=min(xs) > 0 and max(xs) / min(xs) > 50)
        log = self._log and min(ys) > 0
        together = _Scale(min(ys), max(ys), log=log)
        inner = frame.adjusted(5, 5, -5, -5)
        if self._shared:
            inner.adjust(self._write_heights(painter, frame, min(ys), max(ys), text), 0, 0, 0)
        for index, curve in enumerate(curves.values()):
            heights = [y for _, y in curve]
            up = together if self._shared else _Scale(min(heights), max(heights), log=log)
            points = [
                QPointF(inner.left() + inner.width() * across(x), inner.bottom() - inner.height() * up(y))
                for x, y in curve
            ]
            colour = self._colour(index)
            painter.setPen(QPen(colour, 1.6))
            painter.drawPolyline(QPolygonF(points))
            if len(points) < 12:
                painter.setBrush(colour)
                for point in points:
                    painter.drawEllipse(point, 2.2, 2.2)
                painter.setBrush(Qt.BrushStyle.NoBrush)
        soft = QColor(text)
        soft.setAlpha(150)
        painter.setPen(soft)
        start = inner.left() - 3
        below = QRectF(start, self.height() - LINE, self.width() - 2 - start, LINE)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"{min(xs):.3g}")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{max(xs):.3g}")
        if self._mark is None or not min(xs) <= self._mark <= max(xs):
            painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, self.axis)
            return
        place = inner.left() + inner.width() * across(self._mark)
        painter.setPen(QPen(text, 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(place, frame.top() + 1), QPointF(place, frame.bottom() - 1))
        half = 60
        middle = min(max(place, half), self.width() - half)
        around = QRectF(middle - half, self.height() - LINE, 2 * half, LINE)
        painter.drawText(around, Qt.AlignmentFlag.AlignHCenter, f"{self._mark:.3g}")

    def _colour(self, index: int) -> QColor:
        """The colour of a curve, on the ground that the theme has."""
        bright = self.palette().color(QPalette.ColorRole.WindowText).lightness() > 127
        colours = ON_DARK if bright else ON_LIGHT
        return QColor(colours[index % len(colours)])

    def _write_heights(
        self, painter: QPainter, frame: QRectF, low: float, high: float, text: QColor
    ) -> float:
        """Write the ends of the shared height inside the frame, and tell how much room they took."""
        words = [f"{value:.3g}" for value in (high, low)]
        soft = QColor(text)
        soft.setAlpha(150)
        painter.setPen(soft)
        room = frame.adjusted(3, 1, 0, -1)
        for word, side in zip(words, (Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignBottom), strict=True):
            painter.drawText(room, Qt.AlignmentFlag.AlignLeft | side, word)
        return float(max(map(painter.fontMetrics().horizontalAdvance, words)))

    def _write_names(self, painter: QPainter, curves: dict[str, list[tuple[float, float]]]) -> int:
        """Write the names side by side where they fit, and tell how many lines they took."""
        left, line = 2.0, 0
        measure = painter.fontMetrics()
        for index, (name, curve) in enumerate(curves.items()):
            words = f"{name} {curve[-1][1]:.4g}" if self._values and self._mark is None else name
            words = measure.elidedText(words, Qt.TextElideMode.ElideMiddle, self.width() - 4)
            wide = measure.horizontalAdvance(words)
            if left + wide > self.width() - 2 and left > 2:
                left, line = 2.0, line + 1
            painter.setPen(self._colour(index))
            painter.drawText(QRectF(left, LINE * line, wide + 4, LINE), Qt.AlignmentFlag.AlignLeft, words)
            left += wide + 14
        return line + 1 if curves else 0


class _Scale:
    """From values to the range 0 to 1, in the logarithm where asked."""

    def __init__(self, low: float, high: float, *, log: bool) -> None:
        self._log = log
        self._low, high = self._of(low), self._of(high)
        self._span = high - self._low

    def _of(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def __call__(self, value: float) -> float:
        return (self._of(value) - self._low) / self._span if self._span > 0 else 0.5
