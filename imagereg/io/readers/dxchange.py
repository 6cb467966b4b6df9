"""Data Exchange: the HDF5 layout of the Advanced Photon Source and others.

De Carlo et al., Scientific data exchange: a schema for HDF5-based storage of raw and analyzed data,
J. Synchrotron Rad. 21 (2014), doi:10.1107/S160057751401604X.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from imagereg.errors import InputError, UsageError
from imagereg.io import axes as order
from imagereg.io.base import Reader
from imagereg.io.file_contents import SCAN_HINTS, Found, scan
from imagereg.io.hdf5 import contains, lazy, number, opened, pixel, text_of, units
from imagereg.io.hdf5_storage import reachable
from imagereg.measurement import Measurement, Source

_INSTRUMENT = "measurement/instrument"
_OBJECTIVE = f"{_INSTRUMENT}/detection_system/objective"
_DETECTOR = f"{_INSTRUMENT}/detector"


class DataExchange(Reader):
    """Data Exchange HDF5: `exchange/data`, `data_white`, `data_dark`, `theta`."""

    name: ClassVar[str] = "dxchange"
    title: ClassVar[str] = "Data Exchange HDF5"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".hdf")
    priority: ClassVar[int] = 90
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | {"entry"}

    def sniff(self, path: Path) -> bool:
        """True for an HDF5 file that has `exchange/data`."""
        return contains(path, "exchange/data")

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The scan in the group `exchange`, or in the one that `entry` names."""
        with opened(path) as file:
            entry = str(hints.get("entry", "exchange")).strip("/")
            groups = [name for name in file if name.startswith("exchange") and "data" in file[name]]
            if entry not in groups:
                raise UsageError(
                    f"{path}: there is no entry {entry!r} with data; there are {', '.join(groups)}."
                )
            reachable(file, frozenset({"data", "data_white", "data_dark"}))
            found = self._find(path, file, file[entry], entry)
            if len(groups) > 1:
                found.notes.append(
                    f"the file has {', '.join(groups)}; {entry} was taken (the hint entry chooses)."
                )
        return scan(found, hints)

    def _find(self, path: Path, file: Any, group: Any, entry: str) -> Found:
        data = group["data"]
        if data.ndim not in (2, 3):
            raise InputError(f"{path}: {entry}/data of shape {data.shape} is no stack of projections.")
        found = Found(Source(path, self.name, f"{entry}/data"), lazy(data))
        axes = text_of(data.attrs.get("axes"))
        if axes:
            try:
                found.axes = order.parse(axes)
            except UsageError:
                found.notes.append(f"the attribute axes={axes!r} is not understood; theta:y:x is assumed.")
        for name, place in (("flats", "data_white"), ("darks", "data_dark")):
            frames = group.get(place)
            if frames is not None and frames.ndim and frames.size:
                setattr(found, name, lazy(frames))
        theta = group.get("theta")
        if theta is not None and theta.size:
            found.angles, found.angle_unit = np.asarray(theta[()]), units(theta) or None
        found.quantity = "counts"
        found.pixel, said = _pixel(file)
        found.notes.extend(said)
        energy = number(file, f"{_INSTRUMENT}/monochromator/energy")
        if energy is not None:
            found.notes.append(f"energy {energy[0]:.6g} {energy[1] or 'keV'} in the file.")
        return found


def _pixel(file: Any) -> tuple[float | None, list[str]]:
    """Size of a pixel in the sample's plane in mm: measured, or the detector's over the magnification."""
    size, said = pixel(file, f"{_OBJECTIVE}/resolution", f"{_DETECTOR}/actual_pixel_size_x")
    if size is not None:
        return size, said
    # The schema's own unit is the metre, but the APS writes micrometres and leaves the unit out.
    size, more = pixel(file, f"{_DETECTOR}/pixel_size_x", f"{_DETECTOR}/pixel_size")
    said = [*said, *more]
    binning = number(file, f"{_DETECTOR}/binning_x")
    if size is not None and binning is not None and binning[0] > 1:
        size *= binning[0]
        said.append(f"the detector was binned {binning[0]:.0f} times: the pixel is that much larger.")
    magnification = number(file, f"{_OBJECTIVE}/magnification")
    if size is not None and magnification is not None and magnification[0] > 0:
        size /= magnification[0]
        said.append(
            f"the pixel size is the detector's over the objective's magnification {magnification[0]:g}."
        )
    return size, said
