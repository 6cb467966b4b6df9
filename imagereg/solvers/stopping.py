"""When to stop: rules that look at a state and the one before, combined with `|` and `&`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagereg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from imagereg.solvers.state import State


class StoppingRule:
    """rule(state, previous) gives the reason to stop in a few words, or '' to go on."""

    def __call__(self, state: State, previous: State | None) -> str:
        """Why to stop, or ''."""
        raise TypeError(f"{type(self).__name__} is no rule of its own.")

    def __or__(self, other: StoppingRule) -> StoppingRule:
        """Stop when either says so."""
        return Either(self, other)

    def __and__(self, other: StoppingRule) -> StoppingRule:
        """Stop when both say so about the same state."""
        return Both(self, other)


@dataclass(frozen=True)
class Either(StoppingRule):
    """Stop when one of two rules says so."""

    first: StoppingRule
    second: StoppingRule

    def __call__(self, state: State, previous: State | None) -> str:
        """The reason of the first rule, or else of the second."""
        return self.first(state, previous) or self.second(state, previous)


@dataclass(frozen=True)
class Both(StoppingRule):
    """Stop when two rules say so about the same state."""

    first: StoppingRule
    second: StoppingRule

    def __call__(self, state: State, previous: State | None) -> str:
        """Both reasons, where both have one."""
        one = self.first(state, previous)
        two = self.second(state, previous) if one else ""
        return f"{one} and {two}" if two else ""


@dataclass(frozen=True)
class RelativeChange(StoppingRule):
    """Stop when ||x - previous x|| <= tolerance ||x||, over the whole batch.

    Parameters
    ----------
    tolerance : positive.
    """

    tolerance: float

    def __post_init__(self) -> None:
        _positive(self, tolerance=self.tolerance)

    def __call__(self, state: State, previous: State | None) -> str:
        """The change, where it is small enough."""
        if previous is None:
            return ""
        from imagereg.solvers.problem import size_of

        change = float(size_of(state.image - previous.image))
        size = float(size_of(state.image))
        return f"relative change {change / max(size, 1e-300):.1e}" if change <= self.tolerance * size else ""


@dataclass(frozen=True)
class DualityGap(StoppingRule):
    """Stop when the relative duality gap (P - D) / (1 + |P|) is at most the tolerance.

    Parameters
    ----------
    tolerance : positive.
    every : look at every n-th state only, since a look costs a pass over image and data.

    Raises
    ------
    UsageError
        On the first look, where the solver has no duality gap.
    """

    tolerance: float
    every: int = 10

    def __post_init__(self) -> None:
        _positive(self, tolerance=self.tolerance, every=self.every)

    def __call__(self, state: State, previous: State | None) -> str:
        """The gap, where it is small enough."""
        if state.iteration % self.every:
            return ""
        gap = state.gap
        if gap is None:
            raise UsageError(
                f"stopping rule DualityGap: {type(state.solver).__name__} has no duality gap; stop by "
                "RelativeChange, or solve with PDHG."
            )
        return f"duality gap {gap:.1e}" if gap <= self.tolerance else ""


@dataclass(frozen=True)
class Discrepancy(StoppingRule):
    """Stop when ||A x - y|| <= factor * noise norm (Morozov), over the whole batch.

    Parameters
    ----------
    noise_norm : ||noise||_2, in the unit of the data.
    factor : a little above 1.
    """

    noise_norm: float
    factor: float = 1.02

    def __post_init__(self) -> None:
        _positive(self, noise_norm=self.noise_norm, factor=self.factor)

    def __call__(self, state: State, previous: State | None) -> str:
        """The residual, where it is at the level of the noise."""
        residual, problem = state.residual, state.problem
        if residual is None or problem is None:
            raise UsageError("stopping rule Discrepancy: this work has no residual.")
        norm = residual * float(problem.fidelity.estimate.norm())
        return f"residual {norm:.3g} at the noise" if norm <= self.factor * self.noise_norm else ""


@dataclass(frozen=True)
class Seconds(StoppingRule):
    """Stop when the time since the beginning exceeds the limit.

    Parameters
    ----------
    limit : in seconds.
    """

    limit: float

    def __post_init__(self) -> None:
        _positive(self, limit=self.limit)

    def __call__(self, state: State, previous: State | None) -> str:
        """The limit, where it is passed."""
        return f"{self.limit:g} seconds" if state.seconds >= self.limit else ""


def named(**rules: float) -> StoppingRule | None:
    """Rules by name, any of which stops: named(relative_change=1e-4, seconds=60); None where none is given.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    known = {
        "relative_change": RelativeChange,
        "duality_gap": DualityGap,
        "discrepancy": Discrepancy,
        "seconds": Seconds,
    }
    combined: StoppingRule | None = None
    for name, value in rules.items():
        if name not in known:
            raise UsageError(f"stopping rule {name!r}: no such rule{did_you_mean(name, known)}")
        rule: StoppingRule = known[name](value)
        combined = rule if combined is None else combined | rule
    return combined


def _positive(rule: StoppingRule, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UsageError(f"{type(rule).__name__}({name}={value!r}): give a positive number.")
