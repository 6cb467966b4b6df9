"""What flats and darks say of the detector: its response, its gain, its noise and its dead pixels."""

from __future__ import annotations

from collections.abc import Sequence
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
    flats_out: Sequence[int] = (),
    darks_out: Sequence[int] = (),
) -> Response:
    """The detector's response from flats and darks.

    Flats that were taken at different times, as `flat_times` tells or `flats_before` says, are combined group
    by group; the flat of each view lies on a straight line in time between the groups before and after it,
    and is that of the nearest group outside them.

    Parameters
    ----------
    shape : (views, rows, columns) of the scan.
    combine : how flats (and darks) are combined.
    flats_before : number of flats taken before the scan, the rest having been taken after it; 0 goes by
        `flat_times`, or takes all together where there are none.
    flats_out, darks_out : numbers of frames that are left out.

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
    if darks is not None:
        darks = np.delete(darks, list(darks_out), axis=0)
    if len(set(flats_out)) >= flats.shape[0] or (darks is not None and not len(darks)):
        raise UsageError("flatfield.flats_out, darks_out: no flat or no dark is left; leave out fewer.")
    dark = np.zeros((rows, columns), np.float32) if darks is None else _quietly(merge, darks)
    groups = flat_groups(measurement, views, flats.shape[0], flats_before)
    groups = [(place, [k for k in group if k not in flats_out]) for place, group in groups]
    means = [(place, _quietly(merge, flats[group])) for place, group in groups if group]
    if len(means) == 1:
        flat = (means[0][1] - dark)[None]
    else:
        times = view_times(measurement, views)
        flat = _between([time for time, _ in means], [mean for _, mean in means], times) - dark
    typical = float(np.nanmedian(flat))
    if not typical > 0:
        raise UsageError(
            f"the flats are not brighter than the darks (median difference {typical:.4g} counts); they look "
            "exchanged: give the frames without object as flats and those without beam as darks."
        )
    with np.errstate(invalid="ignore"):
        alive = np.isfinite(flat).all(axis=0) & np.isfinite(dark) & (flat.min(axis=0) > 0.001 * typical)
    used = round(np.mean([len(group) for _, group in groups if group]))
    frames = used if len(means) > 1 else flats.shape[0] - len(set(flats_out))
    return Response(np.nan_to_num(flat), np.nan_to_num(dark), ~alive, frames)


def flat_groups(
    measurement: Measurement, views: int, flats: int, flats_before: int = 0
) -> list[tuple[float, list[int]]]:
    """Flats that were taken one after another: their mean time, and their numbers.

    Raises
    ------
    UsageError
        When `flats_before` leaves no flat for after the scan.
    """
    if flats_before:
        if flats_before >= flats:
            raise UsageError(
                f"flatfield.flats_before = {flats_before}: there are {flats} flats, and at least one must "
                "have been taken after the scan."
            )
        first, last = list(range(flats_before)), list(range(flats_before, flats))
        ends = view_times(measurement, views)[[0, -1]]
        return [(float(ends[0]), first), (float(ends[1]), last)]
    if measurement.flat_times is None:
        return [(0.0, list(range(flats)))]
    times, taken = np.asarray(measurement.flat_times), view_times(measurement, views)
    order = np.argsort(times, kind="stable")
    step = float(np.median(np.abs(np.diff(taken)))) if views > 1 else 1.0
    # Flats follow each other like views; between groups lies a part of the scan.
    apart = np.diff(times[order]) > max(2.5 * step, 0.02 * float(np.ptp(taken)))
    parts = np.split(order, np.flatnonzero(apart) + 1)
    return [(float(times[part].mean()), [int(k) for k in part]) for part in parts]


def view_times(measurement: Measurement, views: int) -> NDArray[np.float64]:
    """When each view was taken; its number where that is not known."""
    times = measurement.view_times
    return np.arange(views, dtype=float) if times is None else np.asarray(times)


def odd_frames(frames: Array, groups: Sequence[Sequence[int]]) -> dict[int, str]:
    """Frames unlike the others of their group, at most one in three, and in what.

    Odd is a frame whose mean lies farther from the group's median than ten robust standard deviations and a
    twentieth, or whose picture differs so much more than those of the others from their median.

    Parameters
    ----------
    frames : (frames, rows, columns).
    groups : numbers of the frames that were taken together.
    """
    odd: dict[int, str] = {}
    for group in groups:
        if len(group) < 3:
            continue
        together = np.nan_to_num(frames[list(group)].reshape(len(group), -1))
        middle = np.median(together, axis=0)
        level = float(np.median(np.abs(middle))) + 1e-30
        scatter = together - middle
        means = scatter.mean(axis=1)
        scatter -= means[:, None]
        rough = np.sqrt((scatter**2).mean(axis=1))
        found: dict[int, str] = {}
        for number, mean, own in zip(group, means, rough, strict=True):
            if _stands_out(float(mean), means, max(0.05 * level, float(np.median(rough)))):
                found[number] = f"its mean is off by {mean / level:+.0%}"
            elif _stands_out(float(own), rough, 0.05 * level + 0.5 * float(np.median(rough))):
                found[number] = "its picture differs"
        if len(found) <= len(group) / 3:
            odd.update(found)
    return dict(sorted(odd.items()))


def _stands_out(value: float, all_values: Array, least: float) -> bool:
    away = np.abs(all_values - np.median(all_values))
    return abs(value - float(np.median(all_values))) > max(least, 10 * 1.4826 * float(np.median(away)))


def _between(places: Sequence[float], means: Sequence[Array], times: NDArray[np.float64]) -> Array:
    """(views, rows, columns): straight lines between the means of groups, the nearest one outside them."""
    number = np.clip(times, places[0], places[-1])
    after = np.clip(np.searchsorted(places, number, side="right"), 1, len(places) - 1)
    low, high = np.asarray(places)[after - 1], np.asarray(places)[after]
    share = ((number - low) / (high - low)).astype(np.float32)[:, None, None]
    stacked = np.stack(means)
    return np.asarray((1 - share) * stacked[after - 1] + share * stacked[after], dtype=np.float32)


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
