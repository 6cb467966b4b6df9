"""Phantoms by name: scenes with an image on any grid and exact projections for any scan."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError, did_you_mean
from imagereg.geometry import Volume
from imagereg.phantoms.ellipsoids import Ellipsoids
from imagereg.phantoms.random_bodies import ellipses_and_lines as _ellipses_and_lines
from imagereg.phantoms.random_bodies import foam as _foam
from imagereg.phantoms.shepp_logan import head, head_3d


@dataclass(frozen=True, eq=False)
class Phantom:
    """A scene in coordinates from -1 to 1 that fills the largest disc (ball) of a grid.

    Attributes
    ----------
    name : what users type.
    ndim : number of its axes.
    make : the scene; its keywords are the phantom's parameters, `seed` among them where it is random.
    """

    name: str
    ndim: int
    make: Callable[..., Ellipsoids] = field(repr=False)
    summary: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.summary)

    def __call__(
        self,
        grid: Volume | int | Sequence[int],
        *,
        supersampling: int = 4,
        attenuation: float = 1.0,
        **parameters: Any,
    ) -> NDArray[np.float32]:
        """The image on a grid.

        Parameters
        ----------
        grid : a `Volume`; or its shape, or one number for a square (cube), for voxels of 1 mm.
        supersampling : points along each edge of a voxel whose mean is taken.
        attenuation : what grey value 1 stands for, in 1/mm.
        parameters : of the phantom, for example `seed`.

        Returns
        -------
        (H, W) or (D, H, W), float32.

        Raises
        ------
        UsageError
            For an unknown parameter, or a grid of another number of axes.
        """
        if not isinstance(grid, Volume):
            shape = (grid,) * self.ndim if isinstance(grid, int | np.integer) else tuple(grid)
            grid = Volume(shape)
        return self.bodies(grid, attenuation=attenuation, **parameters).image(
            grid, supersampling=supersampling
        )

    def bodies(
        self, volume: Volume, *, attenuation: float = 1.0, radius: float | None = None, **parameters: Any
    ) -> Ellipsoids:
        """The scene in mm and 1/mm, placed on a grid (see `Ellipsoids.placed`); `project` gives its data."""
        known = [name for name in inspect.signature(self.make).parameters if name not in self._fixed]
        for name in parameters:
            if name not in known:
                raise UsageError(f"phantom {self.name}: no parameter {name!r}{did_you_mean(name, known)}.")
        scene = self.make(**parameters)
        scaled = Ellipsoids(attenuation * scene.values, scene.centres, scene.axes, scene.angles)
        return scaled.placed(volume, radius=radius)

    @property
    def random(self) -> bool:
        """Whether it takes a seed."""
        return "seed" in inspect.signature(self.make).parameters

    @property
    def _fixed(self) -> tuple[str, ...]:
        return tuple(self.make.keywords) if isinstance(self.make, partial) else ()


shepp_logan = Phantom(
    "shepp_logan", 2, head, "Shepp-Logan head, a slice (contrast='modified' or 'original')."
)
shepp_logan_3d = Phantom("shepp_logan_3d", 3, head_3d, "Shepp-Logan head, the whole of it.")
ellipses_and_lines = Phantom(
    "ellipses_and_lines",
    2,
    _ellipses_and_lines,
    "Random ellipses with small bright dots and thin lines, in [0, 1].",
)
foam = Phantom("foam", 2, partial(_foam, ndim=2), "Foam: a disc with random bubbles that do not touch.")
foam_3d = Phantom("foam_3d", 3, partial(_foam, ndim=3), "Foam: a ball with random bubbles that do not touch.")

PHANTOMS: dict[str, Phantom] = {
    phantom.name: phantom for phantom in (shepp_logan, shepp_logan_3d, ellipses_and_lines, foam, foam_3d)
}


def phantom(name: str) -> Phantom:
    """The phantom of a name.

    Raises
    ------
    UsageError
        When there is none; the sentence suggests one.
    """
    if name not in PHANTOMS:
        raise UsageError(f"phantom {name!r}: there is none of that name{did_you_mean(name, PHANTOMS)}.")
    return PHANTOMS[name]
