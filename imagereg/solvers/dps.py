"""DPS: reverse diffusion guided by the gradient of the data term through the denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.solvers.ensemble import only_denoiser
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.ramp import Ramp
from imagereg.solvers.state import Memory

Guidance = Literal["norm", "annealed"]


@dataclass(frozen=True, eq=False)
class DPS:
    """The reverse diffusion of deepinv's `DPS`, step by step: score + guidance, in variance-preserving steps.

        norm       guidance - strength sqrt(N) grad ||r||,  r = (A x - y) / (h ||A||), x = low + h D(u, s)
        annealed   guidance - strength grad ||r||^2 / (2 (e^2 + s^2))

    With `ramp`, residuals of scans pass R^(1/2) (see `imagereg.solvers.ramp.Ramp`), in y as in A: a scan
    damps frequency f by 1 / |f| in A^T A, so that without it, steps that are stable for coarse structures
    leave fine ones to the prior alone.

    N is the number of pixels. So strength depends on neither the unit of the data nor the size of the image,
    and the same ones are stable for every A, which may be non-linear.

    Parameters
    ----------
    steps : of the diffusion.
    norm : ||A||; the square root of the mean curvature of the data term where A is not linear.
    strength : of the guidance.
    guidance : its form.
    noise : e, in units of r; one number, or one for each item.
    seed : of the noise.
    ramp : R, and then `norm` is ||R^(1/2) A|| and `noise` that of R^(1/2) y; None for R = 1.

    References
    ----------
    H. Chung et al., ICLR (2023), arXiv:2209.14687; the implementation is that of deepinv.
    """

    steps: int
    norm: Step = 1.0
    strength: float = 1.0
    guidance: Guidance = "annealed"
    noise: Step = 0.0
    seed: int = 0
    ramp: Ramp | None = None

    def __post_init__(self) -> None:
        if self.steps < 2 or not self.strength >= 0 or self.guidance not in get_args(Guidance):
            raise UsageError(
                f"DPS(steps={self.steps}, strength={self.strength}, guidance={self.guidance!r}): give two "
                f"steps at least, a strength of at least 0 and one of {', '.join(get_args(Guidance))}."
            )

    def check(self, problem: Problem) -> None:
        """Refuse anything but least squares without weights and one denoiser."""
        if not isinstance(problem.fidelity, LeastSquares) or problem.fidelity.weights is not None:
            raise Refusal("DPS takes least squares without weights; use RedDiff.")
        only_denoiser(problem, "DPS")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """Noise at the first level; the start is the image until there is another, and gives the shape."""
        image = problem.like if start is None else start
        model, _ = self._model(problem, image, 0)
        times = model.solver.timesteps
        u = model.sde.sample_init((1, *image.shape[1:]), rng=model.solver.rng, t=times[0])
        return {"image": image, "u": u.to(image).expand_as(image), "age": 0}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One step of the reverse diffusion; the image is the clean estimate that it used."""
        age, u = memory["age"], memory["u"]
        prior = only_denoiser(problem, "DPS")
        model, answer = self._model(problem, memory["image"], age + 1)
        times = model.solver.timesteps
        physics, data = self._scaled(problem)
        u, _ = model.solver.step(model.posterior, times[age], times[age + 1], u, y=data, physics=physics)
        clean = (u + 1) / 2 if age + 1 == self.steps else answer["clean"]
        return {"image": prior.from_unit(clean.to(memory["image"])), "u": u.to(memory["u"]), "age": age + 1}

    def _model(
        self, problem: Problem, image: torch.Tensor, place: int
    ) -> tuple[Any, dict[str, torch.Tensor]]:
        """deepinv's sampler with the noise of one step, and where the denoiser's last answer will lie."""
        from deepinv.sampling import DPS as Sampler  # noqa: N811 (a class of the same name)

        prior = only_denoiser(problem, "DPS")
        answer: dict[str, torch.Tensor] = {}

        def denoiser(x: torch.Tensor, sigma: Any, *_: Any, **__: Any) -> torch.Tensor:
            clean = prior.unit(x, sigma)
            answer["clean"] = clean.detach()
            return clean

        pixels = image[0].numel() if self.guidance == "norm" else 1
        random = torch.Generator(image.device).manual_seed(self.seed * 1_000_003 + place)
        model = Sampler(
            denoiser,
            schedule="vp",
            num_steps=self.steps + 1,
            weight=self.strength * pixels**0.5,
            guidance=self.guidance,
            device=image.device,
            dtype=image.dtype,
            rng=random,
        )
        model.solver.randn_like = lambda like: draw(like, random)
        return model, answer

    def _scaled(self, problem: Problem) -> tuple[Any, torch.Tensor]:
        """Physics and data in units of r, for images in [0, 1]."""
        from deepinv.physics import GaussianNoise, Physics

        prior = only_denoiser(problem, "DPS")
        unit = torch.as_tensor(prior.high - prior.low) * torch.as_tensor(self.norm)
        data, ramp = problem.fidelity.data, self.ramp
        unit = unit.to(data).reshape(-1, *[1] * (data.ndim - 1)) if unit.ndim else unit.to(data)

        def forward(u: torch.Tensor, **_: Any) -> torch.Tensor:
            Ax = problem.physics.A(prior.from_unit(u.to(data.dtype))) / unit
            return Ax if ramp is None else ramp.half(Ax)

        wanted = data / unit if ramp is None else ramp.half(data / unit)
        noise = self.noise.flatten() if isinstance(self.noise, torch.Tensor) else self.noise
        return Physics(A=forward, noise_model=GaussianNoise(noise)), wanted


def draw(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """White noise, the same for all items: an item comes out alike whatever others share its batch."""
    return torch.empty_like(like[:1]).normal_(generator=generator).expand_as(like)
