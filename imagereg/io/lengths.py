"""Lengths in files and hints, in mm."""

from __future__ import annotations

import math
import re
from typing import Any

from imagereg.errors import UsageError

_MM = {
    "m": 1e3,
    "cm": 10.0,
    "mm": 1.0,
    "um": 1e-3,
    "nm": 1e-6,
    "pm": 1e-9,
    "angstrom": 1e-7,
    "in": 25.4,
    "mil": 25.4e-3,
}
_ALIASES = {
    "meter": "m",
    "metre": "m",
    "centimeter": "cm",
    "centimetre": "cm",
    "millimeter": "mm",
    "millimetre": "mm",
    "micrometer": "um",
    "micrometre": "um",
    "micron": "um",
    "µm": "um",
    "μm": "um",
    "\\u00b5m": "um",
    "nanometer": "nm",
    "nanometre": "nm",
    "picometer": "pm",
    "picometre": "pm",
    "å": "angstrom",
    "a": "angstrom",
    "ang": "angstrom",
    "inch": "in",
    "inches": "in",
}
_SMALLEST, _WIDEST = 1e-6, 10.0
_LONG = {"mm": "millimeter", "um": "micrometer", "nm": "nanometer", "m": "meter", "cm": "centimeter"}


def unit_in_mm(unit: str) -> float | None:
    """Millimetres in one `unit` of length, None for what is no unit of length."""
    word = unit.strip().lower()
    for candidate in (word, word.removesuffix("s")):
        short = _ALIASES.get(candidate, candidate)
        if short in _MM:
            return _MM[short]
    return None


def in_mm(value: float, unit: str | None, *, default: str = "mm") -> float | None:
    """A positive, finite length in mm; None where value or unit make no sense."""
    factor = unit_in_mm(unit) if unit else _MM[default]
    length = float(value) * factor if factor else math.nan
    return length if math.isfinite(length) and length > 0 else None


def pixel_size(value: float, unit: str, place: str) -> tuple[float | None, list[str]]:
    """A pixel's edge in mm out of a file, and what there is to say of it; one policy for all formats.

    Parameters
    ----------
    value, unit : what the file says, the unit '' where it says none: then the first of metres, micrometres
        and millimetres that makes a pixel between 1 nm and 1 mm is assumed.
    place : where it was found, for sentences.
    """
    if not math.isfinite(value) or value == 0:
        return None, []
    value = abs(value)
    if unit:
        size = in_mm(value, unit)
        if size is None:
            return None, [
                f"{place} = {value:.6g} {unit} is no length and was left alone; give the hint pixel."
            ]
        if _SMALLEST <= size <= _WIDEST:
            return size, []
        return size, [
            f"{place} = {value:.6g} {unit} makes a pixel of {size:.6g} mm, which no detector has; give the "
            "hint pixel if it is wrong."
        ]
    for word in ("m", "um", "mm"):
        size = value * _MM[word]
        if _SMALLEST <= size <= 1:
            return size, [
                f"{place} = {value:.6g} has no unit: {word} assumed, {size:.6g} mm; give the hint pixel if "
                "it is another."
            ]
    return None, [f"{place} = {value:.6g} has no unit and is no pixel in any; give the hint pixel."]


def length_hint(value: Any, name: str) -> float:
    """A length that a user gives: a number in mm, or a text with its unit as '3.36 nm'.

    Raises
    ------
    UsageError
        For what is no positive length.
    """
    length: float | None = None
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([-+0-9.eE]+)\s*([^\d\s]*)\s*", value)
        if found:
            try:
                length = in_mm(float(found.group(1)), found.group(2) or None)
            except ValueError:
                length = None
    else:
        try:
            length = in_mm(float(value), None)
        except (TypeError, ValueError):
            length = None
    if length is None:
        raise UsageError(
            f"{name}={value!r}: give a positive length in mm, or a text with its unit as '3.36 nm'."
        )
    return length


def long_name(unit: str) -> str:
    """The unit's long name ('millimeter') as OME-Zarr wants it; '' for pixels and what is no length."""
    factor = unit_in_mm(unit) if unit else None
    for short, long in _LONG.items():
        if factor is not None and math.isclose(factor, _MM[short]):
            return long
    return "angstrom" if factor == _MM["angstrom"] else ""
