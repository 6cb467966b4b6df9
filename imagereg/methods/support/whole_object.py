"""Grids smaller than the object: methods that explain the data must do so on a grid that holds all of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagereg.geometry import Geometry, Volume

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method

_SEEN = 0.02  # of the object's height: what rays beside the grid may hold and still be air


def on_whole_object(
    measurement: Measurement, method: Method, seen: Measurement | None = None, *, cover: bool = True
) -> Measurement:
    """The measurement on a grid as wide as the detector sees, its results cut to the grid that was asked for.

    That is where rays that pass the grid by hold the object, which a method that compares projections with
    data would squeeze into the grid. Methods whose pixels stand for themselves are left alone; measurements
    that come with a physics of their own get a note, as all do without `cover`.

    Parameters
    ----------
    measurement : with the grid that was asked for as `volume`; nothing is done where there is none.
    seen : line integrals to judge by, where `measurement` has none yet; rows of the same scan.
    cover : whether to do it; say only that it would be needed otherwise.
    """
    geometry, volume = measurement.geometry, measurement.volume
    if geometry is None or volume is None or method.pixelwise or measurement.window is not None:
        return measurement
    if not passed_by(seen or measurement, volume):
        return measurement
    wide, window = _widened(volume, Volume.fit(geometry))
    asked, used = (" x ".join(map(str, grid.shape[-2:])) for grid in (volume, wide))
    if measurement.physics is not None or not cover or wide == volume:
        return measurement.note(
            f"grid: the object reaches beyond the {asked} pixels, so that values inside are too high"
        )
    return replace(measurement, volume=wide, window=window).note(
        f"grid: the object reaches beyond the {asked} pixels asked for; {method.name} worked on {used} and "
        "that part was cut out"
    )


def passed_by(measurement: Measurement, volume: Volume) -> bool:
    """Whether rays that pass a grid by, in the plane of a slice, hold more than air."""
    from imagereg.preprocessing.layout import as_frames, stack

    geometry = measurement.geometry
    assert geometry is not None
    beside = _beside(geometry, volume)
    pairs = beside[:, 1:] & beside[:, :-1]
    if not pairs.any():
        return False
    values = np.nan_to_num(stack(as_frames(measurement))).astype(np.float64)
    height = float(np.percentile(np.abs(values), 98)) + 1e-30
    # Neighbouring columns share the object and not the noise.
    products = (values[..., 1:] * values[..., :-1]).mean(axis=1)[pairs]
    power = float(products.mean())
    by_chance = float(products.std()) / math.sqrt(products.size)
    return power > (_SEEN * height) ** 2 and power > 4 * by_chance


def _beside(geometry: Geometry, volume: Volume) -> NDArray[np.bool_]:
    """(views, columns): whether a ray of the middle row misses the grid by a pixel or more."""
    vectors = geometry.vectors()
    place = np.arange(geometry.columns) - (geometry.columns - 1) / 2
    detector = vectors.centre[:, None] + vectors.column[:, None] * place[None, :, None]
    along = (
        detector - vectors.source[:, None] if hasattr(geometry, "source_origin") else vectors.source[:, None]
    )
    along = along / np.linalg.norm(along[..., :2], axis=2, keepdims=True)
    cos, sin = along[..., 1], -along[..., 0]
    (height, width), (x, y) = volume.size[-2:], volume.centre[:2]
    distance = (detector[..., 0] - x) * cos + (detector[..., 1] - y) * sin
    reach = width / 2 * np.abs(cos) + height / 2 * np.abs(sin)
    return np.asarray(np.abs(distance) > reach + max(volume.edges[-2:]))


def _widened(volume: Volume, field: Volume) -> tuple[Volume, tuple[slice, slice]]:
    """A grid of the same voxels that holds both, and the rows and columns of it that `volume` is."""
    shape, centre = list(volume.shape), list(volume.centre)
    window = []
    for axis, coordinate, sign in ((-2, 1, -1), (-1, 0, 1)):
        edge = volume.edges[axis]
        shift = sign * (volume.centre[coordinate] - field.centre[coordinate])
        missing = (field.size[axis] - volume.size[axis]) / 2
        before = max(0, math.ceil((missing + shift) / edge - 1e-9))
        after = max(0, math.ceil((missing - shift) / edge - 1e-9))
        shape[axis] += before + after
        centre[coordinate] += sign * (after - before) / 2 * edge
        window.append(slice(before, before + volume.shape[axis]))
    return Volume(tuple(shape), volume.edges, tuple(centre)), (window[0], window[1])
