"""Choose the parameters of a method for a measurement, and keep the evidence."""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imagereg.choose.discrepancy import Discrepancy
from imagereg.choose.equivalent_freedom import EquivalentFreedom
from imagereg.choose.gcv import GCV
from imagereg.choose.held_out import HeldOut
from imagereg.choose.lcurve import LCurve
from imagereg.choose.parameter_range import ParameterRange, ranges_of
from imagereg.choose.rule import ChoiceRule, Score
from imagereg.choose.runs import Runs
from imagereg.choose.search import corner, minimum, root
from imagereg.choose.sure import SURE
from imagereg.choose.truth import Truth
from imagereg.errors import UsageError, did_you_mean
from imagereg.parameters import number_of
from imagereg.solvers.outcome import Outcome
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method

RULES: dict[str, type[ChoiceRule]] = {
    rule.name: rule for rule in (Discrepancy, EquivalentFreedom, GCV, HeldOut, LCurve, SURE, Truth)
}


WIDENINGS = 2
"""Times that a range which nobody gave is moved on where the best value lies at its end."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The parameters chosen, and why.

    Attributes
    ----------
    values : parameter to chosen value.
    curve : one mapping a trial in the order of the first parameter: its parameters, `score`, and what else
        the rule measured.
    evidence : plain values: the rule, what it assumed, number of trials and iterations, and `at_the_end`, the
        parameters that lie at an end of their range (or on no corner), where the value is no optimum.
    method : the method with the chosen values in place.
    """

    values: Mapping[str, float]
    curve: tuple[Mapping[str, float], ...]
    evidence: Mapping[str, Any]
    method: Method = field(repr=False)

    @property
    def value(self) -> float:
        """The chosen value, where one parameter was varied."""
        if len(self.values) != 1:
            raise UsageError(f"{len(self.values)} parameters were varied: see `values`.")
        return next(iter(self.values.values()))

    def __str__(self) -> str:
        return f"{_said(self.values)} by {self.evidence['rule']}: {self.evidence['sentence']}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "method": self.method.name,
            "values": dict(self.values),
            "evidence": dict(self.evidence),
            "curve": [dict(row) for row in self.curve],
        }


def choose(
    method: Method,
    measurement: Measurement,
    by: str = "discrepancy",
    vary: Mapping[str, tuple[float, float] | None] | None = None,
    *,
    seed: int = 0,
    **settings: Any,
) -> Choice:
    """The parameters of a method that a rule finds best for a measurement.

    Parameters
    ----------
    method : the method, with every other parameter as it shall be.
    measurement : data that are ready (`imagereg.engine.prepare`): tensors, physics built.
    by : 'discrepancy', 'equivalent_freedom', 'gcv', 'sure', 'lcurve', 'held_out', or 'truth' for studies.
    vary : parameter to (low, high), or to None for a factor of 100 to both sides of its present value; the
        method's main parameter where nothing is given. More than one for rules that minimise.
    seed : seed of the method's and the rule's random numbers.
    settings : settings of the rule, such as `tau`, `folds`, `probes`.

    Raises
    ------
    UsageError
        For an unknown rule, parameter or setting, or when the rule does not fit the measurement.
    """
    # One state at a time: all of them would hold every image of every trial.
    last = deque(iterate_choice(method, measurement, by, vary, seed=seed, **settings), maxlen=1).pop()
    assert last.outcome.choice is not None
    return last.outcome.choice


