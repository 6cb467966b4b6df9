"""Calibrate a recipe's intervals on pairs, or look at them on views that were left out."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import imagereg
from imagereg.errors import InputError, UsageError
from imagereg.recipe import Recipe
from imagereg.running.jobs import Job
from imagereg.running.ledger import FINISHED, write_beside
from imagereg.sections import Uncertainty
from imagereg.services.pairs import Pair

if TYPE_CHECKING:
    from imagereg.solvers.state import State
    from imagereg.uncertainty.calibration import Calibration
    from imagereg.uncertainty.held_out import HeldOutCoverage

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


def prepared(recipe: Recipe) -> Recipe:
    """The recipe with an uncertainty section and no calibration: what raw intervals come from."""
    asked = recipe.uncertainty or Uncertainty()
    return recipe.model_copy(update={"uncertainty": asked.model_copy(update={"calibration": None})})


def pair_jobs(recipe: Recipe, pairs: Sequence[Pair], folder: Path) -> tuple[Job, ...]:
    """A run of the recipe for each pair, its images in .npy files."""
    jobs = []
    for pair in pairs:
        changes = {"input.path": str(pair.measured), "output.folder": str(folder / pair.name)}
        jobs.append(Job(pair.name, recipe.with_values({**changes, "output.formats": ["npy"]})))
    return tuple(jobs)


def calibrate(
    recipe: Recipe,
    pairs: Sequence[Pair],
    jobs: Sequence[Job],
    *,
    rule: str = "crc",
    delta: float = 0.1,
    truth: str = "measured",
    shifted: Sequence[Path] = (),
) -> Calibration:
    """The calibration that finished jobs and their truths give.

    Parameters
    ----------
    recipe : see `prepared`.
    jobs : of the pairs, in their order.
    rule, delta : see `imagereg.uncertainty.conformal`.
    truth : 'measured' or 'generated'.
    shifted : measurements without a truth, of the kind that intervals are for; the rule is then 'lr_qr'.

    Raises
    ------
    UsageError
        When pairs differ in what was measured, shapes do not fit, or the pairs are too few.
    InputError
        When a result or a truth cannot be read.
    """
    from imagereg.uncertainty.calibration import SHIFTED, Calibration, difference
    from imagereg.uncertainty.conformal import image_scores, loss_curve
    from imagereg.uncertainty.covariate_shift import lr_qr
    from imagereg.uncertainty.coverage import figures

    request = recipe.uncertainty
    assert request is not None
    losses, rows, physics = [], [], None
    account: dict[str, Any] = {}
    for pair, job in zip(pairs, jobs, strict=True):
        account = json.loads((job.folder / FINISHED).read_text(encoding="utf-8"))
        told = account["uncertainty"]
        physics = physics or told["physics"]
        key = difference(physics, told["physics"])
        if key is not None:
            raise UsageError(
                f"{pair.measured.name} has {key} = {told['physics'].get(key)} and {pairs[0].measured.name} "
                f"{physics.get(key)}; calibrate on pairs of one kind."
            )
        band, target = _band_of(job, pair)
        scores = band.scores(target)
        losses.append(loss_curve(scores.numpy()))
        rows.append({"name": pair.name, **figures(band, target)})
    assert physics is not None
    more: dict[str, Any] = {}
    if shifted:
        scores = image_scores(np.stack(losses), 1 - request.level)
        found = [_features(recipe, pair.measured, physics) for pair in pairs]
        target = np.concatenate([_features(recipe, path, physics) for path in shifted])
        threshold = lr_qr(np.concatenate(found), scores, target, alpha=delta)
        more = {"threshold": threshold, "shifted": tuple(threshold(target).tolist())}
    calibration = Calibration(
        rule=SHIFTED if shifted else rule,
        level=request.level,
        delta=delta,
        losses=np.stack(losses),
        names=tuple(pair.name for pair in pairs),
        truth=truth,
        method={"name": account["method"], "parameters": account["parameters"]},
        source=told["source"],
        physics=physics,
        figures=tuple(rows),
        **more,
    )
    _ = calibration.factor
    return calibration


def _features(recipe: Recipe, path: Path, physics: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """What a measurement's factor follows, (1, features)."""
    from imagereg.services.choosing import middle_rows
    from imagereg.uncertainty.calibration import difference, fingerprint
    from imagereg.uncertainty.covariate_shift import features_of

    _, ready = middle_rows(recipe.with_values({"input.path": str(path)}))
    mine = fingerprint(ready)
    key = difference(physics, mine)
    if key is not None:
        raise UsageError(
            f"{path} has {key} = {mine.get(key)} and the pairs {physics.get(key)}; a calibration can follow "
            "another kind of object, and not another physics: calibrate on pairs of this one."
        )
    return features_of(ready.data)


