"""What a run reads stays as it is: an output may not take the place of a file that the recipe names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from imagereg.errors import UsageError
from imagereg.recipe import Recipe

_STORE = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, size, time of change and number on the disk of each file of an input."""

_MOST = 5000
"""Files of an input that are looked at: each slab looks again."""


def stamp_of(source: Path) -> Stamp:
    """What an input looks like on the disk: another one, or the same one changed, has another stamp.

    Of a folder its own files count, of a store those in its folders too, up to a number.
    """
    if not source.exists():
        return ()
    files: Iterable[Path] = (source,)
    if source.is_dir():
        files = source.rglob("*") if _is_store(source) else source.iterdir()
    found = sorted(path for path in islice(files, _MOST) if path.is_file())
    stats = [(str(path), path.stat()) for path in found]
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)


def protect_sources(recipe: Recipe, names: Sequence[str]) -> None:
    """Refuse an output that would replace, or lie inside, something that the recipe reads.

    Links are followed, and names that differ in the case of letters only are one name where the disk takes
    them for one.

    Parameters
    ----------
    names : what the run will write into its folder.

    Raises
    ------
    UsageError
        With the file that is in danger, before anything is written.
    """
    folder = Path(recipe.output.folder)
    for source in _sources(recipe):
        if not source.exists():
            continue
        real = source.resolve()
        for name in names:
            target = folder / name
            if target.exists() and (target.samefile(source) or real.is_relative_to(target.resolve())):
                raise UsageError(
                    f"{target} is what the recipe reads ({source}), and the run would replace it; choose "
                    "another folder with -o."
                )
        if real.is_dir() and (_same(folder, real) or (_is_store(real) and _inside(folder, real))):
            raise UsageError(
                f"{folder}: the output would lie among the files of the input {source}; choose another "
                "folder with -o."
            )


def _sources(recipe: Recipe) -> Iterator[Path]:
    """Every file or folder that a recipe names to be read."""
    yield recipe.input.path
    plain = recipe.plain()
    for section in ("input", "physics", "method", "preprocess"):
        yield from _paths(plain.get(section))


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _paths(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, str) and 0 < len(value) < 1024 and "\0" not in value:
        yield Path(value).expanduser()


def _same(folder: Path, real: Path) -> bool:
    return folder.exists() and folder.samefile(real)


def _inside(folder: Path, real: Path) -> bool:
    return folder.resolve().is_relative_to(real)


def _is_store(real: Path) -> bool:
    return any((real / name).exists() for name in _STORE)
