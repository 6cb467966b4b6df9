"""RED-diff: descent on the data term and on what a diffusion prior says at falling levels of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.denoiser import DenoiserPrior
from imagereg.solvers.ensemble import only_denoiser, white
from imagereg.solvers.noise_levels import RANGE
from imagereg.solvers.problem import Problem
from imagereg.solvers.state import Memory
from imagereg.training.optimisers import Adam

Weighting = Literal["linear", "sqrt", "square", "power2over3", "const", "log", "trunc_linear"]

_POWERS = {"linear": 1.0, "sqrt": 0.5, "square": 2.0, "power2over3": 2 / 3, "const": 0.0}


def weight(level: float, weighting: Weighting) -> float:
    """w(s) for noise s on images in [-1, 1], divided by s: the factor of u - D(u + s e).

    linear s, sqrt s^1/2, square s^2, power2over3 s^2/3, const 1, log ln(1 + s), trunc_linear min(s, 1).
    """
    if weighting in _POWERS:
        return level ** (_POWERS[weighting] - 1)
    return (math.log1p(level) if weighting == "log" else min(level, 1.0)) / level


@dataclass(frozen=True, eq=False)
class RedDiff:
    """min over u of f(A x) / (c h^2) + strength mean_s,e  w(s) < sg[eps(u + s e) - e], u >,  x = low + h u.

    The gradient of the second term, without a derivative of the network, is

        strength mean over levels and e of  w(s) / s (u - D(u + s e, s)),

    the prior's own direction of RED at a level that falls from step to step; w is one of `weight`. c is the
    mean curvature of the data term, trace(J^T f'' J) over the number of pixels, so that the balance of both
    depends neither on the number of data nor on their scale nor on the unit of the image; where A has rows
    of norm one it is that of the published means over data and over pixels. Each step is one of Adam, one
    noise image for each level, the same for all items of the batch.

    With Gaussian images N(m, C), A linear and levels in random order, iterates gather around the solution of
    (A^T A / c + strength R) u = A^T y / c + strength R m, R = mean_s [ w(s) s (C + s^2)^-1 ].

    Parameters
    ----------
    levels : (steps, levels of a step) on the scale of [0, 1], see `imagereg.solvers.noise_levels.levels`.
    curvature : c, a number or one an item, shaped (B, 1, ...).
    strength : of the prior against the data, a number or one an item.
    weighting : w.
    rate : step length of Adam in units of the range; it falls as half a cosine to `last` times itself.
    last : see `rate`; 1 keeps it.
    betas : memory of Adam for the gradient and its square.
    tail : fraction of the steps, from the end, whose images are averaged.
    seed : of the noise.

    References
    ----------
    M. Mardani, J. Song, J. Kautz, A. Vahdat, ICLR (2024), arXiv:2305.04391; Y. Romano, M. Elad, P. Milanfar,
    SIAM J. Imaging Sci. 10 (2017) 1804, doi:10.1137/16M1102884.
    """

    levels: torch.Tensor
    curvature: Step = 1.0
    strength: Step = 0.25
    weighting: Weighting = "linear"
    rate: float = 0.05
    last: float = 1.0
    betas: tuple[float, float] = (0.9, 0.99)
    tail: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        fine = self.levels.ndim == 2 and self.levels.numel() > 0 and bool((self.levels > 0).all())
        if not fine or self.weighting not in get_args(Weighting):
            raise UsageError(
                f"RedDiff(weighting={self.weighting!r}, levels of shape {tuple(self.levels.shape)}): give "
                f"one of {', '.join(get_args(Weighting))} and positive levels (steps, levels of a step)."
            )
        if bool((torch.as_tensor(self.strength) < 0).any()) or not self.rate > 0 or not 0 <= self.tail <= 1:
            raise UsageError(
                f"RedDiff(strength={self.strength}, rate={self.rate}, tail={self.tail}): strength must be at "
                "least 0, rate above 0 and tail from 0 to 1."
            )

    @property
    def steps(self) -> int:
        """Number of steps that there are levels for."""
        return len(self.levels)

    def check(self, problem: Problem) -> None:
        """Refuse anything but one denoiser as the prior."""
        only_denoiser(problem, "RedDiff")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start, zeros where not given."""
        prior = only_denoiser(problem, "RedDiff")
        image = problem.like if start is None else start
        u = prior.to_unit(image)
        zero = torch.zeros_like(u)
        return {"image": image, "u": u, "mean": zero, "square": zero.clone(), "average": u, "age": 0}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One step of Adam."""
        age, u = memory["age"], memory["u"]
        if age >= self.steps:
            raise UsageError(f"RedDiff has levels for {self.steps} steps; make more with `levels`.")
        prior = only_denoiser(problem, "RedDiff")
        image = prior.from_unit(u)
        data_gradient = problem.adjoint(image, problem.fidelity.grad(problem.physics.A(image)))
        gradient = data_gradient / (self.curvature * (prior.high - prior.low)) + self._pull(prior, u, age)
        moments = {"mean": memory["mean"].clone(), "square": memory["square"].clone()}
        direction = Adam(*self.betas).step(u, gradient, moments, age + 1)
        cosine = 0.5 * (1 + math.cos(math.pi * age / self.steps))
        u = u - self.rate * (self.last + (1 - self.last) * cosine) * direction
        # The average begins anew until its time has come.
        since = age + 1 - (self.steps - max(1, round(self.tail * self.steps)))
        average = u if since <= 1 else torch.lerp(memory["average"], u, 1 / since)
        return {"image": prior.from_unit(average), "u": u, **moments, "average": average, "age": age + 1}

    def _pull(self, prior: DenoiserPrior, u: torch.Tensor, age: int) -> torch.Tensor:
        """strength w / s (u - D(u + s e)), the mean over the levels of this step."""
        total = torch.zeros_like(u)
        if not bool(torch.as_tensor(self.strength).any()):
            return total
        for number, level in enumerate(self.levels[age].tolist()):
            noise = white(u, self.seed, age * self.levels.shape[1] + number)
            clean = prior.unit(u + level * noise, level).to(u.dtype)
            total += weight(RANGE * level, self.weighting) * (u - clean)
        return self.strength / self.levels.shape[1] * total
