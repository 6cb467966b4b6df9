"""Adam and Muon, with all that they remember under plain names, so that a checkpoint holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Optimiser = Literal["muon", "adam"]


@dataclass(frozen=True)
class Adam:
    """w <- w - rate m / (sqrt(v) + 1e-8), m and v the debiased means of gradient and squared gradient.

    References
    ----------
    D. Kingma, J. Ba, ICLR (2015), arXiv:1412.6980.
    """

    first: float = 0.9
    second: float = 0.99

    def init(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """What is remembered of one weight before the first step."""
        return {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}

    def step(
        self, weight: torch.Tensor, gradient: torch.Tensor, memory: Mapping[str, torch.Tensor], step: int
    ) -> torch.Tensor:
        """The direction of step number `step` (from 1) to be subtracted; the memory is brought up to date."""
        memory["mean"].lerp_(gradient, 1 - self.first)
        memory["square"].lerp_(gradient.square(), 1 - self.second)
        mean = memory["mean"] / (1 - self.first**step)
        return mean / ((memory["square"] / (1 - self.second**step)).sqrt() + 1e-8)


@dataclass(frozen=True)
class Muon:
    """w <- w - rate max(1, rows / columns)^1/2 U V^T, U S V^T being the momentum of a matrix of weights.

    A convolution counts as the matrix of its output channels by all the rest. The orthogonal factor comes
    from five steps of a Newton-Schulz iteration, which brings all singular values near one.

    References
    ----------
    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon.
    """

    momentum: float = 0.95

    def init(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """What is remembered of one weight before the first step."""
        return {"momentum": torch.zeros_like(weight)}

    def step(
        self, weight: torch.Tensor, gradient: torch.Tensor, memory: Mapping[str, torch.Tensor], step: int
    ) -> torch.Tensor:
        """The direction to be subtracted; the memory is brought up to date."""
        memory["momentum"].lerp_(gradient, 1 - self.momentum)
        extrapolated = gradient.lerp(memory["momentum"], self.momentum).flatten(1)
        scale = max(1.0, extrapolated.shape[0] / extrapolated.shape[1]) ** 0.5
        return (scale * orthogonal(extrapolated)).reshape(weight.shape)


def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """U V^T of a matrix U S V^T, roughly: its singular values become numbers between 0.6 and 1.3."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        # The quintic of the reference: steep at zero, so that few steps suffice.
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Descent:
    """Descent of all weights of a network: Muon for matrices inside it, Adam for all others.

    Parameters
    ----------
    network : its parameters are changed in place; it may name those that are for Adam by `elementwise()`.
    kind : 'muon'; or 'adam' for all weights.
    rate : of Muon; Adam's is a twentieth of it beside Muon, and `rate` itself where it is alone.
    """

    def __init__(self, network: nn.Module, kind: Optimiser, rate: float) -> None:
        self.rate = rate
        self._weights = dict(network.named_parameters())
        ends = {name for name, weight in self._weights.items() if weight.ndim < 2 or 1 in weight.shape[:2]}
        ends |= getattr(network, "elementwise", set)()
        self._rules: dict[str, Adam | Muon] = {
            name: Adam() if kind == "adam" or name in ends else Muon() for name in self._weights
        }
        self._share = 1.0 if kind == "adam" else 0.05
        self.memory = {name: rule.init(self._weights[name].detach()) for name, rule in self._rules.items()}

    @torch.no_grad()
    def step(self, number: int, factor: float) -> None:
        """Take step `number`, from 1, at `factor` times the rate, with the gradients in the weights."""
        for name, weight in self._weights.items():
            if weight.grad is None:
                continue
            rule = self._rules[name]
            direction = rule.step(weight, weight.grad, self.memory[name], number)
            share = self._share if isinstance(rule, Adam) else 1.0
            weight -= self.rate * factor * share * direction
            weight.grad = None
