"""Many recipes from one: for each file of a folder, or for each value of what is varied."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagereg.errors import InputError, UsageError
from imagereg.recipe import Recipe

RECIPES = (".yaml", ".yml")


@dataclass(frozen=True)
class Job:
    """One run of many: a recipe whose output folder is its own.

    Attributes
    ----------
    name : what it is called, also the name of its folder.
    recipe : what to run.
    values : what was varied, by dotted key.
    slabs : which slabs of the run are meant, where several jobs share one; all if not given.
    """

    name: str
    recipe: Recipe
    values: Mapping[str, Any] = field(default_factory=dict)
    slabs: tuple[int, ...] | None = None

    @property
    def folder(self) -> Path:
        """Where its results go."""
        return Path(self.recipe.output.folder)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a finished run to count as this one."""
        try:
            stat = Path(self.recipe.input.path).stat()
        except OSError as error:
            raise InputError(
                f"{self.recipe.input.path}: {error.strerror or error}; check the path."
            ) from None
        return {"recipe": self.recipe.sha256, "bytes": stat.st_size, "modified": stat.st_mtime_ns}


def batch_jobs(source: Path, recipe: Recipe, folder: Path, *, pattern: str | None = None) -> tuple[Job, ...]:
    """One job for each scan: the files of a folder, or those that a text file lists, one a line.

    Parameters
    ----------
    source : a folder, or a text file of paths; relative ones are taken from the list's own folder.
    recipe : what to run on each; its input path and output folder are replaced, its hints stay.
    folder : where the jobs' folders go.
    pattern : names to take from the folder, such as '*.h5'; every file that a reader knows if not given.

    Raises
    ------
    InputError
        When there is nothing to read, or a listed file is missing.
    """
    paths = _listed(source) if source.is_file() else _found(source, pattern)
    names = _names(paths)
    return tuple(
        Job(name, recipe.with_values({"input.path": str(path), "output.folder": str(folder / name)}))
        for name, path in zip(names, paths, strict=True)
    )


def sweep_jobs(recipe: Recipe, vary: Mapping[str, Sequence[Any]], folder: Path) -> tuple[Job, ...]:
    """One job for each combination of values, the last key changing fastest.

    Raises
    ------
    UsageError
        When a key is unknown or a value out of range, before anything runs.
    """
    jobs = []
    for combination in itertools.product(*vary.values()):
        values = dict(zip(vary, combination, strict=True))
        name = ",".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in values.items())
        changed = recipe.with_values({**values, "output.folder": str(folder / name)})
        jobs.append(Job(name, changed, values))
    if len({job.name for job in jobs}) < len(jobs):
        raise UsageError("--vary: some values are the same to four digits; write them further apart.")
    return tuple(jobs)


def parse_values(text: str) -> tuple[Any, ...]:
    """Values from 'log:1e-3:1e-1:7', 'lin:0:1:5' or 'ramp,hann,cosine'.

    Raises
    ------
    UsageError
        When the text is none of these.
    """
    from imagereg.yaml_text import load

    kind, _, rest = text.partition(":")
    if kind not in ("log", "lin"):
        values = tuple(load(word.strip()) for word in text.split(",") if word.strip())
        if not values:
            raise UsageError(
                f"{text!r}: write log:LOW:HIGH:COUNT, lin:LOW:HIGH:COUNT, or values with commas."
            )
        return values
    try:
        low, high, count = (
            kind_of(word) for kind_of, word in zip((float, float, int), rest.split(":"), strict=True)
        )
    except ValueError:
        raise UsageError(f"{text!r}: write {kind}:LOW:HIGH:COUNT, for example log:1e-3:1e-1:7.") from None
    if count < 2 or not low < high or not math.isfinite(high - low):
        raise UsageError(f"{text!r}: LOW must be less than HIGH, and COUNT at least 2.")
    if kind == "log" and low <= 0:
        raise UsageError(f"{text!r}: LOW must be above 0 on a logarithmic scale; use lin.")
    steps = [k / (int(count) - 1) for k in range(int(count))]
    if kind == "lin":
        return tuple(float(f"{low + (high - low) * t:.6g}") for t in steps)
    return tuple(float(f"{low * (high / low) ** t:.6g}") for t in steps)


def _listed(source: Path) -> list[Path]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{source}: not a folder and not a text file that lists paths, one a line."
        ) from None
    paths = [
        (source.parent / line.strip()).resolve() for line in lines if line.strip() and line.strip()[0] != "#"
    ]
    for number, path in enumerate(paths, 1):
        if not path.exists():
            raise InputError(f"{source}: entry {number}, {path}, does not exist.")
    if not paths:
        raise InputError(f"{source}: the list names no file.")
    return paths


def _found(source: Path, pattern: str | None) -> list[Path]:
    from imagereg.io.base import readers

    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder; check the path.")
    if pattern is not None:
        paths = sorted(source.glob(pattern))
    else:
        endings = tuple({ending for reader in readers().values() for ending in reader.suffixes})
        paths = sorted(path for path in source.iterdir() if path.name.lower().endswith(endings))
    paths = [path.resolve() for path in paths if path.suffix not in RECIPES]
    if not paths:
        what = f"that matches {pattern!r}" if pattern else "of a known format"
        raise InputError(f"{source}: the folder holds nothing {what}.")
    return paths


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names of files, with their endings or a number where short ones would clash."""
    names = [path.name.split(".")[0] or path.name for path in paths]
    if len(set(names)) < len(names):
        names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{name}-{number}" for number, name in enumerate(names, 1)]
    return names


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("/", "_")
