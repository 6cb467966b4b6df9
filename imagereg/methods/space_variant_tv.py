"""Total variation that spares the edges of a pre-estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from imagereg.methods.support.pre_estimate import PHASE, Psi, notes_on, pre_estimate
from imagereg.methods.tv import TotalVariation, spacing
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.methods.support.scaling import Scaling
    from imagereg.priors.base import Prior
    from imagereg.solvers.state import State


class SpaceVariantTV(TotalVariation):
    """min f(A x) + lambda sum_i w_i |D x|_i, with weights w that are small on the edges of Psi(y).

    w_i = (eta / sqrt(eta^2 + |D Psi(y)|_i^2))^(1 - p), divided by its median over the image, and
    lambda = strength c s as for `tv` (see `imagereg.methods.support.scaling`), for 1/2 ||A x - y||^2: papers
    that write ||A x - y||^2 have twice the lambda. The weights are made once from the pre-estimate Psi(y),
    so that the problem stays convex and its duality gap tells how far the minimum is; with `psi_passes` above
    1 they are made again from the result, which is iteratively reweighted l1.
    """

    formerly: ClassVar[Mapping[str, Mapping[str, Any]]] = {"adaptive_tv": {"p": 0.3}}
    noise_factor: ClassVar[float] = 1.5  # weights are small on edges, and 1 in their median
    divisible: ClassVar[bool] = False  # weights are made of a median and a pre-estimate of the whole

    name: ClassVar[str] = "space_variant_tv"
    title: ClassVar[str] = "Space-variant total variation"
    summary: ClassVar[str] = (
        "total variation that smooths the edges of a first reconstruction less, for few views"
    )
    reference: ClassVar[str] = (
        "E. Morotti, D. Evangelista, A. Sebastiani, E. Loli Piccolomini 2024, arXiv 2404.16900, and 2025, "
        "arXiv 2501.09845 (p = 0.3: preset `adaptive_tv`); E. Candès, M. Wakin, S. Boyd, J. Fourier Anal. "
        "Appl. 14 (2008) 877, doi:10.1007/s00041-008-9045-x (reweighting)"
    )

    psi: Psi = parameter(
        "tv", "Pre-estimate: a method, {name: tv, strength: ...}, a file with an image, or 'truth' (studies)"
    )
    eta: float = parameter(
        0.02,
        "Difference of neighbours from which on a pixel counts as an edge",
        gt=0,
        le=1,
        unit="relative to the image's range",
        log=True,
    )
    p: float = parameter(0.1, "Exponent: 1 is plain total variation, small spares edges most", gt=0, le=1)
    psi_passes: int = parameter(
        1, "Times that it is done, each with the weights of the result before", ge=1, le=20, level="advanced"
    )

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """States of the pre-estimate and of earlier passes (by phase), then one state a step."""
        image = yield from pre_estimate(self.psi, measurement)
        for turn in range(1, self.psi_passes + 1):
            states = self._pass(measurement, image)
            for state in states:
                image = state.image
                if turn == self.psi_passes:
                    yield state
                else:
                    yield replace(state, phase=f"{PHASE}, pass {turn} of {self.psi_passes}", finished="")

    def _pass(self, measurement: Measurement, estimate: torch.Tensor) -> Iterator[State]:
        from imagereg.priors.gradient import Gradient
        from imagereg.priors.weights import edge_weights

        dimensions = estimate.ndim - 2
        gradient = Gradient(dimensions, spacing=spacing(measurement, dimensions))
        weight = edge_weights(estimate, eta=self.eta, p=self.p, gradient=gradient, normalise=True)

        def penalty(scaling: Scaling) -> tuple[Prior, ...]:
            return self.penalty(measurement, scaling, weight)

        return self.minimise(measurement, penalty, start=estimate, notes=notes_on(self.psi))
