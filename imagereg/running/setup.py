"""From a recipe to a measurement that is ready to be cut: reading, choosing, and the physics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.errors import InputError, UsageError
from imagereg.geometry import Volume
from imagereg.measurement import Measurement
from imagereg.recipe import Recipe
from imagereg.running.sources import Stamp, stamp_of
from imagereg.sections import parse_slice

if TYPE_CHECKING:
    import torch

    from imagereg.preprocessing import Finding


@dataclass(frozen=True, eq=False)
class Opened:
    """A file that was opened to make a recipe for it, for the run of that recipe: it need not be read twice.

    Attributes
    ----------
    path, hints : of what was read.
    measurement : all of it.
    part : (views, rows) that were looked at.
    findings : what is wrong with that part; None where nobody looked.
    stamp : what the file looked like on the disk before it was read.
    """

    path: Path
    hints: Mapping[str, Any]
    measurement: Measurement
    part: tuple[str | None, str | None]
    findings: tuple[Finding, ...] | None
    stamp: Stamp

    def holds(self, recipe: Recipe) -> bool:
        """Whether this is the recipe's input, as it lies on the disk now."""
        chosen = recipe.input
        same = chosen.path == self.path and chosen.format is None and dict(chosen.hints) == dict(self.hints)
        return same and stamp_of(self.path) == self.stamp

    def found(self, recipe: Recipe) -> tuple[Finding, ...] | None:
        """What was found with the part that the recipe takes; None where it is another part."""
        unchanged = recipe.physics.noise is None and (recipe.input.views, recipe.input.rows) == self.part
        return self.findings if unchanged else None


def load_input(recipe: Recipe, opened: Opened | None = None) -> Measurement:
    """Read the input of a recipe, or take what was read, and take the part that it names; lazy stays lazy.

    Raises
    ------
    InputError
        When the file cannot be read.
    UsageError
        When the selection or the grid does not fit the data.
    """
    from imagereg.io import read

    chosen = recipe.input
    if opened is not None and opened.holds(recipe):
        whole = opened.measurement
    else:
        whole = read(chosen.path, format=chosen.format, **chosen.hints)
    measurement = chosen_part(whole, views=chosen.views, rows=chosen.rows)
    if recipe.physics.noise is not None:
        from imagereg.physics.noise import noise_from_dict

        measurement = replace(measurement, noise=noise_from_dict(recipe.physics.noise))
    return with_grid(measurement, recipe)


def chosen_part(measurement: Measurement, *, views: str | None, rows: str | None) -> Measurement:
    """The views and rows that a recipe's input names, all of them where it names none; nothing is read.

    Raises
    ------
    UsageError
        When the text is no range, or selects nothing of the data.
    """
    try:
        chosen = {
            name: parse_slice(text) for name, text in (("views", views), ("rows", rows)) if text is not None
        }
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if "views" in chosen and measurement.geometry is None:
        raise UsageError("input.views: the data are images and have no views; use input.rows for slices.")
    if not chosen:
        return measurement
    shape = measurement.data.shape
    rowed = measurement.geometry is not None and len(shape) == 3
    lengths = {"views": shape[0], "rows": shape[1] if rowed else measurement.rows}
    for name, taken in chosen.items():
        if not range(lengths[name])[taken]:
            text = views if name == "views" else rows
            raise UsageError(f"input.{name}: {text} selects nothing of {lengths[name]} {name}.")
    return measurement.select(lazy=True, **chosen)


def with_grid(measurement: Measurement, recipe: Recipe) -> Measurement:
    """The measurement with the grid that the recipe asks for."""
    geometry, grid = measurement.geometry, recipe.physics.volume
    if geometry is None:
        if grid is not None:
            raise UsageError("physics.volume: the data are images and keep their own grid.")
        return measurement
    volume = measurement.volume
    if grid is not None:
        volume = Volume(grid.shape, grid.voxel, grid.centre)
    if recipe.physics.coupled and geometry.ndim == 2:
        if geometry.kind != "parallel":
            raise UsageError("physics.coupled: only the rows of a parallel scan make one volume.")
        plane = volume.slice if volume is not None else Volume.fit(geometry).slice
        if volume is None or volume.ndim == 2:
            volume = Volume((geometry.rows, *plane.shape), (geometry.row_edge, *plane.edges))
    return measurement if volume is None else replace(measurement, volume=volume, window=None)


def with_physics(measurement: Measurement, recipe: Recipe, device: Any, dtype: torch.dtype) -> Measurement:
    """The measurement with the physics of the kind that the recipe names."""
    from imagereg.physics.registry import Workplace

    chosen = recipe.physics.declared
    chosen.refuse(measurement)
    return chosen.build(measurement, Workplace(device, dtype, recipe.execution.backend, _picture))


def _picture(path: Path) -> np.ndarray[Any, Any]:
    from imagereg.io import read

    array = np.asarray(read(path).data[...], dtype=np.float32)
    if array.ndim != 2:
        raise InputError(f"{path}: a single picture is needed and it holds an array of shape {array.shape}.")
    return array
