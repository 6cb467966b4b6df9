"""DICOM: slices of computed tomography, one file or a folder of a series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError, UsageError
from imagereg.io.base import Reader, starts_with
from imagereg.io.budget import afford, sensible
from imagereg.io.complaints import reading
from imagereg.io.file_contents import IMAGE_HINTS, Found, image
from imagereg.io.lazy import Box, LazyArray
from imagereg.io.tiff_folder import natural
from imagereg.measurement import Measurement, Source

_SUFFIXES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True, eq=False, repr=False)
class DicomSlices(LazyArray):
    """Slices of a series, one file each (or all frames of one file), rescaled to their unit.

    value = stored value * slope + intercept, and with `mu_water` the attenuation (1 + value/1000) mu_water.
    """

    path: Path
    files: tuple[Path, ...]
    shape: tuple[int, ...]
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    mu_water: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(np.float32))

    def _fetch(self, box: Box) -> NDArray[Any]:
        import pydicom

        if len(self.files) == 1 and self.shape[0] > 1:
            return self._rescale(np.asarray(pydicom.dcmread(self.files[0]).pixel_array)[box], 0)
        slices = []
        for number in range(self.shape[0])[box[0]]:
            with reading(self.files[number], "DICOM"):
                slices.append(self._rescale(pydicom.dcmread(self.files[number]).pixel_array[box[1:]], number))
        return np.asarray(slices, dtype=np.float32)

    def _rescale(self, stored: NDArray[Any], number: int) -> NDArray[Any]:
        values = stored.astype(np.float32) * self.slopes[number] + self.intercepts[number]
        if self.mu_water is not None:
            values = (1 + values / 1000) * self.mu_water
        return values.astype(np.float32)


class Dicom(Reader):
    """DICOM slices in Hounsfield units, or attenuation per mm with the hint `mu_water`."""

    name: ClassVar[str] = "dicom"
    title: ClassVar[str] = "DICOM"
    suffixes: ClassVar[tuple[str, ...]] = _SUFFIXES
    priority: ClassVar[int] = 65
    hints: ClassVar[frozenset[str]] = IMAGE_HINTS | {"entry", "mu_water"}

    def sniff(self, path: Path) -> bool:
        """True for a file with DICOM's mark, or a folder whose first files have it."""
        if path.is_dir():
            files = [p for p in natural(path.iterdir()) if p.is_file() and not p.name.startswith(".")]
            return any(_is_dicom(file) for file in files[:20])
        return _is_dicom(path)

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The series in a folder (the longest, or the one whose UID `entry` gives), or a file's slices."""
        files = [path]
        if path.is_dir():
            files = [p for p in natural(path.iterdir()) if p.is_file() and _is_dicom(p)]
        found = Found(Source(path, self.name), None)
        headers = _series([_header(file) for file in files], path, hints.get("entry"), found.notes)
        headers, gaps = _in_order(headers, found.notes)
        first = headers[0][1]
        sizes = {(int(h.Rows), int(h.Columns)) for _, h in headers}
        if len(sizes) > 1:
            raise InputError(f"{path}: slices of one series are of different sizes {sorted(sizes)}.")
        if int(getattr(first, "SamplesPerPixel", 1)) != 1:
            raise InputError(f"{path}: colour DICOM images are no measurement; save them as grey values.")
        rows, columns = sizes.pop()
        frames = int(getattr(first, "NumberOfFrames", 1) or 1) if len(headers) == 1 else len(headers)
        pixel = np.dtype(f"u{max(int(getattr(first, 'BitsAllocated', 16)) // 8, 1)}")
        sensible(path, "the series", (frames, rows, columns), pixel)
        if len(headers) == 1:
            decoded = frames * rows * columns * pixel.itemsize
            afford(path, "the pixels", decoded, headers[0][0].stat().st_size)
        data: Any = DicomSlices(
            path,
            tuple(file for file, _ in headers),
            (frames, rows, columns),
            tuple(_value(h, "RescaleSlope", 1.0) for _, h in headers),
            tuple(_value(h, "RescaleIntercept", 0.0) for _, h in headers),
            _mu_water(hints),
        )
        if frames == 1:
            data = data[0]
        found.data, found.axes = data, tuple("ZYX"[-data.ndim :])
        _lengths(found, first, gaps)
        hounsfield = getattr(first, "Modality", "") == "CT" and "RescaleSlope" in first
        if "mu_water" in hints:
            found.notes.append(
                f"Hounsfield units were turned into attenuation with {_mu_water(hints):g}/mm for water."
            )
        elif hounsfield:
            found.notes.append("values are in Hounsfield units; give mu_water=0.0193 for attenuation per mm.")
        return image(found, hints)


