"""The largest eigenvalue of a symmetric map, of each item of a batch, for step sizes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from imagereg.physics.distributed import own_rows, whole_shape
from imagereg.solvers.problem import inner


def largest_eigenvalue(
    operator: Callable[[torch.Tensor], torch.Tensor],
    like: torch.Tensor,
    *,
    smooth: torch.Tensor | None = None,
    iterations: int = 16,
    accuracy: float = 1e-2,
) -> torch.Tensor:
    """An upper estimate of the largest eigenvalue of each item, shaped (B, 1, ..., 1).

    Lanczos steps: the largest Ritz value plus the norm of its residual, which bounds it once the value has
    settled on the top of the spectrum. Every item starts from the same noise.

    Parameters
    ----------
    operator : a symmetric positive semi-definite map of images that treats items alike.
    like : an image in the shape, dtype and device.
    smooth : a second start, mixed in: with two families of large eigenvectors (smooth ones of A^T A, rough
        ones of a gradient) noise alone would see the smooth ones too late.
    iterations : applications of the operator at most.
    accuracy : relative size of the residual at which it stops.

    References
    ----------
    Y. Zhou and R.-C. Li, Linear Algebra Appl. 435 (2011) 480, doi:10.1016/j.laa.2010.06.034 (the bound).
    """
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(whole_shape(like[:1].shape), generator=generator, dtype=torch.float64)
    noise = own_rows(drawn).to(like).expand_as(like)
    vector = noise / inner(noise, noise).sqrt()
    if smooth is not None:
        size = inner(smooth, smooth).sqrt()
        vector = vector + torch.where(size > 0, smooth / size, 0.0)
    vector = vector / inner(vector, vector).sqrt()
    before, beta = torch.zeros_like(vector), torch.zeros_like(inner(vector, vector))
    diagonal: list[torch.Tensor] = []
    beside: list[torch.Tensor] = []
    bound = beta
    for _ in range(iterations):
        image = operator(vector) - beta * before
        alpha = inner(vector, image)
        image = image - alpha * vector
        beta = inner(image, image).sqrt()
        diagonal.append(alpha.flatten().double())
        matrix = torch.diag_embed(torch.stack(diagonal, dim=1))
        if beside:
            off = torch.stack(beside, dim=1)
            matrix = matrix + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        values, vectors = torch.linalg.eigh(matrix)
        theta, short = values[:, -1], beta.flatten().double() * vectors[:, -1, -1].abs()
        bound = (theta + short).to(like.dtype).reshape_as(beta)
        if bool((short <= accuracy * theta).all()) or bool((beta.flatten() <= 1e-6 * theta).all()):
            break
        beside.append(beta.flatten().double())
        before, vector = vector, image / beta.clamp_min(torch.finfo(like.dtype).tiny)
    return bound
