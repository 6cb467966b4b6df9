"""Several runs of a random algorithm as one, and the noise that each draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.priors.denoiser import DenoiserPrior
from imagereg.solvers.base import Solver
from imagereg.solvers.linear import name_of
from imagereg.solvers.outcome import Outcome, PixelUncertainty
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Independent runs side by side: the image is their mean, and their outcome has the uncertainty.

    It holds mean (B, C, ...), std (B, C, ...), the standard deviation with the number of runs less
    one below, and samples (runs, B, C, ...).

    Parameters
    ----------
    members : one solver a run, alike but for their seeds.

    Raises
    ------
    UsageError
        When there are fewer than two.
    """

    members: tuple[Solver, ...]

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise UsageError(f"Ensemble of {len(self.members)} runs: give two at least.")

    def check(self, problem: Problem) -> None:
        """As the members do."""
        self.members[0].check(problem)

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """All runs from the same start."""
        return _joined([member.init(problem, start) for member in self.members])

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One step of each run."""
        pairs = zip(self.members, memory["members"], strict=True)
        return _joined([member.step(problem, one) for member, one in pairs])

    def outcome(self, memory: Memory) -> Outcome:
        """Mean, standard deviation and the runs' images themselves."""
        samples = memory["samples"]
        return Outcome(PixelUncertainty(mean=memory["image"], std=samples.std(0), samples=samples))


def white(like: torch.Tensor, seed: int, place: int) -> torch.Tensor:
    """White noise of a step, one for all items: an item comes out the same whatever its company.

    Parameters
    ----------
    like : (B, C, ...) image.
    seed : of the run.
    place : number of the draw within the run, below a million.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + place)
    return torch.randn((1, *like.shape[1:]), generator=generator).to(like)


def only_denoiser(problem: Problem, who: str) -> DenoiserPrior:
    """The one prior of a problem, a denoiser.

    Raises
    ------
    Refusal
        When there is another prior, or none or several.
    """
    if len(problem.priors) != 1 or not isinstance(problem.priors[0], DenoiserPrior):
        names = " and ".join(name_of(prior) for prior in problem.priors) or "no prior"
        raise Refusal(f"{who} takes one DenoiserPrior and was given {names}; use PDHG or ADMM.")
    return problem.priors[0]


def _joined(members: list[Memory]) -> Memory:
    samples = torch.stack([one["image"] for one in members])
    return {"image": samples.mean(0), "samples": samples, "members": members}
