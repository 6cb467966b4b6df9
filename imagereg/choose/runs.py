"""Trial runs of a method: the same seed every time, started from the nearest image already found."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from imagereg.errors import UsageError
from imagereg.solvers.base import iterate
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where a run ended.

    Attributes
    ----------
    image : (B, C, ...) the result.
    forward : A image.
    state : the last state of the run.
    """

    image: torch.Tensor
    forward: torch.Tensor
    state: State


class Runs:
    """Runs methods to their end, without doing twice what several trials have in common.

    A pre-estimate (parameter `psi`, phase 'pre-estimate') does not depend on what is varied: it is made once
    for each measurement. A method that minimises a penalty, and whose stopping rule can be asked for
    (`rule`), starts from the image of the trial nearest to it, and from its dual variables where the solver
    can take them (`carried`) and the trial was one of the last two: the minimum does not depend on the
    start. Where the number of iterations is what regularises, every run starts anew.

    Parameters
    ----------
    seed : seed of everything random inside the methods; the same for each run, so that two runs differ by
        what is varied only.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self.iterations = 0
        self._known: dict[int, _Known] = {}

    def run(self, method: Method, measurement: Measurement) -> Generator[State, None, Outcome]:
        """Run a method on a ready measurement, state by state, and return where it ended."""
        known = self._known.setdefault(id(measurement), _Known(measurement))
        if known.estimate is not None:
            method = method.with_values({"psi": known.estimate})
        last: State | None = None
        for state in _seeded(_warm(method, measurement, known), self.seed):
            if state.phase == "pre-estimate" and hasattr(method, "psi"):
                known.estimate = state.image.detach()
            last = state
            self.iterations += 1
            yield state
        if last is None:
            raise UsageError(f"{method.name} gave no image: let it take at least one iteration.")
        image = last.image.detach()
        known.keep(method, last)
        with torch.no_grad():
            return Outcome(image, measurement.physics.A(image), last)


class _Known:
    """What earlier trials found for one measurement, which is kept so that its identity stays its own."""

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement
        self.estimate: torch.Tensor | None = None
        self.results: list[tuple[Method, State]] = []

    def keep(self, method: Method, state: State) -> None:
        """Remember where a trial ended; what its solver knew besides the image, for the last two trials."""
        bare = State(state.image.detach(), state.iteration)
        self.results = [
            *((m, State(s.image, s.iteration)) for m, s in self.results[:-1]),
            *self.results[-1:],
            (method, state if hasattr(state.solver, "carried") else bare),
        ]

    def nearest(self, method: Method) -> State | None:
        """The end of the trial whose parameters are nearest, ratios counting for positive ones."""
        ranked = sorted(self.results, key=lambda result: _distance(method, result[0]))
        return ranked[0][1] if ranked else None


def _distance(a: Method, b: Method) -> float:
    total = 0.0
    for name in type(a).model_fields:
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, int | float) and isinstance(y, int | float) and x != y:
            total += abs(math.log(x / y)) if x > 0 and y > 0 else abs(x - y)
    return total


def _warm(method: Method, measurement: Measurement, known: _Known) -> Iterator[State]:
    """The states of a method, the solver being started from the nearest image where that is the same."""
    states = method.iterate(measurement)
    near, rule = known.nearest(method), getattr(method, "rule", None)
    for state in states:
        problem, solver = state.problem, state.solver
        ready = not state.phase and not state.finished and problem is not None and bool(problem.priors)
        if near is None or not callable(rule) or not ready or near.image.shape != state.image.shape:
            yield state
            continue
        assert problem is not None
        resume = None
        if near.solver is not None and type(near.solver) is type(solver):
            with torch.no_grad():
                resume = State(near.image, 0, memory=solver.carried(problem, near.memory))
        total, stop = state.total or 1, rule(solver)
        yield from iterate(solver, problem, total=total, start=near.image, stop=stop, resume=resume)
        return


def _seeded(states: Iterator[State], seed: int) -> Iterator[State]:
    """The same states with their own stream of random numbers, which leaves the caller's as it was."""
    held: Any = None
    while True:
        with torch.random.fork_rng(devices=[]):
            if held is None:
                torch.manual_seed(seed)
            else:
                torch.random.set_rng_state(held)
            state = next(states, None)
            held = torch.random.get_rng_state()
        if state is None:
            return
        yield state
