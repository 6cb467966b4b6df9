"""The training loop: a generator of states that resumes from its checkpoint to the last bit."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import nn

from imagereg.errors import UsageError
from imagereg.solvers.outcome import Outcome
from imagereg.solvers.state import State
from imagereg.training.checkpoint import read_checkpoint, write_checkpoint
from imagereg.training.optimisers import Descent, Optimiser


class Task(Protocol):
    """What a network learns and from what."""

    network: nn.Module

    def batch(self, generator: torch.Generator, size: int) -> Any:
        """`size` training examples; all that is random comes from the generator."""

    def loss(self, network: nn.Module, batch: Any) -> torch.Tensor:
        """The loss of a batch, one number."""

    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """Figures by name on data that are not trained on, and an image (B, C, H, W) to look at."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast one trains.

    Parameters
    ----------
    steps : number of steps, or the most of them where there is a limit in seconds.
    batch : examples of a step; doubled for the last quarter of the training, when noise limits progress.
    rate : learning rate; it rises over the first steps and falls as a cosine to zero.
    optimiser : 'muon' or 'adam'.
    average : decay of the moving average of the weights, which is what is validated and kept.
    validate : steps between validations.
    checkpoint : steps between checkpoints.
    precision : 'bfloat16', 'float32', or 'auto': bfloat16 where the processor computes with it.
    clip : largest norm of the gradient.
    seed : of everything random.
    limit : seconds of training; the rate then falls with time where that is further on than the steps, and
        so reaches zero on a processor of any speed. Such a run is not repeated to the last bit.
    """

    steps: int = 2000
    batch: int = 8
    rate: float = 0.02
    optimiser: Optimiser = "muon"
    average: float = 0.998
    validate: int = 200
    checkpoint: int = 200
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    clip: float = 1.0
    seed: int = 0
    limit: float = math.inf

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.validate, self.checkpoint) < 1:
            raise UsageError(f"{self}: steps, batch, validate and checkpoint must be at least 1.")
        if not self.limit > 0:
            raise UsageError(f"a training of {self.limit} seconds: give more than 0.")

    def done(self, steps: int, seconds: float) -> float:
        """The part of the training that lies behind, from 0 to 1."""
        return min(1.0, max(steps / self.steps, seconds / self.limit))

    def factor(self, step: int, seconds: float = 0.0) -> float:
        """The learning rate of a step (from 1) over the largest one."""
        warm = min(1.0, step / min(100.0, 0.05 * self.steps + 1))
        return warm * 0.5 * (1 + math.cos(math.pi * self.done(step - 1, seconds)))

    def size(self, step: int, seconds: float = 0.0) -> int:
        """Examples of a step."""
        return self.batch * (2 if self.done(step, seconds) > 0.75 else 1)


def train(
    task: Task,
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    log: Path | None = None,
    tensorboard: Path | None = None,
) -> Iterator[State]:
    """Train a network, one state a step; `state.outcome.network` is the averaged network so far.

    The numbers of a step depend on the seed and its number alone. So a run that was killed goes on from its
    checkpoint and ends with the weights of one that was not.

    Parameters
    ----------
    task : what is learned; its network is trained in place.
    schedule : how long and how fast.
    checkpoint : file (.safetensors) that is written every so often and gone on from where it exists.
    log : CSV file of the figures; rows after the checkpoint's step are dropped on going on.
    tensorboard : folder of event files, for which the package tensorboard must be installed.

    Yields
    ------
    States whose `values` hold the loss (its mean over about 50 steps), images per second, seconds to go,
    the rate, and the figures of the last validation; `image` is the validation's.

    Raises
    ------
    UsageError
        When the checkpoint is one of another network or schedule, the loss is no longer finite, or
        tensorboard is missing.
    """
    network, device = task.network, next(task.network.parameters()).device
    averaged = deepcopy(network).requires_grad_(False).eval()
    descent = Descent(network, schedule.optimiser, schedule.rate)
    first, smooth, spent = 1, float("nan"), 0.0
    if checkpoint is not None and checkpoint.exists():
        first, smooth, spent = read_checkpoint(checkpoint, network, averaged, descent.memory, schedule)
    writer = _Log(log, before=first)
    board = _board(tensorboard)
    dtype = precision(schedule.precision, device)
    figures, image = task.validate(averaged)
    began, done = time.perf_counter(), 0
    for step in range(first, schedule.steps + 1):
        before = spent + time.perf_counter() - began
        size, factor = schedule.size(step, before), schedule.factor(step, before)
        network.train()
        examples = task.batch(_generator(schedule.seed, step), size)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = task.loss(network, examples)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        descent.step(step, factor)
        constrain = getattr(network, "constrain", None)  # such as weights that must not be negative
        if constrain is not None:
            constrain()
        _follow(averaged, network, min(schedule.average, step / (step + 10)))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError(f"training: the loss of step {step} is not finite; lower the learning rate.")
        # The mean starts as the mean of all losses so far and then forgets over some 50 steps.
        smooth = value if math.isnan(smooth) else smooth + (value - smooth) / min(step, 50)
        seconds = time.perf_counter() - began
        last = schedule.done(step, spent + seconds) >= 1
        if step % schedule.validate == 0 or last:
            figures, image = task.validate(averaged)
        done += size
        remaining = (schedule.steps - step) * seconds / (step - first + 1)
        values = {
            "loss": smooth,
            "images_per_second": done / seconds,
            "seconds_to_go": max(0.0, min(remaining, schedule.limit - spent - seconds)),
            "rate": schedule.rate * factor,
            **figures,
        }
        if step % schedule.validate == 0 or last:
            writer.row({"step": step, "seconds": spent + seconds, **values})
            if board is not None:
                for name, figure in values.items():
                    board.add_scalar(name, figure, step)
        if checkpoint is not None and (step % schedule.checkpoint == 0 or last):
            memory = descent.memory
            write_checkpoint(checkpoint, network, averaged, memory, schedule, step, smooth, spent + seconds)
        yield State(
            image,
            step,
            schedule.steps,
            spent + seconds,
            phase="training",
            finished=f"{step} steps" if last else "",
            values=values,
            memory={"image": image},
            outcome=Outcome(network=averaged),
        )
        if last:
            break
    if board is not None:
        board.close()


def precision(wanted: str, device: torch.device) -> torch.dtype:
    """bfloat16 or float32; for 'auto' bfloat16 where the processor has instructions for it."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    if device.type == "cuda":
        fits = torch.cuda.is_bf16_supported()
    else:
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        fits = bool(probe and probe())
    return torch.bfloat16 if fits else torch.float32


def _generator(seed: int, step: int) -> torch.Generator:
    # Apart by more than any run has steps, so that two seeds share no step.
    return torch.Generator().manual_seed(seed * 100_000_007 + step)


@torch.no_grad()
def _follow(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, weight in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)
    for mean, buffer in zip(averaged.buffers(), network.buffers(), strict=True):
        mean.copy_(buffer)


class _Log:
    """Rows of figures in a CSV file, each written at once."""

    def __init__(self, path: Path | None, *, before: int) -> None:
        self._path, self._names = path, None
        if path is None or not path.exists():
            return
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) < before]
        path.unlink()
        for row in rows:
            self.row(row)

    def row(self, values: dict[str, Any]) -> None:
        if self._path is None:
            return
        new = not self._path.exists()
        with self._path.open("a", newline="") as file:
            out = csv.DictWriter(file, list(values))
            if new:
                out.writeheader()
            out.writerow(values)


def _board(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("--tensorboard needs the package tensorboard: pip install tensorboard.") from None
    return SummaryWriter(str(folder))
