"""DiffPIR: reverse diffusion in which every clean estimate is drawn to the data."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.solvers.ensemble import only_denoiser, white
from imagereg.solvers.linear import near, require_linear
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class DiffPIR:
    """z = D(u_t, s_t),  x = argmin f(A x) + strength e^2 / (s_t h)^2 / 2 ||x - z||^2,

        e_t = (u_t - x) / s_t,   u_next = x + s_next (sqrt(1 - zeta) e_t + sqrt(zeta) e),

    in the coordinates where variance explodes, x = low + h u; the published form is this one times alpha_t.

    Parameters
    ----------
    levels : (steps, 1) descending, on the scale of [0, 1].
    noise : e, standard deviation of data of weight one; a number or one an item, positive.
    strength : lambda, weight of the denoiser over what noise and level ask for.
    zeta : part of the noise that is drawn anew, from 0 to 1.
    seed : of the noise.
    inner, tolerance : conjugate gradients where A has no closed form.

    References
    ----------
    Y. Zhu et al., CVPR workshops (2023), arXiv:2305.08995.
    """

    levels: torch.Tensor
    noise: Step
    strength: float = 1.0
    zeta: float = 0.3
    seed: int = 0
    inner: int = 10
    tolerance: float = 1e-2

    def __post_init__(self) -> None:
        if (
            not self.strength > 0
            or not 0 <= self.zeta <= 1
            or not bool((torch.as_tensor(self.noise) > 0).all())
        ):
            raise UsageError(
                f"DiffPIR(strength={self.strength}, zeta={self.zeta}): strength and noise must be positive "
                "and zeta from 0 to 1."
            )

    def check(self, problem: Problem) -> None:
        """Refuse anything but linear least squares and one denoiser."""
        require_linear(problem, "DiffPIR")
        if not isinstance(problem.fidelity, LeastSquares):
            name = type(problem.fidelity).__name__
            raise Refusal(f"DiffPIR: {name} is not a least-squares fidelity; use RedDiff.")
        only_denoiser(problem, "DiffPIR")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start in the noise of the first level."""
        prior = only_denoiser(problem, "DiffPIR")
        image = problem.like if start is None else start
        u = prior.to_unit(image)
        return {"image": image, "u": u + float(self.levels[0, 0]) * white(u, self.seed, 0), "age": 0}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """From one level to the next; the last step gives what the data drew from the last estimate."""
        prior, age, u = only_denoiser(problem, "DiffPIR"), memory["age"], memory["u"]
        level = float(self.levels[age, 0])
        clean = prior.from_unit(prior.unit(u, level).to(u.dtype).clamp(0, 1))
        span = prior.high - prior.low
        weight = self.strength * (torch.as_tensor(self.noise) / (level * span)) ** 2
        weight = weight.to(u).expand(len(u), *[1] * (u.ndim - 1))
        image = near(problem, clean, weight, iterations=self.inner, tolerance=self.tolerance)
        if age + 1 == len(self.levels):
            return {"image": image, "u": u, "age": age + 1}
        following = float(self.levels[age + 1, 0])
        found = prior.to_unit(image)
        kept = (1 - self.zeta) ** 0.5 * (u - found) / level
        fresh = self.zeta**0.5 * white(u, self.seed, age + 1)
        return {"image": image, "u": found + following * (kept + fresh), "age": age + 1}
