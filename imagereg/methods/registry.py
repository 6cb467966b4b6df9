"""Methods by name: our own files and other packages' entry points."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import imagereg.methods as room
from imagereg.errors import ImageregError, UsageError, did_you_mean
from imagereg.methods.base import Method

GROUP = "imagereg.methods"


class NameClash(ImageregError):
    """Two methods have the same name."""


@cache
def methods() -> MappingProxyType[str, type[Method]]:
    """Every method by name, in alphabetical order.

    Raises
    ------
    NameClash
        When two methods have the same name; the sentence says where both come from.
    """
    found: dict[str, type[Method]] = {}
    for module_info in pkgutil.iter_modules(room.__path__):
        module = importlib.import_module(f"{room.__name__}.{module_info.name}")
        for value in vars(module).values():
            if _is_method(value) and value.__module__ == module.__name__:
                _add(found, value)
    for point in entry_points(group=GROUP):
        value = point.load()
        if not _is_method(value):
            raise UsageError(f"entry point {point.value!r} of {GROUP} is not a subclass of Method.")
        _add(found, value)
    return MappingProxyType(dict(sorted(found.items())))


def method_class(name: str) -> type[Method]:
    """The class of the method called `name`."""
    try:
        return methods()[name]
    except KeyError:
        raise UsageError(f"no method is called {name!r}{did_you_mean(name, methods())}") from None


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
    return method_class(name).of(parameters, where=name)


def _is_method(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Method) and hasattr(value, "name")


def _add(found: dict[str, type[Method]], value: type[Method]) -> None:
    if value.name in found:
        other = found[value.name]
        raise NameClash(
            f"two methods are called {value.name!r}: {other.__module__}.{other.__name__} and "
            f"{value.__module__}.{value.__name__}; rename one of them."
        )
    found[value.name] = value
