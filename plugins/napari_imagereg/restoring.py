"""From a recipe to a session that shows it: the inverse of `Session.recipe`, field by field."""

from __future__ import annotations

from typing import Any

from imagereg.recipe import Recipe
from napari_imagereg.session import TASKS, Session


def restore(session: Session, recipe: Recipe) -> None:
    """Put all that a recipe says into a session and announce it."""
    _data(session, recipe)
    _steps(session, recipe)
    _physics(session, recipe)
    _method(session, recipe)
    # What has no control of its own goes through as it came.
    session.output = recipe.output.model_dump(mode="json", exclude_defaults=True)
    session.device, session.slab = recipe.execution.device, recipe.execution.slab
    execution = recipe.execution.model_dump(mode="json", exclude_defaults=True)
    session.execution = {k: v for k, v in execution.items() if k not in ("device", "slab")}
    session.physics_changed.emit()
    session.steps_changed.emit()
    session.method_changed.emit()
    session.execution_changed.emit()


def _data(session: Session, recipe: Recipe) -> None:
    from imagereg.io import read

    source = recipe.input
    there = source.path.exists()
    if there and not session.holds(source):
        # The layer is that of the same file, read with other hints.
        layer = session.layer_name if source.path == session.path else ""
        scan = read(source.path, format=source.format, **source.hints)
        session.take(scan, path=source.path, layer=layer)
    if there or session.whole is None:
        session.path, session.format, session.hints = source.path, source.format, dict(source.hints)
    if session.whole is None:
        session.views, session.rows = source.views, source.rows
    session.take_part(source.views, source.rows)


def _steps(session: Session, recipe: Recipe) -> None:
    from imagereg.preprocessing import step_name

    session.centre, session.steps = None, []
    for step in recipe.preprocess:
        name = step_name(step)
        values = dict(step[name] or {}) if isinstance(step, dict) else {}
        if name == "centre" and values.get("column") is not None:
            session.centre = float(values["column"])
        session.steps.append({name: values})


def _physics(session: Session, recipe: Recipe) -> None:
    plain: dict[str, Any] = recipe.physics.model_dump(mode="json", exclude_defaults=True)
    kind = recipe.physics.kind
    tasks = {kind: task for task, kind in TASKS.items()}
    image = session.measurement is not None and session.measurement.geometry is None
    # For images 'auto' is denoising, and stays 'auto' until another task is chosen.
    session.task = "denoise" if kind == "auto" and image else tasks[kind]
    session.volume = plain.pop("volume", None)
    plain.pop("kind", None)
    session.physics = plain if TASKS[session.task] == kind else {**plain, "kind": kind}


def _method(session: Session, recipe: Recipe) -> None:
    chosen, asked = recipe.method, recipe.uncertainty
    session.method = chosen.name
    session.parameters[chosen.name] = dict(chosen.model_extra or {})
    session.presets.pop(chosen.name, None)
    if chosen.preset is not None:
        session.presets[chosen.name] = chosen.preset
    session.uncertainty = {} if asked is None else asked.model_dump(mode="json", exclude_none=True)
