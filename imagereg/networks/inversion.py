"""The inverse of the gradient of a convex network, and with it the prior that the network stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from imagereg.errors import UsageError


class Gradient(Protocol):
    """f = grad psi of a smooth convex psi, such as `imagereg.networks.icnn.ICNN`."""

    def __call__(self, x: torch.Tensor, /) -> torch.Tensor:
        """f(x), (B, C, H, W) to the same."""

    def potential(self, x: torch.Tensor, /) -> torch.Tensor:
        """psi of each item, (B,)."""


@dataclass(frozen=True, eq=False)
class PriorValue:
    """phi(x) up to a constant of the network, and how far it can be trusted.

    Attributes
    ----------
    value : phi(x) = <v, x> - 1/2 ||x||^2 - psi(v) of each item, (B,).
    residual : ||f(v) - x|| / ||x|| of each item, (B,); x lies in the range of f where it is near 0, and the
        value means nothing where it is not.
    point : v, (B, C, H, W).
    iterations : steps of the inversion.
    """

    value: torch.Tensor
    residual: torch.Tensor
    point: torch.Tensor
    iterations: int


def prior_value(
    network: Gradient, x: torch.Tensor, *, tolerance: float = 1e-4, iterations: int = 300, history: int = 10
) -> PriorValue:
    """phi(x) of the prior whose proximal operator f = grad psi is, by solving f(v) = x.

    v = argmin_v psi(v) - <x, v>, which is convex, by limited-memory BFGS from v = x, each item with its own
    history and line search; it ends when every residual is at most `tolerance`. Any v gives a lower bound
    of phi(x), for phi + 1/2 ||.||^2 is the conjugate of psi. phi estimates -sigma^2 log p, sigma^2 included.

    Parameters
    ----------
    network : psi.
    x : (B, C, H, W).
    tolerance : of ||f(v) - x|| / ||x||.
    iterations : at most.
    history : pairs of steps and changes of gradient that are kept.

    Raises
    ------
    UsageError
        When the tolerance or a number is not positive.

    References
    ----------
    Z. Fang, S. Buchanan, J. Sulam, ICLR (2024), arXiv:2310.14344; J. Nocedal, Math. Comp. 35 (1980) 773,
    doi:10.1090/S0025-5718-1980-0572855-7.
    """
    if not tolerance > 0 or iterations < 1 or history < 1:
        raise UsageError(
            f"prior_value(tolerance={tolerance}, iterations={iterations}, history={history}): all must be "
            "positive."
        )
    x = x.detach()
    size = x.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
    v, count = x.clone(), 0
    with torch.no_grad():
        gradient = network(v) - x
        pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        for count in range(1, iterations + 1):
            open_ = gradient.flatten(1).norm(dim=1) > tolerance * size
            if not bool(open_.any()):
                count -= 1
                break
            direction = -_two_loops(gradient, pairs)
            uphill = _inner(direction, gradient) >= 0
            direction = torch.where(uphill, -gradient, direction)
            # An item that is done stays as it is, so that its company makes no difference.
            direction = direction * _like(open_, direction)
            step, new_gradient = _search(network, x, v, gradient, direction)
            change = step * direction
            v = v + change
            pairs = (
                [*pairs[1 - history :], (change, new_gradient - gradient)]
                if history > 1
                else [(change, new_gradient - gradient)]
            )
            gradient = new_gradient
        residual = gradient.flatten(1).norm(dim=1) / size
        # Differences of large sums: in double precision, so that the digits that count are left.
        overlap = (v.double() * x.double()).flatten(1).sum(1)
        value = overlap - 0.5 * x.double().square().flatten(1).sum(1) - network.potential(v).double()
    return PriorValue(value.to(x.dtype), residual, v, count)


def value_at(network: Gradient, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """phi(x) of each item for x = f(v) whose v is known, (B,): no inversion is needed."""
    with torch.no_grad():
        overlap = (v.double() * x.double()).flatten(1).sum(1)
        half = 0.5 * x.double().square().flatten(1).sum(1)
        return (overlap - half - network.potential(v).double()).to(x.dtype)


def _search(
    network: Gradient, x: torch.Tensor, v: torch.Tensor, gradient: torch.Tensor, direction: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps, one an item, that halve the derivative along the direction at least, and the gradients there.

    psi - <x, .> is convex along the direction, so that the sign of its derivative brackets the minimum;
    unlike differences of values, derivatives keep their digits near it.
    """
    begin = _inner(direction, gradient)
    low, high = torch.zeros_like(begin), torch.full_like(begin, float("inf"))
    at_low = begin
    at_high = torch.zeros_like(begin)
    step = torch.ones_like(begin)
    for _ in range(12):
        new_gradient = network(v + step * direction) - x
        along = _inner(direction, new_gradient)
        good = along.abs() <= 0.5 * begin.abs()
        if bool(good.all()):
            break
        short = (along < 0) & ~good
        low, at_low = torch.where(short, step, low), torch.where(short, along, at_low)
        far = (along > 0) & ~good
        high, at_high = torch.where(far, step, high), torch.where(far, along, at_high)
        # The secant of the derivative, kept away from the ends of the bracket.
        share = (-at_low / (at_high - at_low).clamp_min(torch.finfo(x.dtype).tiny)).clamp(0.1, 0.9)
        inside = low + share * (high - low)
        further = torch.where(torch.isinf(high), 3 * step, inside)
        step = torch.where(good, step, further)
    else:
        new_gradient = network(v + step * direction) - x
    return step, new_gradient


def _two_loops(gradient: torch.Tensor, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The inverse Hessian of limited-memory BFGS times the gradient, for each item of its own."""
    q, memory = gradient, []
    scale = torch.ones_like(_inner(gradient, gradient))
    for change, gradient_change in reversed(pairs):
        product = _inner(change, gradient_change)
        # Pairs of an item that did not move, or whose bend is rounding, are left out.
        usable = product > 1e-10 * _inner(gradient_change, gradient_change)
        rate = torch.where(usable, 1 / torch.where(usable, product, 1.0), 0.0)
        part = rate * _inner(change, q)
        q = q - part * gradient_change
        memory.append((change, gradient_change, rate, part))
    if memory:
        change, gradient_change, rate, _ = memory[0]
        square = _inner(gradient_change, gradient_change)
        scale = torch.where(rate > 0, 1 / (rate * square).clamp_min(torch.finfo(gradient.dtype).tiny), 1.0)
    q = scale * q
    for change, gradient_change, rate, part in reversed(memory):
        q = q + (part - rate * _inner(gradient_change, q)) * change
    return q


def _inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _like((a * b).flatten(1).sum(1), a)


def _like(each: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return each.to(image.dtype).reshape(-1, *[1] * (image.ndim - 1))
