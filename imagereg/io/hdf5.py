"""HDF5: arrays, numbers, texts and units out of a file, whatever its convention."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError
from imagereg.io import hdf5_storage as storage
from imagereg.io.base import starts_with
from imagereg.io.complaints import reading
from imagereg.io.lazy import Box, LazyArray
from imagereg.io.lengths import in_mm, pixel_size, unit_in_mm

SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, eq=False, repr=False)
class Hdf5Array(LazyArray):
    """One dataset of an HDF5 file; `reverse` turns MATLAB's order of axes round."""

    path: Path
    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    reverse: bool = False

    def absent(self) -> str:
        """Chunks never written, and sources of a virtual dataset that are gone."""
        with opened(self.path) as file:
            return storage.absent(file[self.place])

    def further(self) -> tuple[Path, ...]:
        """Files of external storage and of virtual sources."""
        with opened(self.path) as file:
            return storage.further(file[self.place])

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
    """A dataset of an open file as an array that outlives it.

    Raises
    ------
    InputError
        When one of its chunks would decode to far more than is stored.
    """
    shape = tuple(dataset.shape)
    storage.afford(dataset)
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


def pixel(group: Any, *places: str) -> tuple[float | None, list[str]]:
    """The first pixel size found at some places of a group, in mm, and what to say (see `pixel_size`)."""
    for place in places:
        found = number(group, place)
        if found is not None and found[0] != 0:
            return pixel_size(*found, place)
    return None, []


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
