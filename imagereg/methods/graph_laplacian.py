"""graphLa+Psi: regularisation by the Laplacian of a graph that a pre-estimate draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.base import Method, Needs
from imagereg.methods.support.pre_estimate import PHASE, Psi, notes_on, pre_estimate
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.priors.graph_laplacian import GraphLaplacian as Graph
    from imagereg.solvers.state import State


class GraphLaplacian(Method):
    """min_x 1/2 ||A x - y||^2 + alpha sum phi(L x), L the graph Laplacian of the pre-estimate Psi(y).

    `form` picks phi: 'quadratic', t^2 / 2, or 'l1', smoothed to sqrt(t^2 + eps^2) - eps and minimised through
    parabolas of fixed curvature 1/eps. The settings published for the l1 form (eps = 0.1 on images in [0, 1],
    W divided by its Frobenius norm) amount to the quadratic one: |L x| is at most a hundredth of that eps.

    No bounds are kept: results may be slightly negative.
    """

    name: ClassVar[str] = "graph_laplacian"
    title: ClassVar[str] = "graphLa+Psi (data-dependent graph Laplacian)"
    summary: ClassVar[str] = (
        "refinement of a first reconstruction: pixels that look alike in it are smoothed together"
    )
    reference: ClassVar[str] = (
        "Bianchi, Evangelista, Aleotti, Donatelli, Loli Piccolomini, Li 2023, arXiv 2312.16936; "
        "Lanza, Morigi, Reichel, Sgallari 2015, doi 10.1137/140967982 (MM-GKS)"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "strength"
    copies: ClassVar[tuple[float, float]] = (44.0, 200.0)
    passes: ClassVar[float] = 2.0

    psi: Psi = parameter(
        "tv", "Pre-estimate: a method, {name: tv, strength: ...}, a file with an image, or 'truth' (studies)"
    )
    rule: Literal["auto", "discrepancy", "gcv", "fixed"] = parameter(
        "auto",
        "How alpha is found at every step: by the discrepancy principle, GCV, or fixed at `strength`; auto: "
        "discrepancy where the noise is known, else GCV",
    )
    strength: float = parameter(
        1e4,
        "How much likeness counts against the data, for the rule 'fixed'",
        gt=0,
        unit="relative to the data's curvature, with L over its largest degree",
        log=True,
        only={"rule": "fixed"},
    )
    fidelity: Literal["auto", "least_squares", "weighted"] = parameter(
        "auto",
        "Data term; auto: weighted where the data carry weights or the noise implies them",
        level="advanced",
    )
    form: Literal["quadratic", "l1"] = parameter("quadratic", "Penalty on L x", level="advanced")
    radius: int = parameter(4, "Radius of the windows; 4 joins 9 x 9 pixels", ge=1, le=20, unit="pixel")
    scale: float = parameter(
        1e-3,
        "Squared difference of grey values at which pixels stop being alike, over the squared range",
        gt=0,
        level="advanced",
        log=True,
    )
    smoothing: float = parameter(
        0.001,
        "Eps of the l1 form, over max degree times range",
        gt=0,
        level="advanced",
        log=True,
    )
    psi_passes: int = parameter(
        1, "Times that it is done, each on the graph of the result before", ge=1, le=20, level="advanced"
    )
    safety: float = parameter(
        0.995,
        "Factor on the noise norm in the discrepancy principle; below 1, since an image takes up a part of "
        "the noise, which is missing in what it leaves",
        gt=0,
        level="advanced",
    )
    iterations: int = parameter(300, "MM-GKS steps at most in each pass", ge=1)
    restart: int = parameter(30, "Dimension at which the Krylov space starts again", ge=3, level="advanced")
    tolerance: float = parameter(1e-4, "Relative change at which it stops", ge=0, level="advanced")

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """States of the pre-estimate (by phase), then one state a step; values hold the current `alpha`."""
        from imagereg.priors.graph_laplacian import GraphLaplacian as Graph

        guide = yield from pre_estimate(self.psi, measurement)
        for turn in range(1, self.psi_passes + 1):
            graph = Graph(guide, radius=self.radius, scale=self.scale)
            last = turn == self.psi_passes
            for state in self._solve(measurement, graph, guide):
                if last:
                    yield state
                else:
                    yield replace(state, phase=f"{PHASE}, pass {turn} of {self.psi_passes}", finished="")
            guide = state.image

    def _solve(self, measurement: Measurement, graph: Graph, guide: torch.Tensor) -> Iterator[State]:
        from imagereg.methods.support.data_term import data_term
        from imagereg.noise.level import noise_level
        from imagereg.priors.power import PowerPrior
        from imagereg.priors.weights import grey_range
        from imagereg.solvers.base import iterate
        from imagereg.solvers.linear import mean_curvature
        from imagereg.solvers.mmgks import MMGKS
        from imagereg.solvers.problem import Problem

        choice = self.fidelity
        if choice == "auto" and getattr(measurement.noise, "name", "") == "poisson":
            choice = "weighted"  # MM-GKS needs squares: those of the likelihood's second-order expansion
        fidelity, note = data_term(measurement, choice)
        problem = Problem(fidelity, measurement.physics)
        rule = self._rule(measurement)
        degree = graph.norm / 2
        alpha = self.strength * mean_curvature(problem) / degree**2
        if self.form == "l1":
            eps = self.smoothing * degree * grey_range(guide).clamp_min(1e-12)
            # The strength is that of the quadratic form whose parabola the l1 form has at 0.
            prior = PowerPrior(graph, alpha * eps, power=1, smoothing=eps)
        else:
            prior = PowerPrior(graph, alpha, power=2)
        norms: tuple[float, ...] = ()
        if rule == "discrepancy":
            weights = getattr(fidelity, "weights", None)
            norms = tuple(noise_level(measurement).norms(measurement.data, weights=weights).tolist())
        solver = MMGKS(
            rule=rule,
            noise_norm=norms,
            safety=self.safety,
            restart=self.restart,
            tolerance=self.tolerance,
        )
        notes = (*notes_on(self.psi), note) if note else notes_on(self.psi)
        problem = replace(problem, priors=(prior,))
        for state in iterate(solver, problem, total=self.iterations, notes=notes):
            yield replace(state, values={"alpha": float(state.memory["strength"].mean())})

    def _rule(self, measurement: Measurement) -> Literal["discrepancy", "gcv", "fixed"]:
        if self.rule != "auto":
            return self.rule
        return "gcv" if measurement.noise is None else "discrepancy"
