"""The NeXus files of CIL's NEXUSDataWriter: scans with their whole geometry, and images.

Jorgensen et al., Core Imaging Library - Part I, Phil. Trans. A 379 (2021), doi:10.1098/rsta.2020.0192.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError
from imagereg.io.array_names import guess_quantity
from imagereg.io.base import Reader
from imagereg.io.file_contents import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.hdf5 import is_hdf5, lazy, opened, text_of
from imagereg.io.lazy import Box, LazyArray, fix, pick
from imagereg.measurement import Measurement, Source

_ENTRY = "entry1/tomo_entry"
_DATA = f"{_ENTRY}/data/data"
_ROLES = {"angle": "views", "vertical": "rows", "horizontal": "columns"}
_LETTERS = {"vertical": "Z", "horizontal_y": "Y", "horizontal_x": "X"}


@dataclass(frozen=True, eq=False, repr=False)
class Unscaled(LazyArray):
    """Values that were stored as whole numbers: (stored - offset) / scale."""

    base: LazyArray
    scale: float
    offset: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.base.path)
        object.__setattr__(self, "shape", self.base.shape)
        object.__setattr__(self, "dtype", np.dtype(np.float32))

    def _fetch(self, box: Box) -> NDArray[Any]:
        return ((self.base[box] - np.float64(self.offset)) / self.scale).astype(np.float32)


class Cil(Reader):
    """CIL's NeXus: parallel, fan and cone beams with source, detector and axis as CIL places them."""

    name: ClassVar[str] = "cil"
    title: ClassVar[str] = "CIL NeXus"
    suffixes: ClassVar[tuple[str, ...]] = (".nxs", ".nex")
    priority: ClassVar[int] = 88
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | IMAGE_HINTS

    def sniff(self, path: Path) -> bool:
        """True for an HDF5 file whose data say what CIL calls them."""
        if not is_hdf5(path):
            return False
        try:
            with opened(path) as file:
                return _DATA in file and bool({"data_type", "geom_type"} & set(file[_DATA].attrs))
        except InputError:
            return False

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The scan, or the image, with its lengths in mm (CIL keeps no unit)."""
        with opened(path) as file:
            data = file[_DATA]
            values: Any = lazy(data)
            if "scale" in data.attrs:
                values = Unscaled(values, float(data.attrs["scale"]), float(data.attrs.get("offset", 0.0)))
            found = Found(Source(path, self.name, _DATA), values)
            found.notes.append(
                "CIL keeps no unit of length: mm are taken; give the hint pixel if they are not."
            )
            labels = [text_of(data.attrs.get(f"dim{axis}")) for axis in range(data.ndim)]
            if "channel" in labels:
                axis = labels.index("channel")
                if data.shape[axis] != 1:
                    raise InputError(f"{path}: has {data.shape[axis]} channels; save one channel to a file.")
                found.data = fix(found.data, axis)
                labels.pop(axis)
            if text_of(data.attrs.get("data_type")) == "ImageData":
                found.axes = _named(path, labels, _LETTERS)
                sizes = {letter: float(data.attrs[f"voxel_size_{letter.lower()}"]) for letter in found.axes}
                found.voxel = sizes
                return image(found, hints)
            found.axes = _named(path, labels, _ROLES)
            _geometry(found, file[_ENTRY], data.attrs)
            _roles(found, file.get(f"{_ENTRY}/data/image_key"))
        found.quantity = "counts" if found.flats is not None else guess_quantity("projections", found)
        return scan(found, hints)


def _named(path: Path, labels: list[str], names: Mapping[str, str]) -> tuple[str, ...]:
    unknown = [label for label in labels if label not in names]
    if unknown:
        raise InputError(
            f"{path}: the axis {unknown[0]!r} is none of {', '.join(names)}; save it with CIL again."
        )
    return tuple(names[label] for label in labels)


def _roles(found: Found, keys: Any) -> None:
    """Flats (1) and darks (2) among the frames, where CIL's file has image keys."""
    if keys is None:
        return
    marks = np.asarray(keys[()]).ravel()
    if found.axes[0] != "views" or marks.size != found.data.shape[0]:
        raise InputError(f"{found.path}: {marks.size} image keys do not fit frames of {found.data.shape}.")
    frames, angles = found.data, np.asarray(found.angles)
    found.data = pick(frames, np.flatnonzero(marks == 0))
    found.angles = angles[marks == 0] if angles.size == marks.size else angles
    for name, key in (("flats", 1), ("darks", 2)):
        if (marks == key).any():
            setattr(found, name, pick(frames, np.flatnonzero(marks == key)))


