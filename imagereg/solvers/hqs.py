"""Half-quadratic splitting with a denoiser whose noise level falls: plug and play."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.priors.denoiser import DenoiserPrior
from imagereg.solvers.ensemble import only_denoiser
from imagereg.solvers.linear import (
    mean_curvature,
    near,
    quick_fit,
    require_linear,
)
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class HQS:
    """x = argmin f(A x) + mu_k/2 ||x - z||^2,   z = D(x, sigma_k).

    sigma_k falls geometrically from `first` to the prior's own sigma in `steps` steps and stays there;
    mu_k = weight c (sigma / sigma_k)^2, c being the mean curvature of the data term, so that data and
    denoiser count alike at the end where weight = 1. The first line is solved in closed form where the
    physics has a singular value decomposition, else by conjugate gradients.

    Parameters
    ----------
    first : noise level at the start, on the denoiser's scale of [0, 1]; not below the prior's sigma.
    steps : number of steps of the schedule.
    weight : how much the denoiser counts against the data.
    inner, tolerance : conjugate gradients: steps at most, and reduction of the gradient.

    References
    ----------
    K. Zhang et al., IEEE Trans. Pattern Anal. Mach. Intell. 44 (2022) 6360, doi:10.1109/TPAMI.2021.3088914.
    """

    first: float = 0.2
    steps: int = 20
    weight: float = 0.25
    inner: int = 20
    tolerance: float = 1e-2

    def __post_init__(self) -> None:
        if not self.first > 0 or self.steps < 1 or not self.weight > 0 or self.inner < 1:
            raise UsageError(
                f"HQS(first={self.first}, steps={self.steps}, weight={self.weight}, inner={self.inner}): all "
                "must be positive."
            )

    def check(self, problem: Problem) -> None:
        """Refuse anything but least squares and one denoiser."""
        require_linear(problem, "HQS")
        if not isinstance(problem.fidelity, LeastSquares):
            raise Refusal(
                f"HQS: {type(problem.fidelity).__name__} is not a least-squares fidelity; use ADMM."
            )
        only_denoiser(problem, "HQS")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start, by default a quick reconstruction."""
        image = quick_fit(problem) if start is None else start
        held = mean_curvature(problem)
        return {"image": problem.project(image), "held": held, "age": 0}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One fit to the data and one denoising."""
        prior = problem.priors[0]
        assert isinstance(prior, DenoiserPrior)
        centre, age = memory["image"], memory["age"]
        sigma = self.level(prior.sigma, age)
        ratio = 1.0 if prior.sigma == 0 else (prior.sigma / sigma) ** 2
        weight = self.weight * ratio * memory["held"]
        image = near(problem, centre, weight, iterations=self.inner, tolerance=self.tolerance)
        image = problem.project(prior.denoise(problem.project(image), sigma))
        return {**memory, "image": image, "age": age + 1}

    def level(self, last: float, age: int) -> float:
        """sigma_k of the schedule that ends at `last`."""
        first = max(self.first, last)
        if self.steps == 1 or age >= self.steps - 1 or last == 0:
            return last
        return first * math.exp(math.log(last / first) * age / (self.steps - 1))
