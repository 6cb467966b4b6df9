"""HDF5 files that follow no convention of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from imagereg.errors import UsageError
from imagereg.io import array_names
from imagereg.io.base import Reader
from imagereg.io.file_contents import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.hdf5 import is_hdf5, lazy, opened, text_of, units
from imagereg.io.hdf5_storage import datasets, reachable
from imagereg.io.lengths import in_mm
from imagereg.measurement import Measurement, Source

_LINKED = frozenset(("data", "image", "images", *array_names.PROJECTIONS, *array_names.SINOGRAMS))


class Hdf5(Reader):
    """HDF5 of no particular convention: our own images, NXdata, or arrays with telling names."""

    name: ClassVar[str] = "hdf5"
    title: ClassVar[str] = "HDF5"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".hdf", ".nxs", ".nx")
    priority: ClassVar[int] = 10
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | IMAGE_HINTS | {"dataset"}

    def sniff(self, path: Path) -> bool:
        """True for any HDF5 file."""
        return is_hdf5(path)

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """An image of our own or in NXdata, or what the names of arrays say; `dataset` picks one."""
        source = Source(path, self.name)
        with opened(path) as file:
            dataset = hints.get("dataset")
            signal = None if dataset else _default_signal(file)
            if signal is not None and not {"angles", "geometry"} & set(hints):
                return image(_nexus_image(signal, source), hints)
            if not dataset:
                reachable(file, _LINKED)
            arrays = _arrays(file, dataset)
            if signal is not None:
                dataset = signal.name
            hints = array_names.with_arrays(arrays, source, hints)
            found = array_names.find(arrays, source, dataset)
        is_scan = bool(found.axes) or {"angles", "geometry"} & set(hints)
        return scan(found, hints) if is_scan else image(found, hints)


def _arrays(file: Any, dataset: Any) -> dict[str, Any]:
    """Every dataset by its place; those beside the wanted one, or with a name of their own, by it too."""
    places: dict[str, Any] = {}
    for place, node in datasets(file, array_names.TELLING):
        if node.ndim >= 2:
            places[place] = lazy(node)
        elif node.size is not None and node.size <= 1 << 16 and node.dtype.kind in "iufbSO":
            places[place] = node[()]
    shorts = Counter(place.rpartition("/")[2] for place in places)
    beside = {}
    for place, array in places.items():
        folder, _, short = place.rpartition("/")
        near = dataset is not None and folder == str(dataset).strip("/").rpartition("/")[0]
        if short != place and (near or shorts[short] == 1) and getattr(array, "ndim", 0) < 2:
            beside[short] = array
    if dataset is not None and str(dataset).lstrip("/") not in places:
        known = [place for place, array in places.items() if getattr(array, "ndim", 0) >= 2]
        there = f"there are {', '.join(known[:12])}" if known else "it holds no array of two or more axes"
        raise UsageError(f"{file.filename}: there is no dataset {dataset!r}; {there}.")
    return {**beside, **places}


def _default_signal(file: Any) -> Any:
    """The dataset that NeXus' `default` and `signal` attributes lead to, where they lead anywhere."""
    node = file
    for _ in range(4):
        following = text_of(node.attrs.get("default"))
        if not following or following not in node:
            break
        node = node[following]
    signal = text_of(node.attrs.get("signal"))
    found = node.get(signal) if signal else None
    return found if found is not None and getattr(found, "ndim", 0) >= 2 else None


def _nexus_image(signal: Any, source: Source) -> Found:
    """The image in an NXdata group, its voxel from the coordinates along its axes."""
    names = [text_of(name) for name in np.atleast_1d(signal.parent.attrs.get("axes", []))]
    found = Found(Source(source.path, source.format, signal.name.lstrip("/")), lazy(signal))
    letters = [name[:1].upper() for name in names]
    if len(letters) == signal.ndim and {"Y", "X"} <= set(letters) <= set("ZYXC"):
        found.axes = tuple(letters)
        voxel = {}
        for letter, name in zip(letters, names, strict=True):
            points = signal.parent.get(name)
            if letter == "C" or points is None:
                continue
            edge = points.attrs.get("step")
            if edge is None and points.size > 1:
                edge = (points[-1] - points[0]) / (points.size - 1)
            size = in_mm(abs(float(edge)), units(points) or None) if edge is not None else None
            if size is not None:
                voxel[letter] = size
        found.voxel = voxel
    return found
