"""What every scan geometry with a rotation axis has in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagereg.errors import UsageError, did_you_mean
from imagereg.geometry.arcs import shares

Array = NDArray[np.float64]
ASIDE = 1.1  # the detector's longer side over its shorter one from which a whole turn sees more than one view


class ViewVectors(NamedTuple):
    """Where the source and the detector are in each view, in mm, as (views, 3) arrays of x, y, z.

    `source` is the source's position, or the rays' direction where the beam is parallel. `centre` is
    the middle of the detector, `column` the step from one column to the next, `row` the step from one
    row to the next.
    """

    source: Array
    centre: Array
    column: Array
    row: Array


@dataclass(frozen=True, eq=False)
class Geometry:
    """A circular scan: one rotation axis (z), one flat detector, one angle a view.

    In view `a` the detector's columns run along (cos a, sin a, 0) and its rows along (0, 0, 1); the
    rays run along (-sin a, cos a, 0) from the source to the detector. A point (x, y) falls at the
    signed distance t = x cos a + y sin a from the axis.

    Parameters
    ----------
    angles : (views,) in radians.
    columns : number of detector columns.
    pixel : width of a detector column in mm.
    rows : number of detector rows.
    row_pixel : height of a detector row in mm; the width where not given.
    axis_offset : distance in mm, along the columns, of the rotation axis from the central ray
        (centre-of-rotation offset).
    detector_offset : displacement in mm of the detector's middle from the central ray, along the
        columns, or a pair (columns, rows).
    shifts : (views,) or (views, 2), displacement in mm of the detector in each view.
    tilt : rotation of the detector in its own plane, in radians, from columns towards rows.

    Raises
    ------
    UsageError
        In one sentence, for angles that look like degrees, non-finite values or wrong lengths.
    """

    angles: Array
    columns: int
    pixel: float = 1.0
    rows: int = 1
    row_pixel: float | None = None
    axis_offset: float = 0.0
    detector_offset: float | tuple[float, float] = 0.0
    shifts: Array | None = None
    tilt: float = 0.0

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        name = type(self).__name__
        angles = _frozen(self.angles, f"{name}(angles=...): give a list of angles in radians, one a view.")
        if angles.ndim != 1 or angles.size == 0 or not np.isfinite(angles).all():
            raise UsageError(f"{name}(angles=...): give a list of finite angles in radians, one a view.")
        if float(np.ptp(angles)) > 4 * math.pi + 1e-6:
            raise UsageError(
                f"{name}(angles=...): they span {np.ptp(angles):.4g}, which looks like degrees; give "
                "radians (numpy.deg2rad), and angles of several turns modulo 2 pi."
            )
        object.__setattr__(self, "angles", angles)
        for field in ("columns", "rows"):
            value = _number(getattr(self, field))
            if not (value >= 1 and value == math.floor(value)):
                raise UsageError(
                    f"{name}({field}={getattr(self, field)!r}): give a whole number of at least 1."
                )
            object.__setattr__(self, field, int(value))
        for field in ("pixel", "row_pixel"):
            if getattr(self, field) is not None:
                value = _number(getattr(self, field))
                if not 0 < value < math.inf:
                    raise UsageError(
                        f"{name}({field}={getattr(self, field)!r}): give a positive length in mm."
                    )
                object.__setattr__(self, field, value)
        for field in ("axis_offset", "tilt"):
            value = _number(getattr(self, field))
            if not math.isfinite(value) or (field == "tilt" and abs(value) >= math.pi / 2):
                wanted = "an angle in radians between -pi/2 and pi/2" if field == "tilt" else "a length in mm"
                raise UsageError(f"{name}({field}={getattr(self, field)!r}): give {wanted}.")
            object.__setattr__(self, field, value)
        object.__setattr__(self, "detector_offset", self._displacement())
        if self.shifts is not None:
            object.__setattr__(self, "shifts", self._jitter())

    def _displacement(self) -> float | tuple[float, float]:
        """The given `detector_offset` as one number, or as a pair where the rows are displaced too."""
        given = self.detector_offset
        pair = [_number(v) for v in (given if isinstance(given, Sequence | np.ndarray) else (given,))]
        if len(pair) not in (1, 2) or not all(map(math.isfinite, pair)):
            raise UsageError(
                f"{type(self).__name__}(detector_offset={given!r}): give one finite length in mm, or a pair "
                "(along the columns, along the rows)."
            )
        return pair[0] if len(pair) == 1 or pair[1] == 0 else (pair[0], pair[1])

    def _jitter(self) -> Array:
        """The given `shifts` as (views, 2) in mm."""
        wanted = f"{type(self).__name__}(shifts=...): give (views,) or (views, 2) finite lengths in mm"
        shifts = _frozen(self.shifts, f"{wanted}.")  # type: ignore[arg-type]
        shifts = shifts[:, None] if shifts.ndim == 1 else shifts
        if shifts.shape[:1] != self.angles.shape or shifts.shape[1:] not in ((1,), (2,)):
            raise UsageError(f"{wanted}; shape {shifts.shape} does not fit {self.angles.size} views.")
        if not np.isfinite(shifts).all():
            raise UsageError(f"{wanted}; some are not finite.")
        pair = np.zeros((self.angles.size, 2))
        pair[:, : shifts.shape[1]] = shifts
        return _frozen(pair)

    # ------------------------------------------------------------------ what it looks like
    @property
    def views(self) -> int:
        """Number of views."""
        return int(self.angles.size)

    @property
    def row_edge(self) -> float:
        """Height of a detector row in mm."""
        return self.pixel if self.row_pixel is None else self.row_pixel

    @property
    def magnification(self) -> float:
        """Size of an object's shadow on the detector over the object's size, at the axis."""
        return 1.0

    @property
    def ndim(self) -> int:
        """2 where a view is a line of columns that belongs to one slice, 3 where it is a picture."""
        return 2

    @property
    def data_shape(self) -> tuple[int, ...]:
        """(views, columns), or (views, rows, columns) where rows belong together."""
        return (self.views, self.columns) if self.ndim == 2 else (self.views, self.rows, self.columns)

    @property
    def offsets(self) -> Array:
        """(views, 2): displacement of the detector's middle along columns and rows in mm, all told."""
        given = np.atleast_1d(np.asarray(self.detector_offset, dtype=np.float64))
        pair = np.zeros((self.views, 2))
        pair[:, : given.size] += given
        return pair if self.shifts is None else pair + self.shifts

    @property
    def centre_of_rotation(self) -> float:
        """Column (0 is the middle of the first one) on which the rotation axis falls, in the middle row."""
        offset = np.atleast_1d(np.asarray(self.detector_offset, dtype=np.float64))[0]
        # On a tilted detector the axis crosses the middle row at 1/cos of its distance from the middle.
        across = (self.axis_offset * self.magnification - offset) / math.cos(self.tilt)
        return float((self.columns - 1) / 2 + across / self.pixel)

    @property
    def sides(self) -> tuple[float, float]:
        """Distances in mm, at the axis, from the axis to the nearer and farther edge of the detector."""
        left = (self.centre_of_rotation + 0.5) * self.pixel / self.magnification
        right = self.columns * self.pixel / self.magnification - left
        return min(left, right), max(left, right)

    @property
    def closed(self) -> bool:
        """Whether the views go all the way round, without a missing wedge."""
        return self.views > 2 and shares(self.angles, 2 * math.pi)[1] == 0.0

    @property
    def half_acquired(self) -> bool:
        """Whether the axis of a whole turn lies aside, so that opposite views see what one alone does not."""
        short, far = self.sides
        return self.closed and 0 < short < far / ASIDE

    def with_centre(self, column: float) -> Self:
        """The same scan with the rotation axis falling on detector column `column`."""
        if not math.isfinite(column):
            raise UsageError(f"with_centre({column}): give the detector column that the axis falls on.")
        offset = np.atleast_1d(np.asarray(self.detector_offset, dtype=np.float64))[0]
        across = (column - (self.columns - 1) / 2) * self.pixel * math.cos(self.tilt) + offset
        return replace(self, axis_offset=float(across / self.magnification))

    def vectors(self) -> ViewVectors:
        """Source, detector and steps of each view in mm (see `ViewVectors`)."""
        raise TypeError(f"{type(self).__name__} is not a geometry of its own.")

    def _axes(self) -> tuple[Array, Array, Array]:
        """Unit vectors of each view: along the columns, along the rows, along the beam."""
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        nought = np.zeros_like(cos)
        along_columns = np.stack([cos, sin, nought], axis=1)
        along_beam = np.stack([-sin, cos, nought], axis=1)
        along_rows = np.broadcast_to(np.array([0.0, 0.0, 1.0]), along_beam.shape).copy()
        return along_columns, along_rows, along_beam

    def _steps(self) -> tuple[Array, Array]:
        """Steps from column to column and row to row, with the detector's tilt."""
        along_columns, along_rows, _ = self._axes()
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        column = (cos * along_columns + sin * along_rows) * self.pixel
        row = (-sin * along_columns + cos * along_rows) * self.row_edge
        return column, row

    # ------------------------------------------------------------------ a value among values
    def __getitem__(self, views: slice | ArrayLike) -> Self:
        """The scan of some of the views: `geometry[::2]`, `geometry[[0, 5]]`, `geometry[mask]`."""
        index: Any = views if isinstance(views, slice) else np.asarray(views)
        if not isinstance(index, slice) and index.ndim == 0:
            index = slice(int(index), int(index) + 1 or None)
        angles = self.angles[index]
        if angles.size == 0:
            raise IndexError(f"{type(self).__name__}: no view of {self.views} is left by this index.")
        return replace(self, angles=angles, shifts=None if self.shifts is None else self.shifts[index])

    def __len__(self) -> int:
        return self.views

    def _key(self) -> tuple[Any, ...]:
        values = [getattr(self, field.name) for field in fields(self)]
        return tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in values)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._key() == other._key()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def as_dict(self) -> dict[str, Any]:
        """Plain values that `from_dict` reads back, for recipes and provenance."""
        values: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                values[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Geometry:
        """The geometry that `as_dict` described.

        Raises
        ------
        UsageError
            For an unknown kind or field, or values that the geometry refuses.
        """
        kinds = {kind.kind: kind for kind in _descendants(Geometry) if kind.kind}
        name = str(values.get("kind", ""))
        if name not in kinds:
            raise UsageError(f"geometry.kind = {name!r}: no such geometry{did_you_mean(name, kinds)}.")
        given = {key: value for key, value in values.items() if key != "kind"}
        known = [field.name for field in fields(kinds[name])]
        for key in given:
            if key not in known:
                raise UsageError(
                    f"geometry.{key}: a {name} beam has no such field{did_you_mean(key, known)}."
                )
        missing = [key for key in ("angles", "columns") if key not in given]
        if missing:
            raise UsageError(f"geometry: {' and '.join(missing)} missing; a {name} beam needs them.")
        return kinds[name](**given)

    def __str__(self) -> str:
        detector = f"{self.columns}" if self.rows == 1 else f"{self.rows} x {self.columns}"
        arc = math.degrees(float(np.ptp(self.angles)))
        return (
            f"{type(self).__name__} {self.views} views over {arc:.4g} deg, detector {detector} pixels of "
            f"{self.pixel:.6g} mm, axis on column {self.centre_of_rotation:.2f}"
        )

    __repr__ = __str__


def _frozen(values: ArrayLike, complaint: str = "") -> Array:
    try:
        array = np.array(values, dtype=np.float64) + 0.0  # no negative zeros: equal scans have equal bytes
    except (TypeError, ValueError):
        raise UsageError(complaint) from None
    array.setflags(write=False)
    return array


def _number(value: Any) -> float:
    """A plain number, or NaN, which every check refuses."""
    try:
        return float(value) + 0.0
    except (TypeError, ValueError):
        return math.nan


def _descendants(kind: type[Geometry]) -> Iterator[type[Geometry]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)
