"""Angles of the views: from hints, from text files beside the data, and their unit."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import ImageregError, InputError, UsageError

Array = NDArray[np.float64]

_LINSPACE = re.compile(
    r"\s*linspace\(\s*([^,()]+),\s*([^,()]+)(?:,\s*(N|n|\d+))?(?:,\s*endpoint\s*=\s*(True|False))?\s*\)\s*"
)
_NAMES = ("angle", "theta", "tilt", "rotation", "rot")


def angles_hint(value: Any, views: int, folder: Path) -> Array:
    """Angles that a user gives, in whatever unit.

    Parameters
    ----------
    value : numbers; the name of a text, CSV, .tlt or .npy file (looked for here and in `folder`); or
        'linspace(start, stop, N)' as NumPy's, N (or nothing) standing for the number of views, with
        'endpoint=False' allowed.
    views : number of views.
    folder : folder of the data.

    Raises
    ------
    UsageError
        When it is none of these, or there is not one angle a view.
    """
    if isinstance(value, str | Path) and _LINSPACE.fullmatch(str(value)):
        angles = _linspace(str(value), views)
    elif isinstance(value, str | Path):
        path = Path(value).expanduser()
        found = next((p for p in (path, folder / path) if p.is_file()), None)
        if found is None:
            raise UsageError(
                f"angles={str(value)!r}: no such file here or in {folder}; give numbers, a file, or "
                "'linspace(0, 180, N)'."
            )
        angles = angles_file(found)
    else:
        try:
            angles = np.atleast_1d(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError):
            raise UsageError(f"angles={value!r}: give numbers, a file, or 'linspace(0, 180, N)'.") from None
    if angles.shape != (views,):
        raise UsageError(f"angles=...: {angles.size} angles were given for {views} views; give one a view.")
    return angles


def angles_file(path: Path) -> Array:
    """The numbers of a text file (one a line, or the column headed 'angle'), of an .mdoc or an .npy file.

    Raises
    ------
    InputError
        When the file holds no numbers, or several columns and none that is headed as angles.
    """
    if path.suffix == ".npy":
        loaded: Array = np.load(path, allow_pickle=False).astype(np.float64).ravel()
        return loaded
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a text file of angles ({error}).") from error
    if path.suffix == ".mdoc":
        return np.array([float(a) for a in re.findall(r"^\s*TiltAngle\s*=\s*(\S+)", text, re.MULTILINE)])
    rows = [re.split(r"[,;\s]+", line.strip(" \t,;")) for line in text.splitlines()]
    rows = [row for row in rows if row[0] and not row[0].startswith("#")]
    header = rows.pop(0) if rows and not _numeric(rows[0]) else []
    bad = next((row for row in rows if not _numeric(row)), None)
    if not rows or bad is not None:
        what = f"{' '.join(bad)!r} is no number" if bad else "there are no numbers in it"
        raise InputError(f"{path}: cannot be read as angles, {what}; write one angle a line.")
    widths = {len(row) for row in rows}
    if widths == {1} or len(rows) == 1:
        return np.array([float(word) for row in rows for word in row])
    named = [i for i, word in enumerate(header) if any(name in word.lower() for name in _NAMES)]
    if len(named) != 1 or len(widths) != 1 or named[0] >= min(widths):
        raise InputError(
            f"{path}: has {max(widths)} columns and no line above them that names one as 'angle'; write one "
            "angle a line."
        )
    return np.array([float(row[named[0]]) for row in rows])


def angles_beside(path: Path, frames: int) -> tuple[Array | None, str | None, str]:
    """Angles in a text file that lies beside the data, their unit, and a sentence on where they were found.

    Looked for are the data's own name with .tlt, .rawtlt or .mdoc, then `angles.txt`, `angles.csv` and the
    like in the folder. What holds no angles, or those of another scan, is left alone.

    Raises
    ------
    InputError
        When there are a few angles more or fewer than frames: some are missing.
    """
    folder = path if path.is_dir() else path.parent
    stems = [] if path.is_dir() else [path.name, path.stem]
    # IMOD's .tlt are refined angles, .rawtlt and .mdoc the microscope's.
    ends = (".tlt", ".rawtlt", ".mdoc", "_angles.txt", ".angles")
    own = [f"{stem}{end}" for end in ends for stem in stems]
    common = [f"{name}{end}" for name in ("angles", "theta") for end in (".txt", ".csv", ".tlt", ".rawtlt")]
    candidates = [folder / name for name in own + common]
    if path.is_dir():
        candidates += sorted(p for p in folder.iterdir() if p.suffix in (".tlt", ".rawtlt"))
    ignored = ""
    for candidate in candidates:
        if not candidate.is_file():
            continue
        try:
            angles = angles_file(candidate)
        except InputError as error:
            ignored = ignored or f"{candidate.name} was left alone: {error}"
            continue
        if angles.size == frames:
            unit = "degrees" if candidate.suffix in (".tlt", ".rawtlt", ".mdoc") else None
            return angles, unit, f"angles were found in {candidate.name}."
        if abs(angles.size - frames) <= max(2, frames // 10) and frames > 8:
            raise InputError(
                f"{path}: {candidate.name} holds {angles.size} angles for {frames} frames; copy what is "
                "missing, or give the hint angles."
            )
        ignored = ignored or (
            f"{candidate.name} holds {angles.size} numbers for {frames} frames and was left alone."
        )
    return None, None, ignored


def in_radians(
    angles: Array, unit: str | None, *, source: str, blame: type[ImageregError] = InputError
) -> tuple[Array, list[str]]:
    """Angles in radians, and what there is to say of them.

    Parameters
    ----------
    angles : (views,), in degrees or radians.
    unit : 'degrees' or 'radians' as files write them; where not given, their span decides: more than one
        turn in radians (6.4) are degrees.
    source : where the angles came from, for sentences.
    blame : the error to raise: `InputError` for a file's angles, `UsageError` for a user's.

    Raises
    ------
    blame
        When an angle is not finite, or they are said to be radians and span many turns.
    UsageError
        For an unknown unit.
    """
    if not np.isfinite(angles).all():
        first = int(np.flatnonzero(~np.isfinite(angles))[0])
        raise blame(f"{source}: the angle of view {first} is not a number; give the hint angles.")
    notes = []
    span = float(np.ptp(angles))
    degrees = is_degrees(unit)
    if degrees is None:
        degrees = span > 2 * math.pi * 1.02
        if angles.size > 1 and span <= 4 * math.pi:
            name, other = ("degrees", "radians") if degrees else ("radians", "degrees")
            notes.append(
                f"the angles of {source} span {span:.4g} without a unit: taken as {name}; give "
                f"angle_unit={other!r} if they are not."
            )
    elif not degrees and span > 4 * math.pi + 1e-6:
        raise blame(
            f"{source}: the angles span {span:.4g} and are said to be radians, which looks like degrees; "
            "give angle_unit='degrees'."
        )
    elif degrees and angles.size > 8 and (_near(span, math.pi) or _near(span, 2 * math.pi)):
        notes.append(
            f"the angles of {source} span {span:.4g} and are said to be degrees, which looks like radians; "
            "give angle_unit='radians' if they are."
        )
    steps = np.diff(angles)
    if angles.size > 2 and not ((steps > 0).all() or (steps < 0).all()):
        repeats = int((steps == 0).sum())
        what = f"{repeats} of them repeat their neighbour" if repeats else "they go to and fro"
        notes.append(f"the angles of {source} are not monotone ({what}); views keep the order of the file.")
    radians = np.deg2rad(angles) if degrees else angles
    if np.ptp(radians) > 4 * math.pi:
        turns = np.ptp(radians) / (2 * math.pi)
        notes.append(f"the scan takes {turns:.3g} turns; angles were taken modulo one turn.")
        radians = np.mod(radians, 2 * math.pi)
    return radians.astype(np.float64), notes


def is_degrees(unit: str | None) -> bool | None:
    """True for a name of degrees, False for one of radians, None where there is none.

    Raises
    ------
    UsageError
        For any other word.
    """
    if not unit:
        return None
    word = unit.strip().lower().rstrip("s")
    if word in ("deg", "degree", "°"):
        return True
    if word in ("rad", "radian"):
        return False
    raise UsageError(f"angle_unit={unit!r}: write 'degrees' or 'radians'.")


def _linspace(text: str, views: int) -> Array:
    found = _LINSPACE.fullmatch(text)
    assert found is not None
    start, stop, count, endpoint = found.groups()
    try:
        number = views if count in (None, "N", "n") else int(count)
        return np.linspace(_number(start), _number(stop), number, endpoint=endpoint != "False")
    except ValueError:
        raise UsageError(f"angles={text!r}: write 'linspace(0, 180, N)' with numbers for the ends.") from None


def _number(text: str) -> float:
    """A number, or a multiple of pi as 'pi', '2*pi' and '-pi/2'."""
    found = re.fullmatch(r"\s*(-?)(?:([\d.]+)\s*\*\s*)?pi(?:\s*/\s*([\d.]+))?\s*", text)
    if not found:
        return float(text)
    sign, factor, divisor = found.groups()
    return (-1 if sign else 1) * float(factor or 1) * math.pi / float(divisor or 1)


def _numeric(row: list[str]) -> bool:
    try:
        [float(word) for word in row]
    except ValueError:
        return False
    return True


def _near(span: float, target: float) -> bool:
    return abs(span / target - 1) < 0.02
