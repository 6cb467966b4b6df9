"""The rows that the estimators look at: line integrals, complete, with the most structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.geometry import Geometry

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


@dataclass(frozen=True, eq=False)
class Seen:
    """Line integrals of a few rows (rows, views, columns), and the geometry of the scan."""

    values: NDArray[np.float32]
    geometry: Geometry


def look(measurement: Measurement, steps: tuple[Any, ...], rows: int) -> Seen:
    """The `rows` rows with the most structure after some steps, out of a few spread over the detector.

    Rows of a cone beam are those nearest to the plane of the source, where it is a fan.
    """
    from imagereg.preprocessing.flatfield import FlatField
    from imagereg.preprocessing.layout import stack
    from imagereg.preprocessing.pipeline import LOOK_ROWS, Look
    from imagereg.preprocessing.registry import make_step
    from imagereg.preprocessing.repair import fill_values

    if measurement.geometry is None:
        raise UsageError("centre: the data have no scan geometry, so there is no rotation axis to find.")
    chosen = [make_step(step) for step in steps]
    seen = Look.at(measurement, chosen, max(rows, LOOK_ROWS))
    for step in chosen:
        seen = seen.after(step.resolve(seen.measurement))
    few = seen.measurement
    if few.quantity in ("counts", "transmission"):
        flatfield = FlatField()
        few = flatfield.resolve(few).apply(few)
    geometry = few.geometry
    assert geometry is not None
    values = stack(few)
    missing = ~np.isfinite(values)
    if missing.any():
        fill_values(values, missing)
    values = values.transpose(1, 0, 2)
    if geometry.ndim == 3 and geometry.kind == "cone":
        height = np.arange(geometry.rows) - (geometry.rows - 1) / 2
        order = np.argsort(np.abs(height + geometry.offsets[:, 1].mean() / geometry.row_edge), kind="stable")
    else:
        order = np.argsort(-_structure(values), kind="stable")
    picked = np.sort(order[:rows])
    if not float(np.ptp(values[picked])) > 0:
        raise UsageError(
            "centre: the rows that were looked at are constant, so there is no rotation axis to find."
        )
    return Seen(np.ascontiguousarray(values[picked]), geometry)


def _structure(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Root mean square of the smoothed slope along the columns, for each row."""
    from scipy.ndimage import gaussian_filter1d

    every = max(1, values.shape[1] // 60)
    slope = gaussian_filter1d(values[:, ::every].astype(np.float64), 2.0, axis=2, order=1, mode="nearest")
    return np.asarray(np.sqrt((slope**2).mean(axis=(1, 2))))
