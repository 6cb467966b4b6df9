"""Choose parameters for a recipe: on a few rows of its input, with the evidence written to a folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.engine import choose_device, prepare
from imagereg.errors import UsageError
from imagereg.preprocessing import prepare_rows, resolve_steps, rows_after
from imagereg.recipe import Recipe
from imagereg.running.ledger import write_beside
from imagereg.running.setup import load_input, with_physics

if TYPE_CHECKING:
    from imagereg.choose.base import Choice
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State

NAMES = ("choice.json", "curve.png", "preview.png", "recipe.yaml")


def middle_rows(recipe: Recipe, *, slices: int = 1) -> tuple[Recipe, Measurement]:
    """The middle rows of what a recipe makes of its input, ready for its method, and the recipe in full.

    Parameters
    ----------
    slices : number of rows to choose on; a coupled volume is taken whole.

    Raises
    ------
    ImageregError
        As a run of the recipe would.
    """
    import torch

    device = choose_device(recipe.execution.device)
    raw = load_input(recipe)
    steps = resolve_steps(raw, recipe.steps())
    start = max(0, rows_after(steps, raw.rows) - slices) // 2
    part = prepare_rows(raw, steps, start, start + slices)
    refusal = recipe.resolved_method().refusal(part)
    if refusal:
        raise UsageError(f"{refusal}.")
    part = with_physics(part, recipe, device, getattr(torch, recipe.execution.precision))
    plain = tuple({step.name: step.model_dump(mode="json")} for step in steps)
    ready = prepare(part, device=str(device), precision=recipe.execution.precision)
    return recipe.resolved(preprocess=plain), ready


def default_rule(measurement: Measurement) -> str:
    """held_out for scans; for images sure where their noise is known, and gcv where it is not.

    On 34 simulated scans and 6 real ones left-out views lose least to the best strength, whether the noise
    is known or not (`benchmarks/choice.py`).
    """
    if measurement.geometry is not None:
        return "held_out"
    return "gcv" if measurement.noise is None else "sure"


def choose_for(
    recipe: Recipe,
    measurement: Measurement,
    by: str,
    vary: Mapping[str, tuple[float, float] | None] | None,
    settings: Mapping[str, Any],
) -> Iterator[State]:
    """The states of `imagereg.choose.base.iterate_choice` for a recipe's method and seed."""
    from imagereg.choose.base import iterate_choice

    method, seed = recipe.resolved_method(), recipe.execution.seed
    yield from iterate_choice(method, measurement, by, vary, seed=seed, **settings)


def refuse_existing(folder: Path) -> None:
    """Raise where a choice was written to a folder before."""
    present = [name for name in NAMES if (folder / name).exists()]
    if present:
        raise UsageError(
            f"{folder} already holds {', '.join(present)}; nothing was changed: choose another folder with "
            "-o, or allow it with --overwrite."
        )


def write_choice(recipe: Recipe, measurement: Measurement, state: State, folder: Path) -> Choice:
    """Write choice.json, curve.png, preview.png and the recipe with the chosen values.

    Parameters
    ----------
    state : the last state of `choose_for`.
    """
    from imagereg.preview import write_preview

    choice = state.outcome.choice
    assert choice is not None
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps({**choice.as_dict(), "data": str(measurement)}, indent=2)
    write_beside(folder / "choice.json", lambda stream: stream.write(document.encode()))
    _write_curve(choice, folder / "curve.png")
    image = measurement.from_tensor(state.image)
    write_preview(np.asarray(image.cpu() if hasattr(image, "cpu") else image), folder / "preview.png")
    changes: dict[str, Any] = {f"method.{name}": value for name, value in choice.values.items()}
    if not recipe.output.folder.is_absolute():
        changes["output.folder"] = str((folder / "result").resolve())
    chosen = recipe.with_values(changes)
    header = f"{choice}\nrun it with: imagereg run {folder / 'recipe.yaml'}"
    text = chosen.to_yaml(header=header)
    write_beside(folder / "recipe.yaml", lambda stream: stream.write(text.encode()))
    return choice


def _write_curve(choice: Choice, path: Path) -> None:
    """The scores against each parameter, the others being at their chosen values."""
    from imagereg.choose.base import RULES
    from imagereg.preview import write_curves

    rule = RULES[choice.evidence["rule"]]
    if rule.goal == "corner":
        residual = [math.log10(row["residual"]) for row in choice.curve]
        penalty = [math.log10(max(row["penalty"], 1e-300)) for row in choice.curve]
        place = next(r for r, row in zip(residual, choice.curve, strict=True) if _at(row, choice))
        curves = {"L-curve": (residual, penalty)}
        write_curves(curves, path, x="log10 residual", y="log10 penalty", marks={str(_short(choice)): place})
        return
    single = len(choice.values) == 1
    curves, marks = {}, {}
    for name, value in choice.values.items():
        low, high = choice.evidence["ranges"][name]
        log = low > 0 and high / low >= 50
        rows = [row for row in choice.curve if _at(row, choice, but=name)]
        xs = [math.log10(row[name]) if log else row[name] for row in rows]
        mark = math.log10(value) if log else value
        if not single:
            a, b = (math.log10(low), math.log10(high)) if log else (low, high)
            xs, mark = [(x - a) / (b - a) for x in xs], (mark - a) / (b - a)
        order = np.argsort(xs)
        curves[name] = ([xs[i] for i in order], [rows[i]["score"] for i in order])
        marks[f"{name} = {value:.4g}"] = mark
        label = f"log10 {name}" if log else name
    x = label if single else "place in the range of each parameter, 0 low to 1 high"
    write_curves(curves, path, x=x, y=rule.label, marks=marks)


def _at(row: Mapping[str, float], choice: Choice, *, but: str = "") -> bool:
    """Whether a trial has the chosen values, `but` left aside."""
    return all(row[name] == value for name, value in choice.values.items() if name != but)


def _short(choice: Choice) -> str:
    return ", ".join(f"{name} = {value:.4g}" for name, value in choice.values.items())
