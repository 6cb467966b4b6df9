"""Finding the reader for a file, and reading with it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from imagereg.discovery import discover
from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.io.complaints import reading
from imagereg.measurement import Measurement

GROUP = "imagereg.readers"


class Reader(ABC):
    """One file format. Other packages add theirs under the entry point group `imagereg.readers`.

    Attributes
    ----------
    name : what `read(format=...)` and recipes call it.
    title : the format's own name, for sentences and lists.
    suffixes : endings of file names, with their dots.
    hints : names of the hints that it takes.
    priority : the reader with the highest looks at a file first, so that what is particular comes before what
        is general. Ours lie between 10 and 90.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    hints: ClassVar[frozenset[str]]
    priority: ClassVar[int] = 100

    @abstractmethod
    def sniff(self, path: Path) -> bool:
        """True where `path`, which exists, is of this format; cheap, and never an error."""

    @abstractmethod
    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The measurement in `path`, its frames lazy where they may be large."""


@cache
def readers() -> Mapping[str, Reader]:
    """Every reader by name, in the order in which they look at a file.

    Raises
    ------
    NameClash
        When two readers have the same name; the sentence says where both come from.
    UsageError
        When an entry point is no reader.
    """
    import imagereg.io.readers as room

    found = discover(room, Reader, GROUP, "readers")  # type: ignore[type-abstract]
    return MappingProxyType(
        {name: kind() for name, kind in sorted(found.items(), key=lambda item: -item[1].priority)}
    )


def read(path: str | Path, *, format: str | None = None, **hints: Any) -> Measurement:
    """Read a file or folder; frames stay in the file until they are used.

    Parameters
    ----------
    path : file or folder.
    format : name of a reader; found from the file where not given.
    hints : what the file does not say, or says wrongly:
        angles (numbers, a text file, 'linspace(0, 180, N)', 'file:NAME' for an array of the file),
        angle_unit ('degrees', 'radians'), geometry ('parallel', 'fan', 'cone'), pixel and row_pixel (mm, or
        text as '3.36 nm'), centre (detector column of the rotation axis), source_origin and source_detector
        (mm), flats and darks (arrays, files, folders), axes (the file's order: 'rows,views,columns' or
        'ZYX'), dataset (place of the array in the file), entry (which of several scans), quantity
        ('counts', 'transmission', 'line_integrals', 'image'), follow_links (true: values may lie in files
        outside the file's own folder). Each format takes those that can mean something to it.

    Returns
    -------
    What was measured; its `notes` say what was found, guessed or missed.

    Raises
    ------
    InputError
        When there is no such file, it may not be read, is damaged, or is of no known format.
    UsageError
        For an unknown format or hint, or a hint that does not fit.
    """
    path = Path(path).expanduser()
    reader = find_reader(path, format)
    for hint in hints:
        if hint not in reader.hints:
            raise UsageError(
                f"{hint!r} is no hint of the format {reader.name!r}{did_you_mean(hint, reader.hints)}."
            )
    given = {name: value for name, value in hints.items() if value is not None}
    with reading(path, reader.title):
        return reader.read(path, MappingProxyType(given))


def find_reader(path: Path, format: str | None = None) -> Reader:
    """The reader for a file or folder (see `read`)."""
    with reading(path):
        path.stat()
    if not os.access(path, os.R_OK) or (path.is_dir() and not os.access(path, os.X_OK)):
        raise InputError(f"{path}: no permission to read it; ask its owner or copy it.")
    known = readers()
    if format is not None:
        if format not in known:
            raise UsageError(f"no reader is called {format!r}{did_you_mean(format, known)}.")
        return known[format]
    if path.is_dir():
        with reading(path):
            if not any(path.iterdir()):
                raise InputError(f"{path}: the folder is empty; name the folder or file that has the data.")
    elif path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; copy it again.")
    for reader in known.values():
        if reader.sniff(path):
            return reader
    named = [reader.title for reader in known.values() if path.name.lower().endswith(reader.suffixes)]
    if named and path.is_file():
        raise InputError(
            f"{path}: its name says {named[-1]}, its content does not; it is damaged or misnamed."
        )
    titles = "; ".join(f"{reader.title} ({', '.join(reader.suffixes)})" for reader in known.values())
    what = "no file of a known format is in this folder" if path.is_dir() else "the format is not recognised"
    raise InputError(f"{path}: {what}; read are {titles}.")


def starts_with(path: Path, *signatures: bytes, at: int = 0) -> bool:
    """True where the bytes of a file from `at` on are one of the signatures."""
    try:
        with path.open("rb") as stream:
            stream.seek(at)
            head = stream.read(max(map(len, signatures)))
    except OSError:
        return False
    return any(head.startswith(signature) for signature in signatures)
