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
from napari_imagereg.layers import KEY, contrast
from napari_imagereg.session import Session


class VolumeDialog(QDialog):
    """Size, memory, time and disk of a run, and the folder it goes to."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Run the whole volume")
        form = QFormLayout(self)
        base = session.path.parent if session.path else Path.cwd()
        stem = session.path.stem if session.path else (session.layer_name or "data")
        self._folder = QLineEdit(str(_free(base / f"{stem}-{session.method}")))
        browse = QPushButton("Choose\N{HORIZONTAL ELLIPSIS}")
        browse.clicked.connect(self._browse)
        form.addRow("method", QLabel(session.method))
        form.addRow("takes", QLabel(_takes(session)))
        form.addRow("folder", self._folder)
        form.addRow("", browse)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form.addRow(buttons)

    def folder(self) -> Path:
        """The folder that the results go to."""
        return Path(self._folder.text())

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
    if session.measurement is None:
        raise UsageError("open some data first.")
    measurement = session.measurement
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.input.npz")
    arrays: dict[str, Any] = {}
    if measurement.geometry is None:
        arrays["image"] = np.asarray(measurement.data)
    else:
        arrays["projections" if len(measurement.data.shape) == 3 else "sinogram"] = np.asarray(
            measurement.data
        )
        arrays["angles"] = measurement.geometry.angles
        session.hints = {"pixel": measurement.geometry.pixel, "angle_unit": "rad"}
    np.savez(path, **arrays)
    return path


def show_output(viewer: Any, folder: Path) -> Any:
    """Open a finished run as a lazy multiscale layer with its provenance."""
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
    return viewer.add_image(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        name=f"{folder.name} \N{BLACK RIGHT-POINTING SMALL TRIANGLE} {account['method']}",
        scale=scale,
        units=(unit,) * len(shape),
        axis_labels=tuple(axis["name"] for axis in axes),
        translate=[-(n - 1) / 2 * s for n, s in zip(shape, scale, strict=True)]
        if geometry
        else [0.0] * len(shape),
        contrast_limits=contrast(np.asarray(levels[-1])),
        metadata={KEY: account},
    )


def _takes(session: Session) -> str:
    from imagereg.execution.local import estimate

    if session.path is None:
        shape = session.measurement.data.shape if session.measurement is not None else ()
        return f"data of {' x '.join(map(str, shape))}; the layer is written beside the results first"
    _, plan = estimate(session.recipe())
    return str(plan)


def _free(folder: Path) -> Path:
    number, free = 2, folder
    while free.exists():
        free = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return free
