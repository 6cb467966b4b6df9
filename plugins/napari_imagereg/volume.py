"""The whole volume: what it takes, where it goes, and how it is shown afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from imagereg.errors import UsageError
from imagereg.measurement import Measurement
from imagereg.recipe import Recipe
from napari_imagereg.jobs import ThreadJob
from napari_imagereg.layers import KEY, contrast, derived_keywords
from napari_imagereg.session import Session


class VolumeDialog(QDialog):
    """Size, memory, time and disk of a run, and the folder it goes to."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Run the whole volume")
        form = QFormLayout(self)
        base = session.path.parent if session.path else Path.cwd()
        stem = session.path.stem if session.path else (session.layer_name or "data")
        wanted = session.output.get("folder", base / f"{stem}-{session.method}")
        self._folder = QLineEdit(str(_free(Path(wanted))))
        browse = QPushButton("Choose\N{HORIZONTAL ELLIPSIS}")
        browse.clicked.connect(self._browse)
        form.addRow("method", QLabel(f"{session.method} {_worded(session.parameters_of())}"))
        self._takes = QLabel("working it out\N{HORIZONTAL ELLIPSIS}")
        self._takes.setWordWrap(True)
        self._takes.setMinimumWidth(320)
        form.addRow("takes", self._takes)
        self._session = session
        self.bin_button = QPushButton("Bin the data")
        self.bin_button.setToolTip("Add the step that joins neighbouring pixels: a quarter of the memory.")
        self.bin_button.clicked.connect(self._bin)
        self.bin_button.hide()
        form.addRow("", self.bin_button)
        form.addRow("folder", self._folder)
        form.addRow("", browse)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self._start = buttons.button(QDialogButtonBox.StandardButton.Ok)
        self._start.setText("Run")
        self._start.setToolTip("Start a process of its own; where it is interrupted it can go on later.")
        browse.setToolTip("Choose where the folder of the results is made.")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form.addRow(buttons)
        self._job = ThreadJob(self)
        self._job.finished.connect(lambda text: self._say(text.replace(", ", "\n")))
        self._job.failed.connect(self._warn)
        self.finished.connect(lambda _: self._job.cancel())
        self._estimate()

    def folder(self) -> Path:
        """The folder that the results go to."""
        return Path(self._folder.text())

    def _estimate(self) -> None:
        """Work out what the run takes, in a thread: one slab is preprocessed for it."""
        session = self._session
        recipe = session.recipe() if session.path is not None else None
        shape = session.measurement.data.shape if session.measurement is not None else ()
        self._job.start(lambda keep: iter([takes(recipe, shape)]))

    def _warn(self, sentence: str, resources: bool) -> None:
        """Say why it cannot be run; where memory does not suffice, with the way out."""
        self.bin_button.setVisible(resources)
        self._start.setEnabled(not resources)
        self._say(f"\N{WARNING SIGN} {sentence}")

    def _bin(self) -> None:
        self._session.bin_data()
        self.bin_button.hide()
        self._start.setEnabled(True)
        self._say("working it out\N{HORIZONTAL ELLIPSIS}")
        self._estimate()

    def _say(self, text: str) -> None:
        """Show a text; the dialog grows as it needs."""
        self._takes.setText(text)
        self._takes.setMinimumHeight(self._takes.heightForWidth(self._takes.width()))
        self.adjustSize()

    def estimated(self) -> bool:
        """Whether the dialog says by now what the run takes."""
        return not self._job.running

    def _browse(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if name:
            self._folder.setText(str(_free(Path(name) / Path(self._folder.text()).name)))


def source_path(session: Session, folder: Path) -> Path:
    """The file that a process of its own can read: the session's, or the layer written beside the output.

    Raises
    ------
    UsageError
        When there are no data.
    """
    if session.path is not None:
        return session.path
    measurement = session.whole
    if measurement is None:
        raise UsageError("open some data first.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.input.npz")
    arrays, hints = _as_arrays(measurement)
    np.savez(path, **arrays)
    session.hints = hints
    return path


def _as_arrays(measurement: Measurement) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a file for the data, and the hints with which it is read as the same measurement."""
    data, geometry = np.asarray(measurement.data), measurement.geometry
    hints: dict[str, Any] = {}
    if geometry is None:
        if measurement.axes:
            hints["axes"] = measurement.axes
        return {"image": data}, hints
    arrays: dict[str, Any] = {
        "projections" if data.ndim == 3 else "sinogram": data,
        "angles": geometry.angles,
    }
    for name in ("flats", "darks"):
        frames = getattr(measurement, name)
        if frames is not None:
            arrays[name] = np.asarray(frames)
    hints = {
        "geometry": geometry.kind,
        "pixel": float(geometry.pixel),
        "angle_unit": "radians",
        "centre": float(geometry.centre_of_rotation),
        "quantity": measurement.quantity,
    }
    if geometry.row_edge != geometry.pixel:
        hints["row_pixel"] = float(geometry.row_edge)
    for name in ("source_origin", "source_detector"):
        if geometry.kind != "parallel":
            hints[name] = float(getattr(geometry, name))
    return arrays, hints


def show_output(viewer: Any, folder: Path, source: Any = None) -> Any:
    """Open a finished run as a lazy multiscale layer with its provenance; images lie where `source` lies."""
    import dask.array
    import zarr

    account = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    account["recipe"] = (folder / "recipe.yaml").read_text(encoding="utf-8")
    group = zarr.open_group(folder / "image.ome.zarr", mode="r")
    described: Any = group.attrs["ome"]["multiscales"][0]  # type: ignore[index,call-overload]
    levels = [dask.array.from_zarr(group[entry["path"]]) for entry in described["datasets"]]
    scale = described["datasets"][0]["coordinateTransformations"][0]["scale"]
    axes = described["axes"]
    unit = {"millimeter": "mm", "micrometer": "um"}.get(axes[-1].get("unit", ""), "pixel")
    scale = scale if unit != "pixel" else [1.0] * len(scale)
    geometry = account.get("geometry")
    shape = levels[0].shape
    name = f"{folder.name} \N{BLACK RIGHT-POINTING SMALL TRIANGLE} {account['method']}"
    keywords: dict[str, Any] = {
        "name": name,
        "scale": scale,
        "units": (unit,) * len(shape),
        "axis_labels": tuple(axis["name"] for axis in axes),
        "metadata": {KEY: account},
    }
    if geometry:
        keywords["translate"] = [-(n - 1) / 2 * s for n, s in zip(shape, scale, strict=True)]
    elif source is not None and source.ndim == len(shape) and tuple(source.data.shape) == tuple(shape):
        keywords = derived_keywords(source, name=name, provenance=account)
    return viewer.add_image(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        contrast_limits=contrast(np.asarray(levels[-1])),
        **keywords,
    )


def takes(recipe: Recipe | None, shape: tuple[int, ...]) -> str:
    """What a run takes: voxels, memory, disk and time; for a layer without a file its size only.

    Raises
    ------
    ImageregError
        As the run would.
    """
    if recipe is None:
        return f"data of {' x '.join(map(str, shape))}; the layer is written beside the results first"
    from imagereg.running.local import estimate

    _, plan = estimate(recipe)
    return str(plan)


def _worded(parameters: dict[str, Any]) -> str:
    """Parameters that differ from the defaults, in a few words."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )


def _free(folder: Path) -> Path:
    number, free = 2, folder
    while free.exists():
        free = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return free
