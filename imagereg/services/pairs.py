"""Pairs of measurement and true image: the user's own, or generated with the user's scan and noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.errors import InputError, UsageError
from imagereg.recipe import Recipe

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.physics.noise import Noise

MEASURED, TRUTH = "measured", "truth"


@dataclass(frozen=True)
class Pair:
    """One measurement and the image that it should give.

    Attributes
    ----------
    name : of the pair.
    measured, truth : their files.
    """

    name: str
    measured: Path
    truth: Path


def find_pairs(source: Path) -> tuple[Pair, ...]:
    """Pairs of a folder with subfolders `measured` and `truth`, or of a list "measured, truth" a line.

    Raises
    ------
    InputError
        When a file or a partner is missing.
    """
    if source.is_file():
        return _listed(source)
    halves = {}
    for half in (MEASURED, TRUTH):
        if not (source / half).is_dir():
            raise InputError(
                f"{source / half} is no folder: put pairs of equal names into {source}/{MEASURED} and "
                f"{source}/{TRUTH}."
            )
        files = (p for p in sorted((source / half).iterdir()) if not p.name.startswith("."))
        halves[half] = {p.name.split(".")[0]: p for p in files}
    alone = sorted(set(halves[MEASURED]) ^ set(halves[TRUTH]))
    if alone:
        raise InputError(f"{source}: {alone[0]} has no partner; give each measurement a truth of its name.")
    if not halves[MEASURED]:
        raise InputError(f"{source / MEASURED} holds no measurement.")
    return tuple(Pair(name, path, halves[TRUTH][name]) for name, path in halves[MEASURED].items())


def find_alone(folder: Path) -> tuple[Path, ...]:
    """Measurements without a truth: the files of a folder.

    Raises
    ------
    InputError
        When there are none.
    """
    found = sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
    if not found:
        raise InputError(f"{folder}: there are no measurements; name the folder that holds them.")
    return tuple(found)


def _listed(source: Path) -> tuple[Pair, ...]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{source}: no list of pairs; write 'measured, truth' a line.") from None
    pairs: list[Pair] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = [word.strip() for word in line.replace("\t", ",").split(",")]
        if len(words) != 2:
            raise InputError(f"{source}:{number}: write 'measured, truth', two files a line.")
        measured, truth = ((source.parent / word).resolve() for word in words)
        for path in (measured, truth):
            if not path.exists():
                raise InputError(f"{source}:{number}: {path} does not exist.")
        pairs.append(Pair(f"{len(pairs) + 1:04d}-{measured.name.split('.')[0]}", measured, truth))
    if not pairs:
        raise InputError(f"{source}: the list names no pair.")
    return tuple(pairs)


def generate_pairs(
    recipe: Recipe, folder: Path, count: int, *, phantom: str = "ellipses_and_lines", seed: int = 0
) -> tuple[Recipe, tuple[Pair, ...]]:
    """Phantoms measured as the recipe's input was: its scan or physics, its noise, its range of values.

    What is there of an earlier call with the same seed is kept. The recipe that is returned takes them: no
    preprocessing, for they need none.

    Raises
    ------
    UsageError
        For cone beams and volumes, whose phantoms would be volumes.
    """
    from imagereg.services.choosing import middle_rows

    recipe, ready = middle_rows(recipe)
    if ready.coupled:
        raise UsageError("generated pairs are for slices and images; give pairs of measurements and truths.")
    for half in (MEASURED, TRUTH):
        (folder / half).mkdir(parents=True, exist_ok=True)
    noise = _noise_of(ready)
    make = _scan if ready.geometry is not None else _image
    pairs = []
    for number in range(count):
        name = f"phantom-{number:04d}"
        suffix = ".npz" if ready.geometry is not None else ".npy"
        pair = Pair(name, folder / MEASURED / f"{name}{suffix}", folder / TRUTH / f"{name}.npy")
        if not (pair.measured.exists() and pair.truth.exists()):
            make(ready, noise, phantom, seed + number, pair)
        pairs.append(pair)
    changes: dict[str, Any] = {"input": {"path": str(pairs[0].measured)}, "preprocess": []}
    if ready.geometry is not None:
        hints = {"geometry": ready.geometry.kind}
        for name in ("source_origin", "source_detector"):
            if hasattr(ready.geometry, name):
                hints[name] = getattr(ready.geometry, name)
        changes["input"]["hints"] = hints
        volume = ready.volume
        assert volume is not None
        grid = {"shape": list(volume.shape[-2:]), "voxel": [float(e) for e in volume.edges[-2:]]}
        changes["physics"] = {**recipe.plain().get("physics", {}), "volume": grid}
    return Recipe.of_mapping({**recipe.plain(), **changes}), tuple(pairs)


def _noise_of(ready: Measurement) -> Noise:
    """The noise model of a measurement, or one of the level that its data show."""
    from imagereg.noise.level import noise_level
    from imagereg.physics.noise import GaussianNoise, Noise, TransmissionNoise

    if isinstance(ready.noise, Noise):
        return ready.noise
    std = noise_level(ready).std
    if ready.geometry is not None and ready.weights is not None:
        return TransmissionNoise(float((ready.data.exp() / std.square()).median()))
    return GaussianNoise(float(std.square().mean().sqrt()))


def _scan(ready: Measurement, noise: Noise, phantom: str, seed: int, pair: Pair) -> None:
    import torch

    from imagereg.geometry import Volume
    from imagereg.phantoms import simulate

    geometry, volume = ready.geometry, ready.volume
    assert geometry is not None
    assert volume is not None
    with torch.no_grad():
        rough = ready.physics.fbp(ready.data, window="hann")
    dense = float(torch.quantile(rough.flatten()[: 1 << 22].float(), 0.995))
    geometry = replace(geometry, rows=1, axis_offset=0.0, detector_offset=0.0, shifts=None)
    grid = Volume(volume.shape[-2:], volume.edges[-2:])
    scan = simulate(phantom, geometry, volume=grid, noise=noise, seed=seed, attenuation=max(dense, 1e-6))
    from imagereg.running.ledger import write_beside

    arrays = {"sinogram": scan.data, "angles_rad": geometry.angles, "pixel_mm": np.float64(geometry.pixel)}
    write_beside(pair.truth, lambda stream: np.save(stream, np.asarray(scan.truth, dtype=np.float32)))
    write_beside(pair.measured, lambda stream: np.savez(stream, **arrays))


def _image(ready: Measurement, noise: Noise, phantom: str, seed: int, pair: Pair) -> None:
    import torch

    from imagereg.geometry import Volume
    from imagereg.phantoms import phantom as find_phantom
    from imagereg.running.ledger import write_beside

    with torch.no_grad():
        like = ready.physics.A_adjoint(ready.data)
    low, high = (float(torch.quantile(ready.data.flatten()[: 1 << 22].float(), q)) for q in (0.005, 0.995))
    chosen = find_phantom(phantom)
    grid = Volume(tuple(like.shape[-2:]), 1.0)
    bodies = chosen.bodies(grid, attenuation=1.0, **({"seed": seed} if chosen.random else {}))
    truth = low + (high - low) * torch.as_tensor(bodies.image(grid, supersampling=4)).to(ready.data)
    with torch.no_grad():
        data = noise.sample(ready.physics.A(truth[None, None]), seed=seed)
    pictures = {pair.truth: truth, pair.measured: data[0, 0]}
    for path, picture in pictures.items():
        array = picture.float().cpu().numpy()
        write_beside(path, lambda stream, array=array: np.save(stream, array))  # type: ignore[misc]
