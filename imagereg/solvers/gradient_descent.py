"""Gradient descent on a smooth data term: what stops it is what regularises it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.sobolev import Sobolev
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory, State
from imagereg.solvers.stopping import StoppingRule


@dataclass(frozen=True, eq=False)
class GradientDescent:
    """x <- P(x - τ A^T ∇f(A x)), τ = relaxation / (||A||² L), L the Lipschitz constant of ∇f (Landweber).

    For a data term in H^s of a convolution A it damps the error at frequency ω by 1 - τ W |a|² a step, so
    that s decides the order in which frequencies come in.

    Parameters
    ----------
    relaxation : the step in units of 1 / (||A||² L), below 2.
    """

    relaxation: float = 1.0

    def check(self, problem: Problem) -> None:
        """Refuse priors, and data terms without a Lipschitz gradient."""
        if problem.priors:
            name = type(problem.priors[0]).__name__
            raise Refusal(f"gradient descent takes no priors and there is {name}: take FISTA or PDHG.")
        if problem.fidelity.lipschitz == float("inf"):
            name = type(problem.fidelity).__name__
            raise Refusal(f"gradient descent needs a Lipschitz gradient, which {name} lacks: take PDHG.")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start, zeros where not given."""
        image = problem.project(problem.like if start is None else start)
        return {"image": image, "forward": problem.physics.A(image)}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One step down the gradient."""
        tau = self.relaxation / (problem.norm**2 * problem.fidelity.lipschitz)
        gradient = problem.physics.A_adjoint(problem.fidelity.grad(memory["forward"]))
        image = problem.project(memory["image"] - tau * gradient)
        return {"image": image, "forward": problem.physics.A(image)}


@dataclass(frozen=True)
class SobolevDiscrepancy(StoppingRule):
    """Stop when ||A x - y||_{H^s} is what noise of power spectrum 1/W would make it, over the whole batch.

    The H^s form of Morozov's principle; at s = 0 it is his own.

    Parameters
    ----------
    sigma : standard deviation of the noise, in the unit of the data.
    factor : a little above 1.
    """

    sigma: float
    factor: float = 1.02

    def __post_init__(self) -> None:
        if not self.sigma > 0 or not self.factor > 0:
            raise UsageError(f"SobolevDiscrepancy({self.sigma}, {self.factor}): give positive numbers.")

    def __call__(self, state: State, previous: State | None) -> str:
        """The residual, where it is at the level of the noise."""
        fidelity = None if state.problem is None else state.problem.fidelity
        if not isinstance(fidelity, Sobolev):
            raise UsageError("stopping rule SobolevDiscrepancy: the data term is not a Sobolev norm.")
        misfit = float(fidelity.norm_squared(state.memory["forward"] - fidelity.data).sum()) ** 0.5
        level = (fidelity.data.numel() * fidelity.expected(self.sigma)) ** 0.5
        return f"H^s residual {misfit:.3g} at the noise" if misfit <= self.factor * level else ""