def iterate_choice(
    method: Method,
    measurement: Measurement,
    by: str = "discrepancy",
    vary: Mapping[str, tuple[float, float] | None] | None = None,
    *,
    seed: int = 0,
    **settings: Any,
) -> Iterator[State]:
    """The same, watched: every state of every trial, and one after each trial with its score.

    States inside a trial carry the trial in `phase` and the parameters in `values`; the state after it
    counts trials in `iteration` and holds `score` too. The last one has the `Choice` as
    its outcome.
    """
    began = time.perf_counter()
    rule = make_rule(by, measurement, seed=seed, **settings)
    ranges = ranges_of(method, vary)
    if len(ranges) > 1 and rule.goal != "minimum":
        raise UsageError(
            f"{rule.name} gives one condition, for one parameter; vary {ranges[0].name} only, or choose all "
            f"{len(ranges)} by held_out."
        )
    runs = Runs(seed=seed)
    trials: list[Trial] = []
    free = {r.name for r in ranges if (vary or {}).get(r.name) is None}
    for _ in range(WIDENINGS + 1):
        best = yield from _searched(rule, method, ranges, runs, trials, began)
        wider = tuple(r.wider(method, best[r.name]) if r.name in free else r for r in ranges)
        if wider == ranges or rule.goal == "corner":
            break
        ranges = wider
    chosen = next(t for t in trials if t.values == best)
    evidence = _evidence(rule, ranges, chosen, trials, runs)
    choice = Choice(
        best,
        tuple(t.row() for t in sorted(trials, key=lambda t: t.values[ranges[0].name])),
        evidence,
        method.with_values(best),
    )
    yield State(
        chosen.score.image,
        len(trials),
        len(trials),
        time.perf_counter() - began,
        finished=str(choice),
        values={**best, "score": chosen.score.value},
        memory={"image": chosen.score.image},
        outcome=Outcome(choice=choice),
    )


def _searched(
    rule: ChoiceRule,
    method: Method,
    ranges: tuple[ParameterRange, ...],
    runs: Runs,
    trials: list[Trial],
    began: float,
) -> Generator[State, None, dict[str, float]]:
    """One search over the ranges, its trials added to those that there are; the best values."""
    search = _plan(rule, ranges, tuple(_place(method, r) for r in ranges))
    places = next(search)
    while True:
        values = {r.name: r.value(place) for r, place in zip(ranges, places, strict=True)}
        trial = next((t for t in trials if t.values == values), None)
        if trial is None:
            label = f"trial {len(trials) + 1}: {_said(values)}"
            score = yield from _labelled(rule.score(method.with_values(values), runs), label, values)
            trial = Trial(values, score)
            trials.append(trial)
            yield State(
                score.image,
                len(trials),
                seconds=time.perf_counter() - began,
                phase="choosing",
                values={**values, "score": score.value, **score.figures},
            )
        try:
            places = search.send(trial.score)
        except StopIteration as end:
            return {r.name: r.value(place) for r, place in zip(ranges, end.value, strict=True)}


@dataclass(frozen=True, eq=False)
class Trial:
    """One setting and its score."""

    values: Mapping[str, float]
    score: Score

    def row(self) -> dict[str, float]:
        """Plain values of the curve."""
        return {**self.values, "score": self.score.value, **self.score.figures}


def make_rule(by: str, measurement: Measurement, *, seed: int = 0, **settings: Any) -> ChoiceRule:
    """The rule called `by` for a measurement.

    Raises
    ------
    UsageError
        For an unknown name or setting.
    """
    if by not in RULES:
        raise UsageError(f"no rule is called {by!r}{did_you_mean(by, RULES)}")
    known = [
        p
        for p in inspect.signature(RULES[by].__init__).parameters
        if p not in ("self", "measurement", "seed")
    ]
    for name in settings:
        if name not in known:
            raise UsageError(f"{by}.{name}: no such setting{did_you_mean(name, known)}")
    return RULES[by](measurement, seed=seed, **settings)


