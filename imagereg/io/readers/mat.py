"""MATLAB files, version 5 and 7.3: scans in structs as Helsinki's laboratory writes them, or named arrays."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from imagereg.errors import InputError, UsageError
from imagereg.io import array_names, budget
from imagereg.io.base import Reader, starts_with
from imagereg.io.file_contents import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.hdf5 import SIGNATURE, lazy, opened
from imagereg.io.lengths import in_mm
from imagereg.measurement import Measurement, Source


@dataclass(frozen=True)
class Adapter:
    """Where a family of structs keeps what a scan needs, as dotted places, first come first served.

    `effective` says that a pixel size is that of the sample's plane and must be magnified.
    """

    data: tuple[str, ...]
    angles: tuple[str, ...]
    source_origin: tuple[str, ...] = ()
    source_detector: tuple[str, ...] = ()
    pixel: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()


ADAPTERS = (
    # Helsinki Tomography Challenge 2022 and the open data sets of the Finnish Inverse Problems Society.
    Adapter(
        data=("sinogram", "projections"),
        angles=("parameters.angles", "angles"),
        source_origin=("parameters.distanceSourceOrigin",),
        source_detector=("parameters.distanceSourceDetector",),
        pixel=("parameters.pixelSizePost", "parameters.pixelSize"),
        effective=("parameters.effectivePixelSizePost", "parameters.effectivePixelSize"),
        unit=("parameters.distanceUnit",),
    ),
    # Flat structs with the names of geometry in the manner of TIGRE: DSO, DSD, dDetector.
    Adapter(
        data=("projections", "sinogram", "proj"),
        angles=("angles", "geo.angles"),
        source_origin=("geo.DSO", "DSO"),
        source_detector=("geo.DSD", "DSD"),
        pixel=("geo.dDetector", "dDetector"),
    ),
)

_DEPTH = 32


class Mat(Reader):
    """MATLAB .mat files: fan-beam structs of Helsinki's laboratory, otherwise arrays by name."""

    name: ClassVar[str] = "mat"
    title: ClassVar[str] = "MATLAB"
    suffixes: ClassVar[tuple[str, ...]] = (".mat",)
    priority: ClassVar[int] = 80
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | IMAGE_HINTS | {"entry", "dataset"}

    def sniff(self, path: Path) -> bool:
        """True for a file with MATLAB's header."""
        return path.is_file() and (
            starts_with(path, b"MATLAB ") or (path.suffix == ".mat" and starts_with(path, SIGNATURE))
        )

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The scan in the struct that `entry` names (the fullest where not given), or the array `dataset`."""
        source = Source(path, self.name)
        variables = load_mat(path)
        structs = {name: v for name, v in variables.items() if isinstance(v, dict) and _adapter(v)}
        dataset, entry = hints.get("dataset"), hints.get("entry")
        if entry is not None and entry not in structs:
            there = f"there are {', '.join(structs)}" if structs else "there is none"
            raise UsageError(f"{path}: there is no struct {entry!r} with a scan; {there}.")
        if structs and dataset is None:
            name = entry or max(structs, key=lambda key: _views(structs[key]))
            found = _scan_of(structs[name], name, source)
            if len(structs) > 1 and entry is None:
                found.notes.append(
                    f"the file has {', '.join(structs)}; {name} was taken (the hint entry chooses)."
                )
            return scan(found, hints)
        arrays = {name: value for name, value in variables.items() if not isinstance(value, dict)}
        hints = array_names.with_arrays(arrays, source, hints)
        found = array_names.find(arrays, source, dataset)
        if found.axes or {"angles", "geometry"} & set(hints):
            return scan(found, hints)
        if len(found.data.shape) == 3 and "axes" not in hints:
            found.notes.append("the first axis is taken as slices; give axes='YXZ' where the last one is.")
        return image(found, hints)


def load_mat(path: Path) -> dict[str, Any]:
    """The variables of a file: arrays, texts, and structs as dictionaries; large arrays of 7.3 stay lazy.

    Raises
    ------
    InputError
        When the file is damaged or holds no variables.
    """
    if starts_with(path, SIGNATURE) or starts_with(path, SIGNATURE, at=512):
        with opened(path) as file:
            known: dict[Any, Any] = {}
            variables = {
                name: _hdf5(file, node, known) for name, node in file.items() if not name.startswith("#")
            }
    else:
        from scipy.io import loadmat

        _affordable(path)
        loaded = loadmat(path, squeeze_me=False, struct_as_record=False)
        variables = {name: _struct(value) for name, value in loaded.items() if not name.startswith("__")}
    if not variables:
        raise InputError(f"{path}: there are no variables in it; it may be cut short.")
    return variables


def _struct(value: Any) -> Any:
    """Structs as dictionaries, texts as str, one-element arrays as they are."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return _struct(value.flat[0]) if value.size == 1 else None
    if hasattr(value, "_fieldnames"):
        return {name: _struct(getattr(value, name)) for name in value._fieldnames}
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        return str(value.flat[0]) if value.size else ""
    if hasattr(value, "toarray"):  # sparse matrices are system matrices, never data
        return None
    return value


