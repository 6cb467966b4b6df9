"""Steps by name: our own files and other packages' entry points."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from imagereg.discovery import discover
from imagereg.errors import UsageError, did_you_mean
from imagereg.preprocessing.base import Step

GROUP = "imagereg.steps"


@cache
def steps() -> MappingProxyType[str, type[Step]]:
    """Every preprocessing step by name, in alphabetical order.

    Raises
    ------
    NameClash
        When two steps have the same name; the sentence says where both come from.
    """
    import imagereg.preprocessing as room

    return MappingProxyType(dict(sorted(discover(room, Step, GROUP, "preprocessing steps").items())))


def step_class(name: str) -> type[Step]:
    """The class of the step called `name`.

    Raises
    ------
    UsageError
        With the nearest known name, where there is no such step.
    """
    try:
        return steps()[name]
    except KeyError:
        raise UsageError(f"no preprocessing step is called {name!r}{did_you_mean(name, steps())}.") from None


def step_name(spec: Any) -> str:
    """The name in any form of a step: a step, a name, or {name: parameters}."""
    if isinstance(spec, Step):
        return spec.name
    if isinstance(spec, str):
        return spec
    if isinstance(spec, Mapping) and len(spec) == 1:
        return str(next(iter(spec)))
    raise UsageError(f"{spec!r} is no preprocessing step: give a name, or {{name: {{parameter: value}}}}.")


def make_step(spec: Any) -> Step:
    """A step from a step, a name ('rings'), or a name with parameters ({'rings': {'size': 31}}).

    Raises
    ------
    UsageError
        For an unknown step or parameter (with the nearest known one), or a value out of range.
    """
    if isinstance(spec, Step):
        return spec
    name = step_name(spec)
    parameters = None if isinstance(spec, str) else next(iter(spec.values()))
    if parameters is not None and not isinstance(parameters, Mapping):
        raise UsageError(f"{name}: give its parameters as {{parameter: value}}, not {parameters!r}.")
    return step_class(name).of(dict(parameters or {}), where=name)
