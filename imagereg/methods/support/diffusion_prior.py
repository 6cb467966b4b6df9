"""What all methods on a diffusion prior share: the prior, the range of grey values, the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imagereg.errors import UsageError
from imagereg.methods.support.custom_denoiser import DenoiserMethod
from imagereg.methods.support.declared import shipped_weights, white_level
from imagereg.methods.support.scaling import Scaling, data_noise, measure
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.priors.denoiser import Denoiser, DenoiserPrior
    from imagereg.solvers.base import Solver
    from imagereg.solvers.noise_levels import Order
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.state import State

NATURAL, SLICES = "diffusion_natural", "diffusion_ct"
"""Shipped weights: for images, and for scans."""

QUIET = 0.002
"""Noise of data that have none or whose noise is not known, in units of the range (see `Posed.noise`)."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A measurement with a diffusion prior.

    Attributes
    ----------
    problem : data term, physics and the prior, which knows the range of grey values.
    start : A^+ y, cut short where A is ill conditioned, (B, C, ...).
    curvature : trace(J^T f'' J) over the number of pixels, of each item, (B, 1, ...).
    notes : what was chosen for the user.
    """

    problem: Problem
    start: torch.Tensor
    curvature: torch.Tensor
    notes: tuple[str, ...]

    @property
    def prior(self) -> DenoiserPrior:
        """The denoiser with its range."""
        return self.problem.priors[0]  # type: ignore[return-value]

    def noise(self, measurement: Measurement) -> torch.Tensor | None:
        """e / (h sqrt(c)) of each item, e the noise of data of weight one, h the range; None where not known.

        It is the noise that an image would have whose every pixel is held as the data hold one on average.
        """
        std = data_noise(measurement, self.start.ndim)
        if std is None:
            return None
        return std / ((self.prior.high - self.prior.low) * self.curvature**0.5)

    def error(self, measurement: Measurement) -> torch.Tensor:
        """e of each item, in the unit of the data, at least that of quiet data (see `QUIET`)."""
        import torch

        unit = (self.prior.high - self.prior.low) * self.curvature**0.5
        noise = self.noise(measurement)
        return unit * (torch.full_like(unit, QUIET) if noise is None else noise.clamp_min(QUIET))


class DiffusionMethod(DenoiserMethod):
    """Base of the methods on a diffusion prior; see the subclasses.

    In Python, `method("red_diff").using(denoiser)` takes any denoiser(x, sigma) with x in [0, 1]: a network
    of deepinv, or a noise predictor or a score in a `DenoiserAdapter`.
    """

    copies: ClassVar[tuple[float, float]] = (8.0, 270.0)

    weights: str = shipped_weights()
    iterations: int = parameter(100, "Steps", ge=2, le=100_000)
    runs: int = parameter(1, "Independent runs, whose mean and spread are given", ge=1, le=1000)
    seed: int = parameter(0, "Seed of the noise", ge=0, level="advanced")
    scale: float = white_level()
    tile: int = parameter(
        0,
        "Edge of overlapping tiles in which large images are denoised, a multiple of 16; 0: as a whole",
        ge=0,
        unit="pixel",
        level="advanced",
    )

    def without_samples(self, measurement: Measurement) -> str:
        """Empty from two runs on."""
        return "" if self.runs > 1 else f"{self.name} gives samples of its own from runs = 2 on"

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step, from the start."""
        from imagereg.solvers.base import iterate
        from imagereg.solvers.ensemble import Ensemble

        posed = self.pose(measurement)
        members = tuple(self.solver(posed, measurement, self.seed + run) for run in range(self.runs))
        solver = members[0] if self.runs == 1 else Ensemble(members)
        yield from iterate(solver, posed.problem, total=self.iterations, start=posed.start, notes=posed.notes)

    def solver(self, posed: Posed, measurement: Measurement, seed: int) -> Solver:
        """The algorithm of one run for a posed problem."""
        raise TypeError(f"{type(self).__name__} has no solver().")

    def pose(self, measurement: Measurement) -> Posed:
        """The problem of a measurement that is ready, with its start.

        Raises
        ------
        UsageError
            For unknown weights, or a physics that is not linear and offers no start.
        """
        from imagereg.methods.support.data_term import data_term
        from imagereg.priors.denoiser import DenoiserPrior
        from imagereg.solvers.problem import Problem

        fidelity, said = data_term(
            measurement, "weighted" if measurement.weights is not None else "least_squares"
        )
        bare = Problem(fidelity, measurement.physics)
        scaling = measure(bare, scale=self.scale) if bare.linear else _without_adjoint(bare, self.scale)
        low, high = self._range(scaling, scan=measurement.geometry is not None)
        denoiser, origin = self._denoiser(measurement)
        prior = DenoiserPrior(denoiser, 0.0, low=low, high=high)
        problem = Problem(fidelity, measurement.physics, (prior,))
        slices = "Each slice has its own prior; nothing joins them." if scaling.image.ndim == 5 else ""
        notes = tuple(note for note in (said, origin, slices) if note)
        return Posed(problem, scaling.image, scaling.curvature, notes)

    def _range(self, scaling: Scaling, *, scan: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Grey values of black and white: black is 0 unless an image has values well below."""
        import torch

        zero = scaling.span * 0
        if self.scale:
            return zero, zero + self.scale
        darkest = scaling.darkest
        high = darkest + scaling.span
        signed = (darkest < -0.05 * high.abs()) & (not scan)
        low = torch.where(signed, darkest, zero)
        return low, torch.where(high > low, high, low + scaling.span)

    def _denoiser(self, measurement: Measurement) -> tuple[Denoiser, str]:
        """The prior's denoiser and a sentence on where it comes from."""
        from imagereg.networks.tiles import Tiled

        if self._custom is not None:
            denoiser, origin, multiple = self._custom, "", 16
        else:
            from imagereg.networks.diffusion import DiffusionUNet
            from imagereg.networks.store import load_network

            name = self.weights
            if name == "auto":
                name = NATURAL if measurement.geometry is None else SLICES
            network, card = load_network(name, method="red_diff")
            assert isinstance(network, DiffusionUNet)
            denoiser, multiple = network.to(measurement.data.device), network.multiple
            origin = f"Weights {card.name}, trained on {card.data}."
        return (Tiled(denoiser, self.tile, multiple=multiple) if self.tile else denoiser), origin


class LevelMethod(DiffusionMethod):
    """Base of those that go through noise levels of their own choice, from the largest to the smallest."""

    sigma_max: float = parameter(
        3.0,
        "Largest noise level",
        gt=0,
        le=100,
        unit="image range",
        log=True,
        level="advanced",
        formerly="most",
    )
    sigma_min: float = parameter(
        0.005,
        "Smallest noise level",
        gt=0,
        le=1,
        unit="image range",
        log=True,
        level="advanced",
        formerly="least",
    )

    def levels(self, average: int = 1, order: Order = "descending", seed: int = 0) -> torch.Tensor:
        """Levels of all steps (see `imagereg.solvers.noise_levels.levels`)."""
        from imagereg.solvers.noise_levels import levels

        return levels(
            self.iterations, average, order=order, least=self.sigma_min, most=self.sigma_max, seed=seed
        )


def _without_adjoint(bare: Problem, scale: float) -> Scaling:
    """Start, range and curvature of a physics that is not linear, at its own A_dagger(y)."""
    import torch

    from imagereg.fidelities.least_squares import LeastSquares
    from imagereg.priors.weights import grey_range

    name, fidelity = type(bare.physics).__name__, bare.fidelity
    try:
        with torch.no_grad():
            image = bare.physics.A_dagger(fidelity.data)
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise UsageError(
            f"{name} is not linear and its A_dagger gives no image to start from ({error}); give it one."
        ) from None
    span = grey_range(image, tail=5e-3)
    span = torch.full_like(span, scale) if scale else torch.where(span > 0, span, 1.0)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, fidelity.data.shape, generator=generator).to(fidelity.data) * 2 - 1
    if isinstance(fidelity, LeastSquares) and fidelity.weights is not None:
        signs = fidelity.weights.sqrt() * signs
    # E |J^T W^1/2 z|^2 = trace(J^T W J) for signs z.
    back = bare.physics.A_vjp(image, signs)
    curvature = back.square().flatten(1).mean(1).reshape_as(span)
    return Scaling(torch.where(curvature > 0, curvature, 1.0), span, image.detach())
