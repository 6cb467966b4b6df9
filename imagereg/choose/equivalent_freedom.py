"""The discrepancy principle of a fit that has taken up part of the noise."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.choose.divergence import Divergence
from imagereg.choose.rule import ChoiceRule, Score
from imagereg.choose.runs import Runs
from imagereg.errors import UsageError
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


class EquivalentFreedom(ChoiceRule):
    """sum_i (A x - y)_i^2 / sigma_i^2 = tau^2 (M - df), df the degrees of freedom of A x(y).

    A fit with df free numbers leaves noise in M - df of M data only, as in the unbiased estimate of a
    variance. Morozov's principle waits for M and smooths too much where df is a tenth of M and more, as in
    total variation from few views. df is the trace of d(A x)/dy (see `Divergence`), at the cost of a second
    item in the batch; the score is log(||(A x - y) / sigma|| / (tau sqrt(M - df))), which grows with the
    strength.

    Parameters
    ----------
    measurement : ready data with their noise model; the noise is estimated where there is none.
    tau : factor on the noise.
    probes, step : see `Divergence`.
    """

    name: ClassVar[str] = "equivalent_freedom"
    title: ClassVar[str] = "residual as large as the noise that the fit has not taken up"
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "root"
    label: ClassVar[str] = "log(residual / noise left over)"
    reference: ClassVar[str] = (
        "P. Hall, D. M. Titterington, J. R. Stat. Soc. B 49 (1987) 184; A. M. Thompson, J. C. Brown, J. W. "
        "Kay, D. M. Titterington, IEEE Trans. Pattern Anal. Mach. Intell. 13 (1991) 326, doi 10.1109/34.88568"
    )

    def __init__(
        self,
        measurement: Measurement,
        *,
        tau: float = 1.0,
        probes: int = 1,
        step: float = 0.2,
        seed: int = 0,
    ) -> None:
        if not tau > 0:
            raise UsageError(f"equivalent_freedom: tau = {tau}; give a positive factor, usually 1.")
        self.measurement, self.tau = measurement, tau
        self.divergence = Divergence(measurement, probes=probes, step=step, seed=seed)

    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """Log of residual over the noise left over."""
        found, df = yield from self.divergence.run(method, runs)
        residual = found.forward - self.measurement.data
        count = residual.numel()
        square = self.divergence.level.at(found.forward).chi_square(residual)
        # A method that reproduces the data has no noise left over, and its residual says nothing.
        left = max(count - df, 1e-3 * count)
        figures = {"degrees_of_freedom": df, "residual_over_noise": math.sqrt(square / count)}
        value = 0.5 * math.log(max(square, 1e-300) / left) - math.log(self.tau)
        return Score(value, found.image, figures)

    def evidence(self) -> dict[str, Any]:
        """Noise level, how it is known, tau."""
        level = self.divergence.level
        return {"noise": level.how, "noise_estimated": level.estimated, "tau": self.tau}
