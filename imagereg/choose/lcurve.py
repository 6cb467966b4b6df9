"""The L-curve: the setting where the trade of residual against penalty turns most sharply."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.choose.rule import ChoiceRule, Score
from imagereg.choose.runs import Runs
from imagereg.errors import UsageError
from imagereg.solvers.state import State

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method
    from imagereg.solvers.problem import Problem


class LCurve(ChoiceRule):
    """The corner of (log fidelity(A x), log penalty(x)), largest curvature.

    The penalty is the sum of the priors of the method's problem as the first trial has them, so that every
    image is measured with the same yardstick. It needs no noise level, and no theory says that the corner is
    near the best: use it where the curve has a clear corner.

    Parameters
    ----------
    measurement : ready data.
    """

    name: ClassVar[str] = "lcurve"
    title: ClassVar[str] = "corner of residual against penalty"
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "corner"
    label: ClassVar[str] = "log residual"
    reference: ClassVar[str] = (
        "P. C. Hansen, D. P. O'Leary, SIAM J. Sci. Comput. 14 (1993) 1487, doi 10.1137/0914086"
    )

    def __init__(self, measurement: Measurement, *, seed: int = 0) -> None:
        self.measurement = measurement
        self._problem: Problem | None = None

    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """Log of residual and penalty."""
        found = yield from runs.run(method, self.measurement)
        if self._problem is None:
            self._problem = found.state.problem
        residual = float((found.forward - self.measurement.data).norm())
        penalty = self._penalty(method, found.image)
        across = math.log(max(penalty, 1e-300))
        figures = {"residual": residual, "penalty": penalty}
        return Score(math.log(max(residual, 1e-300)), found.image, figures, across)

    def _penalty(self, method: Method, image: torch.Tensor) -> float:
        if self._problem is None or not self._problem.priors:
            raise UsageError(
                f"lcurve: {method.name} minimises no penalty that could be measured; choose by held_out."
            )
        total = 0.0
        for prior in self._problem.priors:
            value = prior.fn(image)
            if value is None:
                raise UsageError(f"lcurve: the prior of {method.name} has no value; choose by held_out.")
            total += float(value.double().sum())
        return total

    def evidence(self) -> dict[str, Any]:
        """The yardstick."""
        names = [type(p).__name__ for p in self._problem.priors] if self._problem is not None else []
        return {"penalty": ", ".join(names)}
