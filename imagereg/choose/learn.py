"""From pairs of noisy and clean images to parameters of a method, by bilevel learning."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from imagereg.choose.bilevel import LowerLevel, MeanSquaredError
from imagereg.choose.field_of_experts import FieldOfExperts
from imagereg.choose.hoag import HOAG
from imagereg.choose.maid import MAID
from imagereg.choose.smoothed_tv import SmoothedSpaceVariantTV, SmoothedTV
from imagereg.errors import UsageError, did_you_mean
from imagereg.priors.weights import grey_range
from imagereg.solvers.outcome import Learned
from imagereg.solvers.state import State


@dataclass(frozen=True, eq=False)
class Learnable:
    """What is learned for one method.

    Attributes
    ----------
    lower : the lower-level problem on the noisy images.
    theta : (d,) where learning starts.
    translate : parameters of the method, by name, from theta.
    """

    lower: LowerLevel
    theta: torch.Tensor
    translate: Callable[[torch.Tensor], dict[str, Any]]


def total_variation(noisy: torch.Tensor, *, smoothing: float = 1e-3, strength: float = 0.02) -> Learnable:
    """The strength of `tv` for denoising, with TV smoothed at `smoothing` of the grey range.

    Parameters
    ----------
    noisy : (n, 1, H, W) in [0, 1] or thereabouts.
    strength : where to start.
    """
    lower = SmoothedTV(noisy, smoothing=smoothing)
    theta = torch.tensor([math.log(strength)], dtype=noisy.dtype)
    span = _span(noisy)
    return Learnable(lower, theta, lambda t: {"strength": math.exp(float(t[0])) / span})


def space_variant_total_variation(
    noisy: torch.Tensor,
    *,
    smoothing: float = 1e-3,
    strength: float = 0.05,
    eta: float = 0.05,
    p: float = 0.3,
    pre_strength: float = 0.05,
) -> Learnable:
    """Strength, eta and p of `space_variant_tv` for denoising, the pre-estimate being a TV solution.

    The method divides the weights of an image by their median; what is learned has the medians' mean in its
    strength.

    Parameters
    ----------
    noisy : (n, 1, H, W) in [0, 1] or thereabouts.
    strength, eta, p : where to start.
    pre_strength : strength of the TV that gives the pre-estimate.
    """
    from imagereg.choose.hypergradient import solve_lower

    before = SmoothedTV(noisy, smoothing=smoothing)
    at = torch.tensor([math.log(pre_strength)], dtype=noisy.dtype)
    estimate = solve_lower(before, at, noisy, accuracy=1e-3 * float(noisy.norm())).image
    lower = SmoothedSpaceVariantTV(noisy, estimate, smoothing=smoothing)
    theta = torch.tensor([math.log(strength), math.log(eta), math.log(p / (1 - p))], dtype=noisy.dtype)

    def translate(t: torch.Tensor) -> dict[str, Any]:
        middle = float(lower.weights(t).flatten(1).median(1).values.mean())
        return {
            "strength": math.exp(float(t[0])) * middle / _span(noisy),
            "eta": math.exp(float(t[1])) / float(grey_range(estimate).mean()),
            "p": float(torch.sigmoid(t[2])),
            "psi": {"name": "tv", "strength": pre_strength / _span(noisy)},
        }

    return Learnable(lower, theta, translate)


def field_of_experts(noisy: torch.Tensor, *, filters: int = 24, size: int = 5) -> Learnable:
    """Filters, weights and smoothings of `field_of_experts`.

    Parameters
    ----------
    noisy : (n, 1, H, W) in [0, 1] or thereabouts.
    filters, size : number of filters, at most size^2 - 1, and their edge in pixels; they start as cosines.
    """
    if filters < 1 or size < 2:
        raise UsageError(f"filters = {filters}, size = {size}: give at least 1 filter of 2 pixels.")
    lower = FieldOfExperts(noisy, filters=filters, size=size)

    def translate(t: torch.Tensor) -> dict[str, Any]:
        scale, a, n, c = lower.split(t)
        span = torch.tensor(_span(noisy))
        return {"weights": (scale + a).exp(), "smoothings": n.exp(), "filters": c, "span": span}

    return Learnable(lower, lower.first(), translate)


LEARNERS: dict[str, Callable[..., Learnable]] = {
    "tv": total_variation,
    "space_variant_tv": space_variant_total_variation,
    "field_of_experts": field_of_experts,
}
"""Method to what learns it."""


def iterate_learning(
    noisy: torch.Tensor,
    clean: torch.Tensor,
    method: str,
    *,
    by: str = "maid",
    steps: int = 60,
    seed: int = 0,
    **settings: Any,
) -> Iterator[State]:
    """Learn a method's parameters from pairs: one state a step, with the training PSNR in `values`.

    The image is scaled to [0, 1] by the clean images' range first, so that what is learned is relative to it.
    The last state's outcome has the method's parameters as `learned`.

    Parameters
    ----------
    noisy, clean : (n, 1, H, W), pair by pair.
    method : 'tv', 'space_variant_tv' or 'field_of_experts'.
    by : 'maid' or 'hoag'.
    steps : steps at most.
    seed : seed of everything random.
    settings : settings of what is learned, such as `filters`, or where to start, such as `strength`.

    Raises
    ------
    UsageError
        For a method that cannot be learned, an unknown setting, or pairs that do not fit.
    """
    if method not in LEARNERS:
        raise UsageError(f"{method} cannot be learned from pairs{did_you_mean(method, LEARNERS)}")
    solvers: dict[str, Any] = {"maid": MAID(seed=seed), "hoag": HOAG()}
    if by not in solvers:
        raise UsageError(f"no way of learning is called {by!r}{did_you_mean(by, solvers)}")
    if noisy.shape != clean.shape:
        raise UsageError(
            f"noisy images of shape {tuple(noisy.shape)} and clean ones of {tuple(clean.shape)} are no pairs."
        )
    learner = LEARNERS[method]
    known = [name for name in inspect.signature(learner).parameters if name != "noisy"]
    for name in settings:
        if name not in known:
            raise UsageError(f"{method}.{name}: no such setting of learning{did_you_mean(name, known)}")
    low, high = float(clean.min()), float(clean.max())
    if not high > low:
        raise UsageError("the clean images are constant: there is nothing to learn from.")
    noisy, clean = ((image.double() - low) / (high - low) for image in (noisy, clean))
    learnable = learner(noisy, **settings)
    upper = MeanSquaredError(clean)
    before = psnr(noisy, clean)
    for state in solvers[by].iterate(learnable.lower, upper, learnable.theta, total=steps, tolerance=1e-6):
        values = {**state.values, "psnr": psnr(state.image, clean), "psnr_noisy": before}
        outcome = state.outcome
        if state.finished:
            found = learnable.translate(state.memory["theta"])
            outcome = replace(outcome, learned=Learned(method, found, by))
        yield replace(state, values=values, outcome=outcome)


def _span(images: torch.Tensor) -> float:
    """Mean range of grey values, to which strengths are relative (`imagereg.methods.support.scaling`)."""
    return float(grey_range(images, tail=5e-3).mean())


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1], of the mean squared error over all of them."""
    return -10.0 * math.log10(float((image - truth).square().mean()))
