"""Held-out data: reconstruct from some views, predict the others."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from imagereg.choose.rule import ChoiceRule, Score
from imagereg.choose.runs import Runs
from imagereg.errors import UsageError
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


class HeldOut(ChoiceRule):
    """Mean of w |A_k x_k - y_k|^2 over held-out data y_k, x_k being made from all others, k = 1..used of K.

    Of a scan, fold k holds out the views k, k + K, k + 2 K, ...; of other data, random entries. It assumes
    only that the errors of different views are independent: no noise level, no noise shape, not even that A
    is right in every detail, since a setting is judged by what it predicts.

    Parameters
    ----------
    measurement : ready data.
    folds : K; each run sees (K - 1)/K of the data.
    used : number of folds that are run, each one reconstruction a trial.
    seed : seed of the random entries.
    """

    name: ClassVar[str] = "held_out"
    title: ClassVar[str] = "prediction of views that were left out"
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "minimum"
    label: ClassVar[str] = "squared error of predicted data"
    reference: ClassVar[str] = (
        "M. Stone, J. R. Stat. Soc. B 36 (1974) 111, doi 10.1111/j.2517-6161.1974.tb00994.x"
    )

    def __init__(self, measurement: Measurement, *, folds: int = 5, used: int = 2, seed: int = 0) -> None:
        if not folds >= 2 or not 1 <= used <= folds:
            raise UsageError(
                f"held_out: folds = {folds}, used = {used}; give at least 2 folds and use 1 or more."
            )
        self.measurement, self.folds, self.used = measurement, folds, used
        split = _split_views if measurement.geometry is not None else _split_entries
        self._parts = [split(measurement, folds, fold, seed) for fold in range(used)]

    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """Mean squared prediction error, and its spread over the folds."""
        errors = []
        image = None
        for part, held in self._parts:
            found = yield from runs.run(method, part)
            image = found.image if image is None else image
            errors.append(held.error(found.image))
        assert image is not None
        mean = sum(errors) / len(errors)
        figures = {f"fold_{k + 1}": error for k, error in enumerate(errors)}
        return Score(mean, image, figures)

    def evidence(self) -> dict[str, Any]:
        """How the data were split."""
        what = "views" if self.measurement.geometry is not None else "entries"
        return {"held_out": f"1/{self.folds} of the {what}", "folds": self.folds, "folds_used": self.used}


class _Held:
    """Data that were left out, with the physics that predicts them."""

    def __init__(self, physics: Any, data: torch.Tensor, weights: torch.Tensor | None) -> None:
        self.physics, self.data = physics, data
        self.weights = None if weights is None else weights / weights.mean()

    def error(self, image: torch.Tensor) -> float:
        with torch.no_grad():
            squares = (self.physics.A(image) - self.data).abs().square()
        if self.weights is not None:
            squares = squares * self.weights
        return float(squares.double().mean())


def _split_views(measurement: Measurement, folds: int, fold: int, seed: int) -> tuple[Measurement, _Held]:
    geometry = measurement.geometry
    assert geometry is not None
    if geometry.views < 2 * folds:
        raise UsageError(f"held_out: {geometry.views} views are too few for {folds} folds; give fewer folds.")
    held = torch.zeros(geometry.views, dtype=torch.bool)
    held[fold::folds] = True
    part, rest = take_views(measurement, ~held), take_views(measurement, held)
    return part, _Held(rest.physics, rest.data, rest.weights)


def take_views(measurement: Measurement, views: torch.Tensor) -> Measurement:
    """A ready scan in some of its views, by number (one may come twice) or by a mask, with its physics."""
    from imagereg.physics import tomography

    geometry, volume, data = measurement.geometry, measurement.volume, measurement.data
    assert geometry is not None
    assert volume is not None
    geometry = geometry[views.numpy()]

    def take(tensor: torch.Tensor | None) -> Any:
        return None if tensor is None else tensor[:, :, views.to(tensor.device)].contiguous()

    return replace(
        measurement,
        data=take(data),
        weights=take(measurement.weights),
        geometry=geometry,
        physics=tomography(geometry, volume, device=data.device, dtype=data.dtype),
    )


def _split_entries(measurement: Measurement, folds: int, fold: int, seed: int) -> tuple[Measurement, _Held]:
    from imagereg.physics import inpainting

    data = measurement.data
    if not isinstance(data, torch.Tensor):
        raise UsageError("held_out: data that are a list of tensors cannot be split; choose by another rule.")
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(folds, (1, *data.shape[1:]), generator=generator).to(data.device)
    known = numbers != fold
    mask = inpainting(known, device=data.device)
    physics = measurement.physics
    identity = getattr(physics, "geometry", None) is None and type(physics).__name__ == "Identity"
    part = replace(
        measurement,
        data=data * known,
        weights=None if measurement.weights is None else measurement.weights * known,
        physics=mask if identity else _composed(mask, physics),
        truth=measurement.truth,
    )
    unknown = (~known).to(data.abs().dtype)
    weights = unknown if measurement.weights is None else measurement.weights * unknown
    return part, _Held(physics, data, weights.expand(data.shape))


def _composed(mask: Any, physics: Any) -> Any:
    """The mask after the physics."""
    import warnings

    with warnings.catch_warnings():
        # deepinv warns that such a product has no fast pseudo-inverse, which nobody asks of it here.
        warnings.simplefilter("ignore", UserWarning)
        return mask * physics
