"""Whether what was found in a file is all there, and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagereg.errors import InputError
from imagereg.io.budget import sensible
from imagereg.io.lazy import LazyArray
from imagereg.measurement import Source


def usable(source: Source, parts: Mapping[str, Any], notes: list[str], *, is_scan: bool) -> None:
    """Refuse data, flats and darks that are empty, no real numbers, or not all there.

    An image of which some chunks are not stored is taken, with a note: Zarr does not store constant ones.

    Raises
    ------
    InputError
        In one sentence that names the part.
    """
    for name, array in parts.items():
        if array is None:
            continue
        place = source.entry if name == "data" and source.entry else f"the array of {name}"
        if name == "data" or 0 not in array.shape:
            sensible(source.path, place, array.shape, array.dtype)
        absent = array.absent() if isinstance(array, LazyArray) else ""
        if absent and (is_scan or absent.startswith("all")):
            raise InputError(
                f"{source.path}: the values of {place} are not all there ({absent} missing), a constant "
                "would stand for them; copy the file with all that belongs to it, or let the scan finish."
            )
        if absent:
            notes.append(
                f"the values of {place} are not all there ({absent} missing): a constant stands for them."
            )
