"""From a measurement and a method to a result: the calls that notebooks and faces are made of."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.errors import OutOfMemory, ResourceError, UsageError
from imagereg.intervals import Request, account_of, request_of, spread_of, states_with_intervals
from imagereg.methods.base import Method
from imagereg.methods.registry import method as find_method
from imagereg.rescaling import rescaled, restored

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State
    from imagereg.uncertainty.spread import Interval, Spread


@dataclass(frozen=True, eq=False)
class Result:
    """An image with the account of how it came about.

    Attributes
    ----------
    image : in the layout of the measurement it came from: NumPy (H, W) or (N, H, W) for frames, a tensor
        in deepinv's shape for tensors. Attenuation is in 1/mm, where the size of a pixel is known.
    voxel : edges in `unit`, in the order of the image's last axes.
    history : one mapping a recorded step: iteration, seconds, and objective, residual, gap where known.
    provenance : plain values: method, parameters, centre_of_rotation, seconds, metrics, versions, input, ...
    state : the last state, to go on from.
    recipe : the YAML text that makes this result again, where it came from a recipe.
    spread : what is known of the error of each pixel; None where nothing is.
    """

    image: Any
    voxel: tuple[float, ...] = ()
    unit: str = ""
    history: tuple[Mapping[str, float], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    state: State | None = field(default=None, repr=False)
    recipe: str = field(default="", repr=False)
    spread: Spread | None = field(default=None, repr=False)

    @property
    def mean(self) -> Any:
        """Mean of the samples, None where there are none."""
        return self.spread.mean if self.spread else None

    @property
    def std(self) -> Any:
        """Standard deviation of each pixel, None where it is not known."""
        return self.spread.std if self.spread else None

    @property
    def samples(self) -> Any:
        """Samples of the image, along a first axis of their own; None where there are none."""
        return self.spread.samples if self.spread else None

    def interval(self, level: float | None = None) -> Interval:
        """Lower and upper end for each pixel; it says whether a calibration stands behind its level.

        Parameters
        ----------
        level : between 0 and 1; the one that was asked for with the run where not given.

        Raises
        ------
        UsageError
            When no uncertainty was computed, or none at this level.
        """
        if self.spread is None:
            raise UsageError("no uncertainty was computed; reconstruct with uncertainty='bootstrap'.")
        return self.spread.interval(level)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Figures of merit: against the truth where there is one, and of the fit to the data."""
        return self.provenance.get("metrics", {})

    def preview(self, path: str | Path) -> Path:
        """Write a picture of the middle slice with its scale bar and grey-value range."""
        from imagereg.preview import write_preview

        return write_preview(np.asarray(self.image), Path(path), voxel=self.voxel, unit=self.unit)


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; with 'auto' a GPU where there is one.

    Raises
    ------
    ResourceError
        When CUDA is asked for and there is none.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device {name!r}: write auto, cpu, cuda or cuda:0.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"device {name!r}: torch sees no CUDA device here; use cpu or auto.")
    return device


def prepare(measurement: Measurement, *, device: str = "auto", precision: str = "float32") -> Measurement:
    """The measurement as tensors on a device with its physics built, checked for values that no method takes.

    Raises
    ------
    UsageError
        When values are not finite; the sentence says how many, where, and which step mends them.
    """
    import torch

    ready = measurement.ready(device=choose_device(device), dtype=getattr(torch, precision))
    bad = ~torch.isfinite(ready.data)
    if bool(bad.any()):
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise UsageError(
            f"the data hold {int(bad.sum())} values that are not finite, the first at {first} of "
            f"{tuple(ready.data.shape)}; put the step 'outliers' before the method."
        )
    return ready


def iterate(
    measurement: Measurement,
    method: str | Method = "fbp",
    *,
    device: str = "auto",
    precision: str = "float32",
    seed: int = 0,
    uncertainty: Request = None,
    **parameters: Any,
) -> Iterator[State]:
    """Reconstruct step by step: one `State` an iteration, to look at, keep, or stop when one likes.

    Parameters
    ----------
    measurement : what was measured; counts must have been preprocessed.
    method : a name (see `imagereg list methods`) or a `Method`.
    device : 'auto', 'cpu', 'cuda' or 'cuda:N'.
    precision : 'float32' or 'float64'.
    seed : seed of everything random inside the method.
    uncertainty : where a spread comes from, 'bootstrap' or the values of a recipe's section (see
        `imagereg.recipe.Uncertainty`); the last state then holds intervals.
    parameters : parameters of the method by name.

    Raises
    ------
    UsageError
        For an unknown method or parameter, or when the method does not fit the measurement.
    """
    import torch

    chosen = _seeded(find_method(method, **parameters), seed)
    request = request_of(uncertainty)
    refusal = chosen.refusal(measurement)
    if refusal:
        raise UsageError(f"{refusal}.")
    ready = prepare(measurement, device=device, precision=precision)
    with _out_of_memory(chosen):
        # Seeding here and restoring at the end keeps the caller's own random numbers as they were.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            work, power = rescaled(ready, chosen)
            states = restored(states_with_intervals(chosen, work, request, seed), power)
            told = chosen.renamed
            held = torch.random.get_rng_state()
        while True:
            with torch.random.fork_rng(devices=[]):
                torch.random.set_rng_state(held)
                state = next(states, None)
                held = torch.random.get_rng_state()
            if state is None:
                return
            yield replace(state, notes=(*told, *state.notes)) if told else state


