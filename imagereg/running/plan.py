"""What a run will take: rows at a time, memory, disk and seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imagereg.geometry import Volume

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method
    from imagereg.recipe import Recipe
    from imagereg.sections import Uncertainty
    from imagereg.solvers.state import State

WIDEST = 32
"""Rows at a time at most: the projectors are fastest at 32 slices together, and a stop loses little."""

PROBED = 8
"""Rows that are looked at to judge the time: enough for the kernels to take several slices together."""


@dataclass(frozen=True)
class Slab:
    """Rows [start, stop) that are reconstructed together."""

    index: int
    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Plan:
    """How a run is cut and what it takes.

    Attributes
    ----------
    slabs : what is reconstructed together, in order.
    shape : shape of the whole image.
    memory : bytes needed at a time, an estimate.
    available : bytes of memory that there are.
    disk : bytes that the output takes.
    seconds : time of the reconstruction where it was probed, else None.
    early : whether the method may be done before its last step, so that `seconds` is the most.
    """

    slabs: tuple[Slab, ...]
    shape: tuple[int, ...]
    memory: int
    available: int
    disk: int
    seconds: float | None = None
    early: bool = False

    @property
    def brief(self) -> str:
        """Time and memory in a few words: 'about 2 s, 400 MB'."""
        time = "" if self.seconds is None else f"{self._takes}, "
        short = f" of {_bytes(self.available)}" if self.memory > self.available else ""
        return f"{time}{_bytes(self.memory)}{short}"

    @property
    def _takes(self) -> str:
        return f"{'at most ' if self.early else ''}about {_time(self.seconds or 0.0)}"

    def __str__(self) -> str:
        rows = self.slabs[0].stop - self.slabs[0].start
        pieces = f"{len(self.slabs)} slabs of {rows} rows" if len(self.slabs) > 1 else "one piece"
        parts = [
            f"{' x '.join(map(str, self.shape))} voxels in {pieces}",
            f"about {_bytes(self.memory)} of {_bytes(self.available)} memory",
            f"{_bytes(self.disk)} on disk",
        ]
        if self.seconds is not None:
            parts.append(self._takes)
        return ", ".join(parts)


def total_memory() -> int:
    """Bytes of memory of this machine (or of the container's limit, where it is lower)."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        return min(total, int(limit)) if limit.isdigit() else total
    except OSError:
        return total


def make_plan(measurement: Measurement, method: Method, recipe: Recipe, memory: int | None = None) -> Plan:
    """Cut the rows of a measurement into slabs that fit the share of memory that the recipe allows.

    The size depends on the machine's memory (or on the worker's part of it, `memory`), not on what happens
    to be free, so that a rerun cuts alike.
    """
    finer = recipe.physics.declared.finer
    shape = image_shape(measurement, finer=finer)
    worked = image_shape(replace(measurement, window=None), finer=finer)
    item = 8 if recipe.execution.precision == "float64" else 4
    data_bytes = int(np.prod(measurement.data.shape)) // max(1, measurement.rows) * item
    image_bytes = int(np.prod(worked)) // max(1, measurement.rows) * item
    data_copies, image_copies = method.copies
    asked = recipe.uncertainty
    if asked is not None:
        image_copies += (0 if asked.source == "method" else asked.runs) + 6
    # Preprocessing holds the frames as read, as float32 and one step's output.
    each = round(data_bytes * (data_copies + 3) + image_bytes * (image_copies + 1))
    available = min(total_memory(), memory or total_memory())
    share = int(available * recipe.execution.memory)
    rows = measurement.rows
    fit = max(1, min(WIDEST, share // max(1, each)))
    step = min(rows, recipe.execution.slab or fit)
    slabs = tuple(
        Slab(index, start, min(start + step, rows)) for index, start in enumerate(range(0, rows, step))
    )
    images = 1 if asked is None else 4
    disk = int(np.prod(shape)) * 4 * (len(recipe.output.formats) + 1) * images
    return Plan(slabs, shape, each * step, available, disk)


def image_shape(measurement: Measurement, *, finer: int = 1) -> tuple[int, ...]:
    """Shape of the whole result in the layout of results; images get `finer` times the rows and columns."""
    geometry = measurement.geometry
    if geometry is None:
        shape = tuple(measurement.data.shape)
        edge = len(shape) - (3 if measurement.axes.endswith("C") else 2)
        return tuple(finer * n if edge <= axis < edge + 2 else n for axis, n in enumerate(shape))
    volume = measurement.volume or Volume.fit(geometry)
    if measurement.window is not None:
        rows, columns = (part.stop - part.start for part in measurement.window)
        volume = Volume((*volume.shape[:-2], rows, columns), volume.edges)
    if volume.ndim == 3 or len(measurement.data.shape) == 2:
        return volume.shape
    return (measurement.rows, *volume.shape)


PILOT = 1.5
"""Seconds of steps that a pilot of a method takes, where overhead counts that passes do not show."""


def probe(
    ready: Measurement,
    method: Method,
    times: float,
    asked: Uncertainty | None = None,
    *,
    states: Callable[[], Iterator[State]] | None = None,
) -> float:
    """Seconds that a method will take on so many times these rows.

    From one pass of A and its adjoint; where some dozens of passes are a matter of a second, from the first
    steps of the method itself, which `states` begins.
    """
    each = pass_seconds(ready)
    seconds = seconds_of(method, each)
    if states is not None and 40 * each < PILOT:
        seconds = pilot(states(), each, getattr(method, "tolerance", None))
    return seconds * _runs(asked) * times


def pilot(states: Iterator[State], each: float, tolerance: float | None) -> float:
    """Seconds of a whole method from `PILOT` seconds of its steps.

    Parameters
    ----------
    each : seconds of a projection: what is prepared before the first step takes some dozens of them at most,
        and the rest of that time went into kernels that are compiled once.
    tolerance : of the duality gap at which the method stops, where it has one.
    """
    from imagereg.engine import Recorder

    recorder, taken = Recorder(), []
    began = before = time.perf_counter()
    total, first = 0, 0.0
    for state in states:
        now = time.perf_counter()
        if total:
            taken.append(now - before)
        else:
            first = now - began
        total = state.total or state.iteration
        if state.finished:
            total = state.iteration
            break
        recorder.look(state)
        before = time.perf_counter()
        if sum(taken) > PILOT and len(taken) > 1:
            break
    step = float(np.median(taken)) if taken else 0.0
    likely = recorder.expected(tolerance)
    total = total if likely is None else min(total, likely)
    return min(first, 40 * each + step) + step * max(0, total - 1)


def pass_seconds(ready: Measurement) -> float:
    """Seconds of one projection of a measurement that is ready, the mean of A and its adjoint."""
    physics = ready.physics
    physics.A(physics.A_adjoint(ready.data))  # compiles the kernels
    began = time.perf_counter()
    image = physics.A_adjoint(ready.data)
    physics.A(image)
    return (time.perf_counter() - began) / 2


def seconds_of(method: Method, each: float, *, asked: Uncertainty | None = None) -> float:
    """Seconds of a method whose projections take `each`, with the runs that error bars ask for."""
    return each * method.passes * getattr(method, "iterations", 1) * _runs(asked)


def _runs(asked: Uncertainty | None) -> int:
    """How often a method runs, with the runs that error bars ask for."""
    return 1 if asked is None or asked.source == "method" else 1 + asked.runs


def seconds_from_run(method: Method, seconds: float, iterations: int) -> float:
    """Seconds of a method after a run on the same data with so many iterations."""
    wanted = getattr(method, "iterations", None)
    return seconds if wanted is None or iterations < 1 else seconds / iterations * wanted


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s"
    if seconds < 5400:
        return f"{seconds / 60:.2g} min"
    return f"{seconds / 3600:.2g} h"
