"""The main parameter of a method, chosen from the data of one slice, with the curve that speaks for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from imagereg.measurement import Measurement
from imagereg.recipe import Recipe

RULES = ("automatic", "held_out", "discrepancy", "gcv", "sure", "lcurve")


@dataclass(frozen=True)
class Suggestion:
    """Trials so far, and the value in the end.

    Attributes
    ----------
    name : the parameter.
    by : the rule.
    tried, scores : values tried and their scores, in the order of the values.
    value : the chosen value; None while the search goes on.
    sentence : what speaks for it.
    """

    name: str
    by: str
    tried: tuple[float, ...]
    scores: tuple[float, ...]
    value: float | None = None
    sentence: str = ""


def suggestions(
    recipe: Recipe,
    measurement: Measurement,
    row: int,
    stop: threading.Event,
    *,
    by: str = "automatic",
    limit: int = 0,
    threads: int = 0,
) -> Iterator[Suggestion]:
    """Choose the main parameter on one slice, one `Suggestion` after each trial and the chosen one last.

    With 'automatic' the rule is that of the command line (`imagereg.services.choosing.default_rule`).
    """
    from imagereg.choose.base import iterate_choice
    from imagereg.engine import prepare
    from imagereg.errors import UsageError
    from imagereg.services.choosing import default_rule
    from napari_imagereg.previewing import prepare_slice

    method = recipe.resolved_method()
    name = method.main
    if not name:
        raise UsageError(f"{method.name} has no parameter that is chosen from the data.")
    part = prepare_slice(recipe, measurement, row, limit=limit, threads=threads).part
    rule = by if by != "automatic" else default_rule(part)
    execution = recipe.execution
    ready = prepare(part, device=execution.device, precision=execution.precision)
    trials: dict[float, float] = {}
    for state in iterate_choice(method, ready, rule, seed=execution.seed):
        if stop.is_set():
            return
        choice = state.outcome.choice
        if choice is not None:
            curve = sorted((float(trial[name]), float(trial["score"])) for trial in choice.curve)
            tried, scores = zip(*curve, strict=True)
            yield Suggestion(name, rule, tried, scores, choice.value, choice.evidence["sentence"])
        elif state.phase == "choosing":
            trials[float(state.values[name])] = float(state.values["score"])
            tried = tuple(sorted(trials))
            yield Suggestion(name, rule, tried, tuple(trials[value] for value in tried))
