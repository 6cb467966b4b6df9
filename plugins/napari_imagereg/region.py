"""A rectangle of a slice: previews of a part, for images and for filtered back-projection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imagereg.errors import UsageError
from imagereg.measurement import Measurement

LAYER = "region"
"""Name of the Shapes layer whose first shape is the region."""

SMALLEST = 8
"""Pixels that an edge of a region has at least."""


@dataclass(frozen=True)
class Region:
    """Rows and columns from a first one up to an end.

    Attributes
    ----------
    rows, columns : pixels for images; mm from the rotation axis, down and to the right, for scans.
    """

    rows: tuple[float, float]
    columns: tuple[float, float]


def region_of(shapes: Any, source: Any, *, scan: bool) -> Region:
    """The rectangle around the first of the shapes: in the source's pixels, or in mm for a scan."""
    corners = np.asarray([shapes.data_to_world(corner)[-2:] for corner in np.asarray(shapes.data[0])])
    if not scan:
        lead = (0.0,) * (source.ndim - 2)
        corners = np.asarray([source.world_to_data((*lead, *corner))[-2:] for corner in corners])
    (top, left), (bottom, right) = corners.min(0), corners.max(0)
    return Region((float(top), float(bottom)), (float(left), float(right)))


def spans_of(measurement: Measurement, region: Region | None) -> tuple[slice, slice] | None:
    """The rows and columns of an image that a region covers; None for scans, whose grid is cut.

    Raises
    ------
    UsageError
        When the region is smaller than a few pixels or lies outside.
    """
    if region is None or measurement.geometry is not None:
        return None
    shape = measurement.data.shape[:-1] if measurement.axes.endswith("C") else measurement.data.shape
    return _span(*region.rows, shape[-2]), _span(*region.columns, shape[-1])


def cut(measurement: Measurement, region: Region | None) -> Measurement:
    """The part of an image, or of a scan's grid, that a region covers; all of it where there is none.

    Raises
    ------
    UsageError
        When the region is smaller than a few pixels or lies outside.
    """
    if region is None:
        return measurement
    spans = spans_of(measurement, region)
    if spans is None:
        return _cut_grid(measurement, region)
    index = (..., *spans, slice(None)) if measurement.axes.endswith("C") else (..., *spans)

    def part(array: Any) -> Any:
        return None if array is None else array[index]

    y, x = spans
    cropped = replace(
        measurement,
        data=part(measurement.data),
        truth=part(measurement.truth),
        weights=part(measurement.weights),
    )
    return cropped.note(f"region: rows {y.start}:{y.stop} and columns {x.start}:{x.stop} of the image")


def _cut_grid(measurement: Measurement, region: Region) -> Measurement:
    from imagereg.geometry import Volume

    assert measurement.geometry is not None
    volume = measurement.volume or Volume.fit(measurement.geometry)
    if volume.ndim != 2:
        raise UsageError("a region is a part of one slice; this scan is one volume: preview the whole of it.")
    (height, width), (tall, wide) = volume.shape, volume.edges
    # Rows count downwards and y points upwards.
    top = -volume.centre[1] - height * tall / 2
    left = volume.centre[0] - width * wide / 2
    y = _span((region.rows[0] - top) / tall, (region.rows[1] - top) / tall, height)
    x = _span((region.columns[0] - left) / wide, (region.columns[1] - left) / wide, width)
    centre = (left + (x.start + x.stop) / 2 * wide, -(top + (y.start + y.stop) / 2 * tall))
    grid = Volume((y.stop - y.start, x.stop - x.start), (tall, wide), centre)
    return replace(measurement, volume=grid, truth=None, physics=None)


def _span(low: float, high: float, count: int) -> slice:
    start, stop = max(0, round(low)), min(count, round(high))
    if stop - start < SMALLEST:
        raise UsageError(f"the region covers less than {SMALLEST} pixels of the slice: draw it larger.")
    return slice(start, stop)
