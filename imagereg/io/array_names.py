"""What names of arrays say, for files that are collections of arrays (.npz, HDF5, Zarr groups, .mat)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.io.file_contents import Found
from imagereg.io.lazy import LazyArray, fix
from imagereg.io.lengths import in_mm
from imagereg.measurement import Quantity, Source

SINOGRAMS = ("sinogram", "sinograms", "sino")
PROJECTIONS = ("projections", "projection", "proj", "projs", "radiographs", "counts", "transmission")
TILTS = ("tilt_series", "tiltseries")
FLATS = ("flats", "flat", "flat_field", "data_white", "white", "open_beam")
DARKS = ("darks", "dark", "dark_field", "data_dark")
ANGLES = {
    "angles_deg": "degrees",
    "theta_deg": "degrees",
    "angles_rad": "radians",
    "theta_rad": "radians",
    "angles": None,
    "theta": None,
    "tilt_angles": "degrees",
    "rotation_angle": "degrees",
}
PIXELS = {
    "pixel_mm": "mm",
    "pixel_um": "um",
    "pixel_nm": "nm",
    "pixel_angstrom": "angstrom",
    "pixel": "mm",
    "pixel_size": "mm",
}
"""Names that mean something, and the unit that they imply."""
NUMBERS = ("source_origin", "source_detector", "tilt_axis", "geometry")
TELLING = frozenset((*FLATS, *DARKS, *ANGLES, *PIXELS, *NUMBERS))


def find(arrays: Mapping[str, Any], source: Source, dataset: str | None = None) -> Found:
    """What a collection of named arrays holds.

    `projections` are (views, rows, columns), `sinogram` is (views, columns); a `tilt_series` is (views,
    columns, rows), its tilt axis the last one, unless an entry `tilt_axis` says 'middle'. Where no axis
    of that order has as many elements as there are angles and one other has, that one holds the views.
    What has no angles and none of these names is an image.

    Parameters
    ----------
    arrays : name -> array (lazy or not), number or text.
    source : where they are.
    dataset : name of the array to take; needed where several could be meant.

    Raises
    ------
    InputError
        When there is no array of two or more axes, or several and none with a telling name.
    UsageError
        When `dataset` is not there.
    """
    name = choose(arrays, source, dataset)
    data = arrays[name]
    found = Found(Source(source.path, source.format, name), data)
    angles = _angles_of(arrays)
    short = plain(name)
    telling = short in (*SINOGRAMS, *PROJECTIONS, *TILTS)
    if not telling and (angles is None or arrays[angles].size not in data.shape):
        return found
    if angles is not None:
        found.angles, found.angle_unit = np.asarray(arrays[angles]).ravel(), unit_of(angles)
    ndim = len(data.shape)
    if ndim == 3 and 1 in data.shape and short in SINOGRAMS:
        data = found.data = fix(data, data.shape.index(1))
        ndim = 2
    if ndim not in (2, 3):
        raise InputError(
            f"{source.path}: {name} of shape {tuple(data.shape)} is no scan; it has {ndim} axes."
        )
    if short in TILTS and ndim == 3:
        told = str(np.asarray(arrays.get("tilt_axis", "")))
        middle = "middle" in told.lower()
        found.axes = ("views", "rows", "columns") if middle else ("views", "columns", "rows")
        where = f"as its entry tilt_axis says ({told!r})" if told else "the custom for arrays of this name"
        found.notes.append(
            f"the tilt axis lies along the {'middle' if middle else 'last'} axis of {name}, {where}; give "
            "axes='views,rows,columns' or 'views,columns,rows' if it does not."
        )
    else:
        found.axes = ("views", "rows", "columns") if ndim == 3 else ("views", "columns")
    if found.angles is not None:
        found.axes = axes_by_angles(data.shape, len(found.angles), found.axes, found.notes)
    found.flats = next((arrays[key] for key in FLATS if key in arrays), None)
    found.darks = next((arrays[key] for key in DARKS if key in arrays), None)
    for key, unit in PIXELS.items():
        if key in arrays and np.ndim(arrays[key]) == 0:
            found.pixel = in_mm(float(arrays[key]), unit)
            break
    for key in ("source_origin", "source_detector"):
        if key in arrays:
            setattr(found, key, float(arrays[key]))
    if found.source_origin and found.source_detector:
        found.beam = str(np.asarray(arrays.get("geometry", "fan" if ndim == 2 else "cone")))
    found.quantity = guess_quantity(short, found)
    return found


def with_arrays(arrays: Mapping[str, Any], source: Source, hints: Mapping[str, Any]) -> dict[str, Any]:
    """The hints with arrays of the file in place of their names: angles, flats and darks as 'file:NAME'.

    Raises
    ------
    UsageError
        When there is no such array; the sentence names those that could be meant.
    """
    given = dict(hints)
    for hint in ("angles", "flats", "darks"):
        value = given.get(hint)
        if not isinstance(value, str) or not value.startswith("file:"):
            continue
        name = value.removeprefix("file:").strip("/")
        if not hasattr(arrays.get(name), "shape"):
            likely = [
                key for key, array in arrays.items() if (_vector if hint == "angles" else _numeric)(array)
            ]
            raise UsageError(
                f"{source.path}: {hint}={value!r}: no such array{did_you_mean(name, likely[:20])}."
            )
        given[hint] = np.asarray(arrays[name])
        if hint == "angles":
            given[hint] = given[hint].ravel()
            if "angle_unit" not in given and unit_of(name):
                given["angle_unit"] = unit_of(name)
    return given


def plain(name: str) -> str:
    """The name without its folder in small letters; 'sinogram' for sinoRD, sino_corrected and the like."""
    short = name.rpartition("/")[2]
    return "sinogram" if words(short)[:1] in (["sino"], ["sinogram"]) else short.lower()


def words(name: str) -> list[str]:
    """The words of a name in small letters: 'anglesRad' has angles and rad."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def unit_of(name: str) -> str | None:
    """The unit that the name of angles implies: 'degrees' for theta_deg, 'radians' for anglesRad."""
    short = name.rpartition("/")[2]
    if short.lower() in ANGLES:
        return ANGLES[short.lower()]
    said = set(words(short))
    if said & {"rad", "rads", "radian", "radians"}:
        return "radians"
    return "degrees" if said & {"deg", "degs", "degree", "degrees"} else None


