"""Posterior samples by Langevin diffusion, with any denoiser as the prior."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.methods.base import Needs
from imagereg.methods.support.custom_denoiser import DenoiserMethod
from imagereg.methods.support.scaling import measure
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


class Langevin(DenoiserMethod):
    """x <- x - h grad U(x) + sqrt(2 h) n, U(x) = 1/2 ||(A x - y) / std||^2 + penalty (-log p(x)).

    The prior's score is that of a denoiser, grad log p(x) = (D(x, sigma) - x) / sigma^2 (Tweedie). The image
    is the mean of the samples after the burn-in; their spread is its uncertainty. In Python,
    `method("langevin").using(denoiser)` takes any denoiser(x, sigma) with x in [0, 1].
    """

    name: ClassVar[str] = "langevin"
    title: ClassVar[str] = "Langevin sampling"
    summary: ClassVar[str] = "posterior samples with any denoiser as prior: mean, spread and intervals"
    reference: ClassVar[str] = (
        "R. Laumont et al., SIAM J. Imaging Sci. 15 (2022) 701, doi:10.1137/21M1406349 (PnP-ULA); "
        "M. Pereyra, L. Vargas Mieles, K. Zygalakis, SIAM J. Imaging Sci. 13 (2020) 905, "
        "doi:10.1137/19M1283719 (SK-ROCK)"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "sigma"
    copies: ClassVar[tuple[float, float]] = (4.0, 72.0)
    random: ClassVar[bool] = True

    denoiser: Literal["tv", "wavelet", "median", "nlm", "dncnn"] = parameter("wavelet", "The prior")
    sigma: float = parameter(
        0.05, "Noise level of the denoiser: more is smoother", gt=0, le=1, unit="image range", log=True
    )
    weights: str = parameter("", "File of the network's weights (dncnn), .npz or .safetensors")
    samples: int = parameter(64, "Samples that are kept", ge=2, le=10_000)
    burn_in: int = parameter(100, "Steps before the first sample", ge=0, le=1_000_000)
    thinning: int = parameter(4, "Steps from one kept sample to the next", ge=1, le=10_000)
    penalty: float = parameter(
        1.0,
        "How much the prior counts against the data",
        gt=0,
        le=1e4,
        log=True,
        level="advanced",
        formerly="balance",
    )
    algorithm: Literal["skrock", "ula"] = parameter(
        "skrock", "skrock: long stable steps; ula: plain Langevin", level="advanced"
    )
    stages: int = parameter(10, "Gradients of a step of skrock", ge=2, le=100, level="advanced")
    step: float = parameter(
        0.25, "Step over the largest stable one: shorter is less biased", gt=0, le=1, level="advanced"
    )

    def without_samples(self, measurement: Measurement) -> str:
        """Empty: samples are all it gives."""
        return ""

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step: the chain itself while it burns in, then the mean so far with its spread."""
        import torch

        from imagereg.fidelities.least_squares import LeastSquares
        from imagereg.noise.level import noise_level
        from imagereg.priors.denoiser import DenoiserPrior
        from imagereg.priors.denoisers import denoiser
        from imagereg.solvers.langevin import DAMPING, SKROCK, ULA
        from imagereg.solvers.outcome import NOTHING, Outcome, PixelUncertainty
        from imagereg.solvers.problem import Problem
        from imagereg.solvers.state import State
        from imagereg.uncertainty.samples import Moments

        began, physics, data = time.perf_counter(), measurement.physics, measurement.data
        known = noise_level(measurement)
        weights = known.std.square().reciprocal() * torch.ones_like(data)
        problem = Problem(LeastSquares(data, weights), physics)
        scaling = measure(problem)
        low, span = scaling.darkest, scaling.span
        chosen = self._custom or denoiser(self.denoiser, weights=self.weights)
        prior = DenoiserPrior(chosen, self.sigma, low=low, high=low + span)
        curvature = largest_curvature(physics, weights, scaling.image)
        curvature = curvature + self.penalty / (self.sigma * span).square()
        chain: ULA | SKROCK
        if self.algorithm == "ula":
            chain = ULA(self.step / curvature)
        else:
            stable = (self.stages - 0.5) ** 2 * (2 - 4 / 3 * DAMPING) - 1.5
            chain = SKROCK(self.step * stable / curvature, self.stages)

        def gradient(x: torch.Tensor) -> torch.Tensor:
            """grad log p(x | y): the data's, and Tweedie's in the units of the image."""
            data_term = physics.A_adjoint(weights * (data - physics.A(x)))
            score = (prior.denoise(x, self.sigma) - x) / (self.sigma * span).square()
            return data_term + self.penalty * score

        notes = (f"The likelihood has a {known.how}.",)
        moments, kept = Moments(), []
        x, total = scaling.image, self.burn_in + self.samples * self.thinning
        for iteration in range(1, total + 1):
            with torch.no_grad():
                x = chain(x, gradient)
            burning = iteration <= self.burn_in
            if not burning:
                moments.add(x)
                if (iteration - self.burn_in) % self.thinning == 0:
                    kept.append(x.clone())
            last = iteration == total
            image = x if burning else moments.mean
            outcome = NOTHING
            if moments.count > 1:
                samples = torch.stack(kept) if last else None
                meaning = f"Langevin samples, {len(kept)} kept" if last else ""
                outcome = Outcome(PixelUncertainty(moments.mean, moments.std, samples, meaning))
            yield State(
                image,
                iteration,
                total,
                time.perf_counter() - began,
                phase="burn-in" if burning else "",
                finished=f"{len(kept)} samples" if last else "",
                notes=notes,
                memory={"image": image},
                outcome=outcome,
                problem=problem,
            )


def largest_curvature(
    physics: Any, weights: torch.Tensor, like: torch.Tensor, steps: int = 20
) -> torch.Tensor:
    """||A^T W A|| of each item, (B, 1, ..., 1), by power iteration; 2 % more for what it falls short of."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x = (
        torch.randn((1, *like.shape[1:]), generator=generator, dtype=like.dtype)
        .to(like.device)
        .expand_as(like)
    )
    largest = torch.ones_like(like.flatten(1)[:, :1]).reshape(-1, *[1] * (like.ndim - 1))
    with torch.no_grad():
        for _ in range(steps):
            x = physics.A_adjoint(weights * physics.A(x / x.flatten(1).norm(dim=1).reshape(largest.shape)))
            largest = x.flatten(1).norm(dim=1).reshape(largest.shape)
    return 1.02 * largest
