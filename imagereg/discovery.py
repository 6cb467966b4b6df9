"""Declarations by name: the files of one of our folders and the entry points of other packages."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from imagereg.errors import ImageregError, UsageError

T = TypeVar("T")


class NameClash(ImageregError):
    """Two declarations of one kind have the same name."""


def discover(room: ModuleType, base: type[T], group: str, what: str) -> dict[str, type[T]]:
    """Every concrete subclass of `base` that a file of `room` or an entry point of `group` declares, by name.

    Parameters
    ----------
    room : the package whose files are looked through; its sub-packages are not.
    base : what a declaration is a subclass of; one with a class variable `name` counts.
    group : entry points through which other packages add theirs.
    what : the plural noun for sentences, as in 'methods'.

    Raises
    ------
    NameClash
        When two declarations have the same name; the sentence says where both come from.
    UsageError
        When an entry point is no subclass of `base`.
    """
    found: dict[str, type[T]] = {}
    for value in _own(room, base):
        _add(found, value, what)
    for point in entry_points(group=group):
        value = point.load()
        if not _declares(value, base):
            raise UsageError(f"entry point {point.value!r} of {group} is no subclass of {base.__name__}.")
        _add(found, value, what)
    return found


def _own(room: ModuleType, base: type[T]) -> Iterator[type[T]]:
    for module_info in pkgutil.iter_modules(room.__path__):
        if module_info.ispkg:
            continue
        module = importlib.import_module(f"{room.__name__}.{module_info.name}")
        for value in vars(module).values():
            if _declares(value, base) and value.__module__ == module.__name__:
                yield value


def _declares(value: Any, base: type) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, base)
        and hasattr(value, "name")
        and not inspect.isabstract(value)
    )


def _add(found: dict[str, type[T]], value: Any, what: str) -> None:
    if value.name in found:
        other = found[value.name]
        raise NameClash(
            f"two {what} are called {value.name!r}: {other.__module__}.{other.__name__} and "
            f"{value.__module__}.{value.__name__}; rename one of them."
        )
    found[value.name] = value
