"""Tikhonov regularisation: a quadratic penalty of the image or of its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.support.variational import Variational
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.support.scaling import Scaling
    from imagereg.priors.base import Prior
    from imagereg.solvers.base import Solver
    from imagereg.solvers.problem import Problem


class Tikhonov(Variational):
    """min f(A x) + lambda/2 ||L x||^2, lambda = strength c (see `imagereg.methods.support.scaling`)."""

    name: ClassVar[str] = "tikhonov"
    title: ClassVar[str] = "Tikhonov"
    summary: ClassVar[str] = "smooth images by a quadratic penalty on the image or its gradient"
    reference: ClassVar[str] = (
        "A. N. Tikhonov, Soviet Math. Dokl. 4 (1963) 1035; P. C. Hansen, Discrete Inverse Problems (2010), "
        "doi:10.1137/1.9780898718836"
    )
    copies: ClassVar[tuple[float, float]] = (4.0, 34.0)

    strength: float = parameter(
        0.3,
        "How much smoothness counts against the data: more is smoother",
        ge=0,
        le=1e6,
        unit="relative to the data's curvature",
        log=True,
    )
    operator: Literal["gradient", "identity"] = parameter(
        "gradient", "What is kept small: differences, or values"
    )
    nonnegative: Literal["auto", "yes", "no"] = parameter(
        "no", "Keep the image at or above 0; auto: in tomography and for counts"
    )
    iterations: int = parameter(100, "Steps at most", ge=1, le=100_000)

    @property
    def divisible(self) -> bool:
        """Without bounds: it is solved by conjugate gradients, whose sums are all that couples rows."""
        return self.nonnegative == "no" and self.fidelity != "sobolev"

    def penalty(self, measurement: Measurement, scaling: Scaling) -> tuple[Prior, ...]:
        """lambda/2 ||L x||^2."""
        from imagereg.priors.gradient import Gradient
        from imagereg.priors.quadratic import Quadratic

        operator = Gradient(scaling.image.ndim - 2) if self.operator == "gradient" else None
        return (Quadratic(scaling.quadratic(self.strength), operator=operator),)

    def algorithm(self, problem: Problem) -> Solver:
        """Conjugate gradients, or FISTA where there are bounds or a likelihood."""
        from imagereg.fidelities.least_squares import LeastSquares
        from imagereg.solvers.cgls import CGLS
        from imagereg.solvers.fista import FISTA

        quadratic = isinstance(problem.fidelity, LeastSquares) and problem.bounds == (None, None)
        return CGLS() if quadratic else FISTA()
