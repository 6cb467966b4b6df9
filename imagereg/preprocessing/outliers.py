"""Outliers: zingers, dead and hot pixels, values that are not finite or saturated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.layout import Frames, stack, stack_weights, with_stack
from imagereg.preprocessing.repair import count_of, fill_pixels, fill_values
from imagereg.preprocessing.rowwise import over_rows
from imagereg.preprocessing.saturation import saturation_level

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

Mask = NDArray[np.bool_]
_LEVELS = 16


class Outliers(Step):
    """Replace values that stand out from their neighbours along the columns and along the views alike.

    e is the smaller of x - median over columns and x - median over views (0 where their signs differ),
    and sigma the robust spread of e among values of the same level, so that Poisson noise does not count.
    A value is an outlier where |e| > threshold sigma and no neighbouring view has half such a peak within
    the distance that a point of the object can move from view to view: a speck of metal passes through, a
    zinger does not. Pixels that stand out in the darks or flats, or in nearly all views, are hot or dead
    and are interpolated along their row, in the flats and darks too. Images are compared with the median
    of a square.

    What is replaced gets weight 0.
    """

    name: ClassVar[str] = "outliers"
    title: ClassVar[str] = "Outliers"
    summary: ClassVar[str] = (
        "zingers, dead and hot pixels, saturated values and NaN, replaced by their neighbours"
    )

    threshold: float = parameter(8.0, "standard deviations of noise beyond which a value stands out", ge=3)
    size: int = parameter(5, "length of the running medians, odd", ge=3, le=31, unit="pixels")
    which: Literal["both", "bright", "dark"] = parameter("both", "whether bright, dark or both stand out")
    pixels: bool = parameter(True, "look for pixels that are dead or hot in all views")
    saturation: float | None = parameter(
        None,
        "counts at which the detector saturates; from the data's type and highest values where not given",
        gt=0,
        level="advanced",
    )

    def resolve(self, measurement: Measurement) -> Self:
        """The level at which the detector saturates, where the data show one."""
        if self.saturation is not None or measurement.quantity != "counts":
            return self
        level = saturation_level(measurement)
        return self if level is None else self._resolved({"saturation": level})

    def work(self, measurement: Measurement) -> Outcome:
        """The data without outliers, and how many there were."""
        size = self.size + 1 - self.size % 2
        values = stack(measurement)
        missing = ~np.isfinite(values)
        saturated = np.zeros_like(missing)
        if self.saturation is not None:
            with np.errstate(invalid="ignore"):
                saturated = values >= self.saturation
        replaced = missing | saturated
        if replaced.any():
            fill_values(values, replaced)
        scan = measurement.geometry is not None
        changes: dict[str, Any] = {}
        stuck = np.zeros(values.shape[1:], dtype=bool)
        if scan and self.pixels:
            stuck = self._pixels(measurement, values)
            if stuck.any():
                fill_pixels(values, stuck)
                replaced[:, stuck] = True
                changes = {name: _mended(getattr(measurement, name), stuck) for name in ("flats", "darks")}
        found = self._zingers(measurement, values, size) if scan else self._specks(values, size)
        replaced |= found
        counts = {
            "not_finite": int(missing.sum()),
            "saturated": int((saturated & ~missing).sum()),
            "pixels": int(stuck.sum()),
            "outliers": int(found.sum()),
        }
        if replaced.any():
            given = stack_weights(measurement)
            weights = np.ones_like(values) if given is None else given
            weights[replaced] = 0
            changes["weights"] = weights
        return Outcome(
            replace(with_stack(measurement, values, **changes)), counts, _told(counts, values.size)
        )

    # ------------------------------------------------------------------ single values
    def _zingers(self, measurement: Measurement, values: Frames, size: int) -> Mask:
        """Replace zingers of a scan in place; where they were."""
        geometry = measurement.geometry
        assert geometry is not None
        step = float(np.median(np.abs(np.diff(geometry.angles)))) if geometry.views > 1 else 0.0
        reach = min(values.shape[2] // 4, math.ceil(values.shape[2] / 2 * step) + 1)
        found = np.zeros(values.shape, dtype=bool)

        def work(sinogram: Frames) -> Frames:
            from scipy.ndimage import maximum_filter1d, median_filter

            level = median_filter(sinogram, size=(1, size), mode="nearest")
            excess = sinogram - level
            both = _smaller(excess, sinogram - median_filter(sinogram, size=(size, 1), mode="nearest"))
            sigma = _spread_by_level(both, level)
            mask = np.zeros(sinogram.shape, dtype=bool)
            for sign in self._signs():
                peak = sign * excess
                beside = maximum_filter1d(peak, 2 * reach + 1, axis=1, mode="nearest")
                nearby = np.full_like(beside, -np.inf)
                nearby[1:] = beside[:-1]
                nearby[:-1] = np.maximum(nearby[:-1], beside[1:])
                limit = self.threshold * sigma
                mask |= (sign * both > limit) & (peak > 2 * nearby) & (peak > nearby + limit / 2)
            return np.where(mask, _between(sinogram), np.float32(np.nan))

        level = over_rows(work, values)
        found = np.isfinite(level)
        values[found] = level[found]
        return found

    def _specks(self, values: Frames, size: int) -> Mask:
        """Replace specks of images in place; where they were."""
        from scipy.ndimage import median_filter

        found = np.zeros(values.shape, dtype=bool)
        for image, mask in zip(values, found, strict=True):
            level = median_filter(image, size=size, mode="nearest")
            excess = image - level
            sigma = _spread_by_level(excess, level)
            for sign in self._signs():
                mask |= sign * excess > self.threshold * sigma
            image[mask] = level[mask]
        return found

    # ------------------------------------------------------------------ whole pixels
    def _pixels(self, measurement: Measurement, values: Frames) -> Mask:
        """Pixels that stand out in the darks, in the flats, or in nearly all views."""
        stuck = np.zeros(values.shape[1:], dtype=bool)
        for name in ("darks", "flats"):
            frames = getattr(measurement, name)
            if frames is not None:
                merged = np.median(np.asarray(frames[...], dtype=np.float32), axis=0).reshape(stuck.shape)
                stuck |= self._stands_out(merged[None], 0.5)
        if measurement.flats is None:
            stuck |= self._stands_out(values, 0.9)
        return stuck

    def _stands_out(self, frames: Frames, share: float) -> Mask:
        """Pixels that differ from the median along their row in more than a share of the frames."""
        from scipy.ndimage import median_filter

        level = median_filter(frames, size=(1, 1, 7), mode="nearest")
        excess = np.abs(frames - level)
        # Along a slope most values are their own median: those tell nothing of the spread.
        told = np.ma.median(np.ma.masked_equal(excess, 0), axis=2, keepdims=True).filled(0)
        # Columns differ by a few per cent in sensitivity: that is for rings, not for dead pixels.
        limit = np.maximum(4 * self.threshold * 1.4826 * told, 0.1 * np.abs(level)) + 1e-12
        return np.asarray((excess > limit).mean(axis=0) > share)

    def _signs(self) -> tuple[int, ...]:
        return {"both": (1, -1), "bright": (1,), "dark": (-1,)}[self.which]


def _smaller(first: Frames, second: Frames) -> Frames:
    """The one nearer to zero; zero where the signs differ."""
    return np.where(
        first * second > 0, np.where(np.abs(first) < np.abs(second), first, second), np.float32(0)
    )


def _between(sinogram: Frames) -> Frames:
    """Median of the four values beside each one, along the columns and along the views."""
    padded = np.pad(sinogram, 1, mode="reflect")
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.asarray(np.median(np.stack(beside), axis=0), dtype=np.float32)


def _spread_by_level(excess: Frames, level: Frames) -> Frames:
    """Robust standard deviation of the excess among values of about the same level."""
    edges = np.unique(np.quantile(level, np.linspace(0, 1, _LEVELS + 1)))
    whole = 1.4826 * float(np.median(np.abs(excess[excess != 0]))) if (excess != 0).any() else 0.0
    if edges.size < 3:
        return np.full(level.shape, max(whole, 1e-12), dtype=np.float32)
    group = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, edges.size - 2)
    spreads = np.empty(edges.size - 1, dtype=np.float32)
    for k in range(edges.size - 1):
        inside = excess[group == k]
        inside = inside[inside != 0]
        spreads[k] = 1.4826 * np.median(np.abs(inside)) if inside.size > 20 else whole
    return np.maximum(spreads, 0.2 * whole + 1e-12)[group].astype(np.float32)


def _mended(frames: Any, stuck: Mask) -> Any:
    """Flats or darks with the stuck pixels interpolated along their row."""
    if frames is None:
        return None
    array = np.array(frames[...], dtype=np.float32)
    tall = array.reshape(array.shape[0], *stuck.shape)
    fill_pixels(tall, stuck)
    return tall.reshape(array.shape)


def _told(counts: dict[str, int], total: int) -> tuple[str, ...]:
    """One sentence for what was replaced, none where nothing was."""
    parts = {
        "not_finite": "not finite",
        "saturated": "saturated",
        "outliers": "standing out",
    }
    said = [f"{count_of(counts[key], 'value')} {words}" for key, words in parts.items() if counts[key]]
    if counts["pixels"]:
        said.append(f"{count_of(counts['pixels'], 'pixel')} dead or hot in all views")
    if not said:
        return ()
    return (f"outliers: {', '.join(said)}, of {total} values, replaced by their neighbours with weight 0",)