def _angles_of(arrays: Mapping[str, Any]) -> str | None:
    """The array of angles: one of the known names, else the only vector with angle or theta in its name."""
    known = next((key for key in ANGLES if _vector(arrays.get(key))), None)
    if known is not None:
        return known
    named = {"angle", "angles", "theta", "thetas"}
    likely = [
        key for key, array in arrays.items() if named & set(words(key.rpartition("/")[2])) and _vector(array)
    ]
    # A dataset of a group may be listed by its short name, too.
    short = {key.rpartition("/")[2]: key for key in likely}
    return next(iter(short.values())) if len(short) == 1 else None


def choose(arrays: Mapping[str, Any], source: Source, dataset: str | None) -> str:
    """The name of the array that holds the data."""
    candidates = [name for name, array in arrays.items() if _numeric(array)]
    listed = ", ".join(f"{name} {tuple(arrays[name].shape)}" for name in candidates[:12])
    more = f" and {len(candidates) - 12} more" if len(candidates) > 12 else ""
    if dataset is not None:
        if dataset.lstrip("/") in candidates:
            return dataset.lstrip("/")
        raise UsageError(
            f"{source.path}: there is no array {dataset!r} of two or more axes"
            f"{did_you_mean(dataset, candidates) if len(candidates) < 13 else ''}; there are {listed}{more}."
            if candidates
            else f"{source.path}: holds no array of two or more axes, so no {dataset!r}."
        )
    if not candidates:
        raise InputError(f"{source.path}: holds no array of numbers with two or more axes.")
    short = {plain(name): name for name in reversed(candidates)}
    for telling in (*PROJECTIONS, *TILTS, *SINOGRAMS):
        if telling in short:
            return short[telling]
    candidates = [name for name in candidates if name.rpartition("/")[2].lower() not in (*FLATS, *DARKS)]
    if len(candidates) == 1:
        return candidates[0]
    angles = _angles_of(arrays)
    if angles is not None:
        fits = [name for name in candidates if arrays[angles].size in arrays[name].shape]
        if len(fits) == 1:
            return fits[0]
    for telling in ("data", "image", "images", "volume"):
        if telling in short:
            return short[telling]
    raise InputError(
        f"{source.path}: several arrays could be meant; give the hint dataset with one of {listed}{more}."
    )


def axes_by_angles(
    shape: tuple[int, ...], count: int, axes: tuple[str, ...], notes: list[str]
) -> tuple[str, ...]:
    """The order of axes, with the views where the shape has as many elements as there are angles."""
    if shape[axes.index("views")] == count or shape.count(count) != 1:
        return axes
    there = shape.index(count)
    rest = [axis for axis in axes if axis != "views"]
    found = (*rest[:there], "views", *rest[there:])
    notes.append(
        f"axis {there} has as many elements as there are angles ({count}): the order {', '.join(found)} is "
        "assumed; give the hint axes if it is another."
    )
    return found


def guess_quantity(name: str, found: Found) -> Quantity:
    """What values are, by name, type and range; the guess is noted.

    Whole numbers are counts, except in electron tilt series, whose intensity is itself the line integral.
    Numbers that stay between 0 and 1.5 in projections are transmissions.
    """
    if name in ("counts", "transmission"):
        return name  # type: ignore[return-value]
    if name in TILTS:
        found.electrons = True
        found.notes.append(
            "the intensity of a tilt series is taken as the line integral itself, up to an offset "
            "(dark-field electrons); give quantity='counts' for bright field."
        )
        return "line_integrals"
    if found.data.dtype.kind in "iu" or found.flats is not None:
        return "counts"
    if name in SINOGRAMS:
        return "line_integrals"
    step = max(1, found.data.shape[0] // 8)
    sample = np.asarray(found.data[::step], dtype=np.float64)
    low, high = float(np.nanmin(sample)), float(np.nanmax(sample))
    quantity: Quantity = "line_integrals"
    if low >= 0 and high > 50:
        quantity = "counts"
    elif low > 0 and high <= 1.5 and name in PROJECTIONS:
        quantity = "transmission"
    found.notes.append(
        f"values from {low:.3g} to {high:.3g} are taken as {quantity.replace('_', ' ')}; give the hint "
        "quantity if they are not."
    )
    return quantity


def _numeric(array: Any) -> bool:
    if not isinstance(array, np.ndarray | LazyArray) or len(array.shape) < 2 or 0 in array.shape:
        return False
    # MATLAB has no vectors: one row or one column is one.
    return array.dtype.kind in "iufb" and not (len(array.shape) == 2 and 1 in array.shape)


def _vector(array: Any) -> bool:
    if array is None or not hasattr(array, "shape") or array.dtype.kind not in "iuf":
        return False
    shape = [length for length in array.shape if length > 1]
    return len(shape) == 1
