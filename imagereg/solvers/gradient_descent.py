"""Gradient descent on a smooth data term: what stops it is what regularises it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.solvers.base import Memory
from imagereg.solvers.problem import Problem, Refusal


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
