"""Images of a run in slabs: the image itself and, where its error is known, those of its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from imagereg.intervals import account_of, spread_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from imagereg.engine import Result
    from imagereg.measurement import Measurement
    from imagereg.recipe import Recipe
    from imagereg.running.ledger import Ledger
    from imagereg.running.plan import Plan
    from imagereg.sections import Uncertainty
    from imagereg.solvers.state import State
    from imagereg.uncertainty.spread import Spread

IMAGE = "image"
BESIDE = ("std", "lower", "upper")
"""Images of uncertainty that are written beside the image."""
ENDING = {"ome-zarr": ".ome.zarr", "tiff": ".tif", "hdf5": ".h5", "npy": ".npy"}
SUFFIX = {format: f"{IMAGE}{ending}" for format, ending in ENDING.items()}


def files_of(names: Sequence[str], formats: Sequence[str]) -> tuple[str, ...]:
    """Names of the files of images in formats."""
    return tuple(f"{name}{ENDING[format]}" for name in names for format in formats)


def beside_of(
    state: State, part: Measurement, request: Uncertainty | None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The images of a slab's uncertainty by name, and its account under the key `uncertainty`."""
    known = state.outcome.uncertainty
    account = account_of(known, request)
    if known is None or account is None:
        return {}, {}
    images = {
        name: np.asarray(part.from_tensor(tensor), dtype=np.float32)
        for name in BESIDE
        if (tensor := getattr(known, name)) is not None
    }
    return images, {"uncertainty": account}


def write_volume(ledger: Ledger, plan: Plan, path: Path, result: Result, name: str = "") -> None:
    """Write the image, or the one of that name beside it, from the slabs on disk."""
    from imagereg.io import open_volume, write

    account, text = result.provenance, result.recipe
    given: dict[str, Any] = {"voxel": result.voxel, "unit": result.unit, "metadata": account, "recipe": text}
    if len(plan.slabs) == 1:
        write(ledger.slab(0, name), path, overwrite=True, **given)
        return
    with open_volume(path, plan.shape, overwrite=True, **given) as volume:
        for slab in plan.slabs:
            volume[slab.rows] = ledger.slab(slab.index, name)


def write_uncertainty(
    ledger: Ledger, plan: Plan, recipe: Recipe, result: Result, last: State | None, part: Measurement
) -> Spread | None:
    """Write the images of uncertainty and a picture of them; what they tell as a whole, None where nothing.

    Parameters
    ----------
    last, part : last state of the only slab, whose samples are kept, and a measurement in its layout; not
        used for several.
    """
    names = ledger.beside(0, BESIDE)
    account = result.provenance.get("uncertainty")
    if account is None or "lower" not in names:
        return None
    from imagereg.preview import write_panels
    from imagereg.uncertainty.spread import Interval, Spread

    for name in names:
        for file in files_of((name,), recipe.output.formats):
            write_volume(ledger, plan, ledger.partial / file, result, name)
    slab = plan.slabs[len(plan.slabs) // 2].index
    lower, upper = (ledger.slab(slab, end) for end in ("lower", "upper"))
    trust = "calibrated" if account["calibrated"] else "not calibrated"
    panels = {
        "image": ledger.slab(slab),
        f"width of the {account['level']:.0%} interval, {trust}": upper - lower,
    }
    if "std" in names:
        panels["standard deviation"] = ledger.slab(slab, "std")
    write_panels(
        panels,
        ledger.partial / "uncertainty.png",
        voxel=result.voxel,
        unit=result.unit,
        shared_scale=False,
    )
    if len(plan.slabs) == 1 and last is not None:
        return spread_of(last, part, np.array(ledger.slab(0)))
    asked = Interval(
        Slabs.of(ledger, plan, "lower"),
        Slabs.of(ledger, plan, "upper"),
        account["level"],
        account["calibrated"],
        account["guarantee"],
    )
    std = Slabs.of(ledger, plan, "std") if "std" in names else None
    return Spread(Slabs.of(ledger, plan), asked, std=std, meaning=account["meaning"])


class Slabs:
    """The image of a run in several slabs, read from disk where it is looked at."""

    def __init__(self, parts: list[Any], plan: Plan) -> None:
        self._parts, self._plan = parts, plan
        self.shape, self.dtype, self.ndim = plan.shape, np.dtype(np.float32), len(plan.shape)

    @classmethod
    def of(cls, ledger: Ledger, plan: Plan, name: str = "") -> Self:
        """The image, or the one of that name beside it."""
        return cls([ledger.slab(slab.index, name) for slab in plan.slabs], plan)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            index = range(self.shape[0])[index]
            slab = next(s for s in self._plan.slabs if s.start <= index < s.stop)
            return np.asarray(self._parts[slab.index][index - slab.start])
        return np.asarray(self)[index]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        whole = np.concatenate(self._parts)
        return whole if dtype is None else whole.astype(dtype)
