"""What `strength` means: a number that keeps its meaning from one scan to the next.

With the data term f(A x), f its least squares or likelihood, and

    c = trace(A^T f'' A) / N      mean curvature: how strongly the data hold a pixel (1 for denoising; for
                                  least squares ||A||_F^2 / N, the mean squared norm of A's columns),
    s = range of grey values      of a quick reconstruction, its 0.5 % tails left out,

the factor of a penalty that grows linearly with x (total variation, wavelets) is

    lambda = strength * c * s,

and that of a quadratic penalty is lambda = strength * c. So, the same strength:

* data times k (another unit of y): f'' as it was, s -> k s, lambda -> k lambda, x -> k x;
* pixels in other units (A -> a A, x -> x / a): c -> a^2 c, s -> s / a, lambda -> a lambda;
* twice the views: c -> 2 c, lambda -> 2 lambda: the balance of data and prior of a pixel is kept;
* more slices or a larger grid: c and s are means and ranges, not sums, and each slice has its own;
* weights or a likelihood times k: c -> k c, lambda -> k lambda.

With `absolute`, lambda is the number itself, as in papers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagereg.errors import UsageError

if TYPE_CHECKING:
    import torch

    from imagereg.fidelities.base import Fidelity, Step
    from imagereg.measurement import Measurement
    from imagereg.solvers.problem import Problem


@dataclass(frozen=True)
class Scaling:
    """The natural units of strength for one measurement, and the quick reconstruction that gave them.

    Attributes
    ----------
    curvature : c of each item, shaped (B, 1, ..., 1).
    span : s of each item, in the units of the image.
    image : the quick reconstruction, (B, C, ...).
    absolute : whether strengths are taken as they are.
    automatic : the strength of each item that its noise asks for, (B, 1, ..., 1), where it was looked for.
    """

    curvature: torch.Tensor
    span: torch.Tensor
    image: torch.Tensor
    absolute: bool = False
    automatic: torch.Tensor | None = None

    @property
    def darkest(self) -> torch.Tensor:
        """The lower end of the range, of each item."""
        return darkest(self.image)

    def linear(self, strength: float | None) -> Step:
        """lambda of a penalty of degree one: strength c s; None for the automatic strength."""
        if strength is None:
            assert self.automatic is not None, "ask `automatic` for the strength first"
            return self.automatic * self.curvature * self.span
        return strength if self.absolute else strength * self.curvature * self.span

    def quadratic(self, strength: float) -> Step:
        """lambda of a penalty of degree two: strength c."""
        return strength if self.absolute else strength * self.curvature


def measure(problem: Problem, *, scale: float = 0.0, absolute: bool = False, iterations: int = 5) -> Scaling:
    """The scaling of a problem without priors.

    Parameters
    ----------
    problem : its fidelity and physics count.
    scale : s where it is known, in the units of the image; 0 to take it from a quick reconstruction.
    absolute : whether strengths shall be taken as they are.
    iterations : steps of CGLS of the quick reconstruction.
    """
    import torch

    from imagereg.physics.distributed import largest
    from imagereg.priors.weights import grey_range
    from imagereg.solvers.linear import mean_curvature, quick_fit

    with torch.no_grad():
        image = quick_fit(problem, iterations=iterations)
        span = torch.full_like(image[:, :1].flatten(1)[:, :1], scale).reshape(-1, *[1] * (image.ndim - 1))
        if not scale:
            span = grey_range(image, tail=5e-3)
            # A constant image has no range; its size will do, and anything will for an image of zeros.
            size = largest(image.abs().flatten(1).amax(1)).reshape_as(span)
            span = torch.where(span > 0, span, torch.where(size > 0, size, 1.0))
        curvature = mean_curvature(problem)
        return Scaling(torch.where(curvature > 0, curvature, 1.0), span, image, absolute)


def automatic(
    scaling: Scaling, measurement: Measurement, fidelity: Fidelity, factor: float, usual: float
) -> tuple[Scaling, tuple[str, ...]]:
    """The scaling with the strength that the noise asks for: factor e / (s sqrt(c)), and a sentence on it.

    A^T f'(A x) of white noise e has the standard deviation e sqrt(c) in every pixel, and a penalty of degree
    one acts on a pixel with lambda = strength c s: it must stand up to the noise, whatever its size. e is 1
    where the data term is in units of its noise (weights that are inverse variances, likelihoods).

    Parameters
    ----------
    factor : of the penalty, about 1.
    usual : the strength where the noise is not known.
    """
    import torch

    from imagereg.fidelities.poisson import KullbackLeibler, TransmissionPoisson

    noise: torch.Tensor | None = torch.ones_like(scaling.span)
    if not isinstance(fidelity, KullbackLeibler | TransmissionPoisson):
        noise = data_noise(measurement, scaling.image.ndim, getattr(fidelity, "weights", None))
    if noise is None:
        strength = torch.full_like(scaling.span, usual)
        said = (
            f"strength {usual:g}, a usual value: the noise of the data is not known; see `imagereg choose`."
        )
        return replace(scaling, automatic=strength), (said,)
    relative = noise.to(scaling.span) / (scaling.span * scaling.curvature.sqrt())
    strength = (factor * relative).clamp(1e-5, 10.0)
    low, high = float(strength.min()), float(strength.max())
    shown = f"{low:.3g}" if high <= 1.005 * low else f"{low:.3g} to {high:.3g}"
    said = (
        f"strength {shown}, {factor:g} times the noise that the data leave on a pixel over the image's "
        "range; `imagereg choose` finds one by left-out views."
    )
    return replace(scaling, automatic=strength), (said,)


def darkest(image: torch.Tensor) -> torch.Tensor:
    """The lower end of the grey values of each item, (B, 1, ..., 1): what a 0.5 % tail leaves."""
    from imagereg.physics.distributed import kth_value

    low = kth_value(image.flatten(1), 5e-3, high=False)
    return low.reshape(-1, *[1] * (image.ndim - 1))


def data_noise(
    measurement: Measurement, ndim: int, weights: torch.Tensor | None = None
) -> torch.Tensor | None:
    """e of each item: the noise of data whose weights are 1; None where it is not known.

    Parameters
    ----------
    ndim : axes of the result, (B, 1, ..., 1).
    weights : of the data term, in the shape of the data; those of the measurement where not given.
    """
    from imagereg.noise.level import noise_level

    try:
        std = noise_level(measurement).std
    except UsageError:
        return None
    data = measurement.data
    weights = measurement.weights if weights is None else weights
    variance = std.square() * (1.0 if weights is None else weights)
    return variance.expand_as(data).flatten(1).mean(1).sqrt().reshape(-1, *[1] * (ndim - 1))
