"""Tweedie's formulas: the clean image from a noisy one y and the score s(y) = grad log p(y)."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError

LARGEST = 3.0  # of exponents: no estimate is more than twenty times its datum


def gaussian_mean(y: torch.Tensor, score: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[x | y] = y + sigma^2 s, for y = x + sigma n.

    Parameters
    ----------
    y, score : (B, C, H, W); the score in units of one over those of y.
    sigma : standard deviation of the noise, in the unit of y.

    References
    ----------
    H. Robbins, Proc. 3rd Berkeley Symp. 1 (1956) 157; K. Kim, J. Ye, NeurIPS (2021), arXiv:2106.07009.
    """
    return y + sigma**2 * score


def poisson_mean(y: torch.Tensor, score: torch.Tensor, gain: float) -> torch.Tensor:
    """exp E[log x | y] ~ (y + gain / 2) exp(gain s), for y = gain Poisson(x / gain).

    The geometric mean; the 1/2 stands for a digamma function of the counts (see `poisson_geometric_mean`).

    Parameters
    ----------
    y, score : (B, C, H, W).
    gain : grey value of one photon.

    References
    ----------
    K. Kim, J. Ye, NeurIPS (2021), arXiv:2106.07009.
    """
    return (y + gain / 2) * (gain * score).clamp(-LARGEST * 4, LARGEST).exp()


def poisson_geometric_mean(y: torch.Tensor, score: torch.Tensor, gain: float) -> torch.Tensor:
    """exp E[log x | y] = gain exp(digamma(y / gain + 1) + gain s), which is exact.

    Parameters
    ----------
    y, score : (B, C, H, W), y at least 0; the score is the derivative of a smooth continuation of log p
        between the counts.
    gain : grey value of one photon.
    """
    exponent = (gain * score).clamp(-LARGEST * 4, LARGEST)
    return gain * (torch.digamma(y / gain + 1) + exponent).exp()


def gamma_mean(y: torch.Tensor, score: torch.Tensor, looks: float) -> torch.Tensor:
    """1 / E[1 / x | y] = k y / ((k - 1) - y s), for y = x g, g ~ Gamma(k, 1 / k): the harmonic mean.

    Parameters
    ----------
    y, score : (B, C, H, W), y positive.
    looks : k.

    References
    ----------
    K. Kim, J. Ye, NeurIPS (2021), arXiv:2106.07009.
    """
    below = (looks - 1) - y * score
    return looks * y / below.clamp_min(looks * 0.05)


def tweedie_mean(y: torch.Tensor, score: torch.Tensor, power: float, dispersion: float) -> torch.Tensor:
    """x = y (1 + (1 - r) phi y^(r - 1) (r / (2 y) + s))^(1 / (1 - r)), for noise of variance phi x^r.

    E[x^(1 - r) | y]^(1 / (1 - r)), exact up to the saddle-point form of the density. r = 0 is Gaussian
    (phi = sigma^2), r = 1 Poisson (phi = gain; its limit is taken), r = 2 Gamma (phi = 1 / looks).

    Parameters
    ----------
    y, score : (B, C, H, W); y positive unless r = 0.
    power, dispersion : r and phi.

    Raises
    ------
    UsageError
        For a negative power or a dispersion that is not positive.

    References
    ----------
    K. Kim, T. Kwon, J. Ye, CVPR (2022), arXiv:2112.03696.
    """
    if power < 0 or not dispersion > 0:
        raise UsageError(f"power = {power}, dispersion = {dispersion}: give at least 0 and more than 0.")
    if power == 0:
        return y + dispersion * score
    pull = dispersion * y ** (power - 1) * (power / (2 * y) + score)
    if abs(power - 1) < 1e-4:
        return y * pull.clamp(-LARGEST * 4, LARGEST).exp()
    return y * (1 + (1 - power) * pull).clamp_min(0.05) ** (1 / (1 - power))
