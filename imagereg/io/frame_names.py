"""What the names of frames tell: which are flats and darks, which series they belong to, which is missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_LEADING = {
    "flats": re.compile(
        r"^(flats?|ff|io|ob|open([ _-]?beam)?|white|bright|ref(erence)?|gain|i0|empty)(?![a-z])",
        re.IGNORECASE,
    ),
    "darks": re.compile(r"^(darks?|df|dc|di|dark[ _-]?(field|current)|bias|offset)(?![a-z])", re.IGNORECASE),
}
_WORDS = {
    "flats": frozenset(("ff", "io", "ob", "open", "openbeam", "white", "ref", "refs", "reference", "empty")),
    "darks": frozenset(("df", "dc", "di")),
}
_BEGINNINGS = {"flats": "flat", "darks": "dark"}
_FEW = 8


def role(name: str) -> str | None:
    """'flats' or 'darks' where a name begins so or has a word of it."""
    return roles([name, ""])[0]


def roles(names: Sequence[str]) -> list[str | None]:
    """The role of each name: by its beginning, or by a word anywhere that not all of the names have."""
    words = [_words(name) for name in names]
    common = frozenset.intersection(*words) if words else frozenset()
    return [_role(name, own - common) for name, own in zip(names, words, strict=True)]


def _role(name: str, words: frozenset[str]) -> str | None:
    for found, pattern in _LEADING.items():
        if pattern.match(name):
            return found
    for found, known in _WORDS.items():
        if words & known or any(word.startswith(_BEGINNINGS[found]) for word in words):
            return found
    return None


def _words(name: str) -> frozenset[str]:
    """The words of a name in small letters: 'Scan3_FlatAfter' has scan, flat and after."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name.rpartition(".")[0] or name)
    return frozenset(part.lower() for part in parts)


def flat_times(files: Sequence[Path], views: int) -> tuple[float, ...] | None:
    """When each flat was taken, in numbers of views, as names tell; None where one of them does not.

    'before', 'pre', 'begin' or 'start' in the name of a file or of its folder is the first view, 'after',
    'post' or 'end' the last; ESRF's `ref0003_0450` is flat 3 at view 450.
    """
    times = [_flat_time(file, views) for file in files]
    told = [time for time in times if time is not None]
    return tuple(told) if told and len(told) == len(times) and len(set(told)) > 1 else None


def _flat_time(file: Path, views: int) -> float | None:
    for name in (file.stem, file.parent.name):
        words = _words(name)
        if words & {"before", "pre", "begin", "start"}:
            return 0.0
        if words & {"after", "post", "end"}:
            return float(views - 1)
    numbered = re.match(r"^ref[a-z]*\d+_(\d+)$", file.stem, re.IGNORECASE)
    return float(numbered[1]) if numbered and int(numbered[1]) <= views else None


def series(files: Sequence[Path]) -> Counter[str]:
    """How many files there are of each name, numbers aside."""
    return Counter(re.sub(r"\d+", "#", file.stem) for file in files)


def missing(files: Sequence[Path]) -> list[str]:
    """Names that a regular numbering leaves out.

    Looked at is the one number that changes from name to name, and only where nine steps of ten are equal.
    """
    if len(files) < _FEW or len(series(files)) > 1:
        return []
    parts = [re.split(r"(\d+)", file.stem) for file in files]
    changing = [place for place in range(1, len(parts[0]), 2) if len({part[place] for part in parts}) > 1]
    if len(changing) != 1:
        return []
    place = changing[0]
    numbers = np.sort([int(part[place]) for part in parts])
    steps = np.diff(numbers)
    step = int(np.median(steps))
    if step < 1 or (steps == step).mean() < 0.9 or (steps % step).any():
        return []
    gone = np.setdiff1d(np.arange(numbers[0], numbers[-1], step), numbers)
    width = min(len(part[place]) for part in parts)
    return [
        "".join([*parts[0][:place], str(int(number)).zfill(width), *parts[0][place + 1 :]]) for number in gone
    ]
