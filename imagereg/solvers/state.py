"""One step of any iterative work, as the world sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from imagereg.solvers.outcome import NOTHING, Outcome

if TYPE_CHECKING:
    from imagereg.solvers.problem import Problem

Memory = dict[str, Any]
"""Everything a solver needs to go on, tensors and plain numbers by name; `image` is always there."""


@dataclass(frozen=True, eq=False)
class State:
    """One step of any iterative work: the image so far and, for whoever looks, how good it is.

    Parameters
    ----------
    image : (B, C, ...) the current image.
    iteration : number of steps taken.
    total : number of steps at most, where known.
    seconds : time since the work began.
    phase : what is going on, where the work has several parts ('pre-estimate', 'training').
    finished : why the work ended, on its last state only.
    notes : what was chosen for the user, one sentence each.
    values : quantities that the work itself gives; they go before the computed ones of the same name.
    memory : what the solver needs to go on from here (see `Memory`).
    outcome : what the work gives beside its image.
    """

    image: torch.Tensor
    iteration: int
    total: int | None = None
    seconds: float = 0.0
    phase: str = ""
    finished: str = ""
    notes: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict, repr=False)
    outcome: Outcome = NOTHING
    problem: Problem | None = field(default=None, repr=False)
    solver: Any = field(default=None, repr=False)

    @cached_property
    def objective(self) -> float | None:
        """fidelity(A x) + sum of priors, summed over the batch; None where there is no objective."""
        if "objective" in self.values or self.problem is None:
            return self.values.get("objective")
        return self._fit[0]

    @cached_property
    def residual(self) -> float | None:
        """||A x - y|| / ||y||; None where the work has no data term."""
        if "residual" in self.values or self.problem is None:
            return self.values.get("residual")
        known = self.memory.get("forward")
        return self._fit[1] if known is None else self.problem.residual(self.image, forward=known)

    @cached_property
    def _fit(self) -> tuple[float | None, float]:
        """Objective and residual from one A x, which may have to be computed and is not kept."""
        assert self.problem is not None
        forward = self.memory.get("forward")
        if forward is None:
            with torch.no_grad():
                forward = self.problem.physics.A(self.image)
        objective = self.problem.objective(self.image, forward=forward)
        return objective, self.problem.residual(self.image, forward=forward)

    @cached_property
    def gap(self) -> float | None:
        """Relative duality gap (P - D) / (1 + |P|), where the solver has a dual variable; else None."""
        gap = getattr(self.solver, "gap", None)
        if "gap" in self.values or self.problem is None or gap is None:
            return self.values.get("gap")
        return gap(self.problem, self.memory)

    @property
    def progress(self) -> float | None:
        """Fraction of the steps taken, where the total is known."""
        return None if not self.total else min(1.0, self.iteration / self.total)
