"""References out of a file: values that lie in other files are taken from the file's own folder only.

A file from elsewhere could otherwise have any file of the machine read and shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from imagereg.errors import UsageError
from imagereg.io.lazy import LazyArray

_WHOLE = 1 << 26


def check(path: Path, arrays: Iterable[Any], hints: Mapping[str, Any], notes: list[str]) -> None:
    """Name every further file that values come from, refuse those outside the folder of `path`.

    Raises
    ------
    UsageError
        When one lies outside and the hint `follow_links` is not true.
    """
    folder = (path if path.is_dir() else path.parent).resolve()
    files: dict[Path, None] = {}
    for array in arrays:
        if isinstance(array, LazyArray):
            own = () if path.is_dir() or array.path.resolve() == path.resolve() else (array.path,)
            files.update(dict.fromkeys((*own, *array.further())))
    for file in files:
        inside = file.resolve().is_relative_to(folder)
        if not inside and hints.get("follow_links") is not True:
            raise UsageError(
                f"{path}: its values are in {file}, outside its own folder; give follow_links=true if you "
                "trust it."
            )
        if file.is_file():
            notes.append(f"values come from the further file {file.name} ({_digest(file)}).")


def _digest(file: Path) -> str:
    """What tells the file from others: SHA-256, of its first 64 MB where it is larger, and its size."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        digest = hashlib.sha256(stream.read(_WHOLE)).hexdigest()
    return f"SHA-256 {digest}{' of its first 64 MB' if size > _WHOLE else ''}, {size} bytes"
