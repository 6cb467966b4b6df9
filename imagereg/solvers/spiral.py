"""SPIRAL-TAP: separable quadratic approximations of a Poisson likelihood, each with a penalty over x >= 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from imagereg.fidelities.base import Step
from imagereg.solvers.base import Memory
from imagereg.solvers.problem import Problem, Refusal, inner


@runtime_checkable
class Penalty(Protocol):
    """A prior whose sub-problem over non-negative images has a solver."""

    def fn(self, x: torch.Tensor) -> torch.Tensor | None:
        """The penalty of each item, shape (B,), or None where it has no value."""

    def solve(self, s: torch.Tensor, gamma: Step, warm: Any = None) -> tuple[torch.Tensor, Any]:
        """argmin over x >= 0 of 1/2 ||x - s||² + γ pen(x), and what makes the next call quicker."""


@dataclass(frozen=True, eq=False)
class Spiral:
    """x+ = argmin_{x >= 0} 1/2 ||x - s||² + pen(x)/α,  s = x - ∇F(x)/α,  F(x) = f(A x).

    α is the Barzilai-Borwein curvature <d, ∇²F(x) d> / ||d||² along the last step d, in [smallest, largest].
    A step is taken when it makes Φ = F + pen smaller than the largest of its last `past` + 1 values by
    decrease · α/2 ||x+ - x||²; else α grows by `growth` and the sub-problem is solved again. A penalty
    without a value (cycle spinning) has no such test: every step is taken. Each item of a batch has its
    own α.

    Parameters
    ----------
    past : values of Φ that may be exceeded; 0 makes every step descend.
    decrease, growth : constants of the test, σ and η of the paper.
    smallest, largest : bounds of α; at `largest` a step is taken whatever Φ says.

    References
    ----------
    Harmany, Marcia, Willett, "This is SPIRAL-TAP: Sparse Poisson Intensity Reconstruction ALgorithms - Theory
    and Practice", IEEE Trans. Image Process. 21 (2012) 1084, doi 10.1109/TIP.2011.2168410, arXiv 1005.4274.
    """

    past: int = 10
    decrease: float = 0.1
    growth: float = 2.0
    smallest: float = 1e-30
    largest: float = 1e30

    def check(self, problem: Problem) -> None:
        """Refuse several penalties, one whose sub-problem has no solver, and bounds other than x >= 0."""
        if len(problem.priors) > 1:
            raise Refusal("SPIRAL takes one penalty; add the others to a PDHG or ADMM problem.")
        for prior in problem.priors:
            if not isinstance(prior, Penalty):
                raise Refusal(
                    f"SPIRAL has no solver for {type(prior).__name__} over x >= 0; take PDHG, or a penalty "
                    "of imagereg.priors with `solve`."
                )
        if problem.bounds != (0, None):
            raise Refusal(
                f"SPIRAL keeps x >= 0 and the bounds are {problem.bounds}: give (0, None), or take PDHG."
            )
        if not hasattr(problem.fidelity, "curvature"):
            raise Refusal(
                f"SPIRAL needs the curvature of the data term, which {type(problem.fidelity).__name__} does "
                "not offer; take FISTA or PDHG."
            )

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start; by default A^T y scaled so that its data have the sum of the measured ones."""
        image = problem.project(self._start(problem) if start is None else start)
        forward = problem.physics.A(image)
        gradient = self._gradient(problem, image, forward)
        moved = problem.physics.A(gradient)
        memory: Memory = {"image": image, "forward": forward, "gradient": gradient, "warm": None}
        memory["curvature"] = self._curvature(problem, forward, moved, gradient, None)
        memory["objectives"] = [self._objective(problem, image, forward)]
        return memory

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One accepted step, with as many solutions of the sub-problem as it takes."""
        image, gradient, past = memory["image"], memory["gradient"], memory["objectives"]
        alpha = memory["curvature"].clamp(self.smallest, self.largest)
        tested = past[-1] is not None
        done = torch.zeros_like(alpha, dtype=torch.bool)
        new, forward, objective, taken = image, memory["forward"], past[-1], alpha
        warm, solves = memory["warm"], 0
        while not bool(done.all()):
            trial, warm = self._solve(problem, image - gradient / alpha, 1 / alpha, warm)
            solves += 1
            ahead = problem.physics.A(trial)
            reached = self._objective(problem, trial, ahead)
            good = torch.ones_like(done)
            if tested:
                step = trial - image
                ceiling = torch.stack(past).amax(0)
                # Without room for rounding, α would run away once Φ cannot fall in this precision.
                room = 8 * torch.finfo(image.dtype).eps * ceiling.abs()
                least = self.decrease * alpha / 2 * inner(step, step)
                good = reached.reshape_as(alpha) <= (ceiling + room).reshape_as(alpha) - least
                good |= alpha >= self.largest
            first = good & ~done
            new = torch.where(first, trial, new)
            forward = torch.where(_like(first, ahead), ahead, forward)
            objective = torch.where(first.flatten(), reached, objective) if tested else None
            taken = torch.where(first, alpha, taken)
            done |= good
            alpha = torch.where(done, alpha, alpha * self.growth)
        step = new - image
        after = self._gradient(problem, new, forward)
        return {
            "image": new,
            "forward": forward,
            "gradient": after,
            "warm": warm,
            "curvature": self._curvature(problem, forward, forward - memory["forward"], step, taken),
            "objectives": [*past, objective][-(self.past + 1) :],
            "solves": solves,
        }

    def _curvature(
        self,
        problem: Problem,
        forward: torch.Tensor,
        moved: torch.Tensor,
        step: torch.Tensor,
        before: torch.Tensor | None,
    ) -> torch.Tensor:
        """<A d, f''(A x) A d> / ||d||², shape (B, 1, ...); the last one where there was no step."""
        square = inner(step, step)
        rise = problem.fidelity.curvature(forward, moved).reshape_as(square)  # type: ignore[attr-defined]
        alpha = rise / torch.where(square > 0, square, 1.0)
        fallback = torch.ones_like(alpha) if before is None else before
        return torch.where((square > 0) & (alpha > 0), alpha, fallback)

    @staticmethod
    def _start(problem: Problem) -> torch.Tensor:
        data = problem.fidelity.data
        back = problem.physics.A_adjoint(data)
        ahead = problem.physics.A(back)
        scale = inner(torch.ones_like(data), data) / inner(torch.ones_like(ahead), ahead).clamp_min(
            torch.finfo(data.dtype).tiny
        )
        return back * _like(scale, back)

    @staticmethod
    def _gradient(problem: Problem, image: torch.Tensor, forward: torch.Tensor) -> torch.Tensor:
        return problem.physics.A_adjoint(problem.fidelity.grad(forward))

    @staticmethod
    def _objective(problem: Problem, image: torch.Tensor, forward: torch.Tensor) -> torch.Tensor | None:
        value = problem.fidelity.fn(forward).double()
        for prior in problem.priors:
            penalty = prior.fn(image)
            if penalty is None:
                return None
            value = value + penalty.double()
        return value

    @staticmethod
    def _solve(problem: Problem, s: torch.Tensor, gamma: torch.Tensor, warm: Any) -> tuple[torch.Tensor, Any]:
        if not problem.priors:
            return s.clamp_min(0), None
        return problem.priors[0].solve(s, gamma, warm)  # type: ignore[attr-defined]


def _like(flag: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A value of each item in as many axes as x has."""
    return flag.reshape(-1, *[1] * (x.ndim - 1))
