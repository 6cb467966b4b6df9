"""The squared error of a denoised image without the clean one, by Stein's estimate with random probes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch


def denoising_risk(
    denoise: Callable[[torch.Tensor], torch.Tensor],
    y: torch.Tensor,
    variance: torch.Tensor,
    *,
    image: torch.Tensor | None = None,
    step: float = 0.05,
    seed: int = 0,
) -> float:
    """mean (f(y) - y)^2 - mean v + 2 mean (v_i df_i / dy_i): an unbiased estimate of mean (f(y) - x)^2.

    Unbiased for Gaussian noise of variance v, and near it for Poisson and Gamma noise that is not too
    strong. The divergence comes from one probe b of random signs, b_i (f(y + h b) - f(y))_i / h.

    Parameters
    ----------
    denoise : f.
    y : (B, C, H, W).
    variance : of each datum, in a shape that broadcasts against y.
    image : f(y), where it is known already.
    step : h over the standard deviation of a datum.
    seed : of the probe.

    References
    ----------
    S. Ramani, T. Blu, M. Unser, IEEE Trans. Image Process. 17 (2008) 1540, doi:10.1109/TIP.2008.2001404.
    """
    image = denoise(y) if image is None else image
    variance = variance.expand_as(y)
    generator = torch.Generator().manual_seed(seed)
    signs = (2.0 * torch.randint(2, y.shape, generator=generator) - 1.0).to(y)
    h = step * variance.sqrt().clamp_min(1e-12)
    divergence = signs * (denoise(y + h * signs) - image) / h
    risk = (image - y).square() - variance + 2 * variance * divergence
    return float(risk.double().mean())


def psnr_of(risk: float, span: float) -> float:
    """10 log10(span^2 / risk); risks at or below a millionth of the range's square count as that."""
    return 10 * math.log10(span**2 / max(risk, 1e-6 * span**2))
