"""What a reader found in a file, and how it becomes a Measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam
from imagereg.io import links
from imagereg.io.angles import angles_hint, in_radians, is_degrees
from imagereg.io.axes import image_axes, scan_order
from imagereg.io.complete import usable
from imagereg.io.lazy import transpose
from imagereg.io.lengths import length_hint
from imagereg.measurement import Measurement, Quantity, Source

SCAN_HINTS = frozenset(
    {
        "angles", "angle_unit", "geometry", "pixel", "row_pixel", "centre", "source_origin",
        "source_detector", "flats", "darks", "axes", "quantity", "follow_links",
    }
)  # fmt: skip
IMAGE_HINTS = frozenset({"axes", "pixel", "quantity", "follow_links"})

_BEAMS: dict[str, type[Geometry]] = {"parallel": ParallelBeam, "fan": FanBeam, "cone": ConeBeam}


@dataclass
class Found:
    """What a file says, in the order and the units of imagereg, gaps left open.

    Parameters
    ----------
    source : the file, its format and the place inside it.
    data : frames, lazy or in memory.
    axes : names of the axes of `data`: 'views', 'rows', 'columns' for scans, letters as 'ZYX' for images.
    flats, darks : frames in the order of `data`'s axes, or one frame.
    flat_times, view_times : when each flat and each view was taken, in one unit (see `Measurement`).
    angles, angle_unit : one a view, and their unit where the file gives it.
    beam : 'parallel', 'fan' or 'cone'.
    pixel, row_pixel : edges of a detector pixel in mm.
    source_origin, source_detector : distances in mm.
    centre : detector column of the rotation axis; the middle of the detector where not given.
    detector_offset : displacement of the detector's middle from the central ray in mm, (columns, rows).
    voxel : edges of an image's pixel in mm by the letter of their axis.
    electrons : whether the line integrals are intensities of electrons.
    notes : one sentence a thing worth saying.
    """

    source: Source
    data: Any
    axes: tuple[str, ...] = ()
    flats: Any = None
    flat_times: tuple[float, ...] | None = None
    view_times: tuple[float, ...] | None = None
    darks: Any = None
    angles: Any = None
    angle_unit: str | None = None
    beam: str = "parallel"
    pixel: float | None = None
    row_pixel: float | None = None
    source_origin: float | None = None
    source_detector: float | None = None
    centre: float | None = None
    detector_offset: tuple[float, float] | None = None
    quantity: Quantity | None = None
    voxel: Mapping[str, float] = field(default_factory=dict)
    electrons: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The file or folder."""
        return self.source.path


