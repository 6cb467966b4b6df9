"""The centre of rotation: estimators that look at different evidence vote, and say how sure they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.layout import as_frames
from imagereg.preprocessing.rotation_axis.election import CentreEstimate, NoEstimate, elect

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class Centre(Step):
    """Set the rotation axis to the column that four estimators vote for, or to a given column.

    opposite_views: views half a turn apart are mirror images of each other about the axis. double_wedge:
    half a turn, mirrored about the axis, continues the sinogram without a seam. moments: the centre of
    mass moves as a sinusoid about the axis. sharpness: the reconstruction has few grey levels and sparse
    edges. Each tells its uncertainty; the outcome is the mean of the votes within the tolerance of
    their weighted median, so that a stray one does not move it. Fan beams, and the
    middle plane of a cone, are rebinned to a parallel beam for each estimator until its answer stays.
    The axis that the geometry has stays unless estimators agree and are surer than it is: the detector's
    middle is trusted to 2 % of the columns, another axis, which a file or a person stated, to one column.
    """

    name: ClassVar[str] = "centre"
    title: ClassVar[str] = "Centre of rotation"
    summary: ClassVar[str] = "detector column of the rotation axis, found by estimators that vote, or given"
    reference: ClassVar[str] = (
        "double wedge: Vo et al. (2014), doi 10.1364/OE.22.019078; sharpness: Donath et al. (2006), "
        "doi 10.1364/JOSAA.23.001048; moments: Ludwig (1966), doi 10.1002/cpa.3160190207"
    )

    column: float | None = parameter(
        None, "column of the axis, 0 being the middle of the first one; found where not given", unit="columns"
    )
    search: float = parameter(
        0.35, "how far from the detector's middle to search, as a share of its columns", gt=0, le=0.5
    )
    tolerance: float = parameter(
        1.0, "how far estimators may lie apart and still agree", gt=0, unit="columns", level="advanced"
    )
    rows: int = parameter(5, "rows to look at, those with the most structure", ge=1, le=50, level="advanced")

    def resolve(self, measurement: Measurement) -> Self:
        """The column, from the rows with the most structure."""
        self._needs(measurement)
        if self.column is not None:
            return self
        geometry = measurement.geometry
        assert geometry is not None
        has = geometry.centre_of_rotation
        whose = "the detector's middle" if geometry.axis_offset == 0.0 else "where the geometry has it"
        try:
            estimate = find_centre(measurement, search=self.search, tolerance=self.tolerance, rows=self.rows)
        except NoEstimate as none:
            said = f"centre: rotation axis kept on column {has:.2f}, {whose}, as {none.clause}"
            kept = {"took": "geometry", "why": none.clause}
            return self._resolved({"column": round(has, 4)}, found=kept, remarks=(said,))
        objection = estimate.objection(geometry)
        agreeing = " and ".join(estimate.supporters)
        taken = has if objection else estimate.column
        if objection:
            said = f"centre: rotation axis kept on column {has:.2f}, {whose}, as {objection}"
        else:
            said = f"centre: rotation axis moved to column {taken:.2f}, as {agreeing} agree"
        found = {
            "took": "geometry" if objection else "estimate",
            "why": objection or f"{agreeing} agree",
            "estimate": round(estimate.column, 4),
            "interval": [round(edge, 3) for edge in estimate.interval],
            "votes": {name: round(vote, 3) for name, vote in estimate.votes.items()},
            "uncertainties": {name: round(value, 3) for name, value in estimate.uncertainties.items()},
            "agreed": estimate.agreed,
        }
        return self._resolved({"column": round(taken, 4)}, found=found, remarks=(said, *estimate.remarks))

    def work(self, measurement: Measurement) -> Outcome:
        """The same data, with the axis in their geometry."""
        self._needs(measurement)
        step = self if self.column is not None else self.resolve(measurement)
        geometry = measurement.geometry
        assert geometry is not None and step.column is not None
        found = {} if step is self else step._found
        notes = () if step is self else step._remarks
        moved = geometry.with_centre(step.column)
        return Outcome(replace(measurement, geometry=moved, physics=None), found, notes)


def find_centre(
    measurement: Measurement,
    *,
    steps: tuple[Any, ...] = (),
    search: float = 0.35,
    tolerance: float = 1.0,
    rows: int = 5,
) -> CentreEstimate:
    """Find the column on which the rotation axis falls.

    Parameters
    ----------
    measurement : a scan; counts and transmission are turned to line integrals by `flatfield` where
        `steps` do not.
    steps : preprocessing steps to take first, on the rows that are looked at.
    search : how far from the detector's middle to search, as a share of its columns.
    tolerance : how far, in columns, estimators may lie apart and still agree.
    rows : number of rows to look at, those with the most structure among a few spread over the detector.

    Raises
    ------
    UsageError
        Where the data have no geometry, no structure, or too few views for any estimator.
    """
    from imagereg.preprocessing.rotation_axis.look import look

    seen = look(as_frames(measurement), steps, rows)
    return elect(seen, search=search, tolerance=tolerance)


def centre_sweep(
    measurement: Measurement,
    columns: Any,
    *,
    row: int | None = None,
    steps: tuple[Any, ...] = (),
    size: int = 256,
) -> NDArray[np.float32]:
    """Reconstructions of one row for several positions of the axis, to choose by eye.

    Parameters
    ----------
    columns : (n,) detector columns to try.
    row : detector row; the one with the most structure where not given.
    steps : preprocessing steps to take first.
    size : pixels of the pictures at most; the detector is binned to it.

    Returns
    -------
    (n, size, size), in the data's unit per column.
    """
    from imagereg.preprocessing.rotation_axis.look import look
    from imagereg.preprocessing.rotation_axis.rebinning import parallel
    from imagereg.preprocessing.rotation_axis.sharpness import reconstructions

    measurement = as_frames(measurement)
    if row is not None and len(measurement.data.shape) == 3:
        if not 0 <= row < measurement.data.shape[1]:
            raise UsageError(
                f"centre_sweep(row={row}): the scan has rows 0 to {measurement.data.shape[1] - 1}."
            )
        measurement = measurement.select(rows=slice(row, row + 1))
    seen = look(measurement, steps, 1)
    pictures = []
    for column in np.atleast_1d(np.asarray(columns, dtype=float)):
        if not math.isfinite(column):
            raise UsageError("centre_sweep(columns=...): give finite detector columns.")
        sinograms = parallel(seen.values, seen.geometry, column).binned(size)
        sinograms = sinograms.thinned(2 * size if sinograms.closed else size)
        place = float(sinograms.own_column(column))
        pictures.append(reconstructions(sinograms, 0, place, 1, 1)[..., 0])
    return np.asarray(np.stack(pictures) / sinograms.binning, dtype=np.float32)
