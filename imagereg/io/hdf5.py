"""HDF5: reading arrays out of it, and files that follow no convention of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError, UsageError
from imagereg.io import named
from imagereg.io.base import Reader, starts_with
from imagereg.io.complaints import reading
from imagereg.io.found import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.lazy import Box, LazyArray
from imagereg.io.lengths import in_mm, unit_in_mm
from imagereg.measurement import Measurement, Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, eq=False, repr=False)
class Hdf5Array(LazyArray):
    """One dataset of an HDF5 file; `reverse` turns MATLAB's order of axes round."""

    path: Path
    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    reverse: bool = False

    def _fetch(self, box: Box) -> NDArray[Any]:
        with opened(self.path) as file:
            try:
                values = file[self.place][box[::-1] if self.reverse else box]
            except OSError as error:
                if "filter" not in str(error) and "plugin" not in str(error):
                    raise
                raise InputError(
                    f"{self.path}: {self.place} is compressed with a filter that is not installed; "
                    "pip install hdf5plugin, or repack the file with gzip."
                ) from error
        return np.asarray(values.T if self.reverse else values, dtype=self.dtype)


def lazy(dataset: Any, *, reverse: bool = False) -> Hdf5Array:
    """A dataset of an open file as an array that outlives it."""
    shape = tuple(dataset.shape)
    native = dataset.dtype.newbyteorder("=")
    return Hdf5Array(
        Path(dataset.file.filename), dataset.name, shape[::-1] if reverse else shape, native, reverse
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file open for reading."""
    import h5py

    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401  (registers the filters that beamlines compress with)
    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        yield file


def is_hdf5(path: Path) -> bool:
    """True for a file with HDF5's signature, also behind MATLAB's header of 512 bytes."""
    if not path.is_file():
        return False
    return starts_with(path, SIGNATURE) or starts_with(path, SIGNATURE, at=512)


def contains(path: Path, *places: str) -> bool:
    """True for an HDF5 file that can be opened and has one of the places."""
    if not is_hdf5(path):
        return False
    try:
        with opened(path) as file:
            return any(place in file for place in places)
    except InputError:
        return False


def text_of(value: Any) -> str:
    """Text from an attribute or a dataset, whatever way it is stored; '' for None."""
    if hasattr(value, "shape") and hasattr(value, "file"):
        value = value[()]
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def units(dataset: Any) -> str:
    """The unit that a dataset carries, '' where it has none."""
    return text_of(dataset.attrs.get("units", dataset.attrs.get("unit")))


def number(group: Any, place: str) -> tuple[float, str] | None:
    """A number and its unit at a place of a group; None where it is not there or no number."""
    dataset = group.get(place)
    if dataset is None or not hasattr(dataset, "shape"):
        return None
    try:
        value = float(np.asarray(dataset[()]).ravel()[0])
    except (TypeError, ValueError, IndexError):
        return None
    return (value, units(dataset)) if np.isfinite(value) else None


def length(group: Any, *places: str, default: str = "m") -> float | None:
    """The first length found at some places of a group, in mm; `default` is the unit where none is given."""
    for place in places:
        found = number(group, place)
        if found is not None:
            unit = found[1] if unit_in_mm(found[1] or "-") else default
            size = in_mm(abs(found[0]), unit)
            if size is not None:
                return size
    return None


class Hdf5(Reader):
    """HDF5 of no particular convention: our own images, NXdata, or arrays with telling names."""

    name: ClassVar[str] = "hdf5"
    title: ClassVar[str] = "HDF5"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".hdf", ".nxs", ".nx")
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
            arrays = _arrays(file, dataset)
            if signal is not None:
                dataset = signal.name
            found = named.find(arrays, source, dataset)
        is_scan = bool(found.axes) or {"angles", "geometry"} & set(hints)
        return scan(found, hints) if is_scan else image(found, hints)


def _arrays(file: Any, dataset: Any) -> dict[str, Any]:
    """Every dataset by its place; those beside the wanted one, or with a name of their own, by it too."""
    import h5py

    places: dict[str, Any] = {}

    def visit(place: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            small = node.size is not None and node.size <= 1 << 16 and node.dtype.kind in "iufbSO"
            places[place] = node[()] if small and node.ndim < 2 else lazy(node)

    file.visititems(visit)
    shorts = [place.rpartition("/")[2] for place in places]
    beside = {}
    for place, array in places.items():
        folder, _, short = place.rpartition("/")
        near = dataset is not None and folder == str(dataset).strip("/").rpartition("/")[0]
        if short != place and (near or shorts.count(short) == 1) and getattr(array, "ndim", 0) < 2:
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
