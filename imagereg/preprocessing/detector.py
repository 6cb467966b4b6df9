"""What flats and darks say of the detector: its response, its gain, its noise and its dead pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Response:
    """Flat above dark, and dark, of each pixel, in counts.

    Parameters
    ----------
    flat : (views or 1, rows, columns), flat minus dark; one for each view where it was interpolated.
    dark : (rows, columns).
    dead : (rows, columns), where the flat is not above the dark or one of them is not finite.
    frames : number of flats.
    """

    flat: Array
    dark: Array
    dead: NDArray[np.bool_]
    frames: int


def frames_of(frames: Any, rows: int, columns: int) -> Array | None:
    """Flats or darks as (frames, rows, columns) in memory; None where there are none."""
    if frames is None:
        return None
    array = np.array(frames[...], dtype=np.float32)
    return array.reshape(array.shape[0], rows, columns)


def response(
    measurement: Measurement,
    shape: tuple[int, int, int],
    combine: Literal["median", "mean"],
    flats_before: int,
) -> Response:
    """The detector's response from flats and darks.

    Parameters
    ----------
    shape : (views, rows, columns) of the scan.
    combine : how flats (and darks) are combined.
    flats_before : number of flats taken before the scan, the rest having been taken after it; the flat of
        each view then lies on a straight line between the two. 0 takes them all together.

    Raises
    ------
    UsageError
        When flats are not brighter than darks, or `flats_before` leaves none for one end.
    """
    views, rows, columns = shape
    flats = frames_of(measurement.flats, rows, columns)
    darks = frames_of(measurement.darks, rows, columns)
    assert flats is not None
    merge = np.nanmedian if combine == "median" else np.nanmean
    dark = np.zeros((rows, columns), np.float32) if darks is None else _quietly(merge, darks)
    if flats_before:
        if flats_before >= flats.shape[0]:
            raise UsageError(
                f"flatfield.flats_before = {flats_before}: there are {flats.shape[0]} flats, and at least "
                "one must have been taken after the scan."
            )
        first, last = _quietly(merge, flats[:flats_before]), _quietly(merge, flats[flats_before:])
        along = np.linspace(0, 1, views, dtype=np.float32)[:, None, None]
        flat = (1 - along) * first + along * last - dark
    else:
        flat = (_quietly(merge, flats) - dark)[None]
    typical = float(np.nanmedian(flat))
    if not typical > 0:
        raise UsageError(
            f"the flats are not brighter than the darks (median difference {typical:.4g} counts); they look "
            "exchanged: give the frames without object as flats and those without beam as darks."
        )
    with np.errstate(invalid="ignore"):
        alive = np.isfinite(flat).all(axis=0) & np.isfinite(dark) & (flat.min(axis=0) > 0.001 * typical)
    return Response(np.nan_to_num(flat), np.nan_to_num(dark), ~alive, flats.shape[0])


def gain(measurement: Measurement) -> float | None:
    """Counts per detected quantum by photon transfer: variance over mean of the flats above the darks.

    Each flat is scaled to the common mean first, so that a flickering beam does not count as noise, and
    the variance of the darks is taken off. None where there are fewer than four flats or no answer above
    nought.

    Source: J. R. Janesick, Photon Transfer (SPIE Press, 2007), doi 10.1117/3.725073.
    """
    flats = None if measurement.flats is None else np.asarray(measurement.flats[...], dtype=np.float64)
    if flats is None or flats.shape[0] < 4:
        return None
    darks = None if measurement.darks is None else np.asarray(measurement.darks[...], dtype=np.float64)
    dark = np.zeros(flats.shape[1:]) if darks is None else np.median(darks, axis=0)
    above = flats - dark
    level = np.nanmean(above.reshape(above.shape[0], -1), axis=1)
    if not (level > 0).all():
        return None
    above = above * (level.mean() / level).reshape(-1, *(1,) * (above.ndim - 1))
    mean = above.mean(axis=0)
    lit = np.isfinite(mean) & (mean > 0.2 * np.nanmedian(mean))
    freedom = flats.shape[0] - 1
    # The median of a chi-square variable lies below its mean by this factor (Wilson and Hilferty).
    median_of_chi2 = (1 - 2 / (9 * freedom)) ** 3
    variance = float(np.median(above.var(axis=0, ddof=1)[lit])) / median_of_chi2 if lit.any() else 0.0
    found = (variance - read_noise(measurement) ** 2) / float(np.median(mean[lit])) if lit.any() else 0.0
    return found if found > 0 else None


def read_noise(measurement: Measurement) -> float:
    """Standard deviation in counts of a pixel without beam, from frame to frame; 0 where unknown."""
    darks = None if measurement.darks is None else np.asarray(measurement.darks[...], dtype=np.float64)
    if darks is None or darks.shape[0] < 3:
        return 0.0
    return float(np.sqrt(np.nanmedian(darks.var(axis=0, ddof=1))))


def _quietly(merge: Any, frames: Array) -> Array:
    """Merge frames; pixels that are not finite in any frame stay so without a warning."""
    lost = ~np.isfinite(frames).any(axis=0)
    frames = np.where(lost, 0.0, np.where(np.isfinite(frames), frames, np.nan))
    merged = merge(frames, axis=0).astype(np.float32)
    return np.where(lost, np.nan, merged).astype(np.float32)
