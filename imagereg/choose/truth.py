"""The true image as a judge: for studies with phantoms, to see what other rules lose."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.choose.rule import ChoiceRule, Score
from imagereg.choose.runs import Runs
from imagereg.errors import UsageError
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


class Truth(ChoiceRule):
    """1/N ||x - truth||^2, which no measurement has: a bound for the other rules.

    Parameters
    ----------
    measurement : ready data with `truth`.
    """

    name: ClassVar[str] = "truth"
    title: ClassVar[str] = "mean squared error to the true image (studies only)"
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "minimum"
    label: ClassVar[str] = "mean squared error"
    reference: ClassVar[str] = ""

    def __init__(self, measurement: Measurement, *, seed: int = 0) -> None:
        if measurement.truth is None:
            raise UsageError("truth: the measurement has no true image; choose by held_out.")
        self.measurement = measurement

    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """Mean squared error."""
        found = yield from runs.run(method, self.measurement)
        error = (found.image - self.measurement.truth).abs().square().double().mean()
        return Score(float(error), found.image)

    def evidence(self) -> dict[str, Any]:
        """A warning."""
        return {"note": "chosen with the true image, which a measurement does not have"}
