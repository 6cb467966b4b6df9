"""NXtomo: the NeXus application definition of raw tomography data (https://manual.nexusformat.org)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError, UsageError
from imagereg.io.base import Reader
from imagereg.io.file_contents import SCAN_HINTS, Found, scan
from imagereg.io.hdf5 import is_hdf5, lazy, length, number, opened, pixel, text_of, units
from imagereg.io.hdf5_storage import reachable, subgroups
from imagereg.io.lazy import pick
from imagereg.measurement import Measurement, Source

_DETECTOR = "instrument/detector"
_KEYS = (f"{_DETECTOR}/image_key_control", f"{_DETECTOR}/image_key")
_ANGLES = ("sample/rotation_angle", "data/rotation_angle", "sample/transformations/rotation_angle")


class NXtomo(Reader):
    """NXtomo: frames with an image key (0 projection, 1 flat, 2 dark, 3 invalid) and rotation angles."""

    name: ClassVar[str] = "nxtomo"
    title: ClassVar[str] = "NeXus NXtomo"
    suffixes: ClassVar[tuple[str, ...]] = (".nxs", ".nx", ".h5", ".hdf5")
    priority: ClassVar[int] = 85
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | {"entry"}

    def sniff(self, path: Path) -> bool:
        """True for an HDF5 file with an NXtomo entry."""
        if not is_hdf5(path):
            return False
        try:
            with opened(path) as file:
                return bool(entries(file))
        except InputError:
            return False

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The scan in the only NXtomo entry, or in the one that `entry` names."""
        with opened(path) as file:
            known = entries(file)
            entry = str(hints["entry"]).strip("/") if "entry" in hints else (known or [""])[0]
            if entry not in known:
                raise UsageError(f"{path}: there is no NXtomo entry {entry!r}; there are {', '.join(known)}.")
            reachable(file, frozenset({"data"}))
            found = self._find(path, file[entry], entry)
            if len(known) > 1 and "entry" not in hints:
                found.notes.append(
                    f"the file has {', '.join(known)}; {entry} was taken (the hint entry chooses)."
                )
        return scan(found, hints)

    def _find(self, path: Path, entry: Any, name: str) -> Found:
        data = entry[f"{_DETECTOR}/data"]
        if data.ndim != 3:
            raise InputError(f"{path}: {data.name} of shape {data.shape} is no stack of frames.")
        frames = lazy(data)
        found = Found(Source(path, self.name, data.name.lstrip("/")), frames, quantity="counts")
        keys = _image_keys(path, entry, data.shape[0], found.notes)
        projections = np.flatnonzero(keys == 0)
        if projections.size == 0:
            raise InputError(f"{path}: no frame of {name} has the image key 0, so there is no projection.")
        found.data = pick(frames, projections)
        for role, key in (("flats", 1), ("darks", 2)):
            chosen = np.flatnonzero(keys == key)
            if chosen.size:
                setattr(found, role, pick(frames, chosen))
        flats = np.flatnonzero(keys == 1)
        if flats.size and flats.min() < projections.max() and flats.max() > projections.min():
            # Frames are stored as they were taken: their numbers are the times.
            found.flat_times, found.view_times = tuple(map(float, flats)), tuple(map(float, projections))
        left = int(((keys < 0) | (keys > 2)).sum())
        if left:
            found.notes.append(f"{left} frames marked as invalid or for alignment were left out.")
        self._angles(path, entry, keys, projections, found)
        self._lengths(entry, found)
        return found

    def _angles(
        self, path: Path, entry: Any, keys: NDArray[Any], projections: NDArray[np.intp], found: Found
    ) -> None:
        dataset = next((entry[place] for place in _ANGLES if place in entry), None)
        if dataset is None:
            return
        angles = np.asarray(dataset[()], dtype=np.float64).ravel()
        if angles.size == keys.size:
            angles = angles[projections]
        elif angles.size != projections.size:
            raise InputError(
                f"{path}: {angles.size} rotation angles for {keys.size} frames ({projections.size} of them "
                "projections); give the hint angles."
            )
        found.angles, found.angle_unit = angles, units(dataset) or None

    def _lengths(self, entry: Any, found: Found) -> None:
        for axis, role in (("x", "pixel"), ("y", "row_pixel")):
            size, said = pixel(
                entry,
                f"sample/{axis}_pixel_size",
                f"{_DETECTOR}/{axis}_magnified_pixel_size",
                f"{_DETECTOR}/{axis}_pixel_size",
            )
            setattr(found, role, size)
            found.notes.extend(said)
        distance = length(entry, f"{_DETECTOR}/distance", "sample/propagation_distance")
        source = length(entry, "instrument/source/distance")
        if distance is not None:
            found.notes.append(
                f"the detector was {distance:.6g} mm behind the sample; give geometry='cone' where the beam "
                "diverges."
            )
        if distance is not None and source is not None:
            found.source_origin, found.source_detector = source, source + distance
        for place in ("instrument/beam/incident_energy", "beam/incident_energy", "instrument/source/energy"):
            energy = number(entry, place)
            if energy is not None:
                found.notes.append(f"energy {energy[0]:.6g} {energy[1] or 'keV'} in the file.")
                break
        column = number(entry, f"{_DETECTOR}/x_rotation_axis_pixel_position")
        if column is not None and column[0] != 0:
            middle = (found.data.shape[2] - 1) / 2
            found.centre = middle + column[0]
            found.notes.append(
                f"the file puts the rotation axis {column[0]:.6g} pixels from the middle column."
            )
        for axis in ("x", "y"):
            flipped = entry.get(f"{_DETECTOR}/{axis}_flipped")
            if flipped is not None and bool(np.asarray(flipped[()]).ravel()[0]):
                found.notes.append(
                    f"the file marks its frames as flipped along {axis}; they are used as stored."
                )


def entries(file: Any) -> list[str]:
    """Places of the NXtomo entries of an open file: by definition, or by their image keys."""
    found = []
    for name, node in subgroups(file):
        for place, group in [(name, node), *((f"{name}/{sub}", child) for sub, child in subgroups(node))]:
            if f"{_DETECTOR}/data" not in group:
                continue
            defined = text_of(group.get("definition")) == "NXtomo"
            if defined or any(key in group for key in _KEYS):
                found.append(place)
    return found


def _image_keys(path: Path, entry: Any, frames: int, notes: list[str]) -> NDArray[Any]:
    place = next((key for key in _KEYS if key in entry), None)
    if place is None:
        notes.append("the file has no image key: every frame is taken as a projection.")
        return np.zeros(frames, int)
    keys = np.asarray(entry[place][()]).ravel().astype(int)
    if keys.size != frames:
        raise InputError(f"{path}: {keys.size} image keys for {frames} frames; the file is incomplete.")
    return keys
