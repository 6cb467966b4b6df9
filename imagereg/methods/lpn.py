"""Learned proximal network: a prior that is learned through its proximal operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.errors import UsageError
from imagereg.methods.base import Method, Needs
from imagereg.methods.support.declared import shipped_weights, white_level
from imagereg.methods.support.scaling import data_noise, measure
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.networks.store import Card
    from imagereg.priors.learned_proximal import LearnedProximalPrior
    from imagereg.solvers.base import Solver
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.state import State


@dataclass(frozen=True, eq=False)
class _Weight:
    """w of each item, (B, 1, ...), and where it comes from."""

    value: torch.Tensor
    why: str


GENERAL, NOISY = "lpn_ct_05", "lpn_natural_10"
"""Shipped weights: the first have seen bodies of full contrast, slices and photographs, and do best on blur
and scans of each; the second are for noise of a tenth of the range in the image itself."""


class LearnedProximalNetwork(Method):
    """min f(A x) + w phi(x), phi the prior whose proximal operator is a trained network f = grad psi.

    phi estimates -sigma^2 log p of images with a range of 1, sigma being the noise that the network was
    trained for. So with noise of standard deviation e in the data and a range s of the image,

        w s^2 phi = e^2 (-log p),   w = strength (e / (s sigma))^2.

    admm    rho = w: any w; proven to converge for rho > ||A^T A||, which `proven` keeps to. Without it, grey
            values are kept within a tenth beyond the range that the network was trained for.
    pgd     x = D(x - A^T (A x - y) / L), L >= ||A^T A||, D the relaxed proximal operator.

    Where the step wants more weight than w, D(v) = (1 - t) v + t f(v), t = w / rho (ADMM) or w / L (PGD).
    """

    name: ClassVar[str] = "lpn"
    title: ClassVar[str] = "Learned proximal network"
    summary: ClassVar[str] = "reconstruction with a learned prior whose proximal operator is exact"
    reference: ClassVar[str] = (
        "Z. Fang, S. Buchanan, J. Sulam, What's in a prior? Learned proximal networks for inverse problems, "
        "ICLR (2024), arXiv:2310.14344"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "strength"
    copies: ClassVar[tuple[float, float]] = (3.0, 375.0)

    strength: float = parameter(
        1.0,
        "Weight of the prior over what the noise of the data asks for: more is smoother",
        gt=0,
        le=1e4,
        log=True,
    )
    weights: str = shipped_weights()
    iterations: int = parameter(40, "Steps", ge=1, le=10_000)
    solver: Literal["admm", "pgd"] = parameter("admm", "Algorithm", level="advanced")
    proven: bool = parameter(
        False,
        "ADMM: keep rho above ||A||^2, where convergence is proven, and relax the proximal step instead",
        level="advanced",
    )
    scale: float = white_level()

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step; the last one holds the prior's value and how far the steps have settled."""
        from imagereg.methods.support.data_term import data_term
        from imagereg.networks.icnn import ICNN
        from imagereg.networks.store import load_network
        from imagereg.priors.learned_proximal import LearnedProximal, LearnedProximalPrior
        from imagereg.solvers.base import iterate
        from imagereg.solvers.problem import Problem

        fidelity, said = data_term(
            measurement, "weighted" if measurement.weights is not None else "least_squares"
        )
        bare = Problem(fidelity, measurement.physics)
        scaling = measure(bare, scale=self.scale)
        image, span = scaling.image, scaling.span
        low = span * 0 if self.scale else scaling.darkest
        noise = data_noise(measurement, image.ndim)
        name = self._nearest(measurement, noise, span) if self.weights == "auto" else self.weights
        network, card = load_network(name, method=self.name)
        sigma = float(card.metrics["sigma"])
        weight = self._weight(noise, scaling.curvature, span, sigma)
        solver, relaxation, condition = self._algorithm(bare, weight.value, scaling.curvature)
        assert isinstance(network, ICNN)
        denoiser = LearnedProximal(network.to(image.device), sigma, relaxation=relaxation)
        prior = LearnedProximalPrior(denoiser, low=low, high=low + span)
        bounds = _reach(low, span) if self.solver == "admm" and not self.proven else (None, None)
        problem = Problem(fidelity, measurement.physics, (prior,), bounds)
        slices = "Each slice has its own prior; nothing joins them." if image.ndim == 5 else ""
        notes = tuple(note for note in (said, _origin(card), weight.why, condition, slices) if note)
        for state in iterate(solver, problem, total=self.iterations, start=image, notes=notes):
            yield _closing(state, prior) if state.finished else state

    def _nearest(self, measurement: Measurement, noise: torch.Tensor | None, span: torch.Tensor) -> str:
        """Shipped weights for images that are themselves noisy, or those of the widest training."""
        bare = measurement.geometry is None and measurement.quantity == "image"
        strong = bare and noise is not None and float((noise / span).mean()) > 0.075
        return NOISY if strong else GENERAL

    def _weight(
        self, noise: torch.Tensor | None, curvature: torch.Tensor, span: torch.Tensor, sigma: float
    ) -> _Weight:
        if noise is None:
            value = 0.25 * self.strength * curvature
            return _Weight(
                value,
                "The noise of the data is not known, so that the prior weighs a quarter of the data's mean "
                "curvature; state the noise, or choose `strength`.",
            )
        value = self.strength * (noise / (span * sigma)) ** 2
        return _Weight(
            value,
            f"The prior weighs {float(value.mean()):.3g}, {self.strength:g} times what the noise of "
            f"{float(noise.mean()):.3g} in the data asks for.",
        )

    def _algorithm(
        self, bare: Problem, weight: torch.Tensor, curvature: torch.Tensor
    ) -> tuple[Solver, torch.Tensor, str]:
        """The solver, t of each item, and a sentence on whether its convergence is proven."""
        import torch

        from imagereg.solvers.admm import ADMM
        from imagereg.solvers.fista import FISTA

        largest = bare.fidelity.lipschitz * bare.norm**2
        least, most = float(weight.min()), float(weight.max())
        if self.solver == "pgd":
            if most > largest:
                raise UsageError(
                    f"lpn: the prior's weight {most:.3g} is above L = {largest:.3g}, the most of "
                    "pgd; lower the strength, or take solver = 'admm'."
                )
            return (
                FISTA(momentum=False, restart=False),
                weight / largest,
                f"PGD converges to a critical point: its step is at most 1 / ||A^T A|| = 1 / {largest:.3g}, "
                f"and the proximal step, relaxed by {most / largest:.2g}, is the gradient of a smooth, "
                "strongly convex function.",
            )
        rho, relaxation = weight, torch.ones_like(weight)
        if self.proven:
            rho = weight.clamp_min(1.01 * largest)
            relaxation = weight / rho
        solver = ADMM(relaxation=1.0, adapt=0, penalty=rho / curvature, inner=30, tolerance=1e-3)
        if float(rho.min()) <= largest:
            return (
                solver,
                relaxation,
                f"ADMM is proven to converge for rho > ||A^T A|| = {largest:.3g}; rho = {least:.3g}, so "
                "that only `change` on the last state says whether it has settled (see `proven`).",
            )
        moreau = (
            f"; the proximal step is relaxed by {float(relaxation.min()):.2g}, so that the prior acts "
            "through its Moreau envelope"
        )
        return (
            solver,
            relaxation,
            f"ADMM converges to a critical point: rho = {float(rho.min()):.3g} is above ||A^T A|| = "
            f"{largest:.3g}{moreau if self.proven else ''}.",
        )


