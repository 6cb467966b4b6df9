"""DDRM: reverse diffusion in the basis of singular vectors, where each datum holds one coefficient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.solvers.ensemble import only_denoiser, white
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class DDRM:
    """With A = U S V^T, x = V^T u, z = S^+ U^T y, and d the denoised coefficients, the next ones are normal:

        no datum (S = 0)       mean d + sqrt(1 - eta^2) s' (x - d) / s,             std eta s'
        s' below e / S         mean d + sqrt(1 - eta^2) s' (z - d) S / e,           std eta s'
        s' at least e / S      mean (1 - eta_b) d + eta_b z,           variance s'^2 - (eta_b e / S)^2

    s and s' being the present and the next level, e the noise of the data in units of the grey range.

    Parameters
    ----------
    levels : (steps, 1) descending, on the scale of [0, 1].
    noise : e, standard deviation of the data; a number or one an item.
    eta, eta_b : randomness where there is no datum, and trust in a datum, from 0 to 1.
    seed : of the noise.

    References
    ----------
    B. Kawar, M. Elad, S. Ermon, J. Song, NeurIPS (2022), arXiv:2201.11793.
    """

    levels: torch.Tensor
    noise: Step
    eta: float = 0.85
    eta_b: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1 or not 0 <= self.eta_b <= 1:
            raise UsageError(f"DDRM(eta={self.eta}, eta_b={self.eta_b}): give numbers from 0 to 1.")

    def check(self, problem: Problem) -> None:
        """Refuse a physics without known singular vectors, weights, and anything but one denoiser."""
        from deepinv.physics import DecomposablePhysics

        fidelity, name = problem.fidelity, type(problem.physics).__name__
        if not isinstance(problem.physics, DecomposablePhysics):
            raise Refusal(f"DDRM: no singular vectors of {name} are known; use RedDiff, DPS or DiffPIR.")
        if not isinstance(fidelity, LeastSquares) or fidelity.weights is not None:
            raise Refusal("DDRM takes least squares without weights; use RedDiff or DPS.")
        only_denoiser(problem, "DDRM")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """Coefficients at the first level: the data's where there are any, noise elsewhere."""
        prior = only_denoiser(problem, "DDRM")
        image = problem.like if start is None else start
        data, least = self._data(problem)
        level = float(self.levels[0, 0])
        spread = torch.where(least < torch.inf, (level**2 - least.square()).clamp_min(0).sqrt(), level)
        middle = problem.physics.V_adjoint(torch.full_like(prior.to_unit(image), 0.5))
        x = torch.where(least < torch.inf, data, middle) + spread * white(data, self.seed, 0)
        return {"image": image, "coefficients": x, "age": 0}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One denoising, and the coefficients of the next level."""
        prior, age, x = only_denoiser(problem, "DDRM"), memory["age"], memory["coefficients"]
        level = float(self.levels[age, 0])
        clean = prior.unit(problem.physics.V(x), level).to(x.dtype)
        memory = {"image": prior.from_unit(clean), "coefficients": x, "age": age + 1}
        if age + 1 == len(self.levels):
            return memory
        following = float(self.levels[age + 1, 0])
        d, (z, least) = problem.physics.V_adjoint(clean), self._data(problem)
        keep = (1 - self.eta**2) ** 0.5 * following
        towards = torch.where(least < torch.inf, (z - d) / least, (x - d) / level)
        sure = following >= least
        mean = torch.where(sure, torch.lerp(d, z, self.eta_b), d + keep * towards)
        variance = torch.where(
            sure,
            following**2 - (self.eta_b * least.clamp_max(following)).square(),
            (self.eta * following) ** 2,
        )
        noise = white(x, self.seed, age + 1)
        return {**memory, "coefficients": mean + variance.clamp_min(0).sqrt() * noise}

    def _data(self, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
        """z, and e / S, infinite where S is 0; both in the shape of the coefficients."""
        physics: Any = problem.physics
        prior = only_denoiser(problem, "DDRM")
        span = prior.high - prior.low
        blank = physics.A(torch.zeros_like(problem.like) + prior.low)
        data = physics.U_adjoint((problem.fidelity.data - blank) / span)
        given = getattr(physics, "mask", 1.0)
        singular = torch.as_tensor(given).to(data).abs().expand_as(data)
        nonzero = singular > 1e-5 * singular.max()
        held = torch.where(nonzero, singular, 1.0)
        noise = (torch.as_tensor(self.noise).to(data) / span).expand_as(data)
        # Data without noise keep a little, so that the quotients above exist.
        least = (noise / held).clamp_min(1e-4)
        return torch.where(nonzero, data / held, 0.0), torch.where(nonzero, least, torch.inf)