def _affordable(path: Path) -> None:
    """Refuse a file of version 5 whose variables inflate to more memory than they can be good for.

    An element is a tag (type, bytes) and its bytes; type 15 is a compressed element, which begins with
    the tag of the element inside. MathWorks, MAT-File Format (R2024a), pages 1-5 to 1-9.
    """
    size, total = path.stat().st_size, 0
    with path.open("rb") as stream:
        order = ">" if starts_with(path, b"MI", at=126) else "<"
        stream.seek(128)
        while len(tag := stream.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            following = stream.tell() + length
            if kind == 15:
                inner = zlib.decompressobj().decompress(stream.read(min(length, 512)), 8)
                total += struct.unpack(f"{order}II", inner)[1] if len(inner) == 8 else 0
            if following > size:
                break
            stream.seek(following)
    budget.afford(path, "the file", total, size)


def _hdf5(file: Any, node: Any, known: dict[Any, Any], depth: int = 0) -> Any:
    """The same for MATLAB's HDF5, whose arrays have their axes the other way round.

    `known` holds what was met by its address: links that cross or go round are followed once.
    """
    if hasattr(node, "items"):
        if node.id not in known and depth < _DEPTH:
            fields = known[node.id] = {}
            fields.update((name, _hdf5(file, child, known, depth + 1)) for name, child in node.items())
        return known.get(node.id)
    kind = node.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if kind == "char":
        return (
            "".join(chr(code) for code in np.asarray(node[()]).T.ravel())
            if "MATLAB_empty" not in node.attrs
            else ""
        )
    if node.dtype.kind == "O":
        return (
            _hdf5(file, file[node[()].flat[0]], known, depth + 1)
            if node.size == 1 and depth < _DEPTH
            else None
        )
    if node.attrs.get("MATLAB_empty", 0):
        return np.zeros((0, 0))
    return lazy(node, reverse=True) if node.size > 1 << 16 else np.asarray(node[()]).T


def _at(struct: Mapping[str, Any], places: tuple[str, ...]) -> Any:
    for place in places:
        value: Any = struct
        for step in place.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None and (not hasattr(value, "size") or value.size):
            return value
    return None


def _number(struct: Mapping[str, Any], places: tuple[str, ...]) -> float | None:
    value = _at(struct, places)
    try:
        return None if value is None else float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError):
        return None


def _adapter(struct: Mapping[str, Any]) -> Adapter | None:
    """The adapter whose data and angles are in the struct."""
    for adapter in ADAPTERS:
        data, angles = _at(struct, adapter.data), _at(struct, adapter.angles)
        if len(getattr(data, "shape", ())) in (2, 3) and getattr(angles, "size", 0) > 1:
            return adapter
    return None


def _views(struct: Mapping[str, Any]) -> int:
    adapter = _adapter(struct)
    assert adapter is not None
    return int(_at(struct, adapter.angles).size)


def _scan_of(struct: Mapping[str, Any], name: str, source: Source) -> Found:
    """A scan by its adapter. The laboratory corrects the centre of rotation, so the axis is in the middle."""
    adapter = _adapter(struct)
    assert adapter is not None
    place = next(place for place in adapter.data if _at(struct, (place,)) is not None)
    data = _at(struct, (place,))
    found = Found(Source(source.path, source.format, f"{name}.{place}"), data)
    angles = np.asarray(_at(struct, adapter.angles), dtype=np.float64).ravel()
    found.angles, found.angle_unit = angles, "degrees"
    if np.ptp(angles) < 6.3:
        found.angle_unit = None
    found.axes = ("views", "columns") if len(data.shape) == 2 else ("views", "rows", "columns")
    found.axes = array_names.axes_by_angles(tuple(data.shape), angles.size, found.axes, found.notes)
    found.quantity = "counts" if data.dtype.kind in "iu" else "line_integrals"
    unit = _at(struct, adapter.unit)
    unit = unit if isinstance(unit, str) and unit else "mm"
    lengths = {}
    for key in ("source_origin", "source_detector", "pixel", "effective"):
        value = _number(struct, getattr(adapter, key))
        lengths[key] = None if value is None else in_mm(value, unit)
    found.source_origin, found.source_detector = lengths["source_origin"], lengths["source_detector"]
    if found.source_origin and found.source_detector:
        found.beam = "fan" if len(data.shape) == 2 else "cone"
    found.pixel = lengths["pixel"]
    if found.pixel is None and lengths["effective"] is not None:
        magnification = (found.source_detector or 1.0) / (found.source_origin or 1.0)
        found.pixel = lengths["effective"] * magnification
    return found
