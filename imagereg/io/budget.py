"""How much memory a file may ask for: what claims or decodes to too much is refused before it is decoded."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagereg.errors import InputError, ResourceError, UsageError

VARIABLE = "IMAGEREG_DECODE_LIMIT"
_DEFAULT = 4.0
_FREE = 1 << 28
_RATIO = 200


def limit() -> int:
    """Bytes that one piece of a file may decode to: 4 GB, or as many GB as IMAGEREG_DECODE_LIMIT says.

    Raises
    ------
    UsageError
        When the variable is no positive number.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        gigabytes = float(text) if text else _DEFAULT
    except ValueError:
        gigabytes = math.nan
    if not 0 < gigabytes < math.inf:
        raise UsageError(f"{VARIABLE}={text!r}: give a positive number of gigabytes.")
    return int(gigabytes * 1e9)


def afford(path: Path, what: str, decoded: int, stored: int) -> None:
    """Refuse a piece of a file whose values take far more memory than its bytes can be good for.

    Parameters
    ----------
    path, what : the file, and the piece in words, for the sentence.
    decoded : bytes that it claims to decode to.
    stored : bytes that it takes in the file.

    Raises
    ------
    InputError
        When it decodes to over 256 MB and over 200 times what is stored, as no measurement does.
    ResourceError
        When it decodes to more than `limit`.
    """
    sizes = f"{what} would decode {size_text(stored)} to {size_text(decoded)}"
    if decoded > _FREE and decoded > _RATIO * stored:
        raise InputError(
            f"{path}: {sizes}, more than {_RATIO} times as much; the file is damaged or no data."
        )
    if decoded > limit():
        raise ResourceError(
            f"{path}: {sizes}, the limit is {size_text(limit())}; set {VARIABLE} (GB) higher, or save it in "
            "smaller pieces."
        )


def swollen(path: Path, what: str, decoded: int, stored: int) -> None:
    """Refuse a piece whose stored bytes are over twice what it claims to hold: it would inflate to more.

    Raises
    ------
    InputError
        When it is so.
    """
    if stored > 2 * decoded + (1 << 16):
        raise InputError(
            f"{path}: {what} is said to hold {size_text(decoded)} and is stored in {size_text(stored)}; the "
            "file is damaged, copy it again."
        )


def sensible(path: Path, what: str, shape: Sequence[int], dtype: np.dtype) -> None:
    """Refuse a shape or a type of values that is no measurement.

    Raises
    ------
    InputError
        For negative or no elements, and for values that are not real numbers.
    """
    if any(length < 0 for length in shape):
        raise InputError(f"{path}: {what} has the impossible shape {tuple(shape)}; the file is damaged.")
    if 0 in shape:
        raise InputError(f"{path}: there is nothing in it, {what} is of shape {tuple(shape)}.")
    if dtype.kind == "c":
        raise InputError(
            f"{path}: {what} holds complex numbers; save the magnitude or the phase as real numbers."
        )
    if dtype.kind not in "iufb":
        raise InputError(
            f"{path}: {what} of type {dtype} holds no plain numbers; name or save an array that does."
        )


def size_text(size: int) -> str:
    """A number of bytes as people say it."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            break
        value /= 1000
    return f"{value:.3g} {unit}"
