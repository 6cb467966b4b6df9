"""Binning: neighbouring pixels averaged into one, with the geometry following."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from imagereg.errors import UsageError
from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.crop import moved_detector
from imagereg.preprocessing.layout import Frames, row_count, stack, stack_weights, with_stack

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class Bin(Step):
    """Averages over blocks of pixels, weighted where there are weights; pixels grow by as much.

    Columns and rows left over at the end are dropped. The rotation axis stays where it is in space: column
    c becomes (c + 1/2) / factor - 1/2. Flats and darks are binned alike; weights add up.
    """

    name: ClassVar[str] = "bin"
    title: ClassVar[str] = "Bin"
    summary: ClassVar[str] = "blocks of pixels averaged into one: less noise, less memory, coarser detail"

    columns: int = parameter(2, "columns averaged into one", ge=1, unit="columns")
    rows: int | None = parameter(
        None,
        "rows averaged into one; as many as columns where not given, 1 for a scan of one row",
        ge=1,
        unit="rows",
    )

    def rows_after(self, rows: int) -> int:
        """Rows of blocks."""
        return rows // self._rows(rows)

    def rows_before(self, start: int, stop: int, rows: int) -> tuple[int, int]:
        """Rows of the blocks' pixels."""
        factor = self._rows(rows)
        return start * factor, stop * factor

    def _rows(self, rows: int) -> int:
        if rows == 1:
            return 1
        return self.columns if self.rows is None else self.rows

    def work(self, measurement: Measurement) -> Outcome:
        """The binned scan."""
        self._needs(measurement)
        geometry = measurement.geometry
        assert geometry is not None
        rows, columns = self._rows(row_count(measurement)), self.columns
        if geometry.columns < columns or geometry.rows < rows:
            raise UsageError(
                f"bin: {rows} x {columns} pixels do not fit into a detector of "
                f"{geometry.rows} x {geometry.columns}; "
                "give smaller numbers (bin.rows=1 leaves rows alone)."
            )
        values, weights = stack(measurement), stack_weights(measurement)
        if weights is None:
            binned, summed = _mean(values, rows, columns), None
        else:
            total = _mean(weights, rows, columns)
            plain = _mean(values, rows, columns)
            with np.errstate(invalid="ignore", divide="ignore"):
                binned = np.where(total > 0, _mean(values * weights, rows, columns) / total, plain)
            summed = (total * (rows * columns)).astype(np.float32)
        kept = geometry.columns // columns * columns
        kept_rows = geometry.rows // rows * rows
        binned_geometry = moved_detector(geometry, 0, kept)
        if geometry.ndim == 3 and kept_rows != geometry.rows:
            binned_geometry = _without_last_rows(binned_geometry, geometry.rows - kept_rows)
        binned_geometry = replace(
            binned_geometry,
            columns=kept // columns,
            rows=kept_rows // rows,
            pixel=geometry.pixel * columns,
            row_pixel=geometry.row_edge * rows,
        )
        return Outcome(
            with_stack(
                measurement,
                binned.astype(np.float32),
                weights=summed,
                geometry=binned_geometry,
                flats=_frames(measurement.flats, values.shape, rows, columns),
                darks=_frames(measurement.darks, values.shape, rows, columns),
                truth=None,
            )
        )


def _mean(values: Frames, rows: int, columns: int) -> Frames:
    """Means over blocks of the last two axes."""
    frames, height, width = values.shape
    blocks = values[:, : height // rows * rows, : width // columns * columns]
    return np.asarray(
        blocks.reshape(frames, height // rows, rows, width // columns, columns).mean(axis=(2, 4))
    )


def _frames(frames: Any, shape: tuple[int, ...], rows: int, columns: int) -> Any:
    """Flats or darks binned like the data, in the layout they came in."""
    if frames is None:
        return None
    array = np.asarray(frames[...], dtype=np.float32)
    binned = _mean(array.reshape(array.shape[0], *shape[1:]), rows, columns)
    return binned[:, 0] if array.ndim == 2 else binned


def _without_last_rows(geometry: Any, lost: int) -> Any:
    """The middle of a detector that loses rows at its end moves by half of them."""
    given = np.atleast_1d(np.asarray(geometry.detector_offset, dtype=float))
    along = (float(given[1]) if given.size > 1 else 0.0) - lost / 2 * geometry.row_edge
    return replace(geometry, detector_offset=(float(given[0]), along))
