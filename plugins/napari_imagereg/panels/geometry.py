"""Step 2: how the image gives the data; for scans the centre of rotation, for images the blur or mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QPushButton,
    QSlider,
    QWidget,
)

from imagereg.geometry import ConeBeam, FanBeam, ParallelBeam
from napari_imagereg.panels.base import Panel, note
from napari_imagereg.panels.image_physics import ImagePhysics
from napari_imagereg.panels.strip import Strip
from napari_imagereg.session import Session

FINE = 40
"""Quarters of a pixel that the slider of the axis reaches to both sides."""

OFFSETS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)
"""Columns of a sweep around the current one."""

KINDS = {"parallel": ParallelBeam, "fan": FanBeam, "cone": ConeBeam}


class GeometryPanel(Panel):
    """The physics: read off the file where it says so, given by hand where it does not."""

    find_centre = Signal()
    sweep = Signal(list)
    failed = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("2  Physics and geometry", parent)
        self._session = session
        self._filling = False
        self._text = note()
        self.layout_.addWidget(self._text)
        self._scan = QWidget()
        self._build_scan()
        self.image = ImagePhysics(session)
        self._manual = QWidget()
        self._build_manual()
        for part in (self._scan, self.image, self._manual):
            self.layout_.addWidget(part)
        self.listen(session.physics_changed, self.refresh)
        self.listen(session.data_changed, self.refresh)
        self.refresh()

    # ------------------------------------------------------------------ parts
    def _build_scan(self) -> None:
        part = Panel("Centre of rotation", self._scan)
        self.centre = QDoubleSpinBox()
        self.centre.setDecimals(2)
        self.centre.setSingleStep(0.25)
        self.centre.setKeyboardTracking(False)
        self.centre.setSuffix(" px")
        self.centre.setToolTip(
            "Detector column on which the rotation axis falls (0 is the middle of the first)."
        )
        self.centre.valueChanged.connect(self._set_centre)
        automatic = QPushButton("Auto")
        automatic.setToolTip("Four estimators vote: opposite views, double wedge, moments, sharpness.")
        automatic.clicked.connect(self.find_centre.emit)
        sweep = QPushButton("Sweep\N{HORIZONTAL ELLIPSIS}")
        sweep.setToolTip("Reconstruct around this column; click the sharpest picture.")
        sweep.clicked.connect(self.ask_sweep)
        part.row(self.centre, automatic, sweep, stretch=0)
        self._fine = QSlider(Qt.Orientation.Horizontal)
        self._fine.setRange(-FINE, FINE)
        self._fine.setToolTip("Move the axis up to 10 pixels to both sides, a quarter of a pixel at a time.")
        self._fine.sliderPressed.connect(self._hold)
        self._fine.sliderReleased.connect(self._let_go)
        self._fine.valueChanged.connect(self._slide)
        self._middle = 0.0
        part.layout_.addWidget(self._fine)
        self.strip = Strip("Reconstructions with the axis on these columns: click the sharpest one.")
        self.strip.taken.connect(self.centre.setValue)
        part.layout_.addWidget(self.strip)
        self._votes = note()
        self._votes.hide()
        part.layout_.addWidget(self._votes)
        _fill(self._scan, part)

    def _build_manual(self) -> None:
        part = Panel("Treat the layer as a scan", self._manual, opened=False)
        self._kind = QComboBox()
        self._kind.addItems(list(KINDS))
        self._first, self._last = QDoubleSpinBox(), QDoubleSpinBox()
        for box, value in ((self._first, 0.0), (self._last, 180.0)):
            box.setRange(-720, 720)
            box.setDecimals(3)
            box.setValue(value)
            box.setSuffix("\N{DEGREE SIGN}")
        self._pixel, self._so, self._sd = QDoubleSpinBox(), QDoubleSpinBox(), QDoubleSpinBox()
        for box, value in ((self._pixel, 1.0), (self._so, 500.0), (self._sd, 1000.0)):
            box.setRange(1e-6, 1e6)
            box.setDecimals(5)
            box.setValue(value)
            box.setSuffix(" mm")
        apply = QPushButton("Use as a scan")
        apply.setToolTip("The first axis of the layer is the view, the last the detector column.")
        apply.clicked.connect(self._make_scan)
        for part_of_form, tip in (
            (self._kind, "Shape of the beam."),
            (self._first, "Angle of the first view."),
            (self._last, "Angle at which the view after the last one would lie."),
            (self._pixel, "Edge of a detector pixel."),
            (self._so, "Distance from the source to the rotation axis (fan and cone)."),
            (self._sd, "Distance from the source to the detector (fan and cone)."),
        ):
            part_of_form.setToolTip(tip)
        part.row("Beam", self._kind, stretch=1)
        part.row("Pixel", self._pixel, stretch=1)
        part.row("Views from", self._first, "to", self._last, stretch=1)
        part.row("Source to axis", self._so, stretch=1)
        part.row("Source to detector", self._sd, stretch=1)
        part.row(apply)
        _fill(self._manual, part)

    # ------------------------------------------------------------------ showing
    def refresh(self) -> None:
        """Show the session's physics."""
        measurement = self._session.measurement
        geometry = None if measurement is None else measurement.geometry
        self._scan.setVisible(geometry is not None)
        self.image.setVisible(measurement is not None and geometry is None)
        self._manual.setVisible(measurement is not None and geometry is None)
        self._filling = True
        if geometry is not None:
            column = self._session.centre
            self._text.setText(str(geometry if column is None else geometry.with_centre(column)))
            self.centre.setRange(-geometry.columns, 2 * geometry.columns)
            self.centre.setValue(geometry.centre_of_rotation if column is None else column)
            self.set_state(geometry.kind if column is None else f"axis {column:.2f} px")
        else:
            self._text.setText(
                "How the data come from the image; read off the file where it says so."
                if measurement is None
                else "An image, y = A x: what happened to it?"
            )
            self.image.refresh()
            self.set_state("" if measurement is None else self._session.task)
        self._text.setVisible(bool(self._text.text()))
        self._filling = False

    def show_estimate(self, estimate: Any) -> None:
        """Show what the estimators voted, and take the result where a run would take it."""
        low, high = estimate.interval
        votes = ", ".join(f"{name} {vote:.2f}" for name, vote in estimate.votes.items())
        measurement = self._session.measurement
        geometry = None if measurement is None else measurement.geometry
        objection = "" if geometry is None else estimate.objection(geometry)
        warning = f"\n\N{WARNING SIGN} not taken, as {objection}: use the sweep" if objection else ""
        self._votes.setText(
            f"column {estimate.column:.2f}, between {low:.2f} and {high:.2f}\n{votes}{warning}"
        )
        self._votes.show()
        if objection:
            return
        self.centre.setValue(estimate.column)
        self._set_centre(self.centre.value())

    def show_sweep(self, columns: list[float], images: Any) -> None:
        """Fill the strip with reconstructions around the current column."""
        self.strip.show_pictures(columns, images, now=self.centre.value(), seen="axis on column")

    # ------------------------------------------------------------------ editing
    def ask_sweep(self) -> None:
        """Ask for reconstructions with the axis around the current column."""
        middle = self.centre.value()
        self.sweep.emit([middle + offset for offset in OFFSETS])

    def _hold(self) -> None:
        self._middle = self.centre.value() - self._fine.value() / 4

    def _slide(self, quarters: int) -> None:
        if not self._fine.isSliderDown():
            # Keys and clicks beside the handle move it without taking hold.
            self._middle = self.centre.value()
        self.centre.setValue(self._middle + quarters / 4)
        if not self._fine.isSliderDown():
            self._let_go()

    def _let_go(self) -> None:
        self._fine.blockSignals(True)
        self._fine.setValue(0)
        self._fine.blockSignals(False)

    def _set_centre(self, column: float) -> None:
        if self._filling:
            return
        self._session.centre = float(column)
        self._session.physics_changed.emit()

    def _make_scan(self) -> None:
        measurement = self._session.whole
        if measurement is None:
            return
        shape = measurement.data.shape
        views = shape[0]
        angles = np.deg2rad(np.linspace(self._first.value(), self._last.value(), views, endpoint=False))
        distances = (
            {}
            if self._kind.currentText() == "parallel"
            else {"source_origin": self._so.value(), "source_detector": self._sd.value()}
        )
        try:
            geometry = KINDS[self._kind.currentText()](
                angles,
                columns=shape[-1],
                rows=shape[1] if len(shape) == 3 else 1,
                pixel=self._pixel.value(),
                **distances,
            )
            scan = replace(measurement, geometry=geometry, quantity="line_integrals", axes="", truth=None)
        except ValueError as error:
            self.failed.emit(str(error))
            return
        self._session.take(scan, layer=self._session.layer_name)


def _fill(holder: QWidget, part: QWidget) -> None:
    from qtpy.QtWidgets import QVBoxLayout

    layout = QVBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(part)
