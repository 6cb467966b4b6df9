"""The data term in a Sobolev norm H^s: a frequency-weighted least squares."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Fidelity, Step
from imagereg.fidelities.frequencies import Boundary, FrequencyGrid


class Sobolev(Fidelity):
    r"""Half the squared H^s norm of the residual, f(u) = 1/2 ||u - y||²_{H^s}.

    f(u) = 1/2 sum_ω W(ω) |F(u - y)(ω)|², F orthonormal, with

        W(ω) ∝ (1 + scale² |ω|²)^s     inhomogeneous, or
        W(ω) ∝ (scale |ω|)^{2s}        homogeneous; W(0) ∝ `at_zero`

    and ω in radians per sample, so 1/scale is the frequency from which the weight bends: structures longer
    than 2π·scale samples count alike. With integer frequencies k of an axis of n samples, (1 + c² k²)^s is
    scale = c n / 2π. W is divided by its mean, so that strengths of priors keep their meaning whatever s is.

    f is the likelihood of Gaussian noise whose power spectrum is 1/W: s = 0 for white noise, s > 0 for noise
    at low frequencies, s < 0 for noise at high ones (`noise_spectrum.fit_order` measures s).

    Parameters
    ----------
    data : y, in deepinv's shapes.
    s : the order.
    scale : in samples of the transformed axes; it must be given, for s means nothing without it.
    axes : the axes of the norm: (-2, -1) of images, (-1,) for the detector axis of sinograms or the time
        axis of traces.
    homogeneous : weight by |ω| instead of (1 + |ω|²)^(1/2).
    at_zero : homogeneous weight of the mean, before normalisation; 0 leaves the mean free.
    boundary : 'periodic' (Fourier) or 'neumann' (cosine transform, for data that do not wrap round).

    Raises
    ------
    UsageError
        For a scale that is not positive, a negative `at_zero`, or axes that the data do not have.

    References
    ----------
    Zhu, Hu, Lou, Yang, "Implicit regularization effects of the Sobolev norms in image processing" (2021),
    arXiv 2109.06255.
    """

    def __init__(
        self,
        data: torch.Tensor,
        s: float,
        *,
        scale: float,
        axes: Sequence[int] = (-2, -1),
        homogeneous: bool = False,
        at_zero: float = 1.0,
        boundary: Boundary = "periodic",
    ) -> None:
        if not scale > 0:
            raise UsageError(f"scale = {scale}: give a positive length in samples.")
        if at_zero < 0:
            raise UsageError(f"at_zero = {at_zero}: give 0 (the mean is free) or a positive weight.")
        if data.is_complex():
            raise UsageError("the Sobolev data term takes real data; put complex data into two channels.")
        self.data = data
        self.s, self.scale, self.homogeneous = float(s), float(scale), homogeneous
        self.grid = FrequencyGrid(data.shape, axes, boundary)
        self._at_zero = float(at_zero)
        self.weight, full = self.grid.symbol(self._symbol, data)
        mean = float(full.mean())
        self.weight = self.weight / mean
        self.lipschitz = float(full.max()) / mean
        positive = bool((full > 0).all())
        self._whitened = mean * float((1 / full).mean()) if positive else float("inf")
        self._white = positive and float(full.max()) == float(full.min())

    def _symbol(self, squared: torch.Tensor) -> torch.Tensor:
        reduced = self.scale**2 * squared
        if not self.homogeneous:
            return (1 + reduced) ** self.s
        # The power of a placeholder 1 at ω = 0, since 0 ** s is infinite for s < 0.
        return torch.where(
            reduced > 0, torch.where(reduced > 0, reduced, 1.0) ** self.s, self._at_zero
        ).double()

    # ------------------------------------------------------------------ P_s and its relatives
    def norm_squared(self, r: torch.Tensor) -> torch.Tensor:
        """||r||²_{H^s} of each item of the batch, shape (B,)."""
        return (r * self.precision(r)).flatten(1).sum(1)

    def precision(self, r: torch.Tensor) -> torch.Tensor:
        """P_s² r = F^-1 (W F r): the inverse covariance of the noise that this data term assumes."""
        return r if self._white else self.grid.multiply(r, self.weight)

    def whiten(self, r: torch.Tensor) -> torch.Tensor:
        """P_s r = F^-1 (W^(1/2) F r), symmetric: white where r is noise of power spectrum 1/W."""
        return r if self._white else self.grid.multiply(r, self.weight.sqrt())

    def expected(self, sigma: float) -> float:
        """Mean of ||n||²_{H^s} / size for noise n of power spectrum 1/W and standard deviation `sigma`.

        It is sigma² / (mean W · mean 1/W): what the discrepancy principle compares `norm_squared` with.
        """
        return sigma**2 / self._whitened

    # ------------------------------------------------------------------ what solvers ask for
    def fn(self, u: torch.Tensor) -> torch.Tensor:
        """1/2 ||u - y||²_{H^s} of each item, shape (B,)."""
        return 0.5 * self.norm_squared(u - self.data)

    def grad(self, u: torch.Tensor) -> torch.Tensor:
        """P_s² (u - y)."""
        return self.precision(u - self.data)

    def curvature(self, u: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """<d, f''(u) d> = ||d||²_{H^s} of each item, shape (B,)."""
        return self.norm_squared(direction)

    def prox(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """F^-1 ((F u + γ W F y) / (1 + γ W)), written as y plus a filtered residual."""
        r = u - self.data
        if self._white:
            return self.data + r / (1 + gamma)
        return self.data + self.grid.multiply(r, 1 / (1 + self._broadcast(gamma) * self.weight))

    def prox_conjugate(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """F^-1 (W / (W + γ) F (u - γ y))."""
        shifted = u - gamma * self.data
        if self._white:
            return shifted / (1 + gamma)
        return self.grid.multiply(shifted, self.weight / (self.weight + self._broadcast(gamma)))

    def conjugate(self, v: torch.Tensor) -> torch.Tensor:
        """1/2 ||v||²_{H^-s} + <v, y> of each item; infinite where W(0) = 0 and v has a mean."""
        free = self.weight == 0
        inverse = torch.where(free, torch.zeros_like(self.weight), 1 / self.weight)
        smooth = v if self._white else self.grid.multiply(v, inverse)
        value = (0.5 * v * smooth + v * self.data).flatten(1).sum(1)
        if not bool(free.any()):
            return value
        outside = self.grid.multiply(v, free.to(v)).flatten(1).norm(dim=1)
        tolerance = 1e3 * torch.finfo(v.dtype).eps * v.flatten(1).norm(dim=1)
        return torch.where(outside > tolerance, torch.full_like(value, float("inf")), value)

    def _broadcast(self, gamma: Step) -> Step:
        """A step that is constant along the transformed axes, which is all that a filter can take."""
        if isinstance(gamma, torch.Tensor) and gamma.ndim:
            aligned = gamma.reshape(*[1] * (self.data.ndim - gamma.ndim), *gamma.shape)
            if any(aligned.shape[axis] > 1 for axis in self.grid.axes):
                raise UsageError(
                    "the Sobolev data term takes one step size for all entries of an item; "
                    "switch the preconditioning of the solver off."
                )
            return aligned
        return gamma
