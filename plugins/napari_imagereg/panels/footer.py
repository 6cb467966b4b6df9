"""The foot of the dock, always in sight: progress, the two stops, the whole volume, and the ways out."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_imagereg.panels.base import note


class Footer(QWidget):
    """Progress and the buttons that concern everything."""

    keep = Signal()
    cancel = Signal()
    volume = Signal()
    batch = Signal()
    copy = Signal(str)
    save = Signal()
    load = Signal()
    use_cpu = Signal()
    bin_data = Signal()
    fewer_rows = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        self._message = note(kind="error")
        self._message.hide()
        layout.addWidget(self._message)
        self._ways_out = QWidget()
        ways = QHBoxLayout(self._ways_out)
        ways.setContentsMargins(0, 0, 0, 0)
        for text, tip, signal in (
            ("Use the CPU", "Work in the machine's own memory instead of the GPU's.", self.use_cpu),
            (
                "Fewer rows",
                "Reconstruct a volume in tiles of half as many rows at a time.",
                self.fewer_rows,
            ),
            (
                "Bin the data",
                "Add the step that joins neighbouring pixels: a quarter of the memory.",
                self.bin_data,
            ),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, signal=signal: signal.emit())
            ways.addWidget(button)
        self._ways_out.hide()
        layout.addWidget(self._ways_out)
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(True)
        self._bar.setFormat("ready")
        layout.addWidget(self._bar)
        stops = QHBoxLayout()
        self.keep_button = QPushButton("Stop and keep")
        self.keep_button.setToolTip("End the iteration here and keep this image.")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("End and discard.")
        self.keep_button.clicked.connect(self.keep.emit)
        self.cancel_button.clicked.connect(self.cancel.emit)
        stops.addWidget(self.keep_button)
        stops.addWidget(self.cancel_button)
        layout.addLayout(stops)
        rest = QHBoxLayout()
        self.volume_button = QPushButton("Run whole volume\N{HORIZONTAL ELLIPSIS}")
        self.volume_button.setToolTip(
            "Reconstruct every slice in a process of its own; first says what it takes."
        )
        self.volume_button.clicked.connect(self.volume.emit)
        rest.addWidget(self.volume_button)
        recipe = QPushButton("Recipe")
        recipe.setToolTip("Copy, save, open or repeat what the panels say.")
        menu = QMenu(recipe)
        for form in ("CLI", "Python", "YAML"):
            menu.addAction(f"Copy as {form}").triggered.connect(
                lambda _=False, form=form: self.copy.emit(form)
            )
        menu.addSeparator()
        menu.addAction("Save\N{HORIZONTAL ELLIPSIS}").triggered.connect(lambda: self.save.emit())
        menu.addAction("Open\N{HORIZONTAL ELLIPSIS}").triggered.connect(lambda: self.load.emit())
        menu.addAction("Run on a folder\N{HORIZONTAL ELLIPSIS}").triggered.connect(lambda: self.batch.emit())
        recipe.setMenu(menu)
        rest.addWidget(recipe)
        layout.addLayout(rest)
        self.set_busy(False)

    def set_busy(self, busy: bool, *, can_keep: bool = True) -> None:
        """Switch the buttons between ready and running."""
        self.keep_button.setEnabled(busy and can_keep)
        self.cancel_button.setEnabled(busy)
        self.cancel_button.setText("Cancel")
        self.volume_button.setEnabled(not busy)
        if not busy:
            self._bar.setValue(0)
            self._bar.setFormat("ready")

    def show_progress(self, fraction: float | None, text: str) -> None:
        """Move the bar; an unknown fraction leaves it where it is."""
        if fraction is not None:
            self._bar.setValue(round(1000 * fraction))
        self._bar.setFormat(text.replace("%", "%%"))

    def text(self) -> str:
        """What the bar says."""
        return str(self._bar.format())

    def show_error(self, sentence: str, *, resources: bool = False) -> None:
        """One sentence about what went wrong; an empty one takes it away. `resources` offers ways out."""
        sign = "\N{WARNING SIGN} " if sentence else ""
        self._message.setText(sign + sentence)
        self._message.setVisible(bool(sentence))
        self._ways_out.setVisible(resources)

    def offers_ways_out(self) -> bool:
        """Whether the buttons for less memory are shown."""
        return not self._ways_out.isHidden()

    def error(self) -> str:
        """The sentence that is shown, or nothing."""
        return "" if self._message.isHidden() else str(self._message.text()).removeprefix("\N{WARNING SIGN} ")
