"""One slice reconstructed with several values of the method's main parameter, to choose by eye."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagereg.errors import UsageError
from imagereg.measurement import Measurement
from imagereg.methods.base import Method
from imagereg.parameters import number_of
from imagereg.recipe import Recipe

FACTORS = (0.1, 0.3, 0.55, 1.0, 1.8, 3.0, 10.0)
"""Values of a sweep over the present one: evenly spaced in the logarithm, about, and denser in the middle."""

SIZE = 192
"""Grid of a sweep's pictures at most: they are looked at as thumbnails."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """The pictures so far: `name` is the parameter, `values` go with `pictures`, (n, height, width)."""

    name: str
    values: tuple[float, ...]
    pictures: tuple[Any, ...]


def values_around(method: Method) -> tuple[float, ...]:
    """Values of the main parameter around the present one, those that the method accepts.

    Raises
    ------
    UsageError
        Where the method has no main parameter, or it is not a positive number.
    """
    name = method.main
    if not name:
        raise UsageError(f"{method.name} has no main parameter to sweep.")
    now = number_of(method, name)
    if isinstance(now, bool) or not isinstance(now, int | float) or now <= 0:
        raise UsageError(f"a sweep goes around a value above 0: give {method.name}.{name} one first.")
    found = []
    for factor in FACTORS:
        value = max(1, round(now * factor)) if isinstance(now, int) else float(f"{now * factor:.3g}")
        try:
            method.with_values({name: value})
        except ValueError:  # out of the parameter's bounds
            continue
        if value not in found:
            found.append(value)
    return tuple(found)


def sweep_looks(
    recipe: Recipe,
    measurement: Measurement,
    row: int,
    stop: threading.Event,
    *,
    limit: int = 0,
    threads: int = 0,
) -> Iterator[Sweep]:
    """Reconstruct one row with each value, one `Sweep` after each picture."""
    from imagereg.engine import iterate
    from napari_imagereg.previewing import prepare_slice, single

    method = recipe.resolved_method()
    values = values_around(method)
    ready = prepare_slice(recipe, measurement, row, limit=min(limit or SIZE, SIZE), threads=threads)
    execution = recipe.execution
    pictures: list[Any] = []
    for value in values:
        last: Any = None
        for state in iterate(
            ready.part,
            method.with_values({method.main: value}),
            device=execution.device,
            precision=execution.precision,
            seed=execution.seed,
        ):
            if stop.is_set():
                return
            last = state
        pictures.append(_flat(single(ready.part.from_tensor(last.image))))
        yield Sweep(method.main, values[: len(pictures)], tuple(pictures))


def _flat(image: Any) -> Any:
    """A picture in grey: the middle slice of a volume, the mean of colours."""
    array = np.asarray(image, dtype=np.float32)
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        return array.mean(-1)
    return array[array.shape[0] // 2] if array.ndim == 3 else array