def _seeded(chosen: Method, seed: int) -> Method:
    """The method with `seed` as its own, where it has one and it was not chosen."""
    if seed and "seed" in type(chosen).model_fields and "seed" not in chosen.model_fields_set:
        return chosen.model_copy(update={"seed": seed})
    return chosen


def reconstruct(
    measurement: Measurement,
    method: str | Method = "fbp",
    *,
    device: str = "auto",
    precision: str = "float32",
    seed: int = 0,
    uncertainty: Request = None,
    cover: bool = True,
    **parameters: Any,
) -> Result:
    """Reconstruct (or denoise, deblur, ...) and return the image with its history and provenance.

    The parameters are those of `iterate`, and

    cover : work on a grid as wide as the scan sees where the object reaches beyond `measurement.volume`, and
        cut that out of it; without it a note says that values will be too high.

    Raises
    ------
    ImageregError
        As `iterate`, and when the image holds one value only and the data do not, with the reason.
    """
    import time

    from imagereg.methods.support.constant import refuse_constant
    from imagereg.methods.support.whole_object import on_whole_object
    from imagereg.provenance import describe

    chosen = _seeded(find_method(method, **parameters), seed)
    request = request_of(uncertainty)
    measurement = on_whole_object(measurement, chosen, cover=cover)
    began = time.perf_counter()
    recorder = Recorder()
    last: State | None = None
    for last in iterate(
        measurement, chosen, device=device, precision=precision, seed=seed, uncertainty=request
    ):
        recorder.look(last)
    if last is None:
        raise UsageError(f"{chosen.name} gave no image: let it take at least one iteration.")
    history = recorder.close(last)
    seconds = time.perf_counter() - began
    image = measurement.from_tensor(last.image)
    refuse_constant(chosen.name, last.image.detach().cpu(), measurement.data)
    provenance = describe(measurement, chosen, last, seconds={"reconstruct": seconds}, seed=seed)
    told = account_of(last.outcome.uncertainty, request)
    if told is not None:
        provenance["uncertainty"] = told
    voxel, unit = grid_of(measurement)
    spread = spread_of(last, measurement, image)
    return Result(image, voxel, unit, history, provenance, last, spread=spread)


def grid_of(measurement: Measurement) -> tuple[tuple[float, ...], str]:
    """Edges of a result's voxels in the order of its axes, and their unit."""
    from imagereg.geometry import Volume

    geometry, volume = measurement.geometry, measurement.volume
    if geometry is None:
        return measurement.pixel, measurement.unit or ("pixel" if not measurement.pixel else "")
    volume = volume or Volume.fit(geometry)
    unit = "pixel" if measurement.pixel_assumed else "mm"
    # One row of a detector with rows is a stack of one slice.
    stacked = measurement.rows > 1 or (measurement.framed and len(measurement.data.shape) == 3)
    if volume.ndim == 2 and stacked:
        return (geometry.row_edge / geometry.magnification, *volume.edges), unit
    return volume.edges, unit


class Recorder:
    """Keeps the figures of some states (about 20 of them, spaced evenly in the logarithm) as history."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._next = 1

    def look(self, state: State) -> None:
        """Record the state if its turn has come; evaluating every one would cost as much as the solver."""
        if state.phase or state.iteration < self._next:
            return
        self._rows.append(figures(state))
        self._next = max(state.iteration + 1, int(state.iteration * 1.3))

    def expected(self, tolerance: float | None) -> int | None:
        """The step at which the gap is likely to reach a tolerance; None where the figures do not tell.

        Gaps fall by a power of the number of steps: the line through the last looks over a doubling of it.
        """
        told = [(row["iteration"], row["gap"]) for row in self._rows if row.get("gap", 0.0) > 0]
        if tolerance is None or len(told) < 4:
            return None
        step, gap = told[-1]
        before = [one for one in told if one[0] <= step / 2]
        if not before or before[-1][1] <= gap:
            return None
        power = math.log(before[-1][1] / gap) / math.log(step / before[-1][0])
        # Some tolerances are only there never to be met: further off than any total there is no need to know.
        growth = (math.log(gap) - math.log(tolerance)) / power
        return math.ceil(step * math.exp(max(0.0, growth))) if growth < 30 else None

    def close(self, last: State) -> tuple[Mapping[str, float], ...]:
        """The history, the last state included."""
        if not self._rows or self._rows[-1]["iteration"] != last.iteration:
            self._rows.append(figures(last))
        return tuple(self._rows)


def figures(state: State) -> dict[str, float]:
    """Iteration, seconds and whatever else the state can say of itself."""
    row: dict[str, float] = {"iteration": state.iteration, "seconds": round(state.seconds, 4)}
    for name in ("objective", "residual", "gap"):
        value = getattr(state, name)
        if value is not None:
            row[name] = float(value)
    row.update({name: float(value) for name, value in state.values.items() if name not in row})
    return row


@contextlib.contextmanager
def _out_of_memory(chosen: Method) -> Iterator[None]:
    """Turn an allocator's complaint into a sentence with a way out."""
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has a class of its own for what a GPU lacks, and only words for what the CPU lacks.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(
            error
        ):
            raise
        raise OutOfMemory(
            f"{chosen.name} ran out of memory ({str(error).splitlines()[0] or 'no detail'}); take fewer rows "
            "at a time (execution.slab), bin the data (step 'bin'), or use the cpu."
        ) from error
