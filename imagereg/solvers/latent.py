"""Variational Bayes in the latents of a generator: VBLE-z, VBLE-xz, and point estimates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from imagereg.errors import UsageError
from imagereg.priors.latent import LatentPrior, Latents
from imagereg.solvers.data_misfit import Misfit
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory

Inference = Literal["variational", "map", "dirac"]

WIDEST, NARROWEST = 20.0, 1.5e-5
CLIP = 20.0
BETAS = (0.9, 0.999)
SHOWN = 10  # steps between decodings of the image that is shown: each costs a third of a step
APART = 100_000_007  # steps between the noise of two seeds
FITTED = 5  # steps between two looks at the decoder's noise
FORGET, FAR = 0.3, 8.0  # share of a look in its logarithm; largest factor from where it starts


@dataclass(frozen=True, eq=False)
class LatentInference:
    """min over zm, hm, a, b of E_q [-log p(y | D(z))] + strength [E_q -log p(z, h) - sum log a - sum log b].

    q is uniform: z_i = zm_i + a_i u, h_j = hm_j + b_j u, u in [-1/2, 1/2], drawn once a step; with strength 1
    the minimised is -log p(y) + KL(q || p(z, h | y)). It goes by Adam, whose rate falls over the last half to
    nearly 0, so that the noise of the draws averages out.

    'dirac' keeps all widths at 0: the mode of p(z, h | y). 'map' also ties h to z by the encoder.
    With `adapt`, the noise gamma of the decoder is fitted to each item by expectation maximisation: every
    five steps gamma^2 moves towards the mean square of x - D(z), x drawn from p(x | z, y).

    Noise is drawn for one item and is the same for all, so that an item does not depend on its company.

    Parameters
    ----------
    misfit : -log p(y | D(z)), with or without noise of the decoder.
    strength : weight of the prior; 1 is Bayes' rule.
    inference : 'variational', 'dirac' or 'map'.
    steps : of the schedule.
    rate : of Adam, in units of the latents.
    seed : of the noise.
    adapt : whether to fit the decoder's noise, where the misfit has any.

    References
    ----------
    M. Biquard, M. Chabert, F. Genin, C. Latry, T. Oberlin, 2023, arXiv:2311.17744 (VBLE); 2024,
    arXiv:2412.04130 (VBLE-xz).
    """

    misfit: Misfit
    strength: float = 1.0
    inference: Inference = "variational"
    steps: int = 300
    rate: float = 0.1
    seed: int = 0
    adapt: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0 or not self.strength >= 0:
            raise UsageError(
                f"LatentInference(steps={self.steps}, rate={self.rate}, strength={self.strength}): steps and "
                "rate must be positive, strength not negative."
            )

    def check(self, problem: Problem) -> None:
        """Refuse anything but one prior in latents and no bounds."""
        if len(problem.priors) != 1 or not isinstance(problem.priors[0], LatentPrior):
            names = " and ".join(type(prior).__name__ for prior in problem.priors) or "no prior"
            raise Refusal(f"VBLE takes one LatentPrior and was given {names}; use PDHG or ADMM.")
        if problem.bounds != (None, None):
            raise Refusal(f"VBLE cannot keep to the bounds {problem.bounds}; leave them out.")
        self.misfit.check(problem)

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The latents of the start, and widths of 1."""
        if start is None:
            start = problem.like
        latents = _prior(problem).encode(start)
        means = latents[:1] if self.inference == "map" else latents
        widths = tuple(torch.zeros_like(v) for v in means) if self.inference == "variational" else ()
        moments = tuple((torch.zeros_like(v), torch.zeros_like(v)) for v in (*means, *widths))
        image = _prior(problem).decode(means[0])
        return {
            "image": image,
            "age": 0,
            "means": means,
            "widths": widths,
            "moments": moments,
            "restored": None,
            "gamma": self.misfit.gamma,
            "loss": torch.full((len(image),), math.nan),
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One draw of q and one step of Adam."""
        prior, age = _prior(problem), memory["age"] + 1
        generator, misfit = self._generator(age), self._misfit(memory)
        count = len(memory["means"])
        with torch.enable_grad():
            weights = [v.detach().clone().requires_grad_() for v in (*memory["means"], *memory["widths"])]
            means, widths = tuple(weights[:count]), tuple(weights[count:])
            latents = _drawn(means, widths, generator)
            full = prior.complete(latents[0]) if self.inference == "map" else latents
            image = prior.decode(latents[0])
            fit, restored = misfit(problem, image, memory["restored"])
            bits = prior.energy(full)
            for width in widths:
                bits = bits - width.flatten(1).sum(1)
            loss = fit + self.strength * bits
            gradients = torch.autograd.grad(loss.sum() / image[0].numel(), weights)
        updated, moments = self._adam(weights, _clipped(gradients), memory["moments"], age)
        widths = tuple(w.clamp(math.log(NARROWEST), math.log(WIDEST)) for w in updated[count:])
        shown = age % SHOWN == 0 or age >= self.steps
        return {
            **memory,
            "image": prior.decode(updated[0]) if shown else memory["image"],
            "age": age,
            "means": tuple(updated[:count]),
            "widths": widths,
            "moments": moments,
            "restored": restored,
            "gamma": self._fitted(problem, misfit, image.detach(), generator, age),
            "loss": loss.detach(),
        }

    def samples(self, problem: Problem, memory: Memory, count: int) -> Iterator[torch.Tensor]:
        """Images (B, C, ...) drawn from q, one after another; with a decoder's noise from p(x | z, y) too."""
        for number in range(count):
            generator = self._generator(-1 - number)
            with torch.no_grad():
                z = _drawn(memory["means"], memory["widths"], generator)[0]
                image = _prior(problem).decode(z)
                yield self._misfit(memory).sample(problem, image, generator)

    def estimate(self, problem: Problem, memory: Memory) -> torch.Tensor:
        """D(zm), or with a decoder's noise the mean of p(x | zm, y)."""
        with torch.no_grad():
            image = _prior(problem).decode(memory["means"][0])
            return self._misfit(memory).restored(problem, image)

    def _misfit(self, memory: Memory) -> Misfit:
        return replace(self.misfit, gamma=memory["gamma"])

    def _fitted(
        self, problem: Problem, misfit: Misfit, image: torch.Tensor, generator: torch.Generator, age: int
    ) -> torch.Tensor | None:
        """gamma after a look at x - D(z), where it is time for one."""
        gamma, first = misfit.gamma, self.misfit.gamma
        if gamma is None or first is None or not self.adapt or age % FITTED:
            return gamma
        off = misfit.sample(problem, image, generator, tolerance=1e-2) - image
        measured = off.square().flatten(1).mean(1).sqrt().reshape(gamma.shape)
        moved = torch.lerp(gamma.log(), measured.clamp_min(1e-30).log(), FORGET).exp()
        return torch.minimum(torch.maximum(moved, first / FAR), first * FAR)

    def _generator(self, number: int) -> torch.Generator:
        # Samples count downwards from the seed's own place, so that they share no noise with the steps.
        return torch.Generator().manual_seed((self.seed + 1) * APART + number)

    def _adam(
        self,
        weights: list[torch.Tensor],
        gradients: list[torch.Tensor],
        moments: tuple[tuple[torch.Tensor, torch.Tensor], ...],
        age: int,
    ) -> tuple[list[torch.Tensor], tuple[tuple[torch.Tensor, torch.Tensor], ...]]:
        late = max(0.0, min(1.0, 2 * age / self.steps - 1))
        rate = self.rate * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * late)))
        updated, kept = [], []
        for weight, gradient, (mean, square) in zip(weights, gradients, moments, strict=True):
            mean = torch.lerp(mean, gradient, 1 - BETAS[0])
            square = torch.lerp(square, gradient.square(), 1 - BETAS[1])
            size = (square / (1 - BETAS[1] ** age)).sqrt() + 1e-12
            updated.append(weight.detach() - rate / (1 - BETAS[0] ** age) * mean / size)
            kept.append((mean, square))
        return updated, tuple(kept)


def _prior(problem: Problem) -> LatentPrior:
    prior = problem.priors[0]
    assert isinstance(prior, LatentPrior)
    return prior


def _drawn(means: Latents, widths: Latents, generator: torch.Generator) -> Latents:
    """mean + exp(width) u, the same u for every item; the means where there are no widths."""
    if not widths:
        return means
    drawn = []
    for mean, width in zip(means, widths, strict=True):
        u = torch.rand(mean.shape[1:], generator=generator, dtype=torch.float64) - 0.5
        drawn.append(mean + width.exp() * u.to(mean))
    return tuple(drawn)


def _clipped(gradients: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Gradients whose norm, of each item over all latents, is at most 20."""
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
    factor = (CLIP / squares.sqrt().clamp_min(1e-30)).clamp_max(1.0)
    return [factor.reshape(-1, *[1] * (g.ndim - 1)) * g for g in gradients]
