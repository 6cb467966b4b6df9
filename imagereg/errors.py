"""The errors that a user meets: each carries one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ImageregError(Exception):
    """Base of every error that imagereg raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(ImageregError, ValueError):
    """A parameter, a recipe or a request is wrong (exit code 2)."""

    exit_code = 2


class InputError(ImageregError, OSError):
    """A file cannot be read, or what it holds cannot be used (exit code 3)."""

    exit_code = 3

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ResourceError(ImageregError, RuntimeError):
    """Memory, disk or a device does not suffice (exit code 4)."""

    exit_code = 4


class OutOfMemory(ResourceError):
    """An allocation failed; a smaller piece of the same work may succeed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean 'x'?' for the closest known word, or '; known: a, b, c' where none is close."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(words))}" if words else ""
