"""The range of a parameter as a search sees it: a line from 0 to 1, logarithmic where declared so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imagereg.errors import UsageError, did_you_mean
from imagereg.parameters import number_of

if TYPE_CHECKING:
    from imagereg.methods.base import Method


@dataclass(frozen=True)
class ParameterRange:
    """One numeric parameter of a method between two values.

    Parameters
    ----------
    name : the parameter.
    low, high : smallest and largest value to try.
    log : whether equal steps are equal ratios.
    integer : whether only whole numbers make sense.
    """

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    def value(self, place: float) -> float:
        """The value at a place from 0 (`low`) to 1 (`high`)."""
        place = min(max(place, 0.0), 1.0)
        if self.log:
            value = self.low * (self.high / self.low) ** place
        else:
            value = self.low + (self.high - self.low) * place
        return round(value) if self.integer else min(max(value, self.low), self.high)

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def finest(self) -> float:
        """The distance below which two places need not be told apart: a ratio of 5 %, or 1 % of the range."""
        return 0.05 / math.log(self.high / self.low) if self.log else 0.01

    def wider(self, method: Method, value: float) -> ParameterRange:
        """The range from a value at one of its ends on, a factor of 100 further, as far as the bounds allow.

        The same range where the value lies inside it, or nothing lies beyond.
        """
        place = self.place(value)
        if not self.log or self.finest < place < 1 - self.finest:
            return self
        lowest, highest = _bounds(type(method).model_fields[self.name].metadata)
        if place <= self.finest:
            low, high = max(self.low / 100, lowest * (1 + 1e-9)), self.low * 3
        else:
            low, high = self.high / 3, min(self.high * 100, highest)
        return replace(self, low=low, high=high) if low < self.low / 3 or high > self.high * 3 else self

    @classmethod
    def of(cls, method: Method, name: str, ends: tuple[float, float] | None = None) -> ParameterRange:
        """The range of a method's parameter.

        Parameters
        ----------
        ends : (low, high); a factor of 100 to both sides of the method's value where not given, within the
            declared bounds.

        Raises
        ------
        UsageError
            When there is no such parameter, it is no number, or an end is out of its bounds.
        """
        fields = type(method).model_fields
        where = f"vary {name}"
        if name not in fields:
            raise UsageError(f"{where}: {method.name} has no such parameter{did_you_mean(name, fields)}.")
        current = number_of(method, name)
        if isinstance(current, bool) or not isinstance(current, int | float):
            raise UsageError(f"{where}: {current!r} is no number; only numbers can be varied.")
        extra = fields[name].json_schema_extra
        log = bool(extra.get("log")) if isinstance(extra, Mapping) else False
        if ends is None:
            low, high = _usual(float(current), log, *_bounds(fields[name].metadata))
        else:
            low, high = (float(end) for end in ends)
        log = log or (low > 0 and high / low >= 50)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(f"{where}: {low:g} to {high:g} is no range; give low < high.")
        if log and low <= 0:
            raise UsageError(f"{where}: it is searched by its logarithm; start above 0, not at {low:g}.")
        found = cls(name, low, high, log, isinstance(current, int))
        for end in (low, high):
            method.with_values({name: found.value(found.place(end))})
        return found


def ranges_of(
    method: Method, vary: Mapping[str, tuple[float, float] | None] | None
) -> tuple[ParameterRange, ...]:
    """The ranges to search: those of `vary`, or that of the method's main parameter.

    Raises
    ------
    UsageError
        When nothing is named and the method has no main parameter, or a range does not fit.
    """
    if not vary:
        if not method.main:
            raise UsageError(f"{method.name} has no main parameter; say which one to vary, and its range.")
        vary = {method.main: None}
    return tuple(ParameterRange.of(method, name, ends) for name, ends in vary.items())


def _bounds(metadata: list[Any]) -> tuple[float, float]:
    low, high = -math.inf, math.inf
    for rule in metadata:
        for name in ("ge", "gt"):
            if hasattr(rule, name):
                low = max(low, float(getattr(rule, name)))
        for name in ("le", "lt"):
            if hasattr(rule, name):
                high = min(high, float(getattr(rule, name)))
    return low, high


def _usual(current: float, log: bool, low: float, high: float) -> tuple[float, float]:
    """Ends for a parameter of which only the present value and the bounds are known."""
    if log and current > 0:
        tight = current / 100 if low < current / 100 else low * (1 + 1e-9)
        return tight, min(current * 100, high)
    if math.isfinite(low) and math.isfinite(high):
        margin = 0.02 * (high - low)
        return low + margin, high - margin
    width = abs(current) or 1.0
    return max(low, current - 0.9 * width), min(high, current + 4 * width)
