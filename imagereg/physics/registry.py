"""Kinds of physics by name: how an image gives its data, declared once and shown everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from imagereg.discovery import discover
from imagereg.errors import UsageError, did_you_mean
from imagereg.parameters import Parameters

if TYPE_CHECKING:
    import numpy as np

    from imagereg.measurement import Measurement

GROUP = "imagereg.physics"


@dataclass(frozen=True)
class Workplace:
    """On what a physics works, and how it gets at the pictures that its parameters name.

    Attributes
    ----------
    device, dtype : of the tensors.
    backend : projectors, 'auto' or by name.
    picture : the single picture in a file, (H, W) float32.
    """

    device: Any
    dtype: Any
    backend: str
    picture: Callable[[Path], np.ndarray[Any, Any]]


class PhysicsKind(Parameters):
    """Base of all kinds: the fields are the parameters of the recipe's section `physics`, beside `kind`.

    A new kind is one file in `imagereg/physics/kinds` (or an entry point `imagereg.physics` of another
    package) with a subclass that sets the class variables, declares its parameters with `parameter`, and
    writes `build`. Recipes, their schema, plans, the dock and the documentation derive from it.

    Class variables
    ---------------
    name : what recipes call it.
    title, summary : a heading, and what happened to the image, as a lower-case noun phrase.
    task : what the user of the dock wants done about it: 'deblur'.
    scans, images : whether data that are scans, or images, may have it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    task: ClassVar[str]
    scans: ClassVar[bool] = False
    images: ClassVar[bool] = True

    @property
    def finer(self) -> int:
        """Rows and columns of the image for one of the data."""
        return 1

    def build(self, measurement: Measurement, place: Workplace) -> Measurement:
        """The measurement with its `physics`, on frames that are preprocessed.

        Raises
        ------
        UsageError
            When parameters are missing or do not fit the data.
        """
        raise TypeError(f"{type(self).__name__} has no build().")

    def refuse(self, measurement: Measurement) -> None:
        """Raise where the data are none that may have this physics."""
        scan = measurement.geometry is not None
        if scan and not self.scans:
            raise UsageError(f"physics.kind {self.name}: the data are a scan, which needs 'auto'.")
        if not scan and not self.images:
            raise UsageError(f"physics.kind {self.name}: the data are no scan.")


@cache
def kinds() -> Mapping[str, type[PhysicsKind]]:
    """Every kind by name, in alphabetical order.

    Raises
    ------
    NameClash
        When two kinds have the same name; the sentence says where both come from.
    """
    import imagereg.physics.kinds as room

    return MappingProxyType(dict(sorted(discover(room, PhysicsKind, GROUP, "kinds of physics").items())))


def kind_of(name: str) -> type[PhysicsKind]:
    """The kind called `name`.

    Raises
    ------
    UsageError
        With the nearest known name, where there is none.
    """
    try:
        return kinds()[name]
    except KeyError:
        raise UsageError(f"no kind of physics is called {name!r}{did_you_mean(name, kinds())}") from None
