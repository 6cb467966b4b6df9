"""What is wrong with the data: one line a finding, with the button that mends it."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_imagereg.jobs import ThreadJob
from napari_imagereg.panels.base import clear_layout, note
from napari_imagereg.session import Session


class Findings(QWidget):
    """Checks the session's data in a thread and lists what is found; `told` says how it stands in a word."""

    told = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._found: list[Any] | None = None
        self._ignored: set[str] = set()
        self._failed = ""
        self._list = QVBoxLayout(self)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(2)
        self.checker = ThreadJob(self)
        self.checker.finished.connect(self._take)
        self.checker.failed.connect(lambda sentence, _: self._refuse(sentence))

    def check(self) -> None:
        """Look for what is wrong, in a thread; the findings come later."""
        measurement = self._session.measurement
        self._found, self._ignored, self._failed = None, set(), ""
        self.checker.cancel()
        self.refresh()
        if measurement is None:
            return

        def look(keep: Any) -> Any:
            from imagereg.preprocessing import health

            yield list(health(measurement))

        self.checker.start(look)

    def refresh(self) -> None:
        """List what is left: not ignored, and not mended by a step that is chosen."""
        clear_layout(self._list)
        if self._session.measurement is None:
            return
        if self._failed:
            self._list.addWidget(
                note(f"\N{WARNING SIGN} The data could not be checked: {self._failed}", kind="finding")
            )
            self.told.emit("\N{WARNING SIGN} not checked")
            return
        if self._found is None:
            self.told.emit("checking\N{HORIZONTAL ELLIPSIS}")
            return
        chosen = {name for step in self._session.steps for name in step}
        left = [
            finding
            for finding in self._found
            if str(finding) not in self._ignored and (not finding.step or finding.step not in chosen)
        ]
        for finding in left:
            self._list.addWidget(self._line(finding))
        self.told.emit(f"\N{WARNING SIGN} {len(left)}" if left else "\N{CHECK MARK} checked")

    def mend(self, step: str) -> None:
        """Add the step that a finding names, where it belongs."""
        # What mends raw values must come before the flat field turns them into line integrals.
        first = step in ("outliers", "crop")
        self._session.steps.insert(0 if first else len(self._session.steps), {step: {}})
        self._session.steps_changed.emit()

    def _refuse(self, sentence: str) -> None:
        self._failed = sentence
        self.refresh()

    def _take(self, found: list[Any] | None) -> None:
        self._found = found or []
        self.refresh()

    def _line(self, finding: Any) -> QWidget:
        line = QWidget()
        layout = QHBoxLayout(line)
        layout.setContentsMargins(0, 0, 0, 0)
        text = finding.sentence if finding.step else str(finding)
        layout.addWidget(note(f"\N{WARNING SIGN} {text}", kind="finding"), 1)
        if finding.step:
            mend = QPushButton("Fix")
            mend.setToolTip(f"Add the step '{finding.step}'.")
            mend.clicked.connect(lambda _=False, step=finding.step: self.mend(step))
            layout.addWidget(mend)
        ignore = QPushButton("Ignore")
        ignore.setToolTip("Take this finding off the list; nothing is changed.")
        ignore.clicked.connect(lambda _=False, said=str(finding): self._ignore(said))
        layout.addWidget(ignore)
        return line

    def _ignore(self, said: str) -> None:
        self._ignored.add(said)
        self.refresh()
