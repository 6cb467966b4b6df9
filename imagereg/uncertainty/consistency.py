"""Does the image explain the data? Its residual in units of the noise, datum by datum and in one figure.

    r = (A x - y) / sigma,   chi^2 / M = sum_i r_i^2 / M

over all M data. Where the image and the physics are right, r is noise of standard deviation 1 without a
pattern: chi^2 / M is 1 up to sqrt(2 / M), and less by the part of the data that an unregularised fit spends
on noise. Structure in the map shows where the model fails: the axis, a moving or metallic part, a prior that
is too strong. It cannot show what the data do not see: a hallucination in the null space of A leaves no
trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imagereg.errors import UsageError
from imagereg.noise.level import noise_level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from imagereg.measurement import Measurement

LARGE, SMALL = 1.2, 0.8
"""Roots of chi^2 / M outside these are called a misfit and a fit to the noise."""


@dataclass(frozen=True, eq=False)
class Consistency:
    """How an image fits the data.

    Attributes
    ----------
    residual : (A x - y) / sigma in the layout of the data.
    map : the same with one value a pixel, where the data have colours.
    chi_square : over the number of data; 1 where the residual is noise.
    outside : part of the data further than 3 sigma from the fit; 0.0027 for Gaussian noise.
    neighbours : correlation of the residual with its neighbour along the detector, 0 for white noise.
    noise : how the noise is known.
    estimated : True where the noise was estimated from the data themselves.
    """

    residual: NDArray[np.float32]
    map: NDArray[np.float32]
    chi_square: float
    outside: float
    neighbours: float
    noise: str
    estimated: bool

    @property
    def sentence(self) -> str:
        """What the figures say, for people."""
        ratio = math.sqrt(self.chi_square)
        head = (
            f"the residual is {ratio:.2f} times the noise (chi\N{SUPERSCRIPT TWO}/M = {self.chi_square:.3g})"
        )
        if ratio > LARGE:
            return f"{head}: something in the data is not explained"
        if ratio < SMALL:
            return f"{head}: the image follows the noise"
        return f"{head}: the image explains the data"


def consistency(measurement: Measurement, image: Any) -> Consistency:
    """How an image, in the layout of results, fits a measurement with its physics.

    Raises
    ------
    UsageError
        When the image does not fit the physics, or the noise is neither known nor to be estimated.
    """
    ready = measurement.ready()
    if not isinstance(ready.data, torch.Tensor):
        raise UsageError("a residual is shown for data that are one array.")
    x = image_tensor(measurement, image).to(ready.data)
    with torch.no_grad():
        try:
            forward = ready.physics.A(x)
        except (RuntimeError, ValueError, UsageError):
            forward = None
        if forward is None or forward.shape != ready.data.shape:
            raise UsageError(
                f"an image of shape {tuple(np.shape(image))} does not belong to data of shape "
                f"{tuple(measurement.data.shape)}: reconstruct all of it."
            )
        level = noise_level(ready).at(forward)
        white = level.whiten(forward - ready.data)
        spread = white - white.mean()
        energy = float(spread.square().mean())
        along = float((spread[..., 1:] * spread[..., :-1]).mean()) / energy if energy > 0 else 0.0
        residual = _as_data(measurement, white)
        # The sum of C colours over the root of C has the standard deviation of one of them.
        colours = measurement.framed and measurement.axes.endswith("C")
        return Consistency(
            residual,
            residual.sum(-1) / math.sqrt(residual.shape[-1]) if colours else residual,
            level.chi_square(forward - ready.data) / white.numel(),
            float((white.abs() > 3).double().mean()),
            along,
            level.how,
            level.estimated,
        )


def image_tensor(measurement: Measurement, image: Any) -> torch.Tensor:
    """An image in the layout of results as a tensor in deepinv's shapes: the inverse of `from_tensor`."""
    if measurement.geometry is None:
        return measurement.to_tensor(image)
    array = torch.as_tensor(np.asarray(image, dtype=np.float32))
    if measurement.coupled:
        return array[None, None]
    return array[None, None] if array.ndim == 2 else array[:, None]


def _as_data(measurement: Measurement, tensor: torch.Tensor) -> NDArray[np.float32]:
    """A tensor in the shape of ready data in the layout of the measurement's own data."""
    array = tensor.float().cpu()
    if measurement.geometry is None:
        found: Any = measurement.from_tensor(array)
        return np.asarray(found, dtype=np.float32)
    frames = array[0, 0] if measurement.coupled else array[:, 0].permute(1, 0, 2)
    return frames.reshape(tuple(measurement.data.shape)).numpy()
