"""The two levels of learning from pairs: min_theta g(x(theta)), x(theta) = argmin_x h(x, theta)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch


class LowerLevel(ABC):
    """x(theta) = argmin_x h(x, theta), h twice differentiable and strongly convex in x.

    A batch of images is one variable x (B, C, H, W); h is the sum over the batch. theta is a vector (d,).

    Attributes
    ----------
    names : what the entries of theta are, one name an entry, or one for all of them.
    convexity : mu > 0, a true lower bound of the Hessian's eigenvalues for every x and theta.
    data : (B, C, H, W) what the images are made from; also where the first solve starts.
    """

    names: tuple[str, ...]
    convexity: float
    data: torch.Tensor

    @abstractmethod
    def energy(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """h(x, theta), a scalar that autograd can differentiate twice."""

    @abstractmethod
    def smoothness(self, theta: torch.Tensor) -> float:
        """L, an upper bound of the Hessian's eigenvalues for every x."""

    def gradient(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """Gradient of h in x."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.energy(x, theta.detach()), x)[0]

    def lipschitz(self, x: torch.Tensor, theta: torch.Tensor) -> tuple[float, float] | None:
        """Proven (L_H, L_J), the Lipschitz constants in x of Hessian and J; None where none are known."""
        return None

    def start(self) -> torch.Tensor:
        """The image at which the first solve starts."""
        return self.data.clone()


class UpperLevel(ABC):
    """g(x), what the learned parameters shall make small.

    Attributes
    ----------
    lipschitz : L_g, Lipschitz constant of the gradient.
    convex : True where g is convex, which sharpens the lower bound of MAID's descent test.
    """

    lipschitz: float
    convex: bool = True

    @abstractmethod
    def value(self, x: torch.Tensor) -> float:
        """g(x)."""

    @abstractmethod
    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """Gradient of g, in the shape of x."""


class MeanSquaredError(UpperLevel):
    """g(x) = 1/(2 n) sum_i ||x_i - truth_i||^2 over n example images.

    Parameters
    ----------
    truth : (n, C, H, W) the clean images.
    """

    def __init__(self, truth: torch.Tensor) -> None:
        self.truth = truth
        self.lipschitz = 1.0 / truth.shape[0]

    def value(self, x: torch.Tensor) -> float:
        """g(x)."""
        return float(0.5 * self.lipschitz * (x - self.truth).square().sum())

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """(x - truth) / n."""
        return self.lipschitz * (x - self.truth)
