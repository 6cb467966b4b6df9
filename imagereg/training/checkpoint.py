"""Checkpoints of a training in one safetensors file: weights, their average, the optimiser's memory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from imagereg.errors import UsageError

if TYPE_CHECKING:
    from imagereg.training.loop import Schedule

Memories = Mapping[str, Mapping[str, torch.Tensor]]


def write_checkpoint(
    path: Path,
    network: nn.Module,
    averaged: nn.Module,
    memory: Memories,
    schedule: Schedule,
    step: int,
    loss: float,
    seconds: float,
) -> None:
    """Write all that a training needs to go on after `step`; the file is never half written."""
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().contiguous() for name, tensor in _tensors(network, averaged, memory).items()
    }
    facts = {"step": step, "loss": loss, "seconds": seconds, "schedule": asdict(schedule)}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    save_file(tensors, str(beside), metadata={"training": json.dumps(facts)})
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def read_checkpoint(
    path: Path, network: nn.Module, averaged: nn.Module, memory: Memories, schedule: Schedule
) -> tuple[int, float, float]:
    """Fill weights, average and memory from a checkpoint; the next step, the loss and the seconds so far.

    Raises
    ------
    UsageError
        When it is no checkpoint of this network and schedule.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["training"])
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, OSError) as error:
        raise UsageError(f"{path} is no checkpoint of a training ({error}); choose another file.") from None
    wanted = _tensors(network, averaged, memory)
    if set(found) != set(wanted) or any(found[k].shape != wanted[k].shape for k in wanted):
        raise UsageError(f"{path} is the checkpoint of another network; choose another file or remove it.")
    given = asdict(schedule)
    for name, value in facts["schedule"].items():
        if given.get(name) != value:
            raise UsageError(
                f"{path} was trained with {name} = {value} and not {given.get(name)}; "
                "train as before, or remove it to begin anew."
            )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])
    return int(facts["step"]) + 1, float(facts["loss"]), float(facts["seconds"])


def _tensors(network: nn.Module, averaged: nn.Module, memory: Memories) -> dict[str, torch.Tensor]:
    found = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    found |= {f"average.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for weight, parts in memory.items():
        found |= {f"memory.{weight}.{part}": tensor for part, tensor in parts.items()}
    return found
