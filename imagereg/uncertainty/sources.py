"""A spread for any method: the method again and again, on resampled data or with other random numbers.

* `bootstrap` of a scan: its views, drawn with replacement. It assumes that views are exchangeable, and
  shows what the image owes to the views that happened to be taken as well as to their noise.
* `noise` (and `bootstrap` of images): y* = A x + noise, x being the image found, so the part of the error
  that is due to the noise. What regularisation flattens, it flattens in every run: the bias is not seen.
* `seeds`: the same data, other random numbers of the method.

References
----------
B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), doi:10.1201/9780429246593.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from imagereg.errors import UsageError
from imagereg.solvers.outcome import Outcome, PixelUncertainty
from imagereg.uncertainty.samples import Moments

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method
    from imagereg.solvers.state import State

SOURCES = ("bootstrap", "noise", "seeds", "method")
"""Where a spread may come from."""

FEWEST_VIEWS = 4
"""A bootstrap over fewer views says nothing."""

STRIDE = 1009
"""Seeds of two runs lie so far apart: a method may take the seeds next to its own for runs of its own."""


class Iterable(Protocol):
    """What is run: a method."""

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """The states of a run."""
        ...


def refusal(source: str, method: Method, measurement: Measurement) -> str:
    """Why a method has no spread of a source on a measurement, in one sentence; empty where it has one."""
    if source == "method":
        return method.without_samples(measurement)
    kind = kind_of(source, measurement)
    if kind == "seeds" and not (method.random or _has_seed(method)):
        return (
            f"{method.name} has no randomness of its own, so that all its runs on the same data are the "
            "same; take uncertainty.source = noise"
        )
    if kind == "views":
        views = 0 if measurement.geometry is None else measurement.geometry.views
        if views < FEWEST_VIEWS:
            return f"a bootstrap over {views} views says nothing; take the source 'noise', or more views"
    return ""


def kind_of(source: str, measurement: Measurement) -> str:
    """'views', 'noise' or 'seeds': what a source means for a measurement."""
    if source != "bootstrap":
        return source
    return "views" if measurement.geometry is not None else "noise"


def sampled(method: Iterable, measurement: Measurement, source: str, runs: int, seed: int) -> Iterator[State]:
    """The method's own states, then `runs` more runs; the last state knows the spread.

    States of the further runs have the phase 'run k of n' and the image found first, with no figures of
    their own; iterations go on counting. The last state is that of the first run with
    mean, std, samples and meaning as its outcome's uncertainty.

    Parameters
    ----------
    measurement : ready.
    source : 'bootstrap', 'noise' or 'seeds'.
    runs : number of samples.
    seed : of the resampling; run k has seed + k for the method's own random numbers, and with the source
        'seeds' another `seed` of the method where it has one.

    Raises
    ------
    UsageError
        When a run gives no image. Whether the source fits is for `refusal` to say.
    """
    kind = kind_of(source, measurement)
    last: State | None = None
    for last in method.iterate(measurement):
        more = None if last.total is None else last.total * (runs + 1)
        yield replace(last, total=more, finished="")
    if last is None:
        return
    image, each, seconds = last.image.detach(), last.total or last.iteration, last.seconds
    moments, samples = Moments(), []
    draws = _Draws(measurement, image, kind, seed)
    for k in range(1, runs + 1):
        again: State | None = None
        part = draws.next()
        torch.manual_seed(seed + k)
        for again in (_reseeded(method, k) if kind == "seeds" else method).iterate(part):
            so_far = None if moments.count < 2 else PixelUncertainty(moments.mean, moments.std)
            yield replace(
                last,
                iteration=k * each + again.iteration,
                total=each * (runs + 1),
                seconds=seconds + again.seconds,
                phase=f"run {k} of {runs},",
                finished="",
                # Figures of the image found first would be worked out again for every state.
                values={},
                problem=None,
                solver=None,
                memory={"image": image},
                outcome=Outcome(so_far),
            )
        if again is None:
            raise UsageError("a run on resampled data gave no image: let it take at least one iteration.")
        seconds += again.seconds
        moments.add(again.image)
        samples.append(again.image.detach())
    meaning = f"{MEANINGS[kind]}, {runs} runs"
    known = PixelUncertainty(moments.mean, moments.std, torch.stack(samples), meaning)
    reason = last.finished or f"{last.iteration} iterations"
    yield replace(last, seconds=seconds, finished=reason, outcome=replace(last.outcome, uncertainty=known))


MEANINGS = {
    "views": "bootstrap over views",
    "noise": "bootstrap over the noise",
    "seeds": "ensemble over seeds",
}


def _has_seed(method: Any) -> bool:
    return "seed" in getattr(type(method), "model_fields", {})


def _reseeded(method: Any, k: int) -> Any:
    """The method of run k, with another seed of its own where it has one."""
    return method.model_copy(update={"seed": method.seed + k * STRIDE}) if _has_seed(method) else method


class _Draws:
    """Resampled measurements, one after the other."""

    def __init__(self, measurement: Measurement, image: torch.Tensor, kind: str, seed: int) -> None:
        self.measurement, self.kind = measurement, kind
        self.generator = torch.Generator().manual_seed(seed)
        self.clean: torch.Tensor | None = None
        self.std: torch.Tensor | None = None
        if kind == "noise":
            with torch.no_grad():
                self.clean = measurement.physics.A(image)
            if getattr(measurement.noise, "name", "") in ("poisson", "gamma"):
                self.clean = self.clean.clamp_min(0.0)
            if measurement.noise is None or not hasattr(measurement.noise, "sample"):
                from imagereg.noise.level import noise_level

                self.std = noise_level(measurement).std

    def next(self) -> Measurement:
        """One more."""
        from imagereg.choose.held_out import take_views

        if self.kind == "views":
            assert self.measurement.geometry is not None
            views = self.measurement.geometry.views
            drawn = torch.randint(views, (views,), generator=self.generator).sort().values
            return take_views(self.measurement, drawn)
        if self.kind == "noise":
            return replace(self.measurement, data=self._noisy())
        return self.measurement

    def _noisy(self) -> Any:
        clean = self.clean
        assert clean is not None
        seed = int(torch.randint(2**31 - 1, (1,), generator=self.generator))
        if self.std is None:
            return self.measurement.noise.sample(clean, seed=seed).to(clean.dtype)
        white = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed), dtype=clean.dtype)
        return clean + self.std * white.to(clean.device)
