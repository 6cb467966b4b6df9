"""The election: every estimator is asked, the answers are weighed, and the outcome says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.preprocessing.rotation_axis.vote import Abstention, Vote, weighted_median

if TYPE_CHECKING:
    from imagereg.geometry import Geometry
    from imagereg.preprocessing.rotation_axis.look import Seen
    from imagereg.preprocessing.rotation_axis.sinograms import Sinograms

Array = NDArray[np.float64]
Span = tuple[float, float]
Ask = Callable[["Sinograms", Span], Vote | Abstention]

_MIDDLE = 0.02  # share of the columns to which the detector's middle is trusted, where no file says better
_STATED = 1.0  # columns to which an axis is trusted that a file or a person states
_LEAST = 0.15  # columns; no estimator is believed to know better than this


class NoEstimate(UsageError):
    """No estimator has an answer; `clause` says why."""

    def __init__(self, clause: str) -> None:
        super().__init__(f"centre: {clause}; give centre.column.")
        self.clause = clause


@dataclass(frozen=True, eq=False)
class CentreEstimate:
    """Where the rotation axis falls on the detector.

    Attributes
    ----------
    column : detector column, 0 being the middle of the first one.
    interval : columns between which it lies, at about two standard deviations.
    votes : the column that each estimator gives.
    uncertainties : one standard deviation of each vote, as far as the estimator can tell.
    agreed : whether two estimators or more lie within the tolerance and none that is sure lies outside.
    remarks : one sentence for each thing that a user must know.
    curves : for each estimator that searched, detector columns and scores from 0 (best) to 1.
    by_row : what each row that was looked at gives by itself, over all estimators.
    supporters : the estimators that are sure of it.
    """

    column: float
    interval: tuple[float, float]
    votes: Mapping[str, float]
    uncertainties: Mapping[str, float]
    agreed: bool
    remarks: tuple[str, ...] = ()
    curves: Mapping[str, tuple[Array, Array]] = field(default_factory=dict, repr=False)
    by_row: tuple[float, ...] = ()
    supporters: tuple[str, ...] = ()

    @property
    def half_width(self) -> float:
        """Half the width of the interval, in columns."""
        return (self.interval[1] - self.interval[0]) / 2

    def objection(self, geometry: Geometry) -> str:
        """Why the axis of the geometry is the better answer, in a clause; empty where this estimate is.

        The estimate takes its place where estimators agree and their interval is narrower than what the
        geometry's axis is trusted to: 2 % of the columns for the detector's middle, and one column for
        another one, which a file or a person stated.
        """
        if not self.agreed:
            return (
                "estimators disagree" if len(self.supporters) >= 2 else "fewer than two estimators can tell"
            )
        stated = geometry.axis_offset != 0.0
        limit = _STATED if stated else max(_STATED, _MIDDLE * geometry.columns)
        if self.half_width > limit:
            return f"the estimate is sure to {self.half_width:.2g} columns only"
        return ""


def elect(seen: Seen, *, search: float, tolerance: float) -> CentreEstimate:
    """Ask all estimators and weigh their answers (see `find_centre`)."""
    from imagereg.preprocessing.rotation_axis import half_acquisition
    from imagereg.preprocessing.rotation_axis.double_wedge import double_wedge
    from imagereg.preprocessing.rotation_axis.moments import moments
    from imagereg.preprocessing.rotation_axis.opposite_views import opposite_views
    from imagereg.preprocessing.rotation_axis.rebinning import parallel
    from imagereg.preprocessing.rotation_axis.sharpness import sharpest

    columns = seen.geometry.columns
    if columns < 8:
        raise UsageError(
            f"centre: a detector of {columns} columns is too narrow to find the axis; give its column."
        )
    middle, reach = (columns - 1) / 2, search * columns
    span = (middle - reach, middle + reach)
    asked: tuple[Ask, ...] = (opposite_views, double_wedge, lambda sinograms, _: moments(sinograms), sharpest)
    first = parallel(seen.values, seen.geometry, middle)
    if half_acquisition.likely(first, span):
        span = half_acquisition.widest(columns)
        asked = half_acquisition.ESTIMATORS
        middle = half_acquisition.start(seen, span)
        first = parallel(seen.values, seen.geometry, middle)
    answers = [_settled(ask, seen, first, middle, span) for ask in asked]
    votes = [answer for answer in answers if isinstance(answer, Vote)]
    silent = [answer for answer in answers if isinstance(answer, Abstention)]
    if not votes:
        reasons = "; ".join(dict.fromkeys(answer.reason for answer in silent))
        raise NoEstimate(f"no estimator can find the axis ({reasons})")
    return _count(votes, silent, tolerance)


def _settled(ask: Ask, seen: Seen, sinograms: Sinograms, start: float, span: Span) -> Vote | Abstention:
    """An estimator's answer; for diverging beams, rebinned about its own answer until that stays."""
    from imagereg.preprocessing.rotation_axis.rebinning import parallel

    first = answer = ask(sinograms, span)
    if seen.geometry.kind == "parallel":
        return answer
    place, change, reach = start, math.inf, max(8.0, 0.05 * seen.geometry.columns)
    for _ in range(5):
        if isinstance(answer, Abstention):
            return answer
        change = answer.column - place
        if abs(change) < 0.03:
            break
        place = float(np.clip(answer.column, *span))
        answer = ask(parallel(seen.values, seen.geometry, place), (place - reach, place + reach))
    assert isinstance(answer, Vote) and isinstance(first, Vote)
    unsettled = abs(change) if abs(change) > 0.1 else 0.0
    return replace(
        answer,
        uncertainty=math.hypot(answer.uncertainty, unsettled),
        columns=first.columns,
        scores=first.scores,
    )


