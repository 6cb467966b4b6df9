"""Weights that lower the regularisation where a pre-estimate has edges."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError


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
    skip = int(tail * (flat.shape[1] - 1))
    low = flat.kthvalue(1 + skip, dim=1).values
    high = flat.kthvalue(flat.shape[1] - skip, dim=1).values
    return (high - low).reshape(-1, *([1] * (image.ndim - 1)))
