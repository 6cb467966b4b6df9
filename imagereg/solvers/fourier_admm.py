"""ADMM whose image step is one division in Fourier space: Sobolev data terms of convolutions, with TV."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.fidelities.frequencies import FrequencyGrid
from imagereg.fidelities.sobolev import Sobolev
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class Symbols:
    """A and K^T K of a problem on the frequencies of its data term, which diagonalises both.

    Attributes
    ----------
    grid : the frequencies.
    weight : W of the data term.
    a : of A; k : of K^T K.
    """

    grid: FrequencyGrid
    weight: torch.Tensor
    a: torch.Tensor
    k: torch.Tensor

    @classmethod
    def of(cls, problem: Problem) -> Symbols | str:
        """The symbols, or in words why there are none."""
        fidelity = problem.fidelity
        if not isinstance(fidelity, Sobolev):
            return f"the data term {type(fidelity).__name__} has no weights over frequencies"
        if len(problem.priors) != 1 or problem.priors[0].outer is None:
            return "it takes one prior g(K x) with a proximal operator of g"
        grid, operator = fidelity.grid, problem.priors[0].operator
        a = grid.symbol_of(problem.physics.A, fidelity.data)
        if a is None:
            return f"{type(problem.physics).__name__} is no convolution with {grid.boundary} borders"
        k = grid.symbol_of(lambda x: operator.A_adjoint(operator.A(x)), fidelity.data)
        if k is None:
            return (
                f"the prior {type(problem.priors[0]).__name__} is not invariant with {grid.boundary} borders"
            )
        return cls(grid, fidelity.weight, a, k.real.clamp_min(0))

    def solve(self, spectrum: torch.Tensor, rho: float | torch.Tensor) -> torch.Tensor:
        """F^-1 (spectrum / (W |a|² + rho k)); 0 where both terms vanish (the mean, if nothing sees it)."""
        below = self.weight * self.a.abs().square() + rho * self.k
        nonzero = below > 0
        return self.grid.inverse(torch.where(nonzero, spectrum / torch.where(nonzero, below, 1.0), 0.0))

    def data_side(self, data: torch.Tensor) -> torch.Tensor:
        """W conj(a) F y."""
        return self.weight * self.a.conj() * self.grid.transform(data)


def tikhonov(problem: Problem, strength: float) -> torch.Tensor:
    """argmin 1/2 ||A x - y||²_{H^s} + strength/2 ||K x||² = F^-1 (W conj(a) F y / (W |a|² + strength k)).

    K is the operator of the problem's one prior, whose g does not matter here.

    Raises
    ------
    Refusal
        When A or K is not diagonal on the frequencies of the data term.
    """
    symbols = Symbols.of(problem)
    if isinstance(symbols, str):
        raise Refusal(f"there is no closed form: {symbols}; take PDHG or CGLS.")
    return symbols.solve(symbols.data_side(problem.fidelity.data), strength)


@dataclass(frozen=True, eq=False)
class FourierADMM:
    """ADMM for 1/2 ||A x - y||²_{H^s} + g(K x), where one transform diagonalises A, K^T K and the norm.

        x <- F^-1[ (W conj(a) F y + ρ F K^T (z - q)) / (W |a|² + ρ k) ],   v = K x + q,
        z <- prox_{g/ρ}(v),   q <- v - z.

    Parameters
    ----------
    rho : the penalty ρ; (strength of the prior) / (a typical edge) is a good one.
    relaxation : of K x in v, between 1 and 2.

    References
    ----------
    Boyd et al., Found. Trends Mach. Learn. 3 (2011) 1, doi 10.1561/2200000016; Zhu, Hu, Lou, Yang,
    arXiv 2109.06255.
    """

    rho: float = 1.0
    relaxation: float = 1.6

    def check(self, problem: Problem) -> None:
        """Refuse bounds and whatever is not diagonal in Fourier space."""
        if problem.bounds != (None, None):
            raise Refusal(f"Fourier ADMM takes no bounds and these are {problem.bounds}: take PDHG.")
        symbols = Symbols.of(problem)
        if isinstance(symbols, str):
            raise Refusal(f"Fourier ADMM does not fit: {symbols}; take PDHG.")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """Zeros, or the start with its K x."""
        symbols = Symbols.of(problem)
        assert isinstance(symbols, Symbols)
        image = torch.zeros_like(problem.fidelity.data) if start is None else start
        split = problem.priors[0].operator.A(image)
        return {
            "image": image,
            "z": split,
            "q": torch.zeros_like(split),
            "symbols": symbols,
            "data_side": symbols.data_side(problem.fidelity.data),
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One image step, one shrinkage, one dual step."""
        symbols, prior = memory["symbols"], problem.priors[0]
        assert prior.outer is not None
        back = prior.operator.A_adjoint(memory["z"] - memory["q"])
        image = symbols.solve(memory["data_side"] + self.rho * symbols.grid.transform(back), self.rho)
        mixed = self.relaxation * prior.operator.A(image) + (1 - self.relaxation) * memory["z"]
        v = mixed + memory["q"]
        z = prior.outer.prox(v, 1 / self.rho)
        return {**memory, "image": image, "z": z, "q": v - z}