def _plan(
    rule: ChoiceRule, ranges: tuple[ParameterRange, ...], start: tuple[float, ...]
) -> Generator[tuple[float, ...], Score, tuple[float, ...]]:
    """The by_corner that a rule asks for, over one parameter or, one after the other, over several."""
    if rule.goal == "corner":
        by_corner = corner(ranges[0].finest)
        place = next(by_corner)
        while True:
            score = yield (place,)
            try:
                place = by_corner.send((score.value, score.across))
            except StopIteration as end:
                return (end.value,)
    places = list(start)
    if rule.goal == "root":
        places[0] = yield from _along(root(ranges[0].finest, close=0.003), places, 0)
        return tuple(places)
    for cycle in range(1 if len(ranges) == 1 else 4):
        before = list(places)
        for index, r in enumerate(ranges):
            search = minimum(r.finest, around=places[index] if cycle else None)
            places[index] = yield from _along(search, places, index)
        if all(abs(a - b) <= 2 * r.finest for a, b, r in zip(places, before, ranges, strict=True)):
            break
    return tuple(places)


def _along(
    search: Generator[float, float, float], places: list[float], index: int
) -> Generator[tuple[float, ...], Score, float]:
    """A search along one parameter, the others staying where they are."""
    place = next(search)
    while True:
        score = yield (*places[:index], place, *places[index + 1 :])
        try:
            place = search.send(score.value)
        except StopIteration as end:
            return end.value


def _labelled(
    states: Generator[State, None, Score], label: str, values: Mapping[str, float]
) -> Generator[State, None, Score]:
    """The states of a trial with the trial's name, and its score in the end."""
    while True:
        try:
            state = next(states)
        except StopIteration as end:
            return end.value
        phase = f"{label}, {state.phase}" if state.phase else label
        yield replace(state, phase=phase, finished="", values={**state.values, **values})


def _place(method: Method, r: ParameterRange) -> float:
    """Where the method's present value lies in a range."""
    return min(max(r.place(min(max(float(number_of(method, r.name)), r.low), r.high)), 0.0), 1.0)


def _evidence(
    rule: ChoiceRule, ranges: tuple[ParameterRange, ...], chosen: Trial, trials: list[Trial], runs: Runs
) -> dict[str, Any]:
    ends = []
    for r in ranges:
        place = r.place(chosen.values[r.name])
        if place <= r.finest or place >= 1 - r.finest:
            ends.append(r.name)
    if rule.goal == "root" and abs(chosen.score.value) <= 0.02:
        ends = []
    score = chosen.score
    if rule.goal == "root":
        sentence = f"{rule.title}, {rule.label} {score.value:+.3f}"
    elif rule.goal == "corner":
        sentence = f"{rule.title}, of {len(trials)} points"
        if not _is_corner(chosen, trials, ranges[0]):
            sentence += "; the curve has no corner there, steep before and flat after: choose by another rule"
            ends = [*ends, ranges[0].name]
    else:
        sentence = f"{rule.title}, {rule.label} {score.value:.4g}"
    more = rule.evidence()
    if "noise" in more:
        sentence += f"; {more['noise']}"
    if ends and rule.goal != "corner":
        wall = " and ".join(ends)
        sentence += f"; {wall} at the end of the range, which may hide a better value: widen it"
    return {
        "rule": rule.name,
        "sentence": sentence,
        "score": score.value,
        "at_the_end": ends,
        "ranges": {r.name: [r.low, r.high] for r in ranges},
        "trials": len(trials),
        "iterations": runs.iterations,
        "seed": runs.seed,
        "reference": rule.reference,
        **more,
    }


def _is_corner(chosen: Trial, trials: list[Trial], r: ParameterRange) -> bool:
    """Whether the penalty falls much faster against the residual just before the chosen trial than after."""
    place = r.place(chosen.values[r.name])
    ordered = sorted(trials, key=lambda t: t.values[r.name])

    def fall(low: float, high: float) -> float:
        arm = [t for t in ordered if low <= r.place(t.values[r.name]) <= high]
        first, last = arm[0].score, arm[-1].score
        growth = last.value - first.value
        return (first.across - last.across) / growth if growth > 0 else float("inf")

    # As far as a step of the scan, with some room for its neighbours.
    before, after = fall(place - 0.15, place), fall(place, place + 0.15)
    return before > 1.5 * after and after > 0


def _said(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:.4g}" for name, value in values.items())
