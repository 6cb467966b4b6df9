"""Flat field: from detector counts to line integrals, with the weights that counting statistics imply."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.detector import flat_groups, gain, odd_frames, read_noise, response
from imagereg.preprocessing.layout import stack, stack_weights, with_stack
from imagereg.preprocessing.repair import count_of, fill_pixels, fill_values

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

Array = NDArray[np.floating[Any]]


class FlatField(Step):
    """p = -log T with T = (N - D) / (F - D), and the inverse variance of p.

    N are counts, F flats (beam, no object), D darks (no beam). A pixel whose flat is not above its dark
    is dead: T is interpolated along its row and its weight is 0. T below the `floor` (in counts over
    F - D) is set to it before the logarithm; T above 1 is kept. With g counts per detected quantum,
    n flats and read noise r,

        var p = g / (N - D) + r^2 / (N - D)^2 + g / (n (F - D)),

    and the weights are 1 / var p. Counts without flats are divided by the air level of each row of each
    view, the percentile `air`; transmission only goes through floor and logarithm, its weights being T.

    Source: A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging (1988), sections 4.1
    and 5.1, doi 10.1137/1.9780898719277.
    """

    name: ClassVar[str] = "flatfield"
    title: ClassVar[str] = "Flat field and logarithm"
    summary: ClassVar[str] = "line integrals and their weights from counts, flats and darks"
    reference: ClassVar[str] = "Kak and Slaney (1988), doi 10.1137/1.9780898719277"

    combine: Literal["median", "mean"] = parameter("median", "how flats, and darks, are combined")
    flats_before: int = parameter(
        0,
        "flats taken before the scan, the rest after it, to interpolate between; 0 goes by the times that "
        "the data have for them, or takes all together",
        ge=0,
        level="advanced",
    )
    flats_out: tuple[int, ...] | None = parameter(
        None, "numbers of flats to leave out, from 0; odd ones are found where not given", level="advanced"
    )
    darks_out: tuple[int, ...] | None = parameter(
        None, "numbers of darks to leave out, from 0; odd ones are found where not given", level="advanced"
    )
    air: float | None = parameter(
        None,
        "percentile of each row of each view that is air, for counts without flats",
        gt=50,
        le=100,
        unit="%",
    )
    air_columns: int = parameter(
        0,
        "columns at both edges that always see air, to follow a drifting beam; 0 does not",
        ge=0,
        unit="columns",
    )
    gain: float | None = parameter(
        None, "counts per detected quantum; from the flats' noise where not given", gt=0, level="advanced"
    )
    read_noise: float | None = parameter(
        None,
        "standard deviation of a pixel without beam; from the darks where not given",
        ge=0,
        unit="counts",
        level="advanced",
    )
    floor: float | None = parameter(
        None,
        "least believable signal in counts (least transmission, for transmission); from gain and read noise "
        "where not given",
        gt=0,
        level="advanced",
    )

    def resolve(self, measurement: Measurement) -> Self:
        """Gain and read noise from flats and darks, and the floor from these."""
        self._check(measurement)
        if measurement.quantity == "transmission":
            return self._resolved({"floor": self.floor or 1e-4})
        left_out, remarks = self._odd(measurement)
        measurement = _without(measurement, left_out)
        photons = self.gain if self.gain is not None else gain(measurement)
        if photons is None:
            remarks.append(
                "flatfield: the weights are right up to one factor, the detector's gain, which fewer than "
                "four flats do not tell (parameter gain)"
            )
        if measurement.darks is None:
            remarks.append("flatfield: there are no darks, so the detector's offset is taken as zero")
        noise = self._noise(measurement)
        floor = self.floor or max(0.5 * (photons or 1.0), noise)
        found = {"gain_measured": self.gain is None and photons is not None}
        chosen = {"gain": photons or 1.0, "floor": floor, "read_noise": noise, **left_out}
        return self._resolved(chosen, found=found, remarks=tuple(remarks))

    def _odd(self, measurement: Measurement) -> tuple[dict[str, tuple[int, ...]], list[str]]:
        """Numbers of the flats and darks to leave out, and a sentence for those that were found odd."""
        left_out: dict[str, tuple[int, ...]] = {}
        remarks: list[str] = []
        for name, given in (("flats", self.flats_out), ("darks", self.darks_out)):
            odd = odd_in(measurement, name, self.flats_before) if given is None else {}
            left_out[f"{name}_out"] = tuple(odd) if given is None else given
            if odd:
                listed = ", ".join(f"{number} ({why})" for number, why in odd.items())
                total = getattr(measurement, name).shape[0]
                remarks.append(f"flatfield: {name} {listed} of {total} left out as unlike the others")
        return left_out, remarks

    def _noise(self, measurement: Measurement) -> float:
        """Read noise in counts, as given or as the darks show it."""
        return round(read_noise(measurement), 4) if self.read_noise is None else self.read_noise

    def work(self, measurement: Measurement) -> Outcome:
        """Line integrals and weights."""
        self._check(measurement)
        values = stack(measurement)
        if measurement.quantity == "transmission":
            return self._finish(measurement, values, values, np.float32(self.floor or 1e-4), None, {})
        step = self if self._settled else self.resolve(measurement)
        assert step.gain is not None and step.floor is not None
        noise = step._noise(measurement)
        if measurement.flats is None:
            signal, air = self._without_flats(measurement, values)
            with np.errstate(divide="ignore", invalid="ignore"):
                variance = step.gain / np.maximum(signal, step.floor)
                variance += noise**2 / np.maximum(signal, step.floor) ** 2
            dead = np.zeros(signal.shape[1:], dtype=bool)
            return self._finish(measurement, signal / air, 1 / variance, step.floor / air, dead, {})
        detector = response(
            measurement,
            values.shape,
            self.combine,
            self.flats_before,
            step.flats_out or (),
            step.darks_out or (),
        )
        values -= detector.dark
        typical = np.median(detector.flat[:, ~detector.dead])
        safe = np.where(detector.dead, typical, detector.flat)
        counts = np.maximum(values, step.floor)
        variance = step.gain / counts + noise**2 / counts**2 + step.gain / (detector.frames * safe)
        variance[:, detector.dead] = np.inf
        values /= safe
        fill_pixels(values, detector.dead)
        return self._finish(measurement, values, 1 / variance, step.floor / safe, detector.dead, {})

    @property
    def _settled(self) -> bool:
        """Whether nothing is left to find in the data."""
        return None not in (self.gain, self.floor, self.flats_out, self.darks_out)

    def _check(self, measurement: Measurement) -> None:
        self._needs(measurement, "counts", "transmission")
        if measurement.quantity == "counts" and measurement.flats is None and self.air is None:
            raise UsageError(
                "flatfield: these are counts without flats; give the frames taken without object as flats, "
                "or, where every row of every view sees air beside the object, flatfield with air, the "
                "percentile of a row that is air (e.g. air=99)."
            )

    def _without_flats(self, measurement: Measurement, values: Array) -> tuple[Array, Array]:
        """Counts above the dark, and the air level of each row of each view."""
        if measurement.darks is not None:
            darks = np.asarray(measurement.darks[...], dtype=np.float32)
            values = values - np.median(darks, axis=0).reshape(values.shape[1:])
        assert self.air is not None
        air = np.nanpercentile(values, self.air, axis=2, keepdims=True).astype(np.float32)
        if not (air > 0).all():
            raise UsageError(
                f"flatfield.air = {self.air}: this percentile is not above the dark in "
                f"{count_of(int((~(air > 0)).any(axis=(1, 2)).sum()), 'view')}; drop these views (step "
                "bad_views) or raise it."
            )
        return values, air

    def _finish(
        self,
        measurement: Measurement,
        transmission: Array,
        weights: Array,
        floor: Any,
        dead: NDArray[np.bool_] | None,
        found: dict[str, Any],
    ) -> Outcome:
        """Follow the beam, guard, take the logarithm, and say what was done."""
        notes: list[str] = []
        if self.air_columns:
            level = air_level(transmission, self.air_columns, self.name)
            found["beam_drift"] = round(float(np.ptp(level.mean(axis=(1, 2)))), 4)
            transmission = transmission / level
        weights = np.array(weights, dtype=np.float32)
        missing = ~np.isfinite(transmission)
        if missing.any():
            transmission = np.array(transmission, dtype=np.float32)
            fill_values(transmission, missing)
            weights[missing] = 0
            notes.append(
                f"flatfield: {count_of(int(missing.sum()), 'value')} of {missing.size} not finite, "
                "interpolated with weight 0"
            )
        low = transmission <= floor
        lost = int(low.sum())
        integrals = np.asarray(-np.log(np.where(low, floor, transmission)), dtype=np.float32)
        weights = np.maximum(weights, 0)
        given = stack_weights(measurement)
        weights = weights if given is None else weights * given
        if dead is not None:
            found["dead_pixels"] = int(dead.sum())
            if dead.any():
                notes.append(
                    f"flatfield: {count_of(int(dead.sum()), 'dead pixel')} of {dead.size} interpolated "
                    "along the row, with weight 0"
                )
        found["at_floor"] = lost
        if lost:
            notes.append(
                f"flatfield: {count_of(lost, 'value')} of {low.size} at or below the floor of "
                f"{self.floor or 1e-4:.4g} {'counts' if measurement.quantity == 'counts' else ''}".rstrip()
                + ", set to it before the logarithm"
            )
        result = with_stack(measurement, integrals, weights=weights)
        return Outcome(
            replace(
                result,
                quantity="line_integrals",
                flats=None,
                darks=None,
                flat_times=None,
                view_times=None,
                noise=None,
            ),
            found,
            tuple(notes),
        )


def odd_in(measurement: Measurement, name: str, flats_before: int) -> dict[int, str]:
    """Numbers of the flats or darks that are unlike the others of their time, and in what."""
    frames = getattr(measurement, name)
    if frames is None:
        return {}
    array = np.asarray(frames[...], dtype=np.float32)
    count = array.shape[0]
    groups = [list(range(count))]
    if name == "flats":
        views = int(measurement.data.shape[0])
        groups = [group for _, group in flat_groups(measurement, views, count, flats_before)]
    return odd_frames(array, groups)


def _without(measurement: Measurement, left_out: dict[str, tuple[int, ...]]) -> Measurement:
    """The measurement without some of its flats and darks."""
    changes: dict[str, Any] = {}
    for name in ("flats", "darks"):
        out, frames = left_out[f"{name}_out"], getattr(measurement, name)
        if not out or frames is None:
            continue
        changes[name] = np.delete(np.asarray(frames[...]), list(out), axis=0)
        if name == "flats" and measurement.flat_times is not None:
            changes["flat_times"] = tuple(
                time for k, time in enumerate(measurement.flat_times) if k not in out
            )
    return replace(measurement, **changes)


def air_level(values: Array, columns: int, where: str) -> Array:
    """A straight line between the means of `columns` columns at either edge, for each row of each view."""
    count = values.shape[2]
    if 2 * columns >= count:
        raise UsageError(
            f"{where}: {columns} columns at either edge are more than the {count} of the detector."
        )
    left = np.nanmean(values[..., :columns], axis=2, keepdims=True)
    right = np.nanmean(values[..., -columns:], axis=2, keepdims=True)
    middle = (columns - 1) / 2
    along = (np.arange(count, dtype=np.float32) - middle) / (count - 1 - 2 * middle)
    return np.asarray(left + (right - left) * along, dtype=np.float32)