def _reach(low: torch.Tensor, span: torch.Tensor) -> tuple[float, float]:
    """Grey values that the network was trained for, and a tenth beyond.

    Elsewhere phi may fall without end, so that images would drift away where the data do not hold them.
    """
    return float((low - 0.1 * span).min()), float((low + 1.1 * span).max())


def _origin(card: Card) -> str:
    return (
        f"Weights {card.name}, trained on {card.data}. The network is the proximal operator of a prior, "
        "exactly and for images of every size; the prior was matched on patches, and on larger images it "
        "comes from the sum of the same local potentials."
    )


def _closing(state: State, prior: LearnedProximalPrior) -> State:
    """The last state with `change`, and after ADMM with w s^2 phi and the objective at its proximal point.

    There x = prox(v) with a known v, so that no inversion is needed.
    """
    memory, problem = state.memory, state.problem
    assert problem is not None
    image = state.image
    values: dict[str, float] = dict(state.values)
    if "copies" in memory:
        copy, multiplier = memory["copies"][0], memory["multipliers"][0]
        values["change"] = float((image - copy).norm() / image.norm().clamp_min(1e-30))
        if image.ndim == 4:
            value = memory["penalties"][0].flatten() * prior.value_at(copy + multiplier, copy)
            values["prior"] = float(value.double().sum())
            fit = problem.fidelity.fn(problem.physics.A(copy))
            values["objective"] = values["prior"] + float(fit.double().sum())
    else:
        before = memory["before"]
        values["change"] = float((image - before).norm() / image.norm().clamp_min(1e-30))
    return replace(state, values=values)
