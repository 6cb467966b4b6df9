"""SPIRAL-TAP: images from few counted photons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.errors import UsageError
from imagereg.methods.base import Method, Needs
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.fidelities.base import Fidelity
    from imagereg.measurement import Measurement
    from imagereg.methods.support.scaling import Scaling
    from imagereg.solvers.state import State

PENALTIES = ("tv", "tv_anisotropic", "wavelet", "sparse", "partition", "partition_invariant")


class SpiralTap(Method):
    """min over x >= 0 of the Poisson likelihood of counts plus a penalty, by separable approximations.

    Emission, y ~ Poisson(gain^-1 (A x)): counts with `PoissonNoise`. Transmission, N ~ Poisson(I0 exp(-A x)):
    line integrals with `TransmissionNoise` or with the counts as weights (the step 'flatfield' leaves
    them), or counts with `TransmissionNoise`.

    The factor of the penalty is strength c s for those of degree one (see `methods.scaling`), and
    strength c s² for each cell of a partition, which is then a squared grey-value step times an area.
    """

    name: ClassVar[str] = "spiral_tap"
    title: ClassVar[str] = "SPIRAL-TAP"
    summary: ClassVar[str] = (
        "reconstruction from few photon counts with the Poisson likelihood and one of six penalties"
    )
    reference: ClassVar[str] = (
        "Z. Harmany, R. Marcia, R. Willett, IEEE Trans. Image Process. 21 (2012) 1084, "
        "doi:10.1109/TIP.2011.2168410, arXiv 1005.4274"
    )
    needs: ClassVar[Needs] = Needs(
        noise=("poisson", "transmission"), quantity=("counts", "image", "line_integrals")
    )
    main: ClassVar[str] = "strength"
    copies: ClassVar[tuple[float, float]] = (9.0, 58.0)

    penalty: Literal[PENALTIES] = parameter(  # type: ignore[valid-type]
        "tv",
        "What is kept small: total variation (Euclidean or along axes), wavelet coefficients, bright pixels, "
        "or the cells of a dyadic partition (or of all its shifts)",
    )
    strength: float = parameter(
        0.05,
        "How much the penalty counts against the likelihood: more is smoother",
        ge=0,
        le=1e6,
        unit="relative to the data's curvature and the image's range",
        log=True,
    )
    iterations: int = parameter(100, "Steps at most", ge=1, le=100_000)
    tolerance: float = parameter(
        1e-4, "Relative change of the image at which to stop", gt=0, le=1, log=True, level="advanced"
    )
    background: float = parameter(
        0.0, "Counts of a datum that do not come from the image", ge=0, unit="counts", level="advanced"
    )
    wavelet: str = parameter("haar", "Orthogonal wavelet of penalty 'wavelet'", level="advanced")
    levels: int = parameter(4, "Levels of the wavelet transform", ge=1, le=12, level="advanced")
    past: int = parameter(
        10,
        "Earlier objectives that a step may exceed; 0: every step descends",
        ge=0,
        le=100,
        level="advanced",
    )
    subiterations: int = parameter(
        50, "Steps at most of each sub-problem (tv, wavelet)", ge=1, le=10_000, level="advanced"
    )
    absolute: bool = parameter(
        False, "Take strength as the penalty's factor itself, as in papers", level="advanced"
    )

    @classmethod
    def refusal(cls, measurement: Measurement) -> str:
        """Line integrals whose weights are their counts need no noise model."""
        if measurement.quantity == "line_integrals" and measurement.weights is not None:
            return ""
        return super().refusal(measurement)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state an accepted step; its values hold the sub-problems solved for it."""
        from imagereg.fidelities.poisson import TransmissionPoisson
        from imagereg.methods.support.scaling import measure
        from imagereg.solvers.base import iterate
        from imagereg.solvers.problem import Problem
        from imagereg.solvers.spiral import Spiral
        from imagereg.solvers.stopping import RelativeChange

        fidelity = self._likelihood(measurement)
        bounds = (0.0, None)
        scaling = measure(Problem(fidelity, measurement.physics, (), bounds), absolute=self.absolute)
        problem = Problem(fidelity, measurement.physics, (self._prior(scaling),), bounds)
        # Where counts are emitted, zeros of the image may lie where the likelihood has its pole.
        transmitted = isinstance(fidelity, TransmissionPoisson)
        start = scaling.image.clamp_min(0) if transmitted else None
        states = iterate(
            Spiral(past=self.past),
            problem,
            total=self.iterations,
            start=start,
            stop=RelativeChange(self.tolerance),
        )
        for state in states:
            yield replace(state, values={"sub-problems": float(state.memory["solves"])})

    def _likelihood(self, measurement: Measurement) -> Fidelity:
        from imagereg.fidelities.poisson import KullbackLeibler, TransmissionPoisson

        noise, data = measurement.noise, measurement.data
        kind = getattr(noise, "name", "")
        if kind == "poisson":
            # A little light everywhere keeps the logarithm finite where the image is 0.
            least = max(self.background * noise.gain, 1e-6 * float(data.clamp_min(0).mean()), 1e-30)
            return KullbackLeibler(data, background=least, strength=1 / noise.gain)
        if self.background:
            raise UsageError(
                f"{self.name}.background = {self.background}: counts in transmission have their background "
                "taken off with the darks (step 'flatfield')."
            )
        if kind == "transmission" and measurement.quantity == "counts":
            return TransmissionPoisson(data, blank=noise.I0)
        if measurement.weights is not None and measurement.quantity == "line_integrals":
            counts = measurement.weights
            blank = counts * data.exp()
            return TransmissionPoisson(counts, blank=blank.clamp_min(1e-6 * float(blank.max())))
        return TransmissionPoisson(noise.I0 * (-data).exp(), blank=noise.I0)

    def _prior(self, scaling: Scaling) -> Any:
        from imagereg.priors.dyadic import DyadicPartition, TranslationInvariantPartition
        from imagereg.priors.sparse import BoundedWavelet, SparsePixels
        from imagereg.priors.tv import TV

        dimensions = scaling.image.ndim - 2
        linear, steps = scaling.linear(self.strength), self.subiterations
        if self.penalty in ("partition", "partition_invariant"):
            kind = DyadicPartition if self.penalty == "partition" else TranslationInvariantPartition
            square = self.strength if self.absolute else self.strength * scaling.curvature * scaling.span**2
            return kind(square, dimensions=dimensions)
        if self.penalty == "sparse":
            return SparsePixels(linear)
        if self.penalty == "wavelet":
            return BoundedWavelet(
                linear, wavelet=self.wavelet, levels=self.levels, dimensions=dimensions, iterations=steps
            )
        return TV(linear, isotropic=self.penalty == "tv", dimensions=dimensions, iterations=steps)
