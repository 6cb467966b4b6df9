"""NumPy's own files: .npy (one array) and .npz (named arrays)."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from imagereg.errors import InputError, UsageError
from imagereg.io import array_names, budget
from imagereg.io.angles import angles_beside
from imagereg.io.base import Reader, starts_with
from imagereg.io.file_contents import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.lazy import RawArray
from imagereg.measurement import Measurement, Source


class Npz(Reader):
    """.npy and .npz; names of arrays (projections, sinogram, tilt_series, angles_deg, ...) are understood.

    Arrays of .npy files and of uncompressed .npz files stay in their file; compressed ones are read at once.
    """

    name: ClassVar[str] = "npz"
    title: ClassVar[str] = "NumPy"
    suffixes: ClassVar[tuple[str, ...]] = (".npy", ".npz")
    priority: ClassVar[int] = 55
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | IMAGE_HINTS | {"dataset"}

    def sniff(self, path: Path) -> bool:
        """True for NumPy's mark, or a zip archive called .npz."""
        if not path.is_file():
            return False
        return starts_with(path, b"\x93NUMPY") or (path.suffix == ".npz" and starts_with(path, b"PK"))

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The scan or image that the names of arrays tell of; `dataset` picks an array."""
        source = Source(path, self.name)
        if starts_with(path, b"PK"):
            arrays = _members(path)
            hints = array_names.with_arrays(arrays, source, hints)
            found = array_names.find(arrays, source, hints.get("dataset"))
        else:
            if "dataset" in hints:
                raise UsageError(f"{path}: an .npy file holds one array, so dataset=... says nothing.")
            found = self._single(path, source, hints)
        is_scan = bool(found.axes) or {"angles", "geometry"} & set(hints)
        return scan(found, hints) if is_scan else image(found, hints)

    def _single(self, path: Path, source: Source, hints: Mapping[str, Any]) -> Found:
        with path.open("rb") as stream:
            data = _array(path, stream, 0)
        if data.ndim >= 2:
            budget.sensible(path, "the array", data.shape, data.dtype)
        if data.ndim < 2 or data.dtype.kind not in "iufb":
            raise InputError(
                f"{path}: an array of {data.dtype} and shape {data.shape} is no image and no scan."
            )
        found = Found(source, data)
        if "angles" not in hints:
            found.angles, found.angle_unit, said = angles_beside(path, data.shape[0])
            found.notes.extend([said] if said else [])
        if (found.angles is not None or {"angles", "geometry"} & set(hints)) and data.ndim in (2, 3):
            found.axes = ("views", "rows", "columns") if data.ndim == 3 else ("views", "columns")
            found.quantity = array_names.guess_quantity("projections", found)
        return found


def _members(path: Path) -> dict[str, Any]:
    """Every member of an .npz by name, mapped where it is stored as it is."""
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.compress_type == zipfile.ZIP_STORED and member.file_size > 1 << 20:
                arrays[name] = _array(path, stream, _start(stream, member))
                continue
            budget.afford(path, name, member.file_size, member.compress_size)
            with archive.open(member) as content:
                try:
                    _header(path, content, name, member.file_size)
                    content.seek(0)
                    arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
                except ValueError as error:
                    if "allow_pickle" not in str(error) and "Object" not in str(error):
                        raise
    return arrays


def _start(stream: Any, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its local header, whose lengths are not the directory's."""
    stream.seek(member.header_offset + 26)
    name, extra = (int.from_bytes(stream.read(2), "little") for _ in range(2))
    return member.header_offset + 30 + name + extra


def _header(path: Path, stream: Any, name: str, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array from NumPy's header, refused where it claims over `size` bytes."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size:
        raise InputError(
            f"{path}: the header of {name} promises {dtype} of shape {tuple(shape)}, which {size} bytes "
            "are not; copy the file again."
        )
    return tuple(shape), fortran, dtype


def _array(path: Path, stream: Any, start: int) -> RawArray:
    """The array whose NumPy header begins at `start`."""
    stream.seek(start)
    shape, fortran, dtype = _header(path, stream, "the array", path.stat().st_size)
    if dtype.hasobject:
        raise InputError(f"{path}: holds Python objects, which are not read for safety; save plain numbers.")
    return RawArray(path, shape, dtype, stream.tell(), "F" if fortran else "C")