def scan(found: Found, hints: Mapping[str, Any]) -> Measurement:
    """The measurement of a scan; hints override what the file says, gaps are filled and noted.

    Parameters
    ----------
    found : what the reader found.
    hints : angles (numbers, a file, 'linspace(0, 180, N)'), angle_unit ('degrees', 'radians'), geometry
        ('parallel', 'fan', 'cone'), pixel and row_pixel (mm, or text with a unit), centre (detector column
        of the rotation axis), source_origin and source_detector (mm), flats and darks (arrays or files),
        axes (order of the file's axes), quantity.

    Raises
    ------
    InputError
        When parts of the file do not fit together.
    UsageError
        When a hint does not fit.
    """
    links.check(found.path, (found.data, found.flats, found.darks), hints, found.notes)
    parts = {"data": found.data, "flats": found.flats, "darks": found.darks}
    usable(found.source, parts, found.notes, is_scan=True)
    notes = list(found.notes)
    order = scan_order(hints.get("axes"), found.axes, len(found.data.shape))
    data = transpose(found.data, order)
    columns = int(data.shape[-1])
    rows = int(data.shape[1]) if len(data.shape) == 3 else 1
    # Angles first: what they say of exchanged axes is plainer than that flats do not fit.
    angles = _angles(hints, found, data, notes)
    flats, darks = (
        _frames(name, hints.get(name), getattr(found, name), data, order, found, notes)
        for name in ("flats", "darks")
    )
    quantity = quantity_of(hints, found, "line_integrals")
    if quantity == "counts" and flats is None:
        notes.append("no flats in the file; give the hint flats to normalise the counts by the open beam.")
    elif quantity == "counts" and darks is None:
        notes.append("no darks in the file: zero is assumed; give the hint darks.")
    values: dict[str, Any] = {"angles": angles, "columns": columns, "rows": rows}
    values["pixel"] = length_hint(hints["pixel"], "pixel") if "pixel" in hints else found.pixel
    assumed = values["pixel"] is None
    if assumed:
        values["pixel"] = 1.0
        notes.append("no pixel size in the file: 1 mm assumed; give the hint pixel (mm).")
    row_pixel = length_hint(hints["row_pixel"], "row_pixel") if "row_pixel" in hints else found.row_pixel
    if row_pixel is not None and "pixel" in hints and "row_pixel" not in hints:
        row_pixel = None
    if row_pixel is not None and not math.isclose(row_pixel, values["pixel"], rel_tol=1e-6):
        values["row_pixel"] = row_pixel
    geometry = _beam(hints, found, values, notes)
    if found.detector_offset is not None and geometry.kind == found.beam:
        geometry = replace(geometry, detector_offset=found.detector_offset)
    centre = hints.get("centre", found.centre)
    if centre is not None:
        geometry = geometry.with_centre(_number("centre", centre))
    return Measurement(
        data,
        geometry=geometry,
        quantity=quantity,
        flats=flats,
        darks=darks,
        flat_times=None if "flats" in hints or flats is None else found.flat_times,
        view_times=None if found.flat_times is None else found.view_times,
        source=found.source,
        notes=tuple(notes),
        pixel_assumed=assumed,
        intensities=found.electrons and quantity == "line_integrals",
    )


def image(found: Found, hints: Mapping[str, Any]) -> Measurement:
    """The measurement that is an image or a stack of images; hints are axes, pixel and quantity."""
    links.check(found.path, (found.data,), hints, found.notes)
    usable(found.source, {"data": found.data}, found.notes, is_scan=False)
    notes = list(found.notes)
    data, axes = image_axes(found.data, hints.get("axes") or "".join(found.axes))
    spatial = axes.replace("C", "")
    voxel: tuple[float, ...] = ()
    if "pixel" in hints:
        given = hints["pixel"]
        edges = given if isinstance(given, tuple | list) else [given] * len(spatial)
        voxel = tuple(length_hint(edge, "pixel") for edge in edges)
        if len(voxel) != len(spatial):
            raise UsageError(
                f"pixel={given!r}: give one length in mm, or one for each of the axes {spatial}."
            )
    elif "Y" in found.voxel and "X" in found.voxel:
        voxel = tuple(found.voxel.get(letter, found.voxel["Y"]) for letter in spatial)
        if "Z" in spatial and "Z" not in found.voxel:
            notes.append(
                "no distance between slices in the file: that of the rows is assumed; give the hint pixel."
            )
    else:
        notes.append("no pixel size in the file; give the hint pixel (mm) where lengths matter.")
    return Measurement(
        data,
        quantity=quantity_of(hints, found, "image"),
        axes=axes,
        pixel=voxel,
        unit="mm" if voxel else "",
        source=found.source,
        notes=tuple(notes),
    )


def quantity_of(hints: Mapping[str, Any], found: Found, default: Quantity) -> Quantity:
    """What the data hold: the hint, what the reader found, or the default."""
    quantity = hints.get("quantity") or found.quantity or default
    known = get_args(Quantity)
    if quantity not in known:
        raise UsageError(f"quantity={quantity!r} is unknown{did_you_mean(str(quantity), known)}.")
    return quantity  # type: ignore[no-any-return]


