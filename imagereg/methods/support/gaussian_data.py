"""Data with Gaussian noise for methods that need its size: precision, range of grey values, a first image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagereg.errors import UsageError
from imagereg.methods.support.scaling import darkest, measure

if TYPE_CHECKING:
    import torch

    from imagereg.fidelities.least_squares import LeastSquares
    from imagereg.measurement import Measurement

LEAST_NOISE = 4e-3
"""Of the image's range: better data count as having this noise, for no network is more exact."""

SMOOTH = 0.07
"""Standard deviation of differences of neighbours in the first image, over the range of grey values."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A measurement as -log p(y | x) = precision f(A x), f least squares.

    Attributes
    ----------
    fidelity : f; weighted by 1 / variance where the noise differs from datum to datum.
    precision : 1 / sigma^2 of each item, (B,); 1 where f has weights.
    low, span : darkest grey value and range of grey values of each item, (B, 1, ...).
    start : a first image, smooth where the data say nothing.
    relative : noise that the data leave on a pixel, over the range of grey values.
    note : one sentence on the noise.
    """

    fidelity: LeastSquares
    precision: torch.Tensor
    low: torch.Tensor
    span: torch.Tensor
    start: torch.Tensor
    relative: float
    note: str


def look(measurement: Measurement, *, noise: float = 0.0, scale: float = 0.0) -> Seen:
    """What is known of a measurement that is ready.

    The first image is argmin precision f(A x) + ||D x||^2 / (2 (0.07 span)^2), by conjugate gradients.

    Parameters
    ----------
    noise : standard deviation of the data; 0: that of the noise model, or estimated.
    scale : grey value of white, black being 0; 0 to find the range from the data.

    Raises
    ------
    UsageError
        When data are complex or several, or A is not linear and images do not have the shape of the data.
    """
    import torch

    from imagereg.fidelities.least_squares import LeastSquares
    from imagereg.priors.gradient import Gradient
    from imagereg.priors.weights import grey_range
    from imagereg.solvers.linear import data_block, penalty_block, solve
    from imagereg.solvers.problem import Problem

    physics, data = measurement.physics, measurement.data
    if not isinstance(data, torch.Tensor) or data.is_complex():
        raise UsageError("the data are complex or a list, and a Gaussian density of real data is wanted.")
    linear = hasattr(physics, "A_adjoint")
    std, note = _deviation(measurement, noise)
    with torch.no_grad():
        if linear:
            scaling = measure(Problem(LeastSquares(data), physics), scale=scale)
            span, curvature, image = scaling.span, scaling.curvature, scaling.image
        else:
            image = _itself(measurement)
            span = grey_range(image, tail=5e-3)
            span = torch.full_like(span, scale) if scale else torch.where(span > 0, span, 1.0)
            curvature = torch.ones_like(span)
        # What noise of the image, as much in every pixel, makes of a datum.
        gain = (curvature * image[0].numel() / data[0].numel()).sqrt()
        least = (LEAST_NOISE * span * gain).reshape(-1, *[1] * (data.ndim - 1))
        std = torch.maximum(std, least).expand_as(data)
        fidelity, precision = _likelihood(data, std)
        if linear:
            width = (SMOOTH * span).square() * precision.reshape(span.shape)
            blocks = [
                data_block(Problem(fidelity, physics)),
                penalty_block(Gradient(min(image.ndim - 2, 3)), 1 / width),
            ]
            image = solve(blocks, image, iterations=50, tolerance=1e-3)["image"]
        low = torch.zeros_like(span)
        if not scale:
            low = darkest(image)
            found = grey_range(image, tail=5e-3)
            span = torch.where(found > 0, found, span)
        each = std.square().flatten(1).mean(1).sqrt().reshape(span.shape)
        relative = float((each / (curvature.sqrt() * span)).mean())
    return Seen(fidelity, precision, low, span, image, relative, note)


def _deviation(measurement: Measurement, noise: float) -> tuple[torch.Tensor, str]:
    """Standard deviation of the data in a shape that broadcasts, and how it is known."""
    import torch

    from imagereg.noise.level import noise_level

    data = measurement.data
    flat = torch.zeros_like(data[:, :1].flatten(1)[:, :1]).reshape(-1, *[1] * (data.ndim - 1))
    if noise:
        return flat + noise, f"Noise of {noise:.4g}, as given."
    try:
        level = noise_level(measurement)
    except UsageError:
        return flat, (
            f"The noise of the data is not known; it is taken for that of {LEAST_NOISE:g} of the image's "
            "range. State it by a noise model or `noise`."
        )
    return level.std.to(data), f"Noise: {level.how}."


def _likelihood(data: torch.Tensor, std: torch.Tensor) -> tuple[LeastSquares, torch.Tensor]:
    import torch

    from imagereg.fidelities.least_squares import LeastSquares

    flat = std.flatten(1)
    least, most = flat.amin(1), flat.amax(1)
    if bool((most <= least * (1 + 1e-4)).all()):
        return LeastSquares(data), most**-2.0
    return LeastSquares(data, std.square().reciprocal()), torch.ones_like(most)


def _itself(measurement: Measurement) -> torch.Tensor:
    """The data as a first image of physics that is not linear.

    Raises
    ------
    UsageError
        When A does not take them.
    """
    data = measurement.data
    try:
        same = measurement.physics.A(data).shape == data.shape
    except (RuntimeError, ValueError, UsageError):
        same = False
    if not same:
        raise UsageError(
            f"{type(measurement.physics).__name__} is not linear and takes no images in the shape of its "
            f"data {tuple(data.shape)}, so that nothing is there to start from; take another method."
        )
    return data
