"""Generalised cross-validation: no noise level needed."""

from __future__ import annotations

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


class GCV(ChoiceRule):
    """GCV = M sum_i r_i^2 / (M - df)^2, r = A x - y over its standard deviation up to a factor.

    df is the trace of d(A x)/dy (see `Divergence`): for a linear method that of its influence matrix. It is
    right for white noise, or noise of known shape (weights, noise model) and unknown size.

    Parameters
    ----------
    measurement : ready data.
    trace : 'probe' for random probes, 'exact' for one run a datum.
    probes, step : see `Divergence`.
    """

    name: ClassVar[str] = "gcv"
    title: ClassVar[str] = "generalised cross-validation"
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "minimum"
    label: ClassVar[str] = "GCV"
    reference: ClassVar[str] = (
        "G. Golub, M. Heath, G. Wahba, Technometrics 21 (1979) 215, doi 10.1080/00401706.1979.10489751; "
        "D. Girard, Numer. Math. 56 (1989) 1, doi 10.1007/BF01395775 (random probes)"
    )

    def __init__(
        self,
        measurement: Measurement,
        *,
        trace: Literal["probe", "exact"] = "probe",
        probes: int = 1,
        step: float = 0.2,
        seed: int = 0,
    ) -> None:
        if trace not in ("probe", "exact"):
            raise UsageError(f"gcv: trace = {trace!r}; give 'probe' or 'exact'.")
        self.measurement, self.trace, self.probes = measurement, trace, probes
        self.divergence = Divergence(measurement, probes=probes, exact=trace == "exact", step=step, seed=seed)

    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """GCV, per datum."""
        found, df = yield from self.divergence.run(method, runs)
        residual = found.forward - self.measurement.data
        count = residual.numel()
        square = self.divergence.level.chi_square(residual)
        # Past M, df measures a method that amplifies noise; the quotient would fall again there.
        left = max(count - df, 1e-6 * count)
        return Score(count * square / left**2, found.image, {"degrees_of_freedom": df, "data": count})

    def evidence(self) -> dict[str, Any]:
        """How the trace was taken."""
        return {"trace": self.trace, "probes": self.probes if self.trace == "probe" else 0}
