"""Poisson likelihoods: counts that an image emits, and counts that it lets through."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Fidelity, Step


class KullbackLeibler(Fidelity):
    """Likelihood of y ~ Poisson(u + b), as the divergence that is 0 where u + b = y.

    f(u) = strength sum_i [u_i + b - y_i + y_i log(y_i / (u_i + b))], infinite where u_i + b is not positive
    (where y_i = 0: negative).

    Parameters
    ----------
    data : y, counts of at least 0.
    background : b, counts that do not come from the image; a number or a tensor that broadcasts.
    strength : factor of the whole.

    Raises
    ------
    UsageError
        When counts or background are negative.

    References
    ----------
    M. Bertero et al., Inverse Problems 25 (2009) 123006, doi:10.1088/0266-5611/25/12/123006.
    """

    def __init__(
        self, data: torch.Tensor, *, background: float | torch.Tensor = 0.0, strength: Step = 1.0
    ) -> None:
        _refuse_negative(data, "Kullback-Leibler: some counts are")
        _refuse_negative(torch.as_tensor(background), "Kullback-Leibler: background is")
        self.data, self.background, self.strength = data, background, strength

    @property
    def estimate(self) -> torch.Tensor:
        """max(y - b, 0)."""
        return (self.data - self.background).clamp_min(0)

    def fn(self, u: torch.Tensor) -> torch.Tensor:
        """f(u) of each item, shape (B,)."""
        mean, y = u + self.background, self.data
        inside = torch.where(y > 0, mean > 0, mean >= 0)
        safe = torch.where(inside & (mean > 0), mean, torch.ones_like(mean))
        value = mean - y + torch.xlogy(y, y) - y * safe.log()
        value = torch.where(inside, value, torch.full_like(value, torch.inf))
        return (self.strength * value).flatten(1).sum(1)

    def grad(self, u: torch.Tensor) -> torch.Tensor:
        """strength (1 - y / (u + b))."""
        mean = (u + self.background).clamp_min(torch.finfo(u.dtype).tiny)
        return self.strength * (1 - self.data / mean)

    def curvature(self, u: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """strength sum y d^2 / (u + b)^2 of each item, shape (B,)."""
        mean = (u + self.background).clamp_min(torch.finfo(u.dtype).tiny ** 0.5)
        # The root goes in first: an empty datum would be 0 times infinity.
        return (self.strength * (self.data.sqrt() * direction / mean).square()).flatten(1).sum(1)

    def prox(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """The positive root: m = v + b solves m^2 + (t - u - b) m - t y = 0 with t = gamma strength."""
        t = gamma * self.strength
        p = u + self.background - t
        root = (p * p + 4 * t * self.data).sqrt()
        # Two forms of one root: each loses no digits on its side of p = 0.
        below = 2 * t * self.data / (root - p).clamp_min(torch.finfo(u.dtype).tiny)
        return torch.where(p >= 0, (p + root) / 2, below) - self.background

    def conjugate(self, v: torch.Tensor) -> torch.Tensor:
        """-sum [strength y log(1 - v/strength) + b v] of each item; infinite for v above the strength."""
        y, ratio = self.data, v / self.strength
        inside = torch.where(y > 0, ratio < 1, ratio <= 1)
        safe = torch.where(inside, ratio, torch.zeros_like(ratio)).clamp_max(1 - torch.finfo(v.dtype).eps / 4)
        value = -self.strength * torch.where(y > 0, y * torch.log1p(-safe), torch.zeros_like(y))
        value = value - self.background * v
        return torch.where(inside, value, torch.full_like(value, torch.inf)).flatten(1).sum(1)


class TransmissionPoisson(Fidelity):
    """Likelihood of counts N ~ Poisson(I0 exp(-u)) behind an absorber with line integrals u.

    f(u) = strength sum_i [I0_i exp(-u_i) + N_i u_i - c_i], c_i = N_i (1 - log(N_i / I0_i)), which makes
    the minimum 0. It is convex, and its curvature at the data's own line integrals is N: to second order it
    is the least squares weighted with the counts, without their bias at few counts.

    Parameters
    ----------
    counts : N, at least 0.
    blank : I0, the mean counts with nothing in the beam; a number or a tensor that broadcasts.
    strength : factor of the whole.

    Raises
    ------
    UsageError
        When counts are negative or I0 is not positive.

    References
    ----------
    K. Lange and R. Carson, J. Comput. Assist. Tomogr. 8 (1984) 306; K. Sauer and C. Bouman, IEEE Trans.
    Signal Process. 41 (1993) 534, doi:10.1109/78.193196.
    """

    def __init__(self, counts: torch.Tensor, *, blank: float | torch.Tensor, strength: Step = 1.0) -> None:
        _refuse_negative(counts, "transmission Poisson: some counts are")
        blank = torch.as_tensor(blank, dtype=counts.dtype, device=counts.device)
        if not bool((blank > 0).all()):
            raise UsageError(
                "transmission Poisson: I0 is not positive everywhere; give the blank scan's counts."
            )
        self.data, self.blank, self.strength = counts, blank, strength

    @property
    def estimate(self) -> torch.Tensor:
        """log(I0 / N), a count of 0 being taken for half a count."""
        return (self.blank / self.data.clamp_min(0.5 * self.data.max().clamp_max(1.0))).log()

    def fn(self, u: torch.Tensor) -> torch.Tensor:
        """f(u) of each item, shape (B,)."""
        n = self.data
        least = n - torch.xlogy(n, n / self.blank)
        return (self.strength * (self.blank * torch.exp(-u) + n * u - least)).flatten(1).sum(1)

    def grad(self, u: torch.Tensor) -> torch.Tensor:
        """strength (N - I0 exp(-u))."""
        return self.strength * (self.data - self.blank * torch.exp(-u))

    def curvature(self, u: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """strength sum I0 exp(-u) d^2 of each item, shape (B,)."""
        return (self.strength * self.blank * torch.exp(-u) * direction.square()).flatten(1).sum(1)

    def prox(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """The root of v - u + t (N - I0 exp(-v)) = 0, t = gamma strength, by safeguarded Newton steps.

        With w = v - u + t N it is w = a exp(-w), a = t I0 exp(t N - u): Lambert's function, for which
        Newton's method on w + log w = log a converges from w = log a above 1 and from a / (1 + a) below.
        """
        t = torch.as_tensor(gamma * self.strength, dtype=u.dtype, device=u.device)
        base = u - t * self.data
        log_a = (t * self.blank).log() - base
        small = log_a < 1
        a = torch.where(small, log_a, torch.zeros_like(log_a)).exp()
        w = torch.where(small, a / (1 + a), log_a.clamp_min(1.0))
        for _ in range(50):
            # Below 1 Newton on w e^w = a; above on w + log w = log a. Both are monotone after one step.
            low = w - (w - a * torch.exp(-w)) / (1 + w)
            high = w - w * (w + w.clamp_min(torch.finfo(u.dtype).tiny).log() - log_a) / (1 + w)
            new = torch.where(small, low, high)
            # The root lies in (0, max(log a, 1)): a step that leaves it is cut to half the way.
            new = torch.where(new <= 0, w / 2, new)
            done = (new - w).abs() <= 4 * torch.finfo(u.dtype).eps * new.abs()
            w = new
            if bool(done.all()):
                break
        v = base + w
        for _ in range(2):
            # The sum above loses digits where t N is large; Newton on the equation itself finds them again.
            curvature = t * self.blank * torch.exp(-v)
            v = v - ((v - u) + (t * self.data - curvature)) / (1 + curvature)
        return v

    def conjugate(self, v: torch.Tensor) -> torch.Tensor:
        """With q = N - v/strength: strength sum [q log(q / I0) - q + c'], infinite for v above strength N."""
        q = self.data - v / self.strength
        inside = q >= 0
        q = q.clamp_min(0)
        n = self.data
        least = n - torch.xlogy(n, n / self.blank)
        value = self.strength * (torch.xlogy(q, q / self.blank) - q + least)
        return torch.where(inside, value, torch.full_like(value, torch.inf)).flatten(1).sum(1)


def _refuse_negative(values: torch.Tensor, what: str) -> None:
    if not bool((values >= 0).all()):
        raise UsageError(f"{what} negative or not numbers; subtract the dark field first, or clip them at 0.")
