"""Two halves of the data with independent errors: what both show is not noise.

Scans are parted into views of even and odd number. An image without physics is parted into the two
diagonals of each 2 x 2 pixels, whose means have the same centre; other images into y + e and y - e, with e
drawn like the noise, which are independent where the noise is Gaussian and its level right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imagereg.choose.held_out import take_views
from imagereg.errors import UsageError
from imagereg.noise.level import noise_level
from imagereg.physics.mask import Identity
from imagereg.uncertainty.fourier_shell import ShellCorrelation, shell_correlation

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State

FEWEST = 8
"""Views that a scan has at least: halves of fewer are no image."""


@dataclass(frozen=True, eq=False)
class Halves:
    """Two reconstructions and how well they agree.

    Attributes
    ----------
    first, second : images of the halves in the layout of results.
    curve : their Fourier shell correlation.
    how : how the data were parted, in one clause.
    """

    first: Any
    second: Any
    curve: ShellCorrelation
    how: str


def half_sets(measurement: Measurement, *, seed: int = 0) -> tuple[Measurement, Measurement, str]:
    """The two halves of a measurement that is ready, and how it was parted.

    Raises
    ------
    UsageError
        When there are too few views, or a noise model that has no model for a half.
    """
    if measurement.geometry is not None:
        views = measurement.geometry.views
        if views < FEWEST:
            raise UsageError(f"half sets need at least {FEWEST} views; the scan has {views}.")
        odd = torch.arange(views) % 2 == 1
        return take_views(measurement, ~odd), take_views(measurement, odd), "views of even and odd number"
    bare = replace(measurement, truth=None, weights=None)
    if isinstance(measurement.physics, Identity) and measurement.data.ndim == 4:
        noise = _scaled(measurement.noise, 0.5)
        first, second = (replace(bare, data=half, noise=noise) for half in _diagonals(measurement.data))
        return first, second, "the two diagonals of each 2 \N{MULTIPLICATION SIGN} 2 pixels"
    level = noise_level(measurement)
    draws = torch.Generator().manual_seed(seed)
    e = torch.randn(measurement.data.shape, generator=draws).to(measurement.data) * level.std
    noise = _scaled(measurement.noise, 2.0)
    first, second = (replace(bare, data=measurement.data + sign * e, noise=noise) for sign in (1, -1))
    return first, second, f"noise added to one half and taken from the other ({level.how})"


def compare_halves(
    measurement: Measurement,
    run: Callable[[Measurement], Iterator[State]],
    *,
    seed: int = 0,
    voxel: tuple[float, ...] = (),
    unit: str = "pixel",
) -> Iterator[State | Halves]:
    """Reconstruct both halves of a measurement that is ready: the states of both, and their agreement last.

    Parameters
    ----------
    run : how a half, which is ready, is reconstructed: one state after another.
    voxel : edges of a pixel of the result of all data, in `unit`.

    Raises
    ------
    UsageError
        As `half_sets`, and when the images are too small for a curve.
    """
    first, second, how = half_sets(measurement, seed=seed)
    images = []
    for name, half in (("first half", first), ("second half", second)):
        state: State | None = None
        for state in run(half):
            yield replace(state, phase=f"{state.phase}, {name}" if state.phase else name)
        if state is None:
            raise UsageError(f"the {name} gave no image: let the method take at least one iteration.")
        images.append(state.image.detach().float().cpu())
    one, two = (_plain(image) for image in images)
    edges = tuple(voxel[-one.ndim :]) if len(voxel) >= one.ndim else ()
    if first.data.shape != measurement.data.shape and first.geometry is None:
        # A half of the pixels lies on a grid twice as coarse.
        edges = tuple(2 * edge for edge in edges or (1.0,) * one.ndim)
    yield Halves(one, two, shell_correlation(one, two, voxel=edges, unit=unit), how)


def _diagonals(data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of the main and of the other diagonal of each 2 x 2 pixels; an odd last row or column is left."""
    height, width = (n - n % 2 for n in data.shape[-2:])
    data = data[..., :height, :width]
    corner = {(i, j): data[..., i::2, j::2] for i in (0, 1) for j in (0, 1)}
    return (corner[0, 0] + corner[1, 1]) / 2, (corner[0, 1] + corner[1, 0]) / 2


def _scaled(noise: Any, factor: float) -> Any:
    """The model of noise whose variance is `factor` times as large."""
    if noise is None:
        return None
    if noise.name == "gaussian":
        return replace(noise, sigma=noise.sigma * factor**0.5)
    if noise.name == "poisson":
        return replace(noise, gain=noise.gain * factor)
    raise UsageError(f"halves of data with {noise.name} noise have no noise model; leave it unsaid.")


def _plain(image: torch.Tensor) -> np.ndarray[Any, Any]:
    """(H, W) or (D, H, W): the only slice, or the volume; colours are averaged."""
    return image[0].mean(0).numpy()
