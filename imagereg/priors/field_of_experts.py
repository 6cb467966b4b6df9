"""The Field of Experts: filters, learned from images, whose responses to natural images are mostly small."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step, align
from imagereg.priors.base import Functional, LinearMap, Prior


class FilterBank(LinearMap):
    """(K x)_k = s_k (c_k * x), taken where the filter lies within the image; slices of volumes one by one.

    Parameters
    ----------
    filters : c (K, 1, m, m).
    scales : s (K,).
    """

    def __init__(self, filters: torch.Tensor, scales: torch.Tensor) -> None:
        self.kernels = filters * scales[:, None, None, None]
        self.norm = math.sqrt(largest_response(self.kernels))

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, K, ..., H - m + 1, W - m + 1)."""
        lead = x.shape[:-2]
        z = F.conv2d(x.reshape(-1, 1, *x.shape[-2:]), self.kernels.to(x))
        return z.reshape(*lead, *z.shape[-3:]).movedim(-3, 2)

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """(B, C, ..., H, W)."""
        z = z.movedim(2, -3)
        x = F.conv_transpose2d(z.reshape(-1, *z.shape[-3:]), self.kernels.to(z))
        return x.reshape(*z.shape[:-3], *x.shape[-2:])


class SmoothedL1(Functional):
    """g(z) = a sum_k e_k sum_i (sqrt(z_ki^2 + e_k^2) - e_k), whose curvature is at most a.

    Parameters
    ----------
    edges : e (K,), where the parabola turns into a cone, in units of `ratio`.
    factor, ratio : a, and what all e are multiplied by; one number, or one for each item (B, 1, ..., 1).
    """

    def __init__(self, edges: torch.Tensor, factor: Step = 1.0, ratio: Step = 1.0) -> None:
        self.edges, self.factor, self.ratio = edges, factor, ratio

    def _edges(self, z: torch.Tensor) -> torch.Tensor:
        return self.edges.to(z).reshape(-1, *[1] * (z.ndim - 3)) * align(self.ratio, z)

    def slope(self, scale: Step) -> Step:
        """a, the largest curvature."""
        return self.factor

    def fn(self, z: torch.Tensor) -> torch.Tensor:
        """g(z) of each item, shape (B,)."""
        e = self._edges(z)
        return (align(self.factor, z) * e * (torch.hypot(z, e.expand_as(z)) - e)).flatten(1).sum(1)

    def grad(self, z: torch.Tensor) -> torch.Tensor:
        """a e z / sqrt(z^2 + e^2)."""
        e = self._edges(z)
        return align(self.factor, z) * e * z / torch.hypot(z, e.expand_as(z))


class FieldOfExpertsPrior(Prior):
    """a r sum_k w_k sum_i sqrt((c_k * x)_i^2 + (r v_k)^2), up to a constant: smooth, its curvature known.

    Parameters
    ----------
    weights, smoothings : w, v (K,), positive, in grey levels of the image times the fidelity's unit, and in
        grey levels.
    filters : c (K, 1, m, m).
    factor, ratio : a, and r, the grey values of the image over those of w and v; one number, or one for each
        item (B, 1, ..., 1).

    Raises
    ------
    UsageError
        When shapes do not fit or a number is not positive.

    References
    ----------
    S. Roth, M. Black, Int. J. Comput. Vis. 82 (2009) 205, doi:10.1007/s11263-008-0197-6; Y. Chen, R. Ranftl,
    T. Pock, IEEE Trans. Image Process. 23 (2014) 1060, doi:10.1109/TIP.2014.2299065.
    """

    smooth = True

    def __init__(
        self,
        weights: torch.Tensor,
        smoothings: torch.Tensor,
        filters: torch.Tensor,
        *,
        factor: Step = 1.0,
        ratio: Step = 1.0,
    ) -> None:
        count = len(filters)
        if filters.ndim != 4 or filters.shape[1] != 1 or filters.shape[2] != filters.shape[3]:
            raise UsageError(f"Field of Experts: filters of shape {tuple(filters.shape)}; give (K, 1, m, m).")
        for name, value in (("weights", weights), ("smoothings", smoothings)):
            if value.shape != (count,) or not bool((torch.isfinite(value) & (value > 0)).all()):
                raise UsageError(f"Field of Experts: {name} must be {count} positive numbers, one a filter.")
        # With z = sqrt(w / v) c * x, w sqrt((c * x)^2 + v^2) is e sqrt(z^2 + e^2), e = sqrt(w v).
        self.operator = FilterBank(filters, (weights / smoothings).sqrt())
        self.outer: SmoothedL1 = SmoothedL1((weights * smoothings).sqrt(), factor, ratio)

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        """a r sum_k w_k c_k^T * ((c_k * x) / sqrt((c_k * x)^2 + (r v_k)^2))."""
        return self.operator.A_adjoint(self.outer.grad(self.operator.A(x)))


def largest_response(kernels: torch.Tensor, *, points: int = 64) -> float:
    """An upper bound of sup over frequencies of sum_k |c_k^|^2, within 10 % for filters of up to 7 pixels.

    Within pi/d of its maximum M, a trigonometric polynomial of degree d lies above M cos(d t) (M. Riesz,
    1914), so that M is at most its maximum on `points` points divided by cos(pi d / points), in each one.

    Parameters
    ----------
    kernels : (K, 1, m, m).
    """
    degree = kernels.shape[-1] - 1
    points = max(points, 8 * degree)
    spectra = torch.fft.fft2(kernels[:, 0].double(), s=(points, points)).abs().square()
    return float(spectra.sum(0).max()) / math.cos(math.pi * degree / points) ** 2
