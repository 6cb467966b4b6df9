"""Learn a preset from a folder of pairs: reading the pairs, writing the preset."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import imagereg
from imagereg.errors import InputError, UsageError
from imagereg.presets import Preset
from imagereg.running.ledger import write_beside

if TYPE_CHECKING:
    import torch

    from imagereg.solvers.state import State


def read_pairs(folder: Path, *, crop: int | None = None) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Noisy and clean images (n, 1, H, W) of a folder with subfolders `noisy` and `clean`, and their names.

    Parameters
    ----------
    crop : edge in pixels of the middle square to take; the largest common size where not given.

    Raises
    ------
    InputError
        When a folder or a partner is missing, or a file cannot be read.
    UsageError
        When a pair differs in shape or is smaller than the crop.
    """
    import torch

    halves = {half: folder / half for half in ("noisy", "clean")}
    for path in halves.values():
        if not path.is_dir():
            raise InputError(f"{path} is no folder: put pairs into {folder}/noisy and {folder}/clean.")
    files = {
        half: {p.stem: p for p in sorted(path.iterdir()) if p.is_file()} for half, path in halves.items()
    }
    names = sorted(files["noisy"])
    if not names:
        raise InputError(f"{halves['noisy']} holds no image.")
    alone = sorted(set(files["noisy"]) ^ set(files["clean"]))
    if alone:
        raise InputError(
            f"{folder}: {alone[0]} has no partner; give each noisy image a clean one of its name."
        )
    pairs = [(_picture(files["noisy"][name]), _picture(files["clean"][name])) for name in names]
    for name, (noisy, clean) in zip(names, pairs, strict=True):
        if noisy.shape != clean.shape:
            raise UsageError(f"{folder}: {name} has shape {noisy.shape} noisy and {clean.shape} clean.")
    height = min(noisy.shape[0] for noisy, _ in pairs)
    width = min(noisy.shape[1] for noisy, _ in pairs)
    if crop is not None:
        if crop > min(height, width):
            raise UsageError(f"--crop {crop}: the smallest image is {height} x {width} pixels.")
        height = width = crop
    stacks = [np.stack([_middle(pair[half], height, width) for pair in pairs]) for half in (0, 1)]
    noisy, clean = (torch.from_numpy(stack)[:, None] for stack in stacks)
    return noisy, clean, names


def learn_from(
    noisy: torch.Tensor, clean: torch.Tensor, method: str, *, by: str, steps: int, seed: int, **settings: Any
) -> Iterator[State]:
    """The states of `imagereg.choose.learn.iterate_learning`, the method being checked first."""
    from imagereg.choose.learn import iterate_learning
    from imagereg.methods.registry import method_class

    method_class(method)
    yield from iterate_learning(noisy, clean, method, by=by, steps=steps, seed=seed, **settings)


def write_preset(state: State, path: Path, *, source: Path, names: list[str]) -> Preset:
    """Write the preset of the last state of `learn_from`; arrays go into a .safetensors file beside it.

    Parameters
    ----------
    source, names : folder and names of the pairs, for the record.
    """
    from safetensors.torch import save

    found = state.outcome.learned
    assert found is not None
    given = found.parameters
    arrays = {key: value.contiguous().float() for key, value in given.items() if hasattr(value, "shape")}
    parameters: dict[str, Any] = {key: value for key, value in given.items() if key not in arrays}
    if arrays:
        beside = path.with_suffix(".safetensors")
        write_beside(beside, lambda stream: stream.write(save(arrays)))
        parameters["filters"] = beside.name
    learned = {
        "by": found.by,
        "pairs": len(names),
        "from": source.name,
        "psnr_noisy": round(state.values["psnr_noisy"], 4),
        "psnr": round(state.values["psnr"], 4),
        "steps": state.iteration,
        "work": int(state.values["work"]),
        "finished": state.finished,
        "imagereg": imagereg.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    preset = Preset(found.method, parameters, learned)
    text = preset.to_yaml()
    write_beside(path, lambda stream: stream.write(text.encode()))
    return preset


def _picture(path: Path) -> np.ndarray[Any, Any]:
    from imagereg.io import read

    array = np.asarray(read(path).data[...], dtype=np.float64)
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        array = array[..., :3].mean(-1)
    if array.ndim != 2:
        raise InputError(f"{path}: a single picture is needed and it holds an array of shape {array.shape}.")
    return array


def _middle(array: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return array[top : top + height, left : left + width]
