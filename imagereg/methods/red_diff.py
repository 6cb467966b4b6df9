"""RED-diff: variational inference with a diffusion prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.base import Needs
from imagereg.methods.support.diffusion_prior import QUIET, LevelMethod, Posed
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.base import Solver


BALANCE, UNKNOWN = 30.0, 0.25
"""lambda over the noise in units of the range, and lambda where the noise is not known."""


class RedDiffusion(LevelMethod):
    """min f(A x) / c + lambda E_s,e w(s) <eps(x + s e, s) - e, x>: one image that data and prior agree on.

    The second term pulls with w(s) / s (x - D(x + s e, s)), D being a denoiser, at noise that falls from step
    to step: no derivative of the network is needed. A may be non-linear. What comes out is a biased mode and
    not a sample; the spread of several runs says how far the noise of the descent moves it, and is not by
    itself a probability.

    Balance: c = trace(J^T f'' J) / N is the mean curvature of the data term, and grey values count in units
    of their range h, so that neither the number of data nor the unit of data or image matters. With noise of
    standard deviation e in the data,

        lambda = strength 30 e / (h sqrt(c)),

    and a quarter of the strength where the noise is not known. With `absolute`, lambda is the strength
    itself; where A has rows of norm one it is the lambda of the publication, whose terms are means.
    """

    name: ClassVar[str] = "red_diff"
    title: ClassVar[str] = "RED-diff"
    summary: ClassVar[str] = "reconstruction with a diffusion prior, for linear and non-linear physics"
    reference: ClassVar[str] = (
        "M. Mardani, J. Song, J. Kautz, A. Vahdat, A variational perspective on solving inverse problems "
        "with diffusion models, ICLR (2024), arXiv:2305.04391"
    )
    needs: ClassVar[Needs] = Needs(linear=False)
    main: ClassVar[str] = "strength"

    strength: float = parameter(
        1.0,
        "Weight of the prior over what the noise of the data asks for: more is smoother",
        ge=0,
        le=1e4,
        log=True,
    )
    absolute: bool = parameter(False, "Take the strength as it is, as in the publication", level="advanced")
    rate: float = parameter(
        0.05, "Largest change of a pixel in a step", gt=0, le=1, unit="image range", log=True
    )
    weighting: Literal["linear", "sqrt", "square", "power2over3", "const", "log", "trunc_linear"] = parameter(
        "linear", "How the weight of the prior grows with the noise s of a step", level="advanced"
    )
    order: Literal["descending", "ascending", "random"] = parameter(
        "descending", "Order of the noise levels", level="advanced"
    )
    sigma_max: float = parameter(
        0.3,
        "Largest noise level",
        gt=0,
        le=100,
        unit="image range",
        log=True,
        level="advanced",
        formerly="most",
    )
    average: int = parameter(1, "Noise levels whose mean makes a step", ge=1, le=1000, level="advanced")
    last: float = parameter(0.3, "Rate of the last step over that of the first", ge=0, le=1, level="advanced")
    beta1: float = parameter(0.9, "Memory of Adam for the gradient", ge=0, lt=1, level="advanced")
    beta2: float = parameter(0.99, "Memory of Adam for its square", ge=0, lt=1, level="advanced")
    tail: float = parameter(
        0.05, "Part of the steps, from the end, whose images are averaged", ge=0, le=1, level="advanced"
    )

    def solver(self, posed: Posed, measurement: Measurement, seed: int) -> Solver:
        """The descent with its levels."""
        from imagereg.solvers.red_diff import RedDiff

        noise = posed.noise(measurement)
        unit = 1.0 if self.absolute else UNKNOWN if noise is None else BALANCE * noise.clamp_min(QUIET)
        return RedDiff(
            self.levels(self.average, self.order, seed),
            posed.curvature,
            strength=self.strength * unit,
            weighting=self.weighting,
            rate=self.rate,
            last=self.last,
            betas=(self.beta1, self.beta2),
            tail=self.tail,
            seed=seed,
        )
