"""Trial runs of a method: the same seed every time, started from the nearest image already found."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from imagereg.choose.parameter_range import with_values
from imagereg.errors import UsageError
from imagereg.solvers.base import State

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
    """Runs methods to their end and counts the work.

    Parameters
    ----------
    seed : seed of everything random inside the methods; the same for each run, so that two runs differ by
        what is varied only.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self.iterations = 0
        self._estimates: dict[int, tuple[Measurement, torch.Tensor]] = {}

    def run(self, method: Method, measurement: Measurement) -> Generator[State, None, Outcome]:
        """Run a method on a ready measurement, state by state, and return where it ended.

        A pre-estimate (parameter `psi`, phase 'pre-estimate') does not depend on what is varied: it is made
        in the first run on a measurement and given to the others.
        """
        known = self._estimates.get(id(measurement))
        if known is not None:
            method = with_values(method, {"psi": known[1]})
        last: State | None = None
        for state in _seeded(method.iterate(measurement), self.seed):
            if state.phase == "pre-estimate" and hasattr(method, "psi"):
                # The measurement is kept with it, so that its identity is not given to another one.
                self._estimates[id(measurement)] = (measurement, state.image.detach())
            last = state
            self.iterations += 1
            yield state
        if last is None:
            raise UsageError(f"{method.name} gave no image: let it take at least one iteration.")
        image = last.image.detach()
        with torch.no_grad():
            return Outcome(image, measurement.physics.A(image), last)


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
