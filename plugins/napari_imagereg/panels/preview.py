"""Step 5: one slice, on request, live."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QPushButton, QSpinBox, QWidget

from napari_imagereg.panels.base import Panel, note
from napari_imagereg.plot import Plot
from napari_imagereg.session import Session

FAST = frozenset({"fbp", "fdk"})
"""Methods that answer at once, so that a preview after every edit makes sense."""


class PreviewPanel(Panel):
    """A button, the slice to look at, and the curve of the running solver."""

    wanted = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("5  Preview", parent)
        self._session = session
        self._slice = QSpinBox()
        self._slice.setToolTip("Detector row (slice) of the preview.")
        self._slice.valueChanged.connect(self._set_row)
        self.button = QPushButton("\N{BLACK RIGHT-POINTING TRIANGLE} Preview")
        self.button.setToolTip("Preprocess and reconstruct this slice (Ctrl+Return); Escape cancels.")
        self.button.clicked.connect(self.wanted.emit)
        self._auto = QCheckBox("auto")
        self._auto.setToolTip("After every edit, for fast methods only.")
        self.row(self.button, self._auto, "slice", self._slice)
        self.plot = Plot()
        self.layout_.addWidget(self.plot)
        self._figures = note()
        self.layout_.addWidget(self._figures)
        self._debounce = QTimer(self)
        self._debounce.setSingleShot(True)
        self._debounce.setInterval(300)
        self._debounce.timeout.connect(self.wanted.emit)
        self.listen(session.data_changed, self.refresh)
        self.listen(session.method_changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Fit the slice's range to the data."""
        measurement = self._session.measurement
        rows = 1 if measurement is None else measurement.rows
        self._slice.blockSignals(True)
        self._slice.setRange(0, max(0, rows - 1))
        self._slice.setValue(self._session.row)
        self._slice.setEnabled(rows > 1)
        self._slice.blockSignals(False)
        self.button.setEnabled(measurement is not None)
        self._auto.setEnabled(self._session.method in FAST)

    def edited(self) -> None:
        """Something changed: preview soon, where that was asked for and is fast."""
        if self._auto.isChecked() and self._auto.isEnabled() and self._session.measurement is not None:
            self._debounce.start()

    def begin(self) -> None:
        """A preview starts."""
        self.plot.clear()
        self._figures.setText("")

    def show_look(self, look: Any) -> None:
        """A point of the curves and the figures."""
        for name, value in look.figures.items():
            self.plot.add(name, look.iteration, value)
        parts = [f"iteration {look.iteration}" + (f"/{look.total}" if look.total else "")]
        if look.phase:
            parts.insert(0, look.phase)
        if "residual" in look.figures:
            parts.append(f"residual {look.figures['residual']:.4g}")
        if "psnr" in look.metrics:
            parts.append(f"PSNR {look.metrics['psnr']:.2f} dB")
        parts.append(f"{look.seconds:.1f} s")
        if look.finished:
            parts.append(look.finished)
        lines = [", ".join(parts)]
        if look.finished and look.measurement is not None:
            lines += [f"\N{INFORMATION SOURCE} {said}" for said in look.measurement.notes if "grid" in said]
        self._figures.setText("\n".join(lines))

    def show_legend(self, sentence: str) -> None:
        """Say below the figures what another layer means."""
        self._figures.setText(f"{self._figures.text()}\n{sentence}")

    def _set_row(self, row: int) -> None:
        self._session.row = row
        self.edited()
