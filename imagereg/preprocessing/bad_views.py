"""Bad views: frames that were dropped, dark, saturated or unlike those before and after them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.layout import Frames, stack, stack_weights, with_stack
from imagereg.preprocessing.saturation import saturation_level

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class BadViews(Step):
    """Drop whole views that cannot be right, or interpolate them from the views before and after.

    A view is bad where most of it is not finite or saturated, where it holds one value only, or where
    its mean and its difference from the views beside it are both far outside what the others show.
    """

    name: ClassVar[str] = "bad_views"
    title: ClassVar[str] = "Bad views"
    summary: ClassVar[str] = "dropped, dark or saturated frames, left out or interpolated"

    action: Literal["drop", "interpolate"] = parameter("drop", "leave bad views out, or interpolate them")
    views: tuple[int, ...] | None = parameter(None, "numbers of the bad views, from 0; found where not given")

    def resolve(self, measurement: Measurement) -> Self:
        """Which views are bad, from a few rows."""
        if self.views is not None:
            return self
        bad = find_bad_views(measurement)
        remarks: tuple[str, ...] = ()
        if bad:
            listed = ", ".join(f"{view} ({reason})" for view, reason in list(bad.items())[:8])
            more = f" and {len(bad) - 8} more" if len(bad) > 8 else ""
            done = "left out" if self.action == "drop" else "interpolated from their neighbours"
            remarks = (f"bad_views: views {listed}{more} of {_views(measurement)} {done}",)
        return self._resolved({"views": tuple(bad)}, remarks=remarks)

    def work(self, measurement: Measurement) -> Outcome:
        """The scan without the bad views."""
        self._needs(measurement)
        geometry = measurement.geometry
        assert geometry is not None
        step = self if self.views is not None else self.resolve(measurement)
        bad = np.zeros(geometry.views, dtype=bool)
        for view in step.views or ():
            if not 0 <= view < geometry.views:
                raise UsageError(
                    f"bad_views.views: there is no view {view}; the scan has {geometry.views}, from 0."
                )
            bad[view] = True
        if bad.sum() >= geometry.views - 1:
            raise UsageError(
                f"bad_views: {int(bad.sum())} of {geometry.views} views are bad; nothing is left."
            )
        if not bad.any():
            return Outcome(measurement)
        values, weights = stack(measurement), stack_weights(measurement)
        if self.action == "drop":
            kept = None if weights is None else weights[~bad]
            fewer = with_stack(measurement, values[~bad], weights=kept, geometry=geometry[~bad])
            return Outcome(replace(fewer, view_times=measurement.times_of(~bad)))
        weights = np.ones_like(values) if weights is None else weights
        weights[bad] = 0
        _interpolate(values, bad, geometry.angles)
        return Outcome(with_stack(measurement, values, weights=weights))


def find_bad_views(measurement: Measurement) -> dict[int, str]:
    """Number of each bad view and why it is bad, in one or two words."""
    values = stack(measurement)
    views = values.shape[0]
    flat = values.reshape(views, -1)
    finite = np.isfinite(flat)
    bad: dict[int, str] = {}
    for view in np.flatnonzero(finite.mean(axis=1) < 0.5):
        bad[int(view)] = "not finite"
    level = saturation_level(replace(measurement, data=values.astype(np.float64), weights=None))
    if measurement.quantity == "counts" and level is not None:
        share = (flat >= level).mean(axis=1)
        # Air may saturate in every view; a bad view is one that does where the others do not.
        for view in np.flatnonzero((share > 0.5) & (share > 4 * np.median(share))):
            bad.setdefault(int(view), "saturated")
    filled = np.where(finite, flat, 0)
    for view in np.flatnonzero(np.ptp(filled, axis=1) == 0):
        bad.setdefault(int(view), "one value only")
    good = np.array([view for view in range(views) if view not in bad])
    if good.size < 8:
        return dict(sorted(bad.items()))
    low, high = np.percentile(flat[good][finite[good]], [2, 98])
    spread = float(high - low)
    # A few saturated pixels or zingers are for `outliers`: they must not make a view bad.
    filled = np.clip(filled[good], low - 0.5 * spread, high + 0.5 * spread)
    mean = filled.mean(axis=1)
    jump = np.abs(mean - _beside(mean[:, None])[:, 0])
    unlike = np.abs(filled - _beside(filled)).mean(axis=1)
    # Neighbours of a bad view are unlike it as well: only the worst of a run counts.
    worst = unlike >= np.maximum(np.roll(unlike, 1), np.roll(unlike, -1))
    far = (jump > 10 * np.median(jump) + 0.1 * spread) & (unlike > 6 * np.median(unlike))
    for view in good[far & worst]:
        bad[int(view)] = "unlike its neighbours"
    return dict(sorted(bad.items()))


def _beside(series: Frames) -> Frames:
    """For each entry the median of the two before and the two after it."""
    padded = np.pad(series, ((2, 2), (0, 0)), mode="reflect")
    count = series.shape[0]
    return np.median(np.stack([padded[k : k + count] for k in (0, 1, 3, 4)]), axis=0)


def _interpolate(values: Frames, bad: NDArray[np.bool_], angles: NDArray[np.float64]) -> None:
    """Put views between the nearest good ones in place of bad ones, by angle."""
    good = np.flatnonzero(~bad)
    for view in np.flatnonzero(bad):
        after = int(np.searchsorted(good, view))
        left, right = good[max(after - 1, 0)], good[min(after, good.size - 1)]
        way = angles[right] - angles[left]
        share = np.float32(0 if way == 0 else (angles[view] - angles[left]) / way)
        values[view] = (1 - share) * values[left] + share * values[right]


def _views(measurement: Measurement) -> int:
    return int(measurement.data.shape[0])
