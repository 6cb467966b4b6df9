"""What the methods with a data term in a Sobolev norm have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from imagereg.errors import UsageError
from imagereg.methods.base import Method
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.fidelities.sobolev import Sobolev
    from imagereg.measurement import Measurement
    from imagereg.methods.support.scaling import Scaling
    from imagereg.priors.base import Prior
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.state import State
    from imagereg.solvers.stopping import StoppingRule


class SobolevMethod(Method):
    """min 1/2 ||A x - y||²_{H^s} + penalty, W ∝ (1 + scale² |ω|²)^s with mean one (see `fidelities.sobolev`).

    s acts through the balance of data and penalty, or, without a penalty, through the order in which
    frequencies come in before the iteration is stopped.
    """

    s: float | Literal["fit"] = parameter(
        "fit",
        "Order: 0 for white noise, above 0 for noise at low frequencies, below 0 for noise at high ones; "
        "'fit' measures it on `patch` (0 where there is none)",
    )
    scale: float = parameter(
        10.0,
        "Length beyond which all structures weigh alike, over 2 pi; s means nothing without it",
        gt=0,
        unit="pixel",
        log=True,
    )
    prior: Literal["tv", "quadratic", "none"] = parameter(
        "tv", "Penalty: total variation, half the squared gradient, or none and an early stop"
    )
    strength: float = parameter(
        0.05,
        "How much the penalty counts against the data: more is smoother",
        ge=0,
        le=1e6,
        unit="relative to the image's range (tv) or to the data's curvature (quadratic)",
        log=True,
    )
    patch: tuple[int, int, int, int] | None = parameter(
        None, "Where the image is flat and shows its noise: first row, last row, first column, last column"
    )
    iterations: int = parameter(200, "Steps at most", ge=1, le=100_000)
    tolerance: float = parameter(
        1e-4, "Relative change of the image at which to stop", gt=0, le=1, log=True, level="advanced"
    )
    homogeneous: bool = parameter(False, "Weigh by |omega|^(2s) alone", level="advanced")
    boundary: Literal["auto", "neumann", "periodic"] = parameter(
        "auto",
        "What lies beyond the border: a mirror image, or the other side; auto: as the blur has it",
        level="advanced",
    )

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step; a single one where the minimiser has a closed form."""
        from imagereg.methods.support.scaling import measure
        from imagereg.solvers.problem import Problem

        if self.prior == "none":
            fidelity, notes = self.data_term(measurement)
            yield from self._descend(measurement, Problem(fidelity, measurement.physics), notes)
            return
        fidelity, notes = self.data_term(measurement)
        scaling = measure(Problem(fidelity, measurement.physics))
        problem = Problem(fidelity, measurement.physics, (self._penalty(fidelity, scaling),))
        yield from self._solve(problem, scaling, notes)

    def data_term(self, measurement: Measurement) -> tuple[Sobolev, tuple[str, ...]]:
        """The H^s data term of a measurement, and a sentence where s was fitted."""
        from imagereg.fidelities.noise_spectrum import fit_order
        from imagereg.fidelities.sobolev import Sobolev

        data = measurement.data
        axes = tuple(range(2 - data.ndim, 0))
        border = getattr(measurement.physics, "border", "")
        boundary: Any = "periodic" if border == "periodic" else "neumann"
        if self.boundary != "auto":
            boundary = self.boundary
        notes: tuple[str, ...] = ()
        if self.s != "fit":
            s = self.s
        elif self.patch is None:
            s, notes = 0.0, (f"{self.name}: s = 0, as for white noise; give `patch` to have it measured.",)
        else:
            noise = data[(..., *self._window(data.shape))]
            found = fit_order(noise, scale=self.scale, axes=axes[-2:], homogeneous=self.homogeneous)
            s = min(max(found.s, -3.0), 3.0)
            notes = (f"{self.name}: s = {found.s:.2f} ± {found.error:.2f} on the patch, which was used.",)
        term = Sobolev(data, s, scale=self.scale, axes=axes, homogeneous=self.homogeneous, boundary=boundary)
        return term, notes

    def _window(self, shape: Any) -> tuple[slice, slice]:
        assert self.patch is not None
        top, bottom, left, right = self.patch
        if not (0 <= top < bottom <= shape[-2] and 0 <= left < right <= shape[-1]):
            raise UsageError(
                f"{self.name}.patch = {self.patch}: give [first row, last row, first column, last column] "
                f"within an image of {tuple(shape[-2:])} pixels."
            )
        return slice(top, bottom), slice(left, right)

    def _penalty(self, fidelity: Sobolev, scaling: Scaling) -> Prior:
        """The prior, its differences with the borders of the weights, so that one transform serves both."""
        from imagereg.priors.gradient import Gradient
        from imagereg.priors.periodic import PeriodicGradient, PeriodicTV
        from imagereg.priors.quadratic import Quadratic
        from imagereg.priors.tv import TV

        dimensions = scaling.image.ndim - 2
        periodic = fidelity.grid.boundary == "periodic"
        if self.prior == "quadratic":
            gradient = PeriodicGradient(dimensions) if periodic else Gradient(dimensions)
            return Quadratic(scaling.quadratic(self.strength), operator=gradient)
        strength = scaling.linear(self.strength)
        return (PeriodicTV if periodic else TV)(strength, dimensions=dimensions)

    def _solve(self, problem: Problem, scaling: Scaling, notes: tuple[str, ...]) -> Iterator[State]:
        """In Fourier space where it diagonalises everything, by PDHG or FISTA where it does not."""
        from imagereg.solvers.base import iterate
        from imagereg.solvers.fista import FISTA
        from imagereg.solvers.fourier_admm import FourierADMM, Symbols, tikhonov
        from imagereg.solvers.pdhg import PDHG
        from imagereg.solvers.state import State
        from imagereg.solvers.stopping import RelativeChange

        diagonal = not isinstance(Symbols.of(problem), str)
        if self.prior == "quadratic" and diagonal:
            image = tikhonov(problem, scaling.quadratic(self.strength))
            yield State(image, 1, 1, problem=problem, finished="closed form", notes=notes)
            return
        solver: Any = FISTA() if self.prior == "quadratic" else PDHG()
        if diagonal:
            outer: Any = problem.priors[0].outer
            solver = FourierADMM(rho=outer.slope(scaling.span))
        stop = RelativeChange(self.tolerance)
        start = scaling.image
        yield from iterate(solver, problem, total=self.iterations, start=start, stop=stop, notes=notes)

    def _descend(self, measurement: Measurement, problem: Problem, notes: tuple[str, ...]) -> Iterator[State]:
        """Gradient descent from zero, stopped by the discrepancy where the noise is known."""
        from imagereg.solvers.base import iterate
        from imagereg.solvers.gradient_descent import GradientDescent, SobolevDiscrepancy

        stop: StoppingRule | None = None
        if measurement.noise is not None:
            size = measurement.data.numel() ** 0.5
            stop = SobolevDiscrepancy(measurement.noise.norm(measurement.data) / size)
        else:
            notes = (*notes, f"{self.name}: the noise is not known, so it ran for all of its iterations.")
        if problem.fidelity.s > 0 and type(measurement.physics).__name__ == "Identity":  # type: ignore[attr-defined]
            notes = (
                *notes,
                f"{self.name}: without a penalty s > 0 brings in fine structures first, and an early stop "
                "leaves out the smooth parts of the image; take prior 'tv' or 'quadratic'.",
            )
        yield from iterate(GradientDescent(), problem, total=self.iterations, stop=stop, notes=notes)
