"""Step 1: which data, what was found in them, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

from imagereg.errors import ImageregError
from imagereg.measurement import Measurement
from napari_imagereg.editors import narrow
from napari_imagereg.gallery import GALLERY, arrange, piece
from napari_imagereg.layers import KEY, measurement_keywords, measurement_of, show_sinogram
from napari_imagereg.panels.base import Panel, note
from napari_imagereg.panels.findings import Findings
from napari_imagereg.panels.part import PartRow
from napari_imagereg.session import Session


class DataPanel(Panel):
    """Pick an open layer or a file; findings come with the button that mends them."""

    failed = Signal(str)
    recipe_dropped = Signal(str)
    trial_wanted = Signal()
    tour_wanted = Signal()

    def __init__(self, session: Session, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__("1  Data", parent)
        self._session, self._viewer = session, viewer
        self._source: Any = None
        self._opening = False
        self._layers = QComboBox()
        self._layers.setToolTip("Image layers of this viewer: the measurement to work on.")
        narrow(self._layers, letters=10)
        self._layers.activated.connect(self._choose)
        browse = QPushButton("Open\N{HORIZONTAL ELLIPSIS}")
        browse.setToolTip("Open a scan: HDF5, NXtomo, .mat, TIFF, DICOM, MRC, Zarr, NumPy.")
        browse.clicked.connect(self._browse)
        sample = QPushButton("Sample")
        sample.setToolTip("Open data made on the spot, with known truth, to try things on.")
        menu = QMenu(sample)
        menu.setToolTipsVisible(True)
        for shown in GALLERY:
            action = menu.addAction(shown.title)
            action.setToolTip(shown.tip)
            action.triggered.connect(lambda _=False, make=shown.make: self.open_sample(make))
        sample.setMenu(menu)
        self.row(self._layers, browse, sample, stretch=0)
        self._facts = note()
        self.layout_.addWidget(self._facts)
        self._start = QWidget()
        self.layout_.addWidget(self._start)
        start = QHBoxLayout(self._start)
        start.setContentsMargins(0, 0, 0, 0)
        for text, tip, signal in (
            ("Try it", f"Open '{GALLERY[0].title}' and reconstruct it.", self.trial_wanted),
            ("Tour", "Walk through the dock, step by step.", self.tour_wanted),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, signal=signal: signal.emit())
            start.addWidget(button)
        self.part = PartRow()
        self.part.edited.connect(self._take_part)
        self.layout_.addWidget(self.part)
        self.findings = Findings(session)
        self.findings.told.connect(self.set_state)
        self.layout_.addWidget(self.findings)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            self.listen(event, self._refresh_layers)
        self.listen(viewer.layers.events.inserted, self._welcome)
        self.listen(session.data_changed, self.refresh)
        self.listen(session.data_changed, self.findings.check)
        self.listen(session.steps_changed, self.findings.refresh)
        self._refresh_layers()
        self.refresh()
        for layer in viewer.layers:
            layer.events.name.connect(self._rename)
        self._take_what_is_there()

    # ------------------------------------------------------------------ choosing
    def use_layer(self, layer: Any) -> None:
        """Work on an image layer: as the scan that a reader left in it, or as a plain image."""
        measurement = measurement_of(layer)
        path = None
        if measurement is not None:
            path = measurement.source.path if measurement.source else None
        else:
            data = layer.data[0] if layer.multiscale else layer.data
            axes = "YXC" if layer.rgb else ""
            truth = layer.metadata.get(KEY, {}).get("truth") if isinstance(layer.metadata, dict) else None
            try:
                if np.ndim(data) not in ((3, 4) if layer.rgb else (2, 3)):
                    raise ImageregError(
                        f"{layer.name} has {np.ndim(data)} axes; choose a picture or a stack."
                    )
                measurement = Measurement(
                    _native(data),
                    axes=axes,
                    truth=truth,
                    pixel=tuple(float(s) for s in layer.scale),
                    unit=str(layer.units[-1]) if layer.units else "",
                )
            except ImageregError as error:
                self.failed.emit(str(error))
                return
        self._source = layer
        self._session.hints = {}
        self._session.take(measurement, path=path, layer=layer.name)
        self._turn()

    def _turn(self) -> None:
        """Show a scan of a few rows as its sinogram: its projections are but stripes."""
        measurement = self._session.measurement
        if measurement is None or measurement.geometry is None or len(self._viewer.layers) != 1:
            return
        if 8 * measurement.geometry.rows < measurement.geometry.columns:
            show_sinogram(self._viewer, measurement, self._session.row)

    def source(self) -> Any:
        """The layer that holds the data, or None where it is gone."""
        return self._source if self._source in self._viewer.layers else None

    def open_path(self, path: Path, *, format: str | None = None, **hints: Any) -> None:
        """Read a file, show it as a layer and work on it."""
        from imagereg.io import read

        try:
            measurement = read(path, format=format, **hints)
        except ImageregError as error:
            self.failed.emit(str(error))
            return
        self._session.hints = dict(hints)
        self._opening = True
        layer = self._viewer.add_image(
            measurement.data, **measurement_keywords(measurement, name=Path(path).stem)
        )
        self._opening = False
        self._source = layer
        self._session.take(measurement, path=Path(path), layer=layer.name)
        self._session.format = format
        self._turn()

    def open_sample(self, make: str) -> None:
        """Open one of the samples by the name of its function, with the method and preset that suit it."""
        from napari_imagereg import samples

        for data, keywords, _ in getattr(samples, make)():
            self._opening = True
            layer = self._viewer.add_image(data, **keywords)
            self._opening = False
            self.use_layer(layer)
        arrange(self._session, piece(make))

    def _take_part(self) -> None:
        """Take the views and rows that were written; what selects nothing is refused in one sentence."""
        try:
            self._session.take_part(*self.part.part())
        except ImageregError as error:
            self.failed.emit(str(error))
            self.refresh()

    def _take_what_is_there(self) -> None:
        """Work on the scan, or else on the only image, that is open already."""
        if self._session.measurement is not None:
            return
        images = [layer for layer in self._viewer.layers if layer._type_string == "image"]
        scans = [layer for layer in images if measurement_of(layer) is not None]
        for layer in scans[-1:] or (images if len(images) == 1 else []):
            self.use_layer(layer)

    def _welcome(self, event: Any) -> None:
        """A layer comes in: a recipe's is restored, and a scan is taken where there are no data yet."""
        layer = event.value
        layer.events.name.connect(self._rename)
        if layer._type_string != "image" or self._opening:
            return
        held = layer.metadata.get(KEY, {})
        recipe = held.pop("open_recipe", "") if isinstance(held, dict) else ""
        if measurement_of(layer) is not None and (recipe or self._session.measurement is None):
            self.use_layer(layer)
        if recipe:
            self.recipe_dropped.emit(recipe)

    def _rename(self, event: Any) -> None:
        if self.source() is not None:
            self._session.layer_name = self._source.name
        self._refresh_layers()

    def _choose(self, index: int) -> None:
        name = self._layers.itemText(index)
        if name in self._viewer.layers:
            self.use_layer(self._viewer.layers[name])

    def _browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a scan")
        if name:
            self.open_path(Path(name))

    # ------------------------------------------------------------------ showing
    def refresh(self) -> None:
        """Show what the session holds."""
        measurement, whole = self._session.measurement, self._session.whole
        self.part.show_part(whole, self._session.views, self._session.rows)
        self._start.setVisible(whole is None)
        if measurement is None or whole is None:
            self._facts.setText(
                "Choose a layer, open a scan, or take a sample to try things on. "
                "Scans and recipes can be dropped here too."
            )
            self.set_state("")
        else:
            shape = " \N{MULTIPLICATION SIGN} ".join(map(str, measurement.data.shape))
            lines = [f"{str(measurement.quantity).replace('_', ' ')}, {shape}"]
            if measurement is not whole:
                of = " \N{MULTIPLICATION SIGN} ".join(map(str, whole.data.shape))
                lines[0] += f", a part of {of}"
            found = [name for name in ("flats", "darks") if getattr(measurement, name) is not None]
            if found:
                lines.append(" and ".join(f"{len(getattr(measurement, n))} {n}" for n in found) + " found")
            lines += list(measurement.notes)
            self._facts.setText("\n".join(lines))
            index = self._layers.findText(self._session.layer_name)
            if index >= 0:
                self._layers.setCurrentIndex(index)
        self.findings.refresh()

    def _refresh_layers(self, event: Any = None) -> None:
        names = [layer.name for layer in self._viewer.layers if layer._type_string == "image"]
        current = self._session.layer_name
        self._layers.blockSignals(True)
        self._layers.clear()
        self._layers.addItems(names)
        index = self._layers.findText(current)
        self._layers.setCurrentIndex(index)
        self._layers.blockSignals(False)


def _native(data: Any) -> Any:
    """The array in the machine's byte order, lazy arrays as they are."""
    if isinstance(data, np.ndarray) and not data.dtype.isnative:
        return data.astype(data.dtype.newbyteorder("="))
    return data
