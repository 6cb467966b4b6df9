"""Step 5: one slice, on request, live."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QPushButton, QSpinBox, QWidget

from imagereg.methods.registry import methods
from napari_imagereg.panels.base import Panel, Words, note
from napari_imagereg.plot import Plot
from napari_imagereg.session import Session

FIRST = ("loss", "score_loss", "objective", "residual", "gap")
"""Figures that are drawn before others, in this order."""

ASIDE = frozenset({"seconds", "seconds_to_go", "images_per_second", "rate", "iteration"})
"""Figures that say nothing of how good the image is: told in the tooltip, not drawn."""

CURVES = 3
"""More curves than this are a tangle."""


class PreviewPanel(Panel):
    """A button, the slice to look at, and the curve of the running solver."""

    wanted = Signal()
    region_wanted = Signal(bool)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("5  Preview", parent)
        self._session = session
        self._slice = QSpinBox()
        self._slice.setPrefix("slice ")
        self._slice.setToolTip("Detector row (slice) of the preview.")
        self._slice.valueChanged.connect(self._set_row)
        self.button = QPushButton("\N{BLACK RIGHT-POINTING TRIANGLE} Preview")
        self.button.setToolTip("Preprocess and reconstruct this slice (Ctrl+Return); Escape cancels.")
        self.button.clicked.connect(self.wanted.emit)
        self._auto = QCheckBox("auto")
        self._auto.setToolTip("After every edit, for fast methods only.")
        self._region = QCheckBox("region")
        self._region.setToolTip(
            "Preview the rectangle of the layer 'region' only: for images, and for scans with fbp and fdk. "
            "Move and resize it with the layer's tools."
        )
        self._region.toggled.connect(self.region_wanted.emit)
        # A line of its own for the slice: with the ticks beside it, its number had no room.
        self.row(self.button, self._slice, stretch=1)
        self._takes = Words()
        line = self.row(self._auto, self._region)
        line.addWidget(self._takes, 1)
        self.plot = Plot()
        self.plot.axis = "iteration"
        self.layout_.addWidget(self.plot)
        self._figures = note()
        self._figures.hide()
        self.layout_.addWidget(self._figures)
        self._legend_note = note(kind="legend")
        self._legend_note.setToolTip("What the layers of uncertainty of the last preview mean.")
        self._legend_note.hide()
        self.layout_.addWidget(self._legend_note)
        self._phase = ""
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
        self._say_row()
        self._slice.blockSignals(False)
        self.button.setEnabled(measurement is not None)
        direct = methods()[self._session.method].direct
        self._auto.setEnabled(direct)
        scan = measurement is not None and measurement.geometry is not None
        self._region.setEnabled(measurement is not None and (not scan or direct))
        if measurement is None:
            self._region.setChecked(False)

    def by_region(self) -> bool:
        """Whether a part of the slice is asked for, and the method can do a part."""
        return self._region.isChecked() and self._region.isEnabled()

    def set_auto(self, wanted: bool) -> None:
        """Tick or untick previews after every edit."""
        self._auto.setChecked(wanted)

    def set_region(self, wanted: bool) -> None:
        """Tick or untick the region."""
        self._region.setChecked(wanted)

    def edited(self) -> None:
        """Something changed: preview soon, where that was asked for and is fast."""
        if self._auto.isChecked() and self._auto.isEnabled() and self._session.measurement is not None:
            self._debounce.start()

    def begin(self) -> None:
        """A preview starts."""
        self.plot.clear()
        self._phase = ""
        self._figures.hide()
        self.show_legend("")

    def show_look(self, look: Any) -> None:
        """A point of the curves and the figures."""
        if look.phase != self._phase and not look.finished:
            # Another part of the work counts its own iterations.
            self._phase = look.phase
            self.plot.clear()
        if look.phase == self._phase:
            for name in self._drawn(look.figures):
                self.plot.add(name.replace("_", " "), look.iteration, look.figures[name])
        self.plot.setToolTip("\n".join(f"{name} {value:.5g}" for name, value in look.figures.items()))
        parts = [f"iteration {look.iteration}" + (f"/{look.total}" if look.total else "")]
        if look.phase:
            parts.insert(0, look.phase)
        for name in ("loss", "residual"):
            if name in look.figures:
                parts.append(f"{name} {look.figures[name]:.4g}")
        if "psnr" in look.metrics:
            parts.append(f"PSNR {look.metrics['psnr']:.2f} dB")
        parts.append(f"{look.seconds:.1f} s")
        if look.finished and look.finished != f"{look.iteration} iterations":
            parts.append(look.finished)
        lines = [", ".join(parts)]
        if look.finished:
            lines += [
                f"\N{INFORMATION SOURCE} {said}"
                for said in look.measurement.notes
                if "grid" in said or "region" in said
            ]
        self._figures.setText("\n".join(lines))
        self._figures.show()

    def _drawn(self, figures: dict[str, float]) -> list[str]:
        """The figures to draw: the telling ones first."""
        order = [name for name in FIRST if name in figures]
        order += [name for name in figures if name not in order and name not in ASIDE]
        return order[:CURVES]

    def show_takes(self, text: str, tip: str, short: bool) -> None:
        """Tell what a preview will take; `short` where there is less memory."""
        self._takes.show_words(f"\N{WARNING SIGN} {text}" if short else text, tip)

    def takes(self) -> str:
        """What a preview will take, as it is shown; empty where it is not known yet."""
        return self._takes.words

    def show_legend(self, text: str) -> None:
        """Say below the figures what the layers beside the result mean; an empty text takes it away."""
        self._legend_note.setText(text)
        self._legend_note.setVisible(bool(text))

    def legend(self) -> str:
        """What the layers of uncertainty mean, one line each; empty where there are none."""
        return str(self._legend_note.text())

    def _set_row(self, row: int) -> None:
        self._session.row = row
        self._say_row()
        self.edited()

    def _say_row(self) -> None:
        """Tell the row of the file, where only some of them are taken."""
        row = self._session.row_of_file()
        self._slice.setSuffix(f" (row {row})" if self._session.rows else "")
