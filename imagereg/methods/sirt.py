"""SIRT: simple, robust iterative reconstruction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Method, Needs
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


class SIRTMethod(Method):
    """x+ = P(x + C A^T R (y - A x)) with inverse row and column sums R, C (see `imagereg.solvers.sirt`)."""

    name: ClassVar[str] = "sirt"
    title: ClassVar[str] = "SIRT"
    summary: ClassVar[str] = (
        "robust iterative reconstruction for few or uneven views, regularised by stopping early"
    )
    reference: ClassVar[str] = (
        "J. Gregor, T. Benson, IEEE Trans. Med. Imaging 27 (2008) 918, doi:10.1109/TMI.2008.923696"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "iterations"
    copies: ClassVar[tuple[float, float]] = (7.0, 17.0)

    iterations: int = parameter(100, "Steps; fewer are smoother", ge=1, le=100_000, log=True)
    nonnegative: bool = parameter(True, "Keep the image at or above 0")
    relaxation: float = parameter(1.0, "Length of the steps, below 2", gt=0, lt=2, level="advanced")

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step, from 0."""
        from imagereg.fidelities.least_squares import LeastSquares
        from imagereg.solvers.base import iterate
        from imagereg.solvers.problem import Problem
        from imagereg.solvers.sirt import SIRT

        bounds = (0.0 if self.nonnegative else None, None)
        problem = Problem(LeastSquares(measurement.data), measurement.physics, (), bounds)
        yield from iterate(SIRT(self.relaxation), problem, total=self.iterations)
