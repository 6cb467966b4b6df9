"""The discrepancy principle: the residual shall be as large as the noise."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.choose.rule import ChoiceRule, Score
from imagereg.choose.runs import Runs
from imagereg.errors import UsageError
from imagereg.noise.level import noise_level
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


class Discrepancy(ChoiceRule):
    """sum_i (A x - y)_i^2 / sigma_i^2 = tau^2 M over all M data.

    The score is log(||(A x - y) / sigma|| / (tau sqrt M)), which grows with the strength.

    Parameters
    ----------
    measurement : data with their noise model; the noise is estimated where there is none (see `noise_level`).
    tau : factor on the noise; slightly above 1 guards against a noise level that is too small.
    """

    name: ClassVar[str] = "discrepancy"
    title: ClassVar[str] = "residual as large as the noise"
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "root"
    label: ClassVar[str] = "log(residual / noise)"
    reference: ClassVar[str] = "V. A. Morozov, Soviet Math. Dokl. 7 (1966) 414"

    def __init__(self, measurement: Measurement, *, tau: float = 1.0, seed: int = 0) -> None:
        if not tau > 0:
            raise UsageError(f"discrepancy: tau = {tau}; give a positive factor, usually 1 to 1.1.")
        self.measurement, self.tau = measurement, tau
        self.level = noise_level(measurement)

    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """Log of residual over noise."""
        found = yield from runs.run(method, self.measurement)
        residual = found.forward - self.measurement.data
        ratio = math.sqrt(max(self.level.at(found.forward).chi_square(residual), 1e-300) / residual.numel())
        return Score(math.log(ratio / self.tau), found.image, {"residual_over_noise": ratio})

    def evidence(self) -> dict[str, Any]:
        """Noise level, how it is known, tau."""
        norm = self.level.norm(self.measurement.data)
        return {
            "noise": self.level.how,
            "noise_norm": norm,
            "noise_estimated": self.level.estimated,
            "tau": self.tau,
        }
