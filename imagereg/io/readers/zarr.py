"""Zarr and OME-Zarr (0.4, 0.5): images, volumes, and groups of named arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError
from imagereg.io import array_names
from imagereg.io.base import Reader
from imagereg.io.budget import afford, sensible
from imagereg.io.file_contents import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.lazy import Box, LazyArray
from imagereg.io.lengths import in_mm, unit_in_mm
from imagereg.measurement import Measurement, Source

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


@dataclass(frozen=True, eq=False, repr=False)
class ZarrArray(LazyArray):
    """One array of a Zarr hierarchy."""

    path: Path
    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def absent(self) -> str:
        """Chunks that are not stored; a writer leaves out those that hold the fill value alone."""
        import zarr

        array = zarr.open_array(self.path / self.place if self.place else self.path, mode="r")
        stored, places = array.nchunks_initialized, array.nchunks
        if stored >= places:
            return ""
        return f"{places - stored} of {places} chunks" if stored else f"all {places} chunks"

    def _fetch(self, box: Box) -> NDArray[Any]:
        import zarr

        array = zarr.open_array(self.path / self.place if self.place else self.path, mode="r")
        return np.asarray(array[box], dtype=self.dtype)


class Zarr(Reader):
    """Zarr of version 2 or 3: OME-Zarr at full resolution, one array, or arrays with telling names."""

    name: ClassVar[str] = "zarr"
    title: ClassVar[str] = "OME-Zarr and Zarr"
    suffixes: ClassVar[tuple[str, ...]] = (".ome.zarr", ".zarr")
    priority: ClassVar[int] = 75
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | IMAGE_HINTS | {"dataset"}

    def sniff(self, path: Path) -> bool:
        """True for a folder with Zarr's own files."""
        return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The image at full resolution, the array `dataset`, or what the names of arrays tell of."""
        import zarr

        source = Source(path, self.name)
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            found = Found(source, _lazy(path, "", node))
        else:
            group, multiscale = _multiscale(node)
            if multiscale and "dataset" not in hints:
                found = _ome(path, node, group, multiscale, source)
            else:
                arrays = {place.strip("/"): child for place, child in node.members(max_depth=None)}
                found = array_names.find(
                    {
                        place: _lazy(path, place, child) if child.ndim > 1 else np.asarray(child[...])
                        for place, child in arrays.items()
                        if isinstance(child, zarr.Array)
                    },
                    source,
                    hints.get("dataset"),
                )
        is_scan = bool({"angles", "geometry"} & set(hints)) or "views" in found.axes
        if is_scan and "views" not in found.axes:
            found.axes = ()
        return scan(found, hints) if is_scan else image(found, hints)


def _lazy(path: Path, place: str, array: Any) -> ZarrArray:
    sensible(path, f"the array {place!r}", array.shape, array.dtype)
    decoded = math.prod(array.chunks) * array.dtype.itemsize
    # Chunks inflate one at a time, and none is larger than all that the folder holds.
    stored = sum(file.stat().st_size for file in (path / place).rglob("*") if file.is_file())
    afford(path, f"a chunk of the array {place!r}", min(decoded, array.nbytes), stored)
    return ZarrArray(path, place, tuple(array.shape), np.dtype(array.dtype).newbyteorder("="))


def _multiscale(node: Any) -> tuple[str, Mapping[str, Any] | None]:
    """The group with the multiscale image (the root, or the first series of a bioformats2raw layout)."""
    for place in ("", "0"):
        group = node if not place else node.get(place)
        attributes = dict(group.attrs) if group is not None else {}
        multiscales = attributes.get("ome", attributes).get("multiscales")
        if multiscales:
            return place, multiscales[0]
    return "", None


def _ome(path: Path, node: Any, group: str, multiscale: Mapping[str, Any], source: Source) -> Found:
    """The first level of a multiscale image, its axes, and its voxel in mm."""
    levels = multiscale["datasets"]
    place = f"{group}/{levels[0]['path']}".lstrip("/")
    if place not in node:
        raise InputError(
            f"{path}: the image's full resolution {place!r} is missing; the folder is incomplete."
        )
    array = _lazy(path, place, node[place])
    axes = multiscale.get("axes") or list("tczyx"[-array.ndim :])
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]
    scale = np.ones(array.ndim)
    for part in (levels[0], multiscale):
        for step in part.get("coordinateTransformations", []):
            if step.get("type") == "scale":
                scale = scale * np.asarray(step["scale"], float)
    found = Found(
        Source(path, source.format, place), array, tuple(str(axis["name"]).upper() for axis in axes)
    )
    for letter, axis, edge in zip(found.axes, axes, scale, strict=True):
        if letter in "ZYX" and unit_in_mm(str(axis.get("unit", ""))):
            size = in_mm(float(edge), str(axis["unit"]))
            if size is not None:
                found.voxel = {**found.voxel, letter: size}
    if not found.voxel and not np.allclose(scale, 1):
        found.notes.append(
            "the image's scale has no unit of length and was left out; give the hint pixel (mm)."
        )
    return found
