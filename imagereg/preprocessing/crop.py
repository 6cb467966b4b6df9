"""Crop: a part of the detector, with the geometry following."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from imagereg.errors import UsageError
from imagereg.geometry import Geometry
from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step, trimmed
from imagereg.preprocessing.layout import row_count

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

Span = tuple[int, int]


class Crop(Step):
    """Columns and rows of the detector from a first one up to, without, a last one, as in Python's slices.

    The rotation axis stays where it is in space: its column is counted from the new first column.
    """

    name: ClassVar[str] = "crop"
    title: ClassVar[str] = "Crop"
    summary: ClassVar[str] = "part of the detector, with the geometry adjusted"

    columns: Span | None = parameter(
        None, "first column and end; negative numbers count from the last", unit="columns"
    )
    rows: Span | None = parameter(
        None, "first row and end; negative numbers count from the last", unit="rows"
    )

    def rows_after(self, rows: int) -> int:
        """Rows of the crop."""
        first, end = self._rows(rows)
        return end - first

    def rows_before(self, start: int, stop: int, rows: int) -> tuple[int, int]:
        """The same rows counted on the whole detector."""
        first, _ = self._rows(rows)
        return first + start, first + stop

    def work(self, measurement: Measurement) -> Outcome:
        """The part of the scan; lazy data are read only there."""
        self._needs(measurement)
        if not self._on_band and self.rows is not None:
            if len(measurement.data.shape) == 2:
                raise UsageError("crop.rows: the data have one row; crop columns only.")
            measurement = trimmed(measurement, *self._rows(row_count(measurement)))
        if self.columns is None:
            return Outcome(measurement)
        geometry = measurement.geometry
        assert geometry is not None
        first, end = _span(self.columns, geometry.columns, "columns")
        return Outcome(take_columns(measurement, first, end))

    def _rows(self, rows: int) -> Span:
        return (0, rows) if self.rows is None else _span(self.rows, rows, "rows")


def take_columns(measurement: Measurement, first: int, end: int) -> Measurement:
    """Columns first to end of a scan in frames."""
    geometry = measurement.geometry
    assert geometry is not None

    def part(array: Any) -> Any:
        return None if array is None else array[..., first:end]

    return replace(
        measurement,
        data=part(measurement.data),
        geometry=moved_detector(geometry, first, end),
        flats=part(measurement.flats),
        darks=part(measurement.darks),
        weights=part(measurement.weights),
    )


def moved_detector(geometry: Geometry, first: int, end: int) -> Geometry:
    """The geometry of columns first to end; they may lie beyond the detector."""
    along = ((first + end - 1) / 2 - (geometry.columns - 1) / 2) * geometry.pixel
    given = np.atleast_1d(np.asarray(geometry.detector_offset, dtype=float))
    offset = (float(given[0]) + along, float(given[1]) if given.size > 1 else 0.0)
    return replace(geometry, columns=end - first, detector_offset=offset if offset[1] else offset[0])


def _span(span: Span, count: int, what: str) -> Span:
    first, end, _ = slice(*span).indices(count)
    if first >= end:
        raise UsageError(f"crop.{what} = {list(span)}: nothing is left of {count} {what}.")
    return first, end
