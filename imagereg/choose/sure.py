"""Stein's unbiased risk estimate: the mean squared error of A x, without the truth."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.choose.divergence import Divergence
from imagereg.choose.rule import ChoiceRule, Score
from imagereg.choose.runs import Runs
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


class SURE(ChoiceRule):
    """SURE = 1/M (sum_i r_i^2 - M + 2 df), r = (A x - y)/sigma, unbiased for 1/M E||A (x - truth)/sigma||^2.

    For denoising this is the mean squared error of the image over sigma^2; for other physics that of the
    predicted data (the projected form of generalised SURE, which says nothing of what A cannot see). df is
    the trace of d(A x)/dy (see `Divergence`). The noise must be Gaussian, or nearly so, and its level known:
    an estimated one is used where there is no noise model, and the evidence says so.

    Parameters
    ----------
    measurement : ready data with their noise model.
    probes, step : see `Divergence`.
    """

    name: ClassVar[str] = "sure"
    title: ClassVar[str] = "Stein's unbiased risk estimate"
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "minimum"
    label: ClassVar[str] = "estimated squared error / noise variance"
    reference: ClassVar[str] = (
        "C. Stein, Ann. Statist. 9 (1981) 1135, doi 10.1214/aos/1176345632; Y. Eldar, IEEE Trans. Signal "
        "Process. 57 (2009) 471, doi 10.1109/TSP.2008.2008212 (other physics)"
    )

    def __init__(
        self, measurement: Measurement, *, probes: int = 1, step: float = 0.2, seed: int = 0
    ) -> None:
        self.measurement = measurement
        self.divergence = Divergence(measurement, probes=probes, step=step, seed=seed)

    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """Estimated squared error over noise variance, per datum."""
        found, df = yield from self.divergence.run(method, runs)
        residual = found.forward - self.measurement.data
        count = residual.numel()
        square = self.divergence.level.chi_square(residual)
        figures = {"degrees_of_freedom": df, "residual_over_noise": (square / count) ** 0.5}
        return Score((square - count + 2 * df) / count, found.image, figures)

    def evidence(self) -> dict[str, Any]:
        """Noise level and how it is known."""
        level = self.divergence.level
        return {"noise": level.how, "noise_estimated": level.estimated}
