"""CGLS: the fastest least squares, regularised by stopping early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.base import Method, Needs
from imagereg.methods.support.data_term import data_term
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


class CGLSMethod(Method):
    """min 1/2 ||A x - y||_w^2 by conjugate gradients from 0 (see `imagereg.solvers.cgls`)."""

    name: ClassVar[str] = "cgls"
    title: ClassVar[str] = "Conjugate gradients"
    summary: ClassVar[str] = "least squares by conjugate gradients, regularised by stopping early"
    reference: ClassVar[str] = (
        "M. Hestenes, E. Stiefel, J. Res. Natl. Bur. Stand. 49 (1952) 409, doi:10.6028/jres.049.044"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "iterations"
    copies: ClassVar[tuple[float, float]] = (10.0, 16.0)

    iterations: int = parameter(15, "Steps; fewer are smoother", ge=1, le=10_000, log=True)
    fidelity: Literal["auto", "least_squares", "weighted"] = parameter(
        "auto", "Data term; auto: weighted where the data carry weights", level="advanced"
    )

    @property
    def divisible(self) -> bool:
        """Its sums over the volume are all there is that couples rows."""
        return True

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step, from 0."""
        from imagereg.fidelities.least_squares import LeastSquares
        from imagereg.solvers.base import iterate
        from imagereg.solvers.cgls import CGLS
        from imagereg.solvers.problem import Problem

        fidelity, note = data_term(measurement, self.fidelity)
        if not isinstance(fidelity, LeastSquares):
            fidelity, note = data_term(measurement, "weighted")[0], "The data term is weighted least squares."
        problem = Problem(fidelity, measurement.physics)
        yield from iterate(CGLS(), problem, total=self.iterations, notes=(note,) if note else ())
