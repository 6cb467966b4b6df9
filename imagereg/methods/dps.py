"""Diffusion posterior sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.base import Needs
from imagereg.methods.support.diffusion_prior import DiffusionMethod, Posed
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.base import Solver


class DiffusionPosteriorSampling(DiffusionMethod):
    """A reverse diffusion whose score is joined by the gradient of ||A D(x_t) - y||^2 through the denoiser.

    The residual counts in units of the grey range times ||A||, so that `strength` keeps its meaning from one
    physics, unit and size to the next; that of scans is filtered by the root of a ramp, which makes fine and
    coarse structures count alike. Each step takes a pass through the network and back.
    """

    name: ClassVar[str] = "dps"
    title: ClassVar[str] = "Diffusion posterior sampling"
    summary: ClassVar[str] = "posterior sampling with a diffusion prior, for any differentiable physics"
    reference: ClassVar[str] = (
        "H. Chung, J. Kim, M. Mccann, M. Klasky, J. Ye, Diffusion posterior sampling for general noisy "
        "inverse problems, ICLR (2023), arXiv:2209.14687; run by deepinv"
    )
    needs: ClassVar[Needs] = Needs(linear=False)
    main: ClassVar[str] = "strength"
    copies: ClassVar[tuple[float, float]] = (8.0, 600.0)

    strength: float = parameter(
        3.0, "Weight of the data against the prior: more is closer to the data", ge=0, le=1e4, log=True
    )
    guidance: Literal["annealed", "norm"] = parameter(
        "annealed", "Gradient of the misfit over noise and level, or of its norm", level="advanced"
    )

    def solver(self, posed: Posed, measurement: Measurement, seed: int) -> Solver:
        """deepinv's sampler, step by step."""
        from imagereg.solvers.dps import DPS
        from imagereg.solvers.ramp import Ramp

        problem, noise, curvature, ramp = posed.problem, posed.noise(measurement), posed.curvature, None
        if Ramp.suits(problem):
            ramp = Ramp.of(problem.fidelity, 1.0)  # type: ignore[arg-type]
            norm = ramp.norm(problem)
        else:
            norm = problem.norm if problem.linear else curvature**0.5
        if noise is not None:
            noise = noise * curvature**0.5 / norm * (1.0 if ramp is None else ramp.noise())
        return DPS(
            self.iterations,
            norm,
            strength=self.strength,
            guidance=self.guidance,
            noise=noise if noise is not None else 0.0,
            seed=seed,
            ramp=ramp,
        )