def _is_dicom(path: Path) -> bool:
    return starts_with(path, b"DICM", at=128)


def _header(file: Path) -> tuple[Path, Any]:
    import pydicom

    with reading(file, "DICOM"):
        header = pydicom.dcmread(file, stop_before_pixels=True)
    return file, header


def _series(headers: list[Any], path: Path, entry: Any, notes: list[str]) -> list[Any]:
    """The files of one series that have pixels."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for file, header in headers:
        if "Rows" in header and "Columns" in header:
            groups[str(getattr(header, "SeriesInstanceUID", ""))].append((file, header))
    if not groups:
        raise InputError(f"{path}: there is no DICOM image in it.")
    if entry is not None and str(entry) not in groups:
        raise UsageError(f"{path}: there is no series {entry!r}; there are {', '.join(groups)}.")
    uid = str(entry) if entry is not None else max(groups, key=lambda key: len(groups[key]))
    if len(groups) > 1 and entry is None:
        counts = ", ".join(f"{key} ({len(group)} slices)" for key, group in groups.items())
        notes.append(
            f"the folder has several series, {counts}; the longest was taken (the hint entry chooses)."
        )
    return groups[uid]


def _in_order(headers: list[Any], notes: list[str]) -> tuple[list[Any], NDArray[np.float64]]:
    """Slices along the normal of their plane, and the distances between neighbours in mm."""
    if len(headers) == 1:
        return headers, np.zeros(0)
    positions = []
    for _, header in headers:
        position = getattr(header, "ImagePositionPatient", None)
        if position is None:
            notes.append("slices have no position: they keep the order of their file names.")
            return headers, np.zeros(0)
        directions = getattr(header, "ImageOrientationPatient", None) or (1, 0, 0, 0, 1, 0)
        along = np.array(directions, float)
        positions.append(float(np.cross(along[:3], along[3:]) @ np.array(position, float)))
    order = np.argsort(positions, kind="stable")
    gaps = np.diff(np.array(positions)[order])
    return [headers[place] for place in order], gaps


def _lengths(found: Found, first: Any, gaps: NDArray[np.float64]) -> None:
    spacing = getattr(first, "PixelSpacing", None) or getattr(first, "ImagerPixelSpacing", None)
    if spacing is None:
        return
    voxel = {"Y": float(spacing[0]), "X": float(spacing[1])}
    between = float(np.median(gaps)) if gaps.size else 0.0
    if between > 0:
        voxel["Z"] = between
        if np.ptp(gaps) > 0.01 * between:
            found.notes.append(
                f"slices are {gaps.min():.4g} to {gaps.max():.4g} mm apart; {between:.4g} mm is assumed for "
                "all of them."
            )
    else:
        thick = _value(first, "SpacingBetweenSlices", 0.0) or _value(first, "SliceThickness", 0.0)
        if thick > 0:
            voxel["Z"] = thick
    found.voxel = voxel


def _value(header: Any, name: str, default: float) -> float:
    value = getattr(header, name, None)
    return default if value is None or value == "" else float(value)


def _mu_water(hints: Mapping[str, Any]) -> float | None:
    if "mu_water" not in hints:
        return None
    try:
        value = float(hints["mu_water"])
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < 10:
        raise UsageError(f"mu_water={hints['mu_water']!r}: give water's attenuation per mm, about 0.0193.")
    return value