def _geometry(found: Found, entry: Any, attributes: Mapping[str, Any]) -> None:
    """Source, detector, axis and angles; CIL turns the object, so its angles run against ours.

    Vectors of CIL in view theta are R(-theta - initial) times those of the file, and ours R(a) times columns
    along x and a beam along y: with columns at the angle phi in the file, a = phi - theta - initial.
    """
    old = "geom_type" in attributes
    angles = entry["data/rotation_angle" if old else "config/angles"]
    degrees = text_of(angles.attrs.get("angle_unit", "degree")) != "radian"
    found.angle_unit = "degrees" if degrees else "radians"
    theta = np.asarray(angles[()], float).ravel() + float(angles.attrs.get("initial_angle", 0.0))
    found.pixel = float(attributes["pixel_size_h"])
    found.row_pixel = float(attributes.get("pixel_size_v", found.pixel)) or None
    if old:
        found.angles = -theta
        if "dist_source_center" in attributes:
            found.source_origin = float(attributes["dist_source_center"])
            found.source_detector = found.source_origin + float(attributes["dist_center_detector"])
            found.beam = "cone" if "rows" in found.axes else "fan"
        return
    along = _vector(entry, "config/detector/direction_x", "config/detector/direction_row")
    up = _vector(entry, "config/detector/direction_y", "config/detector/direction_col", default=(0, 0, 1))
    axis = _vector(entry, "config/rotation_axis/direction", default=(0, 0, 1))
    middle = _vector(entry, "config/rotation_axis/position")
    if abs(along[2]) > 1e-6 or not np.allclose(up, (0, 0, 1)) or not np.allclose(axis, (0, 0, 1)):
        raise InputError(
            f"{found.path}: its detector or its rotation axis is tilted (columns {along}, rows {up}, axis "
            f"{axis}), which is not read; align the scan in CIL first."
        )
    phi = float(np.arctan2(along[1], along[0]))
    found.angles = (np.rad2deg(phi) if degrees else phi) - theta
    beam = np.array([-along[1], along[0], 0.0])
    detector = _vector(entry, "config/detector/position") - middle
    columns = found.data.shape[found.axes.index("columns")]
    across = -float(detector @ along)
    if "source" in entry["config"] and "position" in entry["config/source"]:
        source = _vector(entry, "config/source/position") - middle
        found.source_origin = -float(source @ beam)
        found.source_detector = float((detector - source) @ beam)
        if not 0 < found.source_origin <= found.source_detector:
            raise InputError(
                f"{found.path}: the source is not opposite the detector; align the scan in CIL first."
            )
        found.beam = "cone" if "rows" in found.axes else "fan"
        found.detector_offset = (float((detector - source) @ along), float(detector[2] - source[2]))
        aside = float(source @ along)
        across = aside * (1 - found.source_detector / found.source_origin) - float(detector @ along)
    else:
        ray = _vector(entry, "config/ray/direction")
        if abs(float(ray @ beam)) < (1 - 1e-6) * float(np.linalg.norm(ray)):
            raise InputError(
                f"{found.path}: the rays do not meet the detector at right angles, which is not read."
            )
    found.centre = (columns - 1) / 2 + across / found.pixel
    origin = text_of(attributes.get("panel_origin", "bottom-left"))
    for word, role in (("right", "columns"), ("top", "rows")):
        if word in origin and role in found.axes:
            place = found.axes.index(role)
            turned = (*(slice(None),) * place, slice(None, None, -1))
            found.data = found.data.window(*turned)
            found.notes.append(f"the {role} are stored from the {word}: their order was turned round.")


def _vector(entry: Any, *places: str, default: tuple[float, ...] | None = None) -> NDArray[np.float64]:
    """A vector of two or three numbers as (x, y, z)."""
    values = next((np.asarray(entry[place][()], float) for place in places if place in entry), None)
    if values is None:
        if default is None:
            raise InputError(f"{entry.file.filename}: there is no {places[0]} in it; it is incomplete.")
        values = np.asarray(default, float)
    return np.pad(values.ravel(), (0, 3 - values.size))
