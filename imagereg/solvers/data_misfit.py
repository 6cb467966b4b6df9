"""How well a decoded image explains the data: as it is, or up to Gaussian noise of the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.fidelities.base import align
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.priors.base import IdentityMap
from imagereg.solvers.linear import data_block, penalty_block, proximal_point, require_linear, solve
from imagereg.solvers.problem import Problem, Refusal


@dataclass(frozen=True, eq=False)
class Misfit:
    """-log p(y | d) up to a constant, d = D(z) the decoded image.

    Without noise of the decoder it is scale f(A d), f the least squares of the problem. With x = d + gamma g,
    g ~ N(0, 1), it is that of y ~ N(A d, S + gamma^2 A A^T), S being the noise of the data, as

        min over x of scale f(A x) + ||x - d||^2 / (2 gamma^2),

    which is the same number; x is found in closed form or by conjugate gradients, and the gradient by d is
    (d - x) / gamma^2.

    Parameters
    ----------
    scale : 1 / sigma^2 of each item, (B,), where f has no weights; 1 where its weights are 1 / variance.
    gamma : standard deviation of the decoder in the units of the image, one an item shaped (B, 1, ...); None
        for a decoder without noise.
    inner, tolerance : conjugate gradients of a step: steps at most, and reduction of the gradient.
    """

    scale: torch.Tensor
    gamma: torch.Tensor | None = None
    inner: int = 8
    tolerance: float = 1e-2

    def check(self, problem: Problem) -> None:
        """Refuse what has no Gaussian density, and noise of the decoder where A is not linear."""
        if not isinstance(problem.fidelity, LeastSquares):
            name = type(problem.fidelity).__name__
            raise Refusal(f"VBLE: {name} is not a least-squares fidelity; weigh the data by their variance.")
        if self.gamma is not None:
            require_linear(problem, "VBLE-xz")

    def __call__(
        self, problem: Problem, image: torch.Tensor, warm: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The misfit of each item (B,), differentiable by the image, and x to start from the next time."""
        if self.gamma is None:
            return self.scale * problem.fidelity.fn(problem.physics.A(image)), None
        with torch.no_grad():
            x = self._solve(problem, image.detach(), warm, self.inner, self.tolerance)
            fit = self.scale * problem.fidelity.fn(problem.physics.A(x))
        # At the minimum over x the derivative by x vanishes, so that x counts as fixed.
        return fit + ((x - image) / self.gamma).square().flatten(1).sum(1) / 2, x

    def restored(self, problem: Problem, image: torch.Tensor) -> torch.Tensor:
        """E[x | d, y]: the decoded image itself without noise of the decoder."""
        if self.gamma is None:
            return image
        return self._solve(problem, image, None, 100, 1e-4)

    def sample(
        self,
        problem: Problem,
        image: torch.Tensor,
        generator: torch.Generator,
        *,
        tolerance: float = 1e-3,
    ) -> torch.Tensor:
        """One draw of p(x | d, y), by solving for perturbed data and a perturbed image.

        References
        ----------
        G. Papandreou, A. Yuille, NeurIPS (2010) 1858 (perturb and solve).
        """
        if self.gamma is None:
            return image
        fidelity = problem.fidelity
        assert isinstance(fidelity, LeastSquares)
        weights = torch.ones_like(fidelity.data) if fidelity.weights is None else fidelity.weights
        precision = align(self.scale, weights) * weights
        # A datum of weight 0 counts for nothing, whatever its noise.
        deviation = torch.where(precision > 0, precision, 1.0).rsqrt()
        data = fidelity.data + deviation * _noise(fidelity.data, generator)
        noisy = Problem(LeastSquares(data, fidelity.weights), problem.physics)
        return self._solve(noisy, image + self.gamma * _noise(image, generator), None, 100, tolerance)

    def _solve(
        self,
        problem: Problem,
        centre: torch.Tensor,
        warm: torch.Tensor | None,
        iterations: int,
        tolerance: float,
    ) -> torch.Tensor:
        """argmin_x scale f(A x) + ||x - centre||^2 / (2 gamma^2)."""
        assert self.gamma is not None
        weight = 1 / (self.gamma.square() * self.scale.reshape(self.gamma.shape))
        found = proximal_point(problem, centre, weight)
        if found is not None:
            return found
        blocks = [data_block(problem), penalty_block(IdentityMap(), weight, centre)]
        first = centre if warm is None else warm
        return solve(blocks, first, iterations=iterations, tolerance=tolerance)["image"]


def _noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """White noise that is the same for every item."""
    return torch.randn(like.shape[1:], generator=generator, dtype=torch.float64).to(like).expand_as(like)
