"""The order of axes in files and in measurements."""

from __future__ import annotations

import re
from typing import Any

from imagereg.errors import UsageError
from imagereg.io.lazy import fix, transpose

_SCAN = {
    "views": ("views", "view", "v", "angles", "angle", "a", "theta", "t", "projections", "n"),
    "rows": ("rows", "row", "r", "y", "z", "slices", "slice"),
    "columns": ("columns", "column", "c", "x", "detector"),
}
_ROLE = {word: role for role, words in _SCAN.items() for word in words}


def scan_order(hint: Any, found: tuple[str, ...], ndim: int) -> tuple[int, ...]:
    """The permutation that brings the axes of a scan into the order (views, rows, columns).

    Parameters
    ----------
    hint : what a user says of the file's axes: 'rows,views,columns', 'theta:y:x', letters as 'ayx', or a
        list of such words.
    found : what the reader says of them.
    ndim : number of axes, 2 or 3.

    Raises
    ------
    UsageError
        When an axis is unknown, missing or named twice.
    """
    if ndim not in (2, 3):
        raise UsageError(f"a scan has axes (views, columns) or (views, rows, columns), not {ndim} axes.")
    wanted = ("views", "rows", "columns") if ndim == 3 else ("views", "columns")
    names = parse(hint) if hint else (found or wanted)
    if sorted(names) != sorted(wanted):
        raise UsageError(f"axes={hint!r}: name each of {', '.join(wanted)} once, in the order of the file.")
    return tuple(names.index(name) for name in wanted)


def parse(text: Any) -> tuple[str, ...]:
    """Roles of axes from a text or a list of words."""
    words = list(text) if isinstance(text, tuple | list) else re.split(r"[,:;\s]+", str(text).strip())
    if len(words) == 1:
        words = list(words[0])
    roles = []
    for word in words:
        # Data Exchange writes 'theta_dark' for the frames of the darks.
        plain = str(word).strip().lower().split("_")[0]
        if plain not in _ROLE:
            raise UsageError(f"axes={text!r}: {word!r} is no axis; write 'views', 'rows' and 'columns'.")
        roles.append(_ROLE[plain])
    return tuple(roles)


def image_axes(data: Any, axes: str) -> tuple[Any, str]:
    """An image with its axes in the order Z, Y, X, C, and their letters.

    Axes of length one other than Z, Y and X are dropped; where there is no Z, one other axis (time, position,
    more than four channels) is taken as independent slices Z. S (samples) is C.

    Raises
    ------
    UsageError
        When the letters do not fit, or more axes are left than an image has.
    """
    ndim = len(data.shape)
    letters = list(axes.upper().replace("S", "C")) if axes else list("ZYX"[-ndim:])
    if len(letters) != ndim or len(set(letters)) != ndim or not {"Y", "X"} <= set(letters):
        raise UsageError(
            f"axes={axes!r} do not fit data of shape {tuple(data.shape)}; write one letter of Z, Y, X, C an "
            "axis, as 'ZYX' or 'YXC'."
        )
    for axis in reversed(range(ndim)):
        if letters[axis] not in "ZYX" and data.shape[axis] == 1:
            data = fix(data, axis)
            letters.pop(axis)
    if "C" in letters and "Z" not in letters and data.shape[letters.index("C")] > 4:
        letters[letters.index("C")] = "Z"
    others = [letter for letter in letters if letter not in "ZYXC"]
    if len(others) == 1 and "Z" not in letters:
        letters[letters.index(others[0])] = "Z"
    elif others:
        raise UsageError(
            f"axes {axes!r} of shape {tuple(data.shape)}: more axes than an image has (Z, Y, X, C); cut out "
            "one time point or position first."
        )
    target = [letter for letter in "ZYXC" if letter in letters]
    return transpose(data, [letters.index(letter) for letter in target]), "".join(target)