def _band_of(job: Job, pair: Pair) -> tuple[Any, Any]:
    """The raw interval of a finished job and its truth, as tensors of one item."""
    import torch

    from imagereg.io import read
    from imagereg.uncertainty.band import Band

    found = read(pair.truth)
    target = torch.as_tensor(np.asarray(found.data[...], dtype=np.float64))
    images = [torch.as_tensor(np.load(job.folder / f"{name}.npy")).double() for name in _NAMES]
    if target.squeeze().shape != images[0].squeeze().shape:
        raise InputError(
            f"{pair.truth}: the truth has shape {tuple(target.shape)} and the result "
            f"{tuple(images[0].shape)}; set physics.volume to the grid of the truth."
        )
    image, lower, upper = (part.squeeze()[None] for part in images)
    return Band(image, lower, upper), target.squeeze()[None]


_NAMES = ("image", "lower", "upper")


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write the file and, beside it, the picture of its coverage."""
    document = calibration.as_dict()
    document["imagereg"] = imagereg.__version__
    document["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = json.dumps(document, indent=1)
    write_beside(path, lambda stream: stream.write(text.encode()))
    write_coverage(calibration, path.with_suffix(".png"))


def write_coverage(calibration: Calibration, path: Path) -> None:
    """Mean coverage against the factor of the widths, and the factor that was chosen."""
    from imagereg.preview import write_curves
    from imagereg.uncertainty.conformal import FACTORS

    covered = 1 - calibration.losses.mean(0)
    largest = max(10.0, 2 * calibration.factor)
    shown = (FACTORS - 0.1) * (largest - FACTORS) >= 0
    places = [math.log10(factor) for factor in FACTORS[shown]]
    marks = {
        f"raw: {calibration.raw_coverage:.1%} covered": 0.0,
        f"calibrated: factor {calibration.factor:.3g}": math.log10(calibration.factor),
    }
    level = calibration.level
    curves = {
        f"{len(calibration.losses)} images": (places, list(covered[shown])),
        f"{level:.0%}, as asked": ([places[0], places[-1]], [level, level]),
    }
    write_curves(
        curves, path, x="log10 of the factor of the widths", y="part of the pixels covered", marks=marks
    )


def held_out(recipe: Recipe, *, folds: int = 5, used: int = 1) -> Iterator[State]:
    """States of `imagereg.uncertainty.held_out.held_out_views` on the middle row of a recipe's input."""
    from imagereg.intervals import states_with_intervals
    from imagereg.services.choosing import middle_rows
    from imagereg.uncertainty.held_out import held_out_views

    recipe, ready = middle_rows(recipe)
    method, request = recipe.resolved_method(), recipe.uncertainty
    assert request is not None

    def states(part: Any) -> Iterator[State]:
        return states_with_intervals(method, part, request, recipe.execution.seed)

    yield from held_out_views(states, ready, level=request.level, folds=folds, used=used)


def write_held_out(found: HeldOutCoverage, path: Path) -> None:
    """Write the figures, and beside them the picture of nominal against observed coverage."""
    from imagereg.preview import write_curves

    text = json.dumps(found.as_dict(), indent=1)
    write_beside(path, lambda stream: stream.write(text.encode()))
    levels = list(found.coverage)
    curves = {
        "spread and noise": (levels, list(found.coverage.values())),
        "noise alone": (levels, list(found.without_spread.values())),
        "as it should be": (levels, levels),
    }
    write_curves(curves, path.with_suffix(".png"), x="nominal level", y="part of the left-out data covered")
