"""Small methods and physics with closed forms, to test what runs methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import deepinv.physics
import torch

from imagereg.measurement import Measurement
from imagereg.methods.base import Method
from imagereg.parameters import parameter
from imagereg.solvers.state import State


class Dense(deepinv.physics.LinearPhysics):
    """y = A x with a dense matrix; images (B, 1, 1, N), data (B, 1, 1, M)."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        return x @ self.matrix.T

    def A_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        return y @ self.matrix


class Ridge(Method):
    """(A^T A + strength I)^-1 A^T y, by dense algebra through the physics."""

    name: ClassVar[str] = "toy_ridge"
    title: ClassVar[str] = "Ridge"
    summary: ClassVar[str] = "closed form"
    reference: ClassVar[str] = ""
    main: ClassVar[str] = "strength"
    strength: float = parameter(1.0, "strength", gt=0, log=True)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        y, physics = measurement.data, measurement.physics
        back = physics.A_adjoint(y)
        n = back[0].numel()
        units = torch.eye(n, dtype=y.dtype).reshape(n, *back.shape[1:])
        normal = physics.A_adjoint(physics.A(units)).reshape(n, n)
        shifted = normal + self.strength * torch.eye(n, dtype=y.dtype)
        image = torch.linalg.solve(shifted, back.flatten(1).T).T.reshape(back.shape)
        yield State(image, 1, 1, finished="closed form")


class SoftThreshold(Method):
    """sign(y) max(|y| - strength, 0): a non-linear denoiser whose divergence is known."""

    name: ClassVar[str] = "toy_soft"
    title: ClassVar[str] = "Soft threshold"
    summary: ClassVar[str] = "closed form"
    reference: ClassVar[str] = ""
    main: ClassVar[str] = "strength"
    strength: float = parameter(0.1, "strength", ge=0, log=True)
    shift: float = parameter(0.0, "added to the result", ge=-1, le=1)
    repeats: int = parameter(1, "iterations", ge=1)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        for k in range(1, self.repeats + 1):
            y = measurement.data
            image = y.sign() * (y.abs() - self.strength).clamp_min(0) + self.shift
            yield State(image, k, self.repeats)


class Smooth(Method):
    """argmin ||M x - y||^2 + strength ||D x||^2 by conjugate gradients, D periodic differences."""

    name: ClassVar[str] = "toy_smooth"
    title: ClassVar[str] = "Smooth"
    summary: ClassVar[str] = "quadratic smoothing"
    reference: ClassVar[str] = ""
    main: ClassVar[str] = "strength"
    strength: float = parameter(1.0, "strength", gt=0, log=True)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        physics = measurement.physics

        def normal(x: torch.Tensor) -> torch.Tensor:
            laplacian = 4 * x
            for axis in (-2, -1):
                laplacian = laplacian - x.roll(1, axis) - x.roll(-1, axis)
            return physics.A_adjoint(physics.A(x)) + self.strength * laplacian

        right = physics.A_adjoint(measurement.data)
        x = torch.zeros_like(right)
        residual = right.clone()
        direction = residual.clone()
        square = residual.square().sum()
        for k in range(1, 201):
            image = normal(direction)
            step = square / (direction * image).sum()
            x = x + step * direction
            residual = residual - step * image
            before, square = square, residual.square().sum()
            done = bool(square <= 1e-20 * right.square().sum())
            yield State(x, k, 200, finished="converged" if done else "")
            if done:
                return
            direction = residual + (square / before) * direction
