"""The gradient of a bilevel problem from inexact solves, with a bound on its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from imagereg.choose.bilevel import LowerLevel, UpperLevel
from imagereg.errors import UsageError


@dataclass(frozen=True)
class Constants:
    """What the error bound of a hypergradient needs to know of the lower level near the current image.

    Parameters
    ----------
    jacobian : ||J||, J = d/dtheta grad_x h (N, d).
    jacobian_lipschitz : L_J, Lipschitz constant of J in x.
    inverse_hessian_lipschitz : Lipschitz constant of H^-1 in x, H = Hessian of h in x.
    certified : True where these are proven upper bounds, False where they were measured.
    """

    jacobian: float
    jacobian_lipschitz: float
    inverse_hessian_lipschitz: float
    certified: bool


class Linearisation:
    """H and J of the lower level at one image, by autograd through one retained graph of its gradient."""

    def __init__(self, lower: LowerLevel, x: torch.Tensor, theta: torch.Tensor) -> None:
        with torch.enable_grad():
            self._x = x.detach().requires_grad_()
            self._theta = theta.detach().requires_grad_()
            energy = lower.energy(self._x, self._theta)
            self.gradient_graph = torch.autograd.grad(energy, self._x, create_graph=True)[0]
        self.gradient = self.gradient_graph.detach()

    def hessian(self, q: torch.Tensor) -> torch.Tensor:
        """H q."""
        return torch.autograd.grad(self.gradient_graph, self._x, q, retain_graph=True)[0]

    def jacobian_transposed(self, q: torch.Tensor) -> torch.Tensor:
        """J^T q, a vector (d,)."""
        return torch.autograd.grad(self.gradient_graph, self._theta, q, retain_graph=True)[0]

    def jacobian_norm(self, *, exact_up_to: int = 32, generator: torch.Generator | None = None) -> float:
        """||J||: exact from all columns for small d, else by 12 power iterations, which come from below."""
        d = self._theta.numel()
        with torch.enable_grad():
            probe = torch.zeros_like(self._x, requires_grad=True)
            products = torch.autograd.grad(self.gradient_graph, self._theta, probe, create_graph=True)[0]

        def column(v: torch.Tensor) -> torch.Tensor:
            return torch.autograd.grad(products, probe, v, retain_graph=True)[0]

        if d <= exact_up_to:
            unit = torch.eye(d, dtype=self._theta.dtype, device=self._theta.device)
            columns = torch.stack([column(e).flatten() for e in unit])
            return float(torch.linalg.matrix_norm(columns, 2))
        v = torch.randn(d, dtype=self._theta.dtype, device=self._theta.device, generator=generator)
        norm = 0.0
        for _ in range(12):
            v = self.jacobian_transposed(column(v / v.norm()))
            norm = math.sqrt(float(v.norm()))
        return norm


@dataclass(frozen=True, eq=False)
class Solve:
    """An inexact solution with what is certain of it: the image lies within `error` of the exact one."""

    image: torch.Tensor
    error: float
    iterations: int


def solve_lower(
    lower: LowerLevel,
    theta: torch.Tensor,
    start: torch.Tensor,
    *,
    accuracy: float,
    most: int = 20_000,
) -> Solve:
    """x~ with ||x~ - x(theta)|| <= accuracy, by Nesterov's method for strongly convex functions.

    Stops at ||grad h(x~)|| <= mu * accuracy, which implies it. `error` in the answer is ||grad h||/mu.

    Raises
    ------
    UsageError
        When `most` iterations do not suffice, with the accuracy that they gave.
    """
    mu, smooth = lower.convexity, lower.smoothness(theta)
    momentum = (math.sqrt(smooth) - math.sqrt(mu)) / (math.sqrt(smooth) + math.sqrt(mu))
    image = previous = start
    for iteration in range(1, most + 1):
        gradient = lower.gradient(image, theta)
        error = float(gradient.norm()) / mu
        if error <= accuracy:
            return Solve(image, error, iteration)
        following = image - gradient / smooth
        image, previous = following + momentum * (following - previous), following
    raise UsageError(
        f"the lower-level solve reached an error of {error:.2g} of the {accuracy:.2g} asked for in {most} "
        "iterations: its condition number is too large; raise the smoothing or allow more iterations."
    )


@dataclass(frozen=True, eq=False)
class Adjoint:
    """q with ||H q - grad g|| = residual."""

    image: torch.Tensor
    residual: float
    iterations: int


def solve_adjoint(
    at: Linearisation,
    right: torch.Tensor,
    start: torch.Tensor,
    *,
    accuracy: float,
    most: int = 5_000,
) -> Adjoint:
    """q with ||H q - right|| <= accuracy (absolute), by conjugate gradients from `start`.

    The residual in the answer is computed afresh, because the one that the recursion carries drifts.
    """
    q = start.clone()
    residual = right - at.hessian(q)
    direction = residual.clone()
    square = float(residual.square().sum())
    used = 1
    while math.sqrt(square) > accuracy and used < most:
        image = at.hessian(direction)
        step = square / float((direction * image).sum())
        q += step * direction
        residual -= step * image
        before, square = square, float(residual.square().sum())
        direction = residual + (square / before) * direction
        used += 1
    return Adjoint(q, float((right - at.hessian(q)).norm()), used + 1)


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """z near grad f(theta), f(theta) = g(x(theta)), with ||z - grad f|| <= bound."""

    direction: torch.Tensor
    bound: float
    image: torch.Tensor
    adjoint: torch.Tensor
    error: float
    residual: float
    constants: Constants
    lower_iterations: int
    adjoint_iterations: int

    @property
    def norm(self) -> float:
        """||z||."""
        return float(self.direction.norm())


def error_bound(
    constants: Constants,
    *,
    convexity: float,
    upper_lipschitz: float,
    upper_gradient: float,
    error: float,
    residual: float,
) -> float:
    """omega = c eps + ||J|| delta / mu + L_J L_g eps^2 / mu, a bound on ||z - grad f||.

    c = L_g ||J||/mu + L_{H^-1} ||grad g|| ||J|| + L_J ||grad g||/mu. Salehi, Mukherjee, Roberts, Ehrhardt,
    "An adaptively inexact first-order method for bilevel optimization", 2025, doi 10.1137/24M1653513.

    Parameters
    ----------
    convexity : mu.
    upper_lipschitz, upper_gradient : L_g and ||grad g(x~)||.
    error : eps >= ||x~ - x(theta)||.
    residual : delta >= ||H q - grad g(x~)||.
    """
    j, lj = constants.jacobian, constants.jacobian_lipschitz
    c = (
        upper_lipschitz * j / convexity
        + constants.inverse_hessian_lipschitz * upper_gradient * j
        + lj * upper_gradient / convexity
    )
    return c * error + j * residual / convexity + lj * upper_lipschitz * error**2 / convexity


class Lipschitz:
    """The constants of the bound: proven by the lower level where it can, else measured with running maxima.

    Measuring compares H q and J^T q at x and at a random point at the distance of the current error: what it
    gives is typical and may be too small, so that the bound built on it is an estimate, not a proof.
    """

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._hessian = self._jacobian = 0.0

    def constants(
        self,
        lower: LowerLevel,
        at: Linearisation,
        x: torch.Tensor,
        theta: torch.Tensor,
        q: torch.Tensor,
        error: float,
    ) -> Constants:
        """Constants at the image x, where q is the current adjoint."""
        norm = at.jacobian_norm(generator=self._generator)
        proven = lower.lipschitz(x, theta)
        mu = lower.convexity
        if proven is not None and theta.numel() <= 32:
            return Constants(norm, proven[1], proven[0] / mu**2, True)
        if float(q.norm()) > 0:
            shift = torch.randn(x.shape, dtype=x.dtype, generator=self._generator).to(x.device)
            shift *= max(error, 1e-6 * float(x.norm())) / shift.norm()
            other = Linearisation(lower, x + shift, theta)
            scale = float(shift.norm() * q.norm())
            change = float((other.hessian(q) - at.hessian(q)).norm()) / scale
            self._hessian = max(self._hessian, change)
            change = float((other.jacobian_transposed(q) - at.jacobian_transposed(q)).norm()) / scale
            self._jacobian = max(self._jacobian, change)
        return Constants(norm, self._jacobian, self._hessian / mu**2, False)


def hypergradient(
    lower: LowerLevel,
    upper: UpperLevel,
    theta: torch.Tensor,
    *,
    start: torch.Tensor,
    adjoint: torch.Tensor | None = None,
    accuracy: float,
    residual: float,
    lipschitz: Lipschitz | None = None,
) -> Hypergradient:
    """z = -J^T q near grad f(theta), from an inexact image and an inexact adjoint, with a bound on its error.

    Parameters
    ----------
    theta : (d,) parameters.
    start : (B, C, H, W) image to start the lower solve at.
    adjoint : q to start conjugate gradients at; zero where not given.
    accuracy : eps, largest ||x~ - x(theta)||.
    residual : delta, largest ||H q - grad g(x~)||.
    lipschitz : where measured constants are kept from one call to the next.
    """
    solved = solve_lower(lower, theta, start, accuracy=accuracy)
    at = Linearisation(lower, solved.image, theta)
    right = upper.gradient(solved.image)
    first = torch.zeros_like(right) if adjoint is None else adjoint
    dual = solve_adjoint(at, right, first, accuracy=residual)
    constants = (lipschitz or Lipschitz()).constants(lower, at, solved.image, theta, dual.image, solved.error)
    bound = error_bound(
        constants,
        convexity=lower.convexity,
        upper_lipschitz=upper.lipschitz,
        upper_gradient=float(right.norm()),
        error=solved.error,
        residual=dual.residual,
    )
    return Hypergradient(
        -at.jacobian_transposed(dual.image),
        bound,
        solved.image,
        dual.image,
        solved.error,
        dual.residual,
        constants,
        solved.iterations,
        dual.iterations,
    )
