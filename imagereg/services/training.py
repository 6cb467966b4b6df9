"""`imagereg train`: from data and settings to a training, and the weights with their card that come of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.services.trainable import FREE_LICENCE, trainable

if TYPE_CHECKING:
    import torch
    from torch import nn

    from imagereg.networks.store import Card
    from imagereg.solvers.state import State
    from imagereg.training.loop import Schedule, Task


def make_task(
    name: str,
    data: Path | None,
    *,
    start: str = "",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Task:
    """The task of a name on the user's data, a new network or one that goes on from weights.

    Parameters
    ----------
    data : a folder of pictures, or a file (HDF5, Zarr, TIFF, ...) with one or a stack; None for the default.
    start : name or path of weights to go on from.
    seed : of the new network and of what is generated.
    settings : of the task.

    Raises
    ------
    UsageError
        For an unknown name or setting, or data that do not serve.
    InputError
        When data or weights cannot be read.
    """
    import torch

    from imagereg.networks.store import load_network

    chosen = trainable(name)
    given = dict(settings or {})
    known = list(inspect.signature(chosen.make).parameters)[3:]
    for key in given:
        if key not in known:
            raise UsageError(f"{name}.{key}: no such setting of the training{did_you_mean(key, known)}")
    network: nn.Module | None = None
    if start:
        network = load_network(start, method=chosen.method)[0].requires_grad_(True)
    pictures = read_pictures(data) if data is not None else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return chosen.make(pictures, network, seed, **given)


def run_training(
    task: Task, schedule: Schedule, out: Path, *, tensorboard: Path | None = None
) -> Iterator[State]:
    """States of a training with its checkpoint and its log beside the weights to come.

    A learned proximal network goes through its stages, whose checkpoints and logs are in a folder there.

    Raises
    ------
    UsageError
        When the stages are asked for what they cannot do.
    """
    import math

    from imagereg.training.learned_proximal import LearnedProximal, stages, train_learned_proximal
    from imagereg.training.loop import train

    if isinstance(task, LearnedProximal):
        if schedule.optimiser != "adam" or math.isfinite(schedule.limit) or tensorboard is not None:
            raise UsageError(
                "lpn is trained in stages of given steps, by adam: give neither another "
                "optimiser nor --minutes nor --tensorboard."
            )
        plan = stages(
            schedule.steps,
            batch=schedule.batch,
            rate=schedule.rate,
            later=schedule.rate / 3,
            seed=schedule.seed,
        )
        return train_learned_proximal(task, plan, folder=_stages(out))
    return train(
        task,
        schedule,
        checkpoint=out.with_suffix(".checkpoint.safetensors"),
        log=out.with_suffix(".csv"),
        tensorboard=tensorboard,
    )


def _stages(out: Path) -> Path:
    return out.with_suffix(".stages")


def clear_checkpoints(out: Path) -> str:
    """Remove the checkpoints of a training that is done; the name of the file or folder of its figures."""
    out.with_suffix(".checkpoint.safetensors").unlink(missing_ok=True)
    for path in _stages(out).glob("stage*.safetensors"):
        path.unlink()
    return _stages(out).name if _stages(out).is_dir() else f"{out.stem}.csv"


def write_weights(
    name: str,
    state: State,
    out: Path,
    *,
    data: str,
    licence: str,
    command: str,
    seed: int,
    task: Task | None = None,
    half: bool = False,
) -> Card:
    """Write the averaged network of the last state and its card.

    Parameters
    ----------
    data, licence : for the card; what the default data are where empty.
    task : that was trained, where its method must know more of it than the network.
    half : numbers of 16 bits.
    """
    from imagereg.networks.store import Card, save_network

    chosen = trainable(name)
    metrics = {key: round(value, 4) for key, value in state.values.items() if key not in _PASSING}
    metrics |= {"steps": state.iteration, "training_seconds": round(state.seconds)}
    metrics |= chosen.facts(task) if task is not None else {}
    card = Card(
        name=out.stem,
        method=chosen.method,
        architecture=chosen.architecture,
        settings={},
        summary=chosen.summary,
        data=data or chosen.default_data,
        licence=licence or ("unknown: the user's own data" if data else FREE_LICENCE),
        command=command,
        seed=seed,
        metrics=metrics,
    )
    return save_network(out, state.outcome.network, card, half=half)


_PASSING = ("images_per_second", "seconds_to_go", "rate")


def read_pictures(path: Path) -> list[torch.Tensor]:
    """Grey pictures (H, W) of a folder or a file, divided by the largest value that their type or they have.

    Raises
    ------
    InputError
        When there is none or one cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder of training data.")
    if not path.is_dir() or path.suffix == ".zarr":
        return _pictures(path)
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    pictures = [picture for file in files for picture in _pictures(file)]
    if not pictures:
        raise InputError(f"{path} holds no picture.")
    return pictures


def _pictures(path: Path) -> list[torch.Tensor]:
    import numpy as np
    import torch

    from imagereg.io import read

    measurement = read(path)
    if measurement.geometry is not None:
        raise UsageError(f"{path} is a scan; networks learn from images.")
    raw = np.asarray(measurement.data[...])
    most = float(np.iinfo(raw.dtype).max) if raw.dtype == np.uint8 else float(raw.max()) or 1.0
    images = replace(measurement, data=raw.astype(np.float32) / most, truth=None, weights=None)
    tensor = images.to_tensor(images.data)
    return list(torch.as_tensor(tensor).mean(1))
