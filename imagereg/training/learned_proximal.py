"""What a learned proximal network learns: proximal matching, from the median to the mode of the posterior."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.icnn import ICNN
from imagereg.solvers.state import State
from imagereg.training.loop import Schedule, train
from imagereg.training.squares import faded, square_of

GAMMAS = (0.64, 0.32, 0.16, 0.08)
"""Widths of proximal matching in units of sqrt(n), n the entries of an example, as published."""


def proximal_matching(error: torch.Tensor, gamma: float) -> torch.Tensor:
    """mean over the batch of 1 - exp(-||e||^2 / gamma^2), the norm being that of a whole example.

    As gamma falls to 0, the minimiser f(v) of its expectation goes from the mean of p(x | v) to its mode,
    the proximal operator of -sigma^2 log p at v. For any gamma it is the mode of p(. | v) smoothed by a
    Gaussian of variance gamma^2 / 2.

    Parameters
    ----------
    error : f(v) - x, (B, ...).
    gamma : in the units of the norm.
    """
    return -torch.expm1(-error.square().flatten(1).sum(1) / gamma**2).mean()


@dataclass(frozen=True)
class Stage:
    """One part of a training.

    Parameters
    ----------
    gamma : width of proximal matching in units of sqrt(n); 0 for the mean absolute error.
    schedule : of the part.
    """

    gamma: float
    schedule: Schedule


def stages(
    steps: int,
    *,
    batch: int = 8,
    rate: float = 1.5e-3,
    later: float = 5e-4,
    gammas: Sequence[float] = GAMMAS,
    first: float = 0.6,
    seed: int = 0,
) -> tuple[Stage, ...]:
    """The published order: mean absolute error, which gives gradients everywhere, then gamma in halves.

    Parameters
    ----------
    steps : of all stages together.
    batch : examples of a step.
    rate, later : learning rates of the first stage and of the others.
    gammas : widths, in units of sqrt(n).
    first : fraction of the steps of the first stage.
    seed : of everything random.

    Raises
    ------
    UsageError
        When there are fewer steps than stages.
    """
    begin = round(first * steps)
    each = (steps - begin) // max(len(gammas), 1)
    if begin < 1 or each < 1:
        raise UsageError(f"steps = {steps}: give at least one for each of {1 + len(gammas)} stages.")
    base = Schedule(
        steps=begin,
        batch=batch,
        rate=rate,
        optimiser="adam",
        average=0.995,
        validate=max(1, steps // 20),
        checkpoint=max(1, steps // 20),
        precision="float32",
        seed=seed,
    )
    parts = [Stage(0.0, base)]
    for number, gamma in enumerate(gammas, 1):
        parts.append(Stage(gamma, replace(base, steps=each, rate=later, seed=seed + number)))
    return tuple(parts)


class LearnedProximal:
    """The loss of one stage on patches with white noise of one level.

    Parameters
    ----------
    network : trained in place.
    pictures : clean pictures in [0, 1], each (H, W) with edges of at least `patch`.
    held : clean pictures for validation, which are not trained on.
    sigma : standard deviation of the noise; one network is for one level.
    patch : edge of the squares; 1 with pictures of independent values.
    gamma : width of proximal matching in units of sqrt(n); 0 for the mean absolute error.
    contrast : grey values are stretched by factors down to 1 - contrast and shifted within [0, 1].
    """

    def __init__(
        self,
        network: ICNN,
        pictures: Sequence[torch.Tensor],
        held: Sequence[torch.Tensor],
        *,
        sigma: float,
        patch: int = 48,
        gamma: float = 0.0,
        contrast: float = 0.5,
    ) -> None:
        small = [picture.shape for picture in pictures if min(picture.shape) < patch]
        if not pictures or small or not sigma > 0:
            raise UsageError(
                f"learned proximal network: sigma = {sigma}, {len(pictures)} pictures, {len(small)} of them "
                f"narrower than the patch of {patch}; give a positive sigma and wider pictures."
            )
        self.network: nn.Module = network
        self.sigma, self.patch, self.gamma, self.contrast = sigma, patch, gamma, contrast
        self._pictures = list(pictures)
        areas = torch.tensor([float(picture.numel()) for picture in self._pictures])
        self._share = areas / areas.sum()
        random = torch.Generator().manual_seed(0)
        self._held = [picture[None, None] for picture in held]
        self._noise = [sigma * torch.randn(picture.shape, generator=random) for picture in self._held]

    def batch(self, generator: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy and clean patches, turned, mirrored and changed in contrast, (size, 1, patch, patch) each."""
        chosen = torch.multinomial(self._share, size, replacement=True, generator=generator)
        patches = [square_of(self._pictures[number], self.patch, generator) for number in chosen.tolist()]
        clean = faded(torch.stack(patches)[:, None], self.contrast, generator)
        noisy = clean + self.sigma * torch.randn(clean.shape, generator=generator)
        device = next(self.network.parameters()).device
        return noisy.to(device), clean.to(device)

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Mean absolute error, or proximal matching where gamma is above 0."""
        noisy, clean = batch
        error = network(noisy) - clean
        if not self.gamma:
            return error.abs().mean()
        return proximal_matching(error, self.gamma * clean[0].numel() ** 0.5)

    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """Mean PSNR of the pictures that are not trained on, without and with the network."""
        device = next(network.parameters()).device
        figures = {"psnr_noisy": 0.0, "psnr": 0.0}
        first: torch.Tensor | None = None
        for clean, noise in zip(self._held, self._noise, strict=True):
            with torch.no_grad():
                found = network((clean + noise).to(device)).cpu()
            first = found if first is None else first
            for name, error in (("psnr_noisy", noise), ("psnr", found - clean)):
                figures[name] -= 10 * float(error.square().mean().log10()) / len(self._held)
        return figures, torch.zeros(1, 1, 1, 1) if first is None else first


def train_learned_proximal(
    task: LearnedProximal, plan: Sequence[Stage], *, folder: Path | None = None
) -> Iterator[State]:
    """Go through the stages, each from the averaged weights of the one before; one state a step.

    Parameters
    ----------
    task : its gamma is set by each stage, its network is trained in place.
    plan : the stages (see `stages`).
    folder : where checkpoints and logs of the stages are kept and gone on from.

    Yields
    ------
    States of `imagereg.training.loop.train`, counted through all stages; the network of the last one is
    `state.outcome.network`, and the task's network has the same weights.

    Raises
    ------
    UsageError
        As `train` does.
    """
    total, done = sum(stage.schedule.steps for stage in plan), 0
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for number, stage in enumerate(plan):
        task.gamma = stage.gamma
        checkpoint = None if folder is None else folder / f"stage{number}.safetensors"
        log = None if folder is None else folder / f"stage{number}.csv"
        averaged: dict[str, torch.Tensor] | None = None
        for state in train(task, stage.schedule, checkpoint=checkpoint, log=log):
            assert state.outcome.network is not None
            averaged = state.outcome.network.state_dict()
            last = number + 1 == len(plan) and state.finished
            yield replace(
                state,
                iteration=done + state.iteration,
                total=total,
                phase="absolute error" if not stage.gamma else f"proximal matching, gamma {stage.gamma:g}",
                finished=f"{total} steps" if last else "",
            )
        if averaged is None and checkpoint is not None:
            averaged = _average(checkpoint)  # the stage was finished by an earlier run
        assert averaged is not None
        task.network.load_state_dict(averaged)
        done += stage.schedule.steps


def _average(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The averaged weights in the checkpoint of a stage that is done."""
    from safetensors.torch import load_file

    tensors = load_file(str(checkpoint))
    return {name.removeprefix("average."): t for name, t in tensors.items() if name.startswith("average.")}