def _angles(hints: Mapping[str, Any], found: Found, data: Any, notes: list[str]) -> Any:
    views = int(data.shape[0])
    radians: Any
    unit = hints.get("angle_unit")
    is_degrees(unit)
    blame = UsageError if unit or "angles" in hints else InputError
    if "angles" in hints:
        angles = angles_hint(hints["angles"], views, found.path.parent)
        radians, said = in_radians(angles, unit, source="the hint 'angles'", blame=blame)
    elif found.angles is not None:
        angles = np.asarray(found.angles, dtype=np.float64).ravel()
        if angles.size != views:
            raise InputError(_misfit(found.path, angles.size, data.shape))
        try:
            is_degrees(found.angle_unit)
            unit = unit or found.angle_unit
        except UsageError:
            notes.append(f"the unit {found.angle_unit!r} of the angles is unknown and was left alone.")
        radians, said = in_radians(angles, unit, source=found.path.name, blame=blame)
    else:
        radians, said = (
            np.arange(views) * (math.pi / views),
            [
                f"no angles in the file: {views} views over 180 degrees assumed, the last one left out; give "
                "the hint angles."
            ],
        )
    notes.extend(said)
    return radians


def _misfit(path: Path, angles: int, shape: tuple[int, ...]) -> str:
    names = ["views", "rows", "columns"] if len(shape) == 3 else ["views", "columns"]
    fits = [axis for axis, length in enumerate(shape) if length == angles]
    advice = "give the hint angles"
    if len(fits) == 1:
        axis = fits[0]
        names[0], names[axis] = names[axis], names[0]
        advice = f"axis {axis} has as many, so give axes='{','.join(names)}' if the views lie along it"
    return f"{path}: {angles} angles for {shape[0]} views (data of shape {tuple(shape)}); {advice}."


def _beam(hints: Mapping[str, Any], found: Found, values: dict[str, Any], notes: list[str]) -> Geometry:
    kind = hints.get("geometry", found.beam)
    if kind not in _BEAMS:
        raise UsageError(f"geometry={kind!r} is unknown{did_you_mean(str(kind), _BEAMS)}.")
    if kind != "parallel":
        for name in ("source_origin", "source_detector"):
            distance = length_hint(hints[name], name) if name in hints else getattr(found, name)
            if distance is None:
                raise UsageError(f"{found.path}: a {kind} beam needs {name}; give the hint {name} (mm).")
            values[name] = distance
    elif "source_origin" in hints or "source_detector" in hints:
        raise UsageError("source_origin and source_detector are of fan and cone beams; give geometry='cone'.")
    try:
        return _BEAMS[kind](**values)
    except ValueError as error:
        raise InputError(f"{found.path}: {error}") from error


def _frames(
    name: str, hint: Any, stored: Any, data: Any, order: tuple[int, ...], found: Found, notes: list[str]
) -> Any:
    """Flats or darks as (frames, rows, columns) or (frames, columns)."""
    frames = stored
    if hint is not None:
        frames = read_frames(name, hint, found.path.parent)
    if frames is None:
        return None
    wanted = tuple(data.shape[1:])
    if len(frames.shape) == len(data.shape) - 1:
        frames = np.asarray(frames)[None]
    elif hint is None and len(frames.shape) == len(data.shape):
        # Flats lie along the data's axes, or frame by frame where only the data were reordered.
        along = transpose(frames, order)
        frames = along if tuple(along.shape[1:]) == wanted else frames
    if frames.shape[0] == 0:
        notes.append(f"the file has no {name}, only an empty place for them.")
        return None
    if tuple(frames.shape[1:]) != wanted:
        raise InputError(
            f"{found.path}: {name} of shape {tuple(frames.shape)} do not fit projections of "
            f"{' x '.join(map(str, wanted))} pixels; give the hint {name}."
        )
    return frames


def read_frames(name: str, hint: Any, folder: Path) -> Any:
    """Frames that a hint gives: an array, or a file or folder (here or in `folder`), or 'file.h5:place'."""
    from imagereg.io.base import read

    if not isinstance(hint, str | Path):
        return np.asarray(hint)
    text = str(hint)
    for base in (Path(), folder):
        if (base / Path(text).expanduser()).exists():
            return read(base / Path(text).expanduser()).data
        file, colon, place = text.rpartition(":")
        if colon and (base / Path(file).expanduser()).is_file():
            return read(base / Path(file).expanduser(), dataset=place).data
    raise UsageError(f"{name}={text!r}: no such file or folder here or in {folder}.")


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{name}={value!r}: give a finite number.")
    return number
