"""Plug and play: any denoiser as a prior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.base import Needs
from imagereg.methods.support.custom_denoiser import DenoiserMethod
from imagereg.methods.support.scaling import measure
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.base import Solver
    from imagereg.solvers.state import State


class PlugAndPlay(DenoiserMethod):
    """Fit to the data and denoise, in turns; the denoiser's noise level falls to `sigma`.

    In Python, `method("pnp").using(denoiser)` takes any denoiser(x, sigma) with x in [0, 1].
    """

    name: ClassVar[str] = "pnp"
    title: ClassVar[str] = "Plug-and-play denoiser"
    summary: ClassVar[str] = (
        "plug-and-play regularisation of a linear problem by any denoiser, classical or trained"
    )
    reference: ClassVar[str] = (
        "S. Venkatakrishnan, C. Bouman, B. Wohlberg, GlobalSIP (2013) 945, "
        "doi:10.1109/GlobalSIP.2013.6737048; K. Zhang et al., IEEE Trans. Pattern Anal. Mach. Intell. 44 "
        "(2022) 6360, doi:10.1109/TPAMI.2021.3088914 (falling noise level)"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "sigma"

    denoiser: Literal["tv", "wavelet", "median", "nlm", "dncnn"] = parameter("tv", "What removes the noise")
    sigma: float = parameter(
        0.05,
        "Noise level that the denoiser removes at the end: more is smoother",
        gt=0,
        le=1,
        unit="image range",
        log=True,
    )
    weights: str = parameter("", "File of the network's weights (dncnn), .npz or .safetensors")
    iterations: int = parameter(25, "Steps", ge=1, le=10_000)
    sigma_start: float = parameter(
        0.2,
        "Noise level at the start",
        gt=0,
        le=1,
        unit="image range",
        level="advanced",
        formerly="first",
    )
    penalty: float = parameter(
        0.25,
        "How much the denoiser counts against the data",
        gt=0,
        le=1e4,
        log=True,
        level="advanced",
        formerly="balance",
    )
    solver: Literal["hqs", "fista", "admm"] = parameter(
        "hqs", "Algorithm; fista and admm keep the noise level at its end", level="advanced"
    )

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step, from a quick reconstruction whose range becomes the denoiser's [0, 1]."""
        from imagereg.methods.support.data_term import data_term
        from imagereg.priors.denoiser import DenoiserPrior
        from imagereg.priors.denoisers import denoiser
        from imagereg.solvers.admm import ADMM
        from imagereg.solvers.base import iterate
        from imagereg.solvers.fista import FISTA
        from imagereg.solvers.hqs import HQS
        from imagereg.solvers.problem import Problem

        fidelity, note = data_term(
            measurement, "weighted" if measurement.weights is not None else "least_squares"
        )
        bare = Problem(fidelity, measurement.physics)
        scaling = measure(bare)
        low = scaling.darkest
        chosen = self._custom or denoiser(self.denoiser, weights=self.weights)
        prior = DenoiserPrior(chosen, self.sigma, low=low, high=low + scaling.span)
        problem = Problem(fidelity, measurement.physics, (prior,))
        solvers: dict[str, Solver] = {
            "hqs": HQS(first=self.sigma_start, steps=self.iterations, weight=self.penalty),
            "fista": FISTA(),
            "admm": ADMM(penalty=self.penalty, adapt=0),
        }
        yield from iterate(
            solvers[self.solver],
            problem,
            total=self.iterations,
            start=scaling.image,
            notes=(note,) if note else (),
        )
