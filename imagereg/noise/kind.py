"""What kind of noise an image has: how its variance grows with its grey value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)

from imagereg.errors import UsageError

Kind = Literal["gaussian", "poisson", "gamma"]

EDGE = 8  # of the tiles in which mean and variance are measured
BINS = 12
QUANTILE = 0.25  # of the variances of tiles of like mean: what lies above is texture


@dataclass(frozen=True)
class NoiseKind:
    """Noise of variance dispersion * mean^power, or of variance gain * (mean - offset).

    Attributes
    ----------
    power, dispersion : of the straight line through log variance over log mean.
    kind : 'gaussian', 'poisson' or 'gamma'.
    level : standard deviation of Gaussian noise, grey value of a photon, or number of looks, roughly.
    offset : grey value at which Poisson noise has no variance: that of no light in a detector with a
        pedestal; below zero where a detector adds noise of its own. Zero for other kinds.
    """

    power: float
    dispersion: float
    kind: Kind
    level: float
    offset: float = 0.0


def noise_kind(
    image: torch.Tensor, *, kind: Kind | None = None, clean: torch.Tensor | None = None
) -> NoiseKind:
    """Kind and rough level of an image's noise, from its flattest tiles, or from what a denoiser took away.

    Tiles are sorted into bins by their mean; in each bin the lower quartile of their variances, by the finest
    diagonal Haar details, stands for the noise. Two laws are fitted to variance over mean: phi mean^r, with
    r = 0 for Gaussian, 1 for Poisson and 2 for Gamma noise; and a (mean - b), which is Poisson noise on a
    pedestal. The law that fits better says the kind.

    Parameters
    ----------
    image : (B, C, H, W), at least 64 x 64, in any unit.
    kind : when known, the level alone is measured.
    clean : the denoised image, (B, C, H, W).

    Raises
    ------
    UsageError
        When the image is too small.

    References
    ----------
    The first law is that of K. Kim, T. Kwon, J. Ye, CVPR (2022), arXiv:2112.03696, the second that of A. Foi
    et al., IEEE Trans. Image Process. 17 (2008) 1737, doi:10.1109/TIP.2008.2001399.
    """
    if min(image.shape[-2:]) < 64:
        raise UsageError(
            f"an image of {tuple(image.shape[-2:])} pixels is too small to tell its noise; "
            "give a noise model."
        )
    noisy = image.detach().double().reshape(-1, 1, *image.shape[-2:])
    mean, variance = _curve(noisy) if clean is None else _residual(noisy, clean.detach().double())
    typical = float(variance.median())
    positive = (mean > 0) & (variance > 0)
    if int(positive.sum()) < 3 or typical <= 0:
        return NoiseKind(0.0, typical, "gaussian", math.sqrt(max(typical, 0.0)))
    mean, variance = mean[positive], variance[positive]
    x, y = mean.log(), variance.log()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum().clamp_min(1e-12))
    power = min(max(slope, 0.0), 3.0)
    power_law = float((y - y.mean() - slope * (x - x.mean())).square().mean())
    gain, offset, affine = _affine(mean, variance)
    if kind is None:
        negative = float((image < 0).double().mean()) > 1e-3  # neither counts nor speckle are negative
        if power < 0.55 or negative:
            kind = "gaussian"
        elif affine < 0.5 * power_law or power < 1.5:
            kind = "poisson"
        else:
            kind = "gamma"
    whole = {"gaussian": 0, "poisson": 1, "gamma": 2}[kind]
    dispersion = float((y - whole * x).median().exp())
    scale = float((y - power * x).mean().exp())
    if kind == "poisson":
        # An offset is believed where it makes the law fit; a line through zero is the simpler account.
        through_zero = float((y - x - (y - x).mean()).square().mean())
        if gain > 0 and affine < 0.8 * through_zero:
            return NoiseKind(power, scale, kind, gain, offset)
        return NoiseKind(power, scale, kind, dispersion)
    return NoiseKind(power, scale, kind, math.sqrt(dispersion) if whole == 0 else 1 / dispersion)


def _affine(mean: torch.Tensor, variance: torch.Tensor) -> tuple[float, float, float]:
    """a and b of variance = a (mean - b) with the least relative error, and its mean squared log error."""
    columns = torch.stack((mean, torch.ones_like(mean)), 1) / variance[:, None]
    slope, height = torch.linalg.lstsq(columns, torch.ones_like(mean)).solution.tolist()
    fitted = slope * mean + height
    if not slope > 0 or float(fitted.min()) <= 0:
        return slope, 0.0, math.inf
    return slope, -height / slope, float((fitted / variance).log().square().mean())


def _residual(image: torch.Tensor, clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median of the clean image and mean square of the residual in bins of equally many pixels."""
    grey, square = clean.flatten(), (image - clean.reshape(image.shape)).flatten().square()
    parts = grey.argsort().tensor_split(BINS)
    mean = torch.stack([grey[part].median() for part in parts])
    return mean, torch.stack([square[part].mean() for part in parts])


def _curve(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and noise variance of each bin of tiles."""
    details = (image.diff(dim=-2).diff(dim=-1) / 2).square()
    variance = F.avg_pool2d(details, EDGE).flatten()
    mean = F.avg_pool2d(image[..., :-1, :-1], EDGE).flatten()
    order = mean.argsort()
    means, variances = [], []
    for part in order.tensor_split(BINS):
        if len(part) < 2:
            continue
        kept = variance[part]
        means.append(mean[part].median())
        variances.append(kept.quantile(QUANTILE))
    # The details of a tile overlap, so that its variance has about half as many degrees of freedom.
    spread = 2.0 / (9.0 * 0.5 * EDGE**2)
    rank = (1.0 - spread - 0.6744897501960817 * spread**0.5) ** 3
    return torch.stack(means), torch.stack(variances) / rank
