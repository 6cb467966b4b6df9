"""Steps one after another: on a whole scan, or on a band of rows of a scan that does not fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.errors import UsageError
from imagereg.preprocessing.base import Step, trimmed
from imagereg.preprocessing.layout import as_frames, row_count
from imagereg.preprocessing.registry import make_step

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

LOOK_ROWS = 12


def preprocess(measurement: Measurement, steps: Iterable[Any]) -> Measurement:
    """The measurement after some steps, e.g. `preprocess(scan, ["flatfield", {"rings": {"size": 31}}])`.

    Parameters
    ----------
    measurement : a scan or an image, in frames or in deepinv's shapes; the result is in frames.
    steps : names, {name: {parameter: value}}, or steps, in order.

    Raises
    ------
    UsageError
        For an unknown step or parameter (with the nearest known one), and for a step that does not fit.
    """
    return apply_steps(measurement, resolve_steps(measurement, steps))


def resolve_steps(measurement: Measurement, steps: Iterable[Any], *, rows: int = LOOK_ROWS) -> list[Step]:
    """The steps with every parameter that depends on the data filled in, from a look at a few rows.

    Whatever is applied later, the whole scan or a band of it, is then treated alike.

    Parameters
    ----------
    rows : number of rows to look at, spread evenly over the detector.
    """
    chosen = [make_step(step) for step in _listed(steps)]
    look = Look.at(as_frames(measurement), chosen, rows)
    resolved: list[Step] = []
    for index, step in enumerate(chosen):
        resolved.append(step.resolve(look.measurement))
        if index + 1 < len(chosen):
            look = look.after(resolved[-1])
    return resolved


def looked_at(measurement: Measurement, steps: Sequence[Step], *, rows: int = LOOK_ROWS) -> Measurement:
    """What resolved steps make of a few rows spread over the detector."""
    look = Look.at(as_frames(measurement), steps, rows)
    for step in steps:
        look = look.after(step)
    return look.measurement


def apply_steps(measurement: Measurement, steps: Iterable[Any]) -> Measurement:
    """The whole measurement after steps that are resolved already."""
    measurement = as_frames(measurement)
    for step in _listed(steps):
        measurement = make_step(step).apply(measurement)
    return measurement


def rows_after(steps: Sequence[Step], rows: int) -> int:
    """Number of rows that the steps make of a scan of `rows` rows."""
    for step in steps:
        rows = step.rows_after(rows)
    return rows


def apply_rows(measurement: Measurement, steps: Sequence[Step], start: int, stop: int) -> Measurement:
    """Rows start to stop of what resolved steps make of a scan; no other rows are read than these need.

    Equal to those rows of `apply_steps` of the whole scan, up to the reach of a step's `halo`.
    """
    measurement = as_frames(measurement)
    ranges = _ranges(steps, start, stop, row_count(measurement))
    band = trimmed(measurement, *ranges[0])
    for step, taken, wanted in zip(steps, ranges, ranges[1:], strict=False):
        band = step.on_band().apply(band)
        offset = wanted[0] - taken[0] if step.halo else 0
        band = trimmed(band, offset, offset + wanted[1] - wanted[0])
    return band


def prepare_rows(measurement: Measurement, steps: Sequence[Step], start: int, stop: int) -> Measurement:
    """Rows start to stop of what resolved steps make of a measurement; the whole where it is not parted.

    That is so for coupled volumes, for a single row, and where all rows are asked for. Rows beyond the last
    are the last ones.
    """
    total = rows_after(steps, measurement.rows)
    stop = min(stop, total)
    start = max(0, min(start, stop - 1))
    if measurement.coupled or total <= 1 or (start, stop) == (0, total):
        return apply_steps(measurement, steps) if steps else measurement
    if not steps:
        return measurement.select(rows=slice(start, stop))
    return apply_rows(measurement, steps, start, stop)


@dataclass(frozen=True)
class Look:
    """A few bands of rows of a scan that go through the steps together."""

    bands: tuple[Measurement, ...]

    @classmethod
    def at(cls, measurement: Measurement, steps: Sequence[Step], count: int) -> Look:
        """Bands for `count` rows of what the steps will make of the scan."""
        total = row_count(measurement)
        if total == 1 or measurement.geometry is None:
            return cls((measurement,))
        final = rows_after(steps, total)
        if final < 1:
            raise UsageError(f"no row is left of {total} after {', '.join(step.name for step in steps)}.")
        if measurement.coupled:
            middle = _middle_row(measurement)
            taken = _ranges(steps, 0, final, total)[0]
            first = int(np.clip(middle - count // 2, taken[0], max(taken[0], taken[1] - count)))
            return cls((trimmed(measurement, first, min(taken[1], first + count)),))
        if final <= count:
            return cls((trimmed(measurement, *_ranges(steps, 0, final, total)[0]),))
        step = -(-final // count)
        picks = range(step // 2, final, step)
        ranges = [_ranges(steps, pick, pick + 1, total)[0] for pick in picks]
        widths, gaps = {stop - start for start, stop in ranges}, np.diff([start for start, _ in ranges])
        if widths == {1} and len(set(gaps.tolist())) == 1:
            # Files hold frame after frame: one strided read is as slow as reading a single row.
            together = measurement.select(rows=slice(ranges[0][0], ranges[-1][1], int(gaps[0])))
            return cls(tuple(trimmed(together, k, k + 1) for k in range(len(ranges))))
        return cls(tuple(trimmed(measurement, *taken) for taken in ranges))

    @property
    def measurement(self) -> Measurement:
        """All rows of all bands as one scan."""
        first = self.bands[0]
        if len(self.bands) == 1 or first.geometry is None:
            return first

        def joined(name: str, axis: int = 1) -> Any:
            parts = [getattr(band, name) for band in self.bands]
            return None if parts[0] is None else np.concatenate([np.asarray(p[...]) for p in parts], axis)

        data = joined("data")
        return replace(
            first,
            data=data,
            geometry=replace(first.geometry, rows=data.shape[1]),
            flats=joined("flats"),
            darks=joined("darks"),
            weights=joined("weights"),
            truth=None,
        )

    def after(self, step: Step) -> Look:
        """The same look after a resolved step."""
        on_band = step.on_band()
        return Look(tuple(on_band.apply(band) for band in self.bands))


def _ranges(steps: Sequence[Step], start: int, stop: int, rows: int) -> list[tuple[int, int]]:
    """Rows that go into each step, and at last those that come out, for rows start to stop of the outcome."""
    counts = [rows]
    for step in steps:
        counts.append(step.rows_after(counts[-1]))
    if not 0 <= start < stop <= counts[-1]:
        raise UsageError(f"rows {start}:{stop} select nothing of {counts[-1]} rows after preprocessing.")
    ranges = [(start, stop)]
    for step, before in zip(reversed(steps), reversed(counts[:-1]), strict=True):
        ranges.insert(0, step.rows_before(*ranges[0], before))
    return ranges


def _middle_row(measurement: Measurement) -> int:
    """The row nearest to the plane of the source."""
    geometry = measurement.geometry
    assert geometry is not None
    off = -float(geometry.offsets[:, 1].mean()) / geometry.row_edge
    return int(np.clip(round((geometry.rows - 1) / 2 + off), 0, geometry.rows - 1))


def _listed(steps: Iterable[Any]) -> list[Any]:
    if isinstance(steps, str | Step | dict):
        return [steps]
    return list(steps)
