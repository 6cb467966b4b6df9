"""A walk through the dock, one step at a time, beside the work: it points and explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_imagereg.form import CHANGED

if TYPE_CHECKING:
    from napari_imagereg.dock import Workbench


@dataclass(frozen=True)
class Stop:
    """What the tour says at one part of the dock, named by the dock's attribute."""

    part: str
    title: str
    text: str


BORDER = 2
"""Width of the line around the card and what it points at."""

STOPS = (
    Stop(
        "data",
        "1  Data",
        "A layer, a file or a sample is taken here and checked at once. Each finding is one line, "
        "with the button that mends it. Views and rows take a part of a large scan.",
    ),
    Stop(
        "physics",
        "2  Physics and geometry",
        "How the image gives the data: read off the file for scans, chosen for images. Auto finds the "
        "centre of rotation; Sweep shows it for several columns, and the sharpest picture is the one "
        "to click.",
    ),
    Stop(
        "steps",
        "3  Preprocess",
        "Steps run from top to bottom: tick them, drag them, add some. Before / after shows what the "
        "chosen one does to this slice.",
    ),
    Stop(
        "method",
        "4  Method",
        "Only methods that fit the data can be chosen; the others say why not. A dot marks what "
        "differs from the preset, the arrow brings it back. Suggest finds the strength from the data, "
        "Sweep lets you see it.",
    ),
    Stop(
        "preview",
        "5  Preview",
        "One slice, live, with its curve; beside it what it will take. Ctrl+Return starts it, Ctrl+. "
        "stops and keeps the image so far, Escape cancels.",
    ),
    Stop(
        "runs",
        "Runs",
        "Each preview is kept with all that made it. Tag two of them A and B to compare them by "
        "swipe, grid, flicker, difference or profile. Copy as gives the command, the Python or the "
        "recipe.",
    ),
    Stop(
        "trust",
        "Trust",
        "The residual map shows what an image leaves unexplained; half sets show down to which size "
        "two halves of the data agree. What neither shows is what the data do not see.",
    ),
    Stop(
        "footer",
        "The whole volume",
        "Run whole volume says what it takes and works in a process of its own, which goes on where "
        "it was interrupted. Recipe saves, opens and repeats all that the dock says.",
    ),
)


class Tour(QFrame):
    """A card that lies over the dock and a frame around the part that it speaks of.

    Left and Right go back and on, Escape closes it; the dock can be used meanwhile.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self._place = 0
        self.setObjectName("tour")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setAutoFillBackground(True)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setStyleSheet(f"#tour {{ border: {BORDER}px solid {CHANGED}; border-radius: 4px; }}")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._frame = QFrame(bench)
        self._frame.setObjectName("pointer")
        self._frame.setStyleSheet(
            f"#pointer {{ border: {BORDER}px solid {CHANGED}; background: transparent; }}"
        )
        self._frame.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        self._title, self._text = QLabel(), QLabel()
        font = self._title.font()
        font.setBold(True)
        self._title.setFont(font)
        self._text.setWordWrap(True)
        layout.addWidget(self._title)
        layout.addWidget(self._text)
        line = QHBoxLayout()
        self.back_button, self.next_button = QPushButton("Back"), QPushButton("Next")
        self.close_button = QPushButton("Close")
        for button, tip, call in (
            (self.back_button, "The step before (Left).", self.back),
            (self.next_button, "The next step (Right).", self.go_on),
            (self.close_button, "End the tour (Escape).", self.close),
        ):
            button.setToolTip(tip)
            button.clicked.connect(call)
            button.installEventFilter(self)
            line.addWidget(button)
        layout.addLayout(line)
        self._keys = {
            Qt.Key.Key_Left: self.back,
            Qt.Key.Key_Right: self.go_on,
            Qt.Key.Key_Escape: self.close,
        }
        bench.installEventFilter(self)
        bench.scroll_area.verticalScrollBar().valueChanged.connect(self._lay_out)
        self.show_stop(0)
        self.show()
        self.next_button.setFocus()

    # ------------------------------------------------------------------ walking
    @property
    def stop(self) -> Stop:
        """Where the tour stands."""
        return STOPS[self._place]

    def show_stop(self, place: int) -> None:
        """Go to a step, unfold its panel and bring it into sight."""
        self._place = min(max(place, 0), len(STOPS) - 1)
        stop = self.stop
        self._title.setText(f"{stop.title}   ({self._place + 1} of {len(STOPS)})")
        self._text.setText(stop.text)
        self.back_button.setEnabled(self._place > 0)
        self.next_button.setText("Next" if self._place < len(STOPS) - 1 else "Done")
        part = self._part()
        if hasattr(part, "open"):
            part.open()
        # An unfolded panel has its place once the layout was done.
        QTimer.singleShot(0, self._look)

    def back(self) -> None:
        """The step before."""
        self.show_stop(self._place - 1)

    def go_on(self) -> None:
        """The next step; after the last one the tour ends."""
        if self._place == len(STOPS) - 1:
            self.close()
        else:
            self.show_stop(self._place + 1)

    def pointed_at(self) -> QRect:
        """The part of the dock that is framed, in the dock's own pixels."""
        return QRect(self._frame.geometry())

    # ------------------------------------------------------------------ placing
    def _part(self) -> QWidget:
        return getattr(self._bench, self.stop.part)

    def _look(self) -> None:
        part = self._part()
        if part is not self._bench.footer:
            self._bench.scroll_area.verticalScrollBar().setValue(max(0, part.y() - 4))
        self._lay_out()

    def _lay_out(self, *_: Any) -> None:
        """Frame what is in sight of the part, and lay the card where it hides least of it."""
        bench, part = self._bench, self._part()
        seen = QRect(part.mapTo(bench, QPoint(0, 0)), part.size())
        if part is not bench.footer:
            area = bench.scroll_area
            seen &= QRect(area.mapTo(bench, QPoint(0, 0)), area.viewport().size())
        self._frame.setGeometry(seen)
        self._frame.setVisible(not seen.isEmpty())
        self._frame.raise_()
        wide = bench.width() - 24
        self.setFixedWidth(wide)
        # A label that wraps tells its height for a width only: the layout takes another one for it.
        sides = self.layout().contentsMargins()
        inner = wide - sides.left() - sides.right() - 2 * BORDER
        self._text.setFixedHeight(self._text.heightForWidth(inner))
        tall = self.sizeHint().height()
        self.setFixedHeight(tall)
        low = bench.footer.y() - tall - 8
        below, above = seen.bottom() + 8, seen.top() - tall - 8
        y = below if below <= low else above if above >= 0 else low
        self.move(12, max(0, y))
        self.raise_()

    def keyPressEvent(self, event: Any) -> None:
        """Go back, on, or away."""
        if event.key() in self._keys:
            self._keys[event.key()]()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject | None, event: Any) -> bool:
        """Follow the dock's size, and take the keys with which buttons would hand on the focus."""
        if watched is self._bench and event.type() == QEvent.Type.Resize:
            QTimer.singleShot(0, self._lay_out)
        elif (
            watched is not self._bench and event.type() == QEvent.Type.KeyPress and event.key() in self._keys
        ):
            self._keys[event.key()]()
            return True
        return bool(super().eventFilter(watched, event))

    def closeEvent(self, event: Any) -> None:
        """Take the frame away too."""
        self._bench.removeEventFilter(self)
        self._bench.scroll_area.verticalScrollBar().valueChanged.disconnect(self._lay_out)
        self._frame.hide()
        self._frame.deleteLater()
        super().closeEvent(event)
