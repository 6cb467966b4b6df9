"""Weights that lower the regularisation where a pre-estimate of the image has edges."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.physics.distributed import kth_value
from imagereg.priors.gradient import Gradient


def edge_weights(
    estimate: torch.Tensor,
    *,
    eta: float = 0.02,
    p: float = 0.1,
    gradient: Gradient | None = None,
    value_range: Step | None = None,
    normalise: bool = False,
) -> torch.Tensor:
    """Weights w_i = (eta / sqrt(eta^2 + |D z|_i^2))^(1 - p) of space-variant TV, computed once from z.

    w is 1 where the pre-estimate z is flat and near (eta / |D z|_i)^(1 - p) on its edges, |.| being the
    length of a pixel's differences over the range of z. p = 1 gives 1 everywhere, which is plain TV; the
    smaller p, the less an edge costs. They are the factors of iteratively reweighted l1 for sum |D x|_i^p,
    made once, so that the problem stays convex.

    Parameters
    ----------
    estimate : (B, C, H, W) or (B, C, D, H, W), the pre-estimate z.
    eta : size of a difference from which on a pixel counts as an edge, as a part of the range of z (no unit).
    p : exponent, in (0, 1].
    gradient : D, with its number of axes and spacings; it must be the one of the TV that is weighted.
    value_range : range of the grey values; from the quantiles of each item where not given (`grey_range`).
    normalise : divide by each item's median, so that the typical pixel keeps its regularisation, and the
        strength its meaning, when noise in z lowers all weights.

    Returns
    -------
    (B, C, ...), in (0, 1] where not normalised.

    Raises
    ------
    UsageError
        For an eta that is not positive, or a p outside (0, 1].

    References
    ----------
    Morotti, Evangelista, Sebastiani, Loli Piccolomini, "Adaptive weighted total variation boosted by learning
    techniques in few-view tomographic imaging", 2025, arXiv:2501.09845, and "Space-variant total variation
    boosted by learning techniques in few-view tomographic imaging", 2024, arXiv:2404.16900.
    """
    if not eta > 0:
        raise UsageError(f"eta = {eta}: give a positive part of the image's range.")
    if not 0 < p <= 1:
        raise UsageError(f"p = {p}: give a number above 0 and not above 1.")
    field = (gradient or Gradient(estimate.ndim - 2 if estimate.ndim == 5 else 2)).A(estimate)
    span = grey_range(estimate) if value_range is None else value_range
    span = torch.as_tensor(span, dtype=estimate.dtype, device=estimate.device)
    # A constant image has no edges, whatever its range.
    ratio = field.square().sum(2) / (eta * torch.where(span > 0, span, torch.ones_like(span))).square()
    weights = (1 + ratio) ** ((p - 1) / 2)
    if normalise:
        middle = weights.flatten(1).median(dim=1).values
        weights = weights / middle.reshape(-1, *([1] * (weights.ndim - 1)))
    return weights


def grey_range(image: torch.Tensor, *, tail: float = 1e-3) -> torch.Tensor:
    """Difference of the quantiles 1 - tail and tail of each item: the range without its outliers.

    Parameters
    ----------
    image : (B, C, ...).
    tail : fraction of the pixels that is left out at either end.

    Returns
    -------
    (B, 1, ..., 1), in the units of the image; 0 for a constant one.
    """
    flat = image.flatten(1)
    low, high = kth_value(flat, tail, high=False), kth_value(flat, tail, high=True)
    return (high - low).reshape(-1, *([1] * (image.ndim - 1)))
