"""A collapsible step of the dock with a state beside its title."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget


class Panel(QWidget):
    """A title with a number, a one-line state, and a body that folds away."""

    def __init__(self, title: str, parent: QWidget | None = None, *, opened: bool = True) -> None:
        super().__init__(parent)
        self.heard: list[tuple[Any, Any]] = []
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 2, 0, 2)
        outer.setSpacing(2)
        head = QHBoxLayout()
        head.setSpacing(4)
        self._fold = QToolButton()
        self._fold.setAutoRaise(True)
        self._fold.setCheckable(True)
        self._fold.setChecked(opened)
        self._fold.setText(title)
        self._fold.setToolTip("Fold or unfold.")
        self._fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        font = self._fold.font()
        font.setBold(True)
        self._fold.setFont(font)
        self._state = Words()
        head.addWidget(self._fold)
        head.addWidget(self._state, 1)
        outer.addLayout(head)
        self.body = QWidget()
        self.layout_ = QVBoxLayout(self.body)
        self.layout_.setContentsMargins(10, 0, 2, 2)
        self.layout_.setSpacing(4)
        outer.addWidget(self.body)
        self._fold.toggled.connect(self._show_body)
        self._show_body(opened)

    def listen(self, signal: Any, slot: Any) -> None:
        """Connect a slot to something that outlives the dock; the dock disconnects what is `heard`."""
        signal.connect(slot)
        self.heard.append((signal, slot))

    def set_state(self, text: str) -> None:
        """Show a word or two at the right of the title."""
        self._state.show_words(text)

    def state(self) -> str:
        """What is shown at the right of the title."""
        return self._state.words

    def open(self, opened: bool = True) -> None:
        """Unfold or fold the body."""
        self._fold.setChecked(opened)

    def _show_body(self, opened: bool) -> None:
        self._fold.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.body.setVisible(opened)

    def row(self, *widgets: QWidget | str, stretch: int | None = None) -> QHBoxLayout:
        """Put widgets (and words) side by side as the next line of the body."""
        line = QHBoxLayout()
        line.setSpacing(4)
        for index, widget in enumerate(widgets):
            line.addWidget(
                QLabel(widget) if isinstance(widget, str) else widget, 1 if index == stretch else 0
            )
        if stretch is None:
            line.addStretch()
        self.layout_.addLayout(line)
        return line


class Words(QLabel):
    """One line at the right; shortened, with the whole in its tooltip, where there is no room for it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = self._tip = ""
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        self.setMinimumWidth(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def show_words(self, words: str, tip: str = "") -> None:
        """Show a text, as much of it as fits, with a tooltip of its own or the whole where it was cut."""
        self.words, self._tip = words, tip
        fitting = self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, self.width())
        self.setText(fitting)
        self.setToolTip(tip or (words if fitting != words else ""))

    def resizeEvent(self, event: Any) -> None:
        """Fit the text to the new width."""
        super().resizeEvent(event)
        self.show_words(self.words, self._tip)


def note(text: str = "", *, kind: str = "note") -> QLabel:
    """A label that wraps; `kind` is its object name for style."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setObjectName(kind)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def clear_layout(layout: Any) -> None:
    """Take every widget out of a layout."""
    while layout.count():
        item = layout.takeAt(0)
        widget = item.widget()
        if widget is not None:
            # Out of sight at once: it is deleted when the loop of events comes round.
            widget.setParent(None)
            widget.deleteLater()
        elif item.layout() is not None:
            clear_layout(item.layout())