def _count(votes: Sequence[Vote], silent: Sequence[Abstention], tolerance: float) -> CentreEstimate:
    """The mean of the votes within the tolerance of their weighted median, and what the losers say of it."""
    sigmas = np.array([vote.uncertainty for vote in votes])
    weights = 1 / (sigmas**2 + _LEAST**2)
    places = np.array([vote.column for vote in votes])
    median = weighted_median(list(places), list(weights))
    near = np.abs(places - median) <= tolerance
    column = float(np.average(places[near], weights=weights[near]))
    away = np.abs(places - column)
    knows = sigmas <= 3 * tolerance
    outside = knows & (away > np.maximum(tolerance, 2.5 * sigmas))
    inside = knows & (away <= np.maximum(tolerance, sigmas))
    agreed = bool(inside.sum() >= 2 and not outside.any())
    heard = away <= np.maximum(tolerance, 2.5 * sigmas)
    own = 1 / math.sqrt(float(weights[heard].sum())) if heard.any() else float(sigmas.min())
    scatter = (
        math.sqrt(float((weights * away**2)[heard].sum() / weights[heard].sum())) if heard.any() else 0.0
    )
    half = max(0.1, 2 * math.hypot(own, scatter))
    low, high = column - half, column + half
    if not agreed:
        for vote, listened in zip(votes, knows, strict=True):
            if listened:
                low, high = min(low, vote.column), max(high, vote.column)
    estimate = CentreEstimate(
        column,
        (float(low), float(high)),
        {vote.name: vote.column for vote in votes},
        {vote.name: vote.uncertainty for vote in votes},
        agreed,
        curves={vote.name: _scaled(vote) for vote in votes if vote.scores.size},
        by_row=_by_row(votes),
        supporters=tuple(vote.name for vote, listened in zip(votes, inside, strict=True) if listened),
    )
    return replace(estimate, remarks=_remarks(estimate, silent, tolerance))


def _remarks(estimate: CentreEstimate, silent: Sequence[Abstention], tolerance: float) -> tuple[str, ...]:
    low, high = estimate.interval
    said = [f"centre: estimated on column {estimate.column:.2f}, between {low:.2f} and {high:.2f}"]
    said += [f"centre: {answer.name} has no vote, because {answer.reason}" for answer in silent]
    if not estimate.agreed:
        listed = ", ".join(
            f"{name} {vote:.2f} +- {estimate.uncertainties[name]:.2g}"
            for name, vote in estimate.votes.items()
        )
        why = (
            "fewer than two estimators can tell"
            if len(estimate.supporters) < 2
            else f"estimators differ by more than {tolerance:g}"
        )
        said.append(f"centre: {why} ({listed}); look at a sweep of reconstructions before you trust it")
    return tuple(said)


def _scaled(vote: Vote) -> tuple[Array, Array]:
    lowest, highest = float(vote.scores.min()), float(vote.scores.max())
    return vote.columns, (vote.scores - lowest) / (highest - lowest + 1e-30)


def _by_row(votes: Sequence[Vote]) -> tuple[float, ...]:
    count = max(len(vote.rows) for vote in votes)
    told = [vote for vote in votes if len(vote.rows) == count]
    weights = [1 / (vote.uncertainty**2 + _LEAST**2) for vote in told]
    return tuple(weighted_median([vote.rows[row] for vote in told], weights) for row in range(count))
