"""Methods by name: our own files and other packages' entry points."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Any

import imagereg.methods as room
from imagereg.discovery import discover
from imagereg.errors import UsageError, did_you_mean
from imagereg.methods.base import Method

GROUP = "imagereg.methods"


@cache
def methods() -> MappingProxyType[str, type[Method]]:
    """Every method by name, in alphabetical order.

    Raises
    ------
    NameClash
        When two methods have the same name; the sentence says where both come from.
    """
    return MappingProxyType(dict(sorted(discover(room, Method, GROUP, "methods").items())))


def method_class(name: str) -> type[Method]:
    """The class of the method called `name`, by its present name or an earlier one."""
    return _known(name)[0]


def _known(name: str) -> tuple[type[Method], dict[str, Any]]:
    """A method's class, and the values that an earlier name of it stands for."""
    known = methods()
    if name in known:
        return known[name], {}
    for found in known.values():
        if name in found.formerly:
            return found, dict(found.formerly[name])
    raise UsageError(f"no method is called {name!r}{did_you_mean(name, known)}")


def method(name: str | Method, **parameters: Any) -> Method:
    """The method called `name` with the given parameters, defaults for the rest.

    Raises
    ------
    UsageError
        For an unknown name, an unknown parameter (with the nearest known one) or a value out of range.
    """
    if isinstance(name, Method):
        # The values themselves, not their dump: an image or another method among them stays what it is.
        given = {key: getattr(name, key) for key in name.model_fields_set}
        return type(name).of({**given, **parameters}, where=name.name) if parameters else name
    found, values = _known(name)
    return found.of({**values, **parameters}, where=name)
