"""MLEM: maximum likelihood by expectation maximisation, for counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.fidelities.poisson import KullbackLeibler
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class MLEM:
    """x <- x / (A^T 1) · A^T (y / (A x + b)), which never lowers the Poisson likelihood and keeps x > 0.

    Early iterations are smooth and late ones noisy: stopping early is its regularisation.

    References
    ----------
    Shepp, Vardi, IEEE Trans. Med. Imaging 1 (1982) 113, doi 10.1109/TMI.1982.4307558.
    """

    def check(self, problem: Problem) -> None:
        """Refuse priors and data terms that are not Poisson's."""
        if problem.priors:
            raise Refusal("MLEM takes no prior: take SPIRAL or PDHG.")
        if not isinstance(problem.fidelity, KullbackLeibler):
            raise Refusal(f"MLEM is for counts and the data term is {type(problem.fidelity).__name__}.")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """A constant image, or the start, with the sensitivity A^T 1."""
        image = torch.ones_like(problem.like) if start is None else start.clamp_min(0)
        sensitivity = problem.physics.A_adjoint(torch.ones_like(problem.fidelity.data))
        return {"image": image, "forward": problem.physics.A(image), "sensitivity": sensitivity}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One multiplicative update."""
        fidelity, sensitivity = problem.fidelity, memory["sensitivity"]
        assert isinstance(fidelity, KullbackLeibler)
        mean = memory["forward"] + fidelity.background
        ratio = torch.where(mean > 0, fidelity.data / torch.where(mean > 0, mean, 1.0), 0.0)
        nonzero = sensitivity > 0
        factor = problem.physics.A_adjoint(ratio) / torch.where(nonzero, sensitivity, 1.0)
        image = torch.where(nonzero, memory["image"] * factor, 0.0)
        return {**memory, "image": image, "forward": problem.physics.A(image)}
