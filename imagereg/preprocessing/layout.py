"""Frames in and out: every step works on (views, rows, columns), whatever layout the data came in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

Frames = NDArray[np.float32]


def as_frames(measurement: Measurement) -> Measurement:
    """The same measurement laid out as files hold it; tensors in deepinv's shapes become NumPy arrays.

    Projections (B, 1, views, columns) become (views, B, columns) and (1, 1, views, rows, columns) become
    (views, rows, columns); images (B, 1, H, W) become (B, H, W). The geometry is kept, a physics built
    from it is dropped, because it is built anew from what the steps make of the geometry.

    Raises
    ------
    UsageError
        For tensors with more than one channel, several volumes in a batch, and data whose physics has no
        geometry.
    """
    if measurement.framed:
        return measurement if measurement.physics is None else replace(measurement, physics=None)
    shape, geometry = tuple(measurement.data.shape), measurement.geometry
    if measurement.physics is not None and geometry is None:
        raise UsageError("preprocessing is for scans and images; these have a physics without one.")
    if len(shape) not in (4, 5) or shape[1] != 1 or (len(shape) == 5 and shape[0] != 1):
        raise UsageError(
            "preprocessing takes tensors of one channel, (B, 1, views, columns) or (1, 1, views, rows, "
            f"columns), and these have shape {shape}; give the slices or volumes one by one."
        )

    def turned(array: Any) -> Any:
        if array is None:
            return None
        plain = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
        if len(shape) == 5:
            return plain[0, 0]
        return plain[:, 0].transpose(1, 0, 2) if geometry is not None else plain[:, 0]

    data = turned(measurement.data)
    truth = measurement.truth
    if truth is not None and len(truth.shape) >= 4:
        truth = np.asarray(truth.detach().cpu() if hasattr(truth, "detach") else truth)
        truth = truth[0, 0] if truth.ndim == 5 else truth[:, 0]
    if geometry is not None:
        geometry = replace(geometry, rows=data.shape[1])
    return replace(
        measurement,
        data=data,
        weights=turned(measurement.weights),
        truth=truth,
        geometry=geometry,
        physics=None,
        axes="" if geometry is not None else "ZYX",
    )


def stack(measurement: Measurement) -> Frames:
    """A copy of the data in memory as (views, rows, columns), or (slices, height, width) for images."""
    return _tall(np.array(measurement.data[...], dtype=np.float32), measurement)


def stack_weights(measurement: Measurement) -> Frames | None:
    """A copy of the weights in the layout of `stack`; None where there are none."""
    if measurement.weights is None:
        return None
    return _tall(np.array(measurement.weights[...], dtype=np.float32), measurement)


def with_stack(measurement: Measurement, frames: Frames, **changes: Any) -> Measurement:
    """The measurement with new data, and new `weights` where given, in the layout of `stack`.

    Data of a single row without a rows axis stay without one.
    """
    flat = len(measurement.data.shape) == 2
    geometry = changes.pop("geometry", measurement.geometry)
    if geometry is not None and geometry.rows != frames.shape[1]:
        geometry = replace(geometry, rows=frames.shape[1])
    data = _flattened(frames, measurement) if flat else frames
    weights = changes.get("weights")
    if weights is not None and flat:
        changes["weights"] = _flattened(weights, measurement)
    return replace(measurement, data=data, geometry=geometry, **changes)


def row_count(measurement: Measurement) -> int:
    """Detector rows of a scan, slices of a stack of images, 1 where there is no such axis."""
    shape = measurement.data.shape
    if len(shape) < 3:
        return 1
    return int(shape[1] if measurement.geometry is not None else shape[0])


def _tall(array: Frames, measurement: Measurement) -> Frames:
    if "C" in measurement.axes:
        raise UsageError("preprocessing is for images of one channel; give the channels one by one.")
    if array.ndim == 2:
        return array[:, None] if measurement.geometry is not None else array[None]
    return array


def _flattened(array: Frames, measurement: Measurement) -> Frames:
    return array[:, 0] if measurement.geometry is not None else array[0]
