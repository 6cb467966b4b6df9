"""What the workbench knows, without Qt: one session a viewer; panels are views of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from psygnal import Signal

from imagereg.measurement import Measurement
from imagereg.methods.base import Method
from imagereg.methods.registry import methods
from imagereg.recipe import Recipe
from napari_imagereg.wording import as_command, as_python

Task = Literal["tomography", "denoise", "deblur", "inpaint", "super-resolution"]
TASKS: dict[Task, str] = {
    "tomography": "auto",
    "denoise": "identity",
    "deblur": "blur",
    "inpaint": "inpainting",
    "super-resolution": "downsampling",
}


@dataclass(frozen=True, eq=False)
class Run:
    """One finished preview or volume, as the history shows it."""

    number: int
    method: str
    parameters: dict[str, Any]
    iterations: int
    seconds: float
    residual: float | None
    metrics: dict[str, float]
    layer: str
    recipe: str
    finished: str = ""
    tag: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """A layer's name: what was done, with its main parameter, or the name that the user gave."""
        if self.name:
            return self.name
        main = methods()[self.method].main if self.method in methods() else ""
        value = self.parameters.get(main)
        detail = (
            f" {main} {value:.3g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        )
        return f"{self.method}{detail} #{self.number}"


class Session:
    """The state of one workbench: data, steps, method, runs. Every change is announced by a signal."""

    data_changed = Signal()
    physics_changed = Signal()
    steps_changed = Signal()
    method_changed = Signal()
    runs_changed = Signal()

    def __init__(self) -> None:
        self.task: Task = "tomography"
        self.measurement: Measurement | None = None
        self.path: Path | None = None
        self.layer_name = ""
        self.hints: dict[str, Any] = {}
        self.centre: float | None = None
        self.uncertainty: dict[str, Any] = {}
        self.steps: list[dict[str, dict[str, Any]]] = []
        self.method = "fbp"
        self.parameters: dict[str, dict[str, Any]] = {}
        self.physics: dict[str, Any] = {}
        self.volume: dict[str, Any] | None = None
        self.row = 0
        self.device = "auto"
        self.slab: int | None = None
        self.execution: dict[str, Any] = {}
        self.runs: list[Run] = []
        self._count = 0

    # ------------------------------------------------------------------ data
    def take(self, measurement: Measurement, *, path: Path | None = None, layer: str = "") -> None:
        """Start over with a measurement: the task, the steps and the method that fit it."""
        from imagereg.preprocessing import default_steps, step_name

        self.measurement, self.path, self.layer_name = measurement, path, layer
        self.centre, self.volume, self.slab = None, None, None
        self.row = measurement.rows // 2
        # Masks and noise belong to one image; the blur and the factor of the task may be those of the next.
        kept = ("blur", "factor") if measurement.geometry is None else ()
        self.physics = {name: value for name, value in self.physics.items() if name in kept}
        if measurement.geometry is not None:
            self.task = "tomography"
        elif self.task == "tomography":
            self.task = "denoise"
        self.steps = [{step_name(step): {}} for step in default_steps(measurement)]
        if self.method not in self.fitting() or self.refusals().get(self.method):
            fits = [name for name, reason in self.refusals().items() if not reason]
            preferred = ("fbp", "fdk", "tv")
            self.method = next((m for m in preferred if m in fits), fits[0] if fits else self.method)
        self.data_changed.emit()
        self.physics_changed.emit()
        self.steps_changed.emit()
        self.method_changed.emit()

    # ------------------------------------------------------------------ method
    def fitting(self) -> dict[str, type[Method]]:
        """All methods by name."""
        return dict(methods())

    def refusals(self) -> dict[str, str]:
        """For each method why it does not fit the data, empty where it does.

        Counts are taken for line integrals where the steps will make them so.
        """
        measurement = self.measurement
        if measurement is None:
            return dict.fromkeys(methods(), "open some data first")
        names = {name for step in self.steps for name in step}
        if self.physics.get("noise"):
            from imagereg.physics.noise import noise_from_dict

            measurement = replace(measurement, noise=noise_from_dict(self.physics["noise"]))
        if measurement.geometry is not None and "flatfield" in names:
            # Only what the data are called changes: nothing is read.
            measurement = replace(measurement, quantity="line_integrals", flats=None, darks=None)
        return {name: declared.refusal(measurement) for name, declared in methods().items()}

    def choose_method(self, name: str) -> None:
        """Pick a method by name."""
        if name != self.method:
            self.method = name
            self.method_changed.emit()

    def parameters_of(self, name: str | None = None) -> dict[str, Any]:
        """The values that differ from the defaults, of the current method or another."""
        return dict(self.parameters.get(name or self.method, {}))

    def set_parameters(self, values: dict[str, Any]) -> None:
        """Keep the current method's values."""
        self.parameters[self.method] = dict(values)

    # ------------------------------------------------------------------ recipe
    def recipe(self, *, folder: Path | str = "out", rows: str | None = None) -> Recipe:
        """The recipe that does what the workbench shows."""
        steps: list[Any] = [dict(step) for step in self.steps]
        if self.centre is not None:
            steps = [step for step in steps if "centre" not in step]
            steps.append({"centre": {"column": self.centre}})
        physics = {"kind": TASKS[self.task], **self.physics}
        if self.volume is not None:
            physics["volume"] = self.volume
        source: dict[str, Any] = {"path": str(self.path or self.layer_name or "data"), "hints": self.hints}
        if rows:
            source["rows"] = rows
        return Recipe.of_mapping(
            {
                "input": source,
                "preprocess": steps,
                "physics": physics,
                "method": {"name": self.method, **self.parameters_of()},
                **({"uncertainty": self.uncertainty} if self.uncertainty else {}),
                "output": {"folder": str(folder)},
                "execution": {
                    **self.execution,
                    "device": self.device,
                    **({"slab": self.slab} if self.slab else {}),
                },
            },
            where="workbench",
        )

    def load(self, recipe: Recipe) -> None:
        """Show what a recipe says: the inverse of `recipe`."""
        from imagereg.io import read
        from imagereg.preprocessing import step_name

        path = Path(recipe.input.path)
        if path.exists():
            self.hints = dict(recipe.input.hints)
            self.take(read(path, format=recipe.input.format, **self.hints), path=path)
        self.centre = None
        self.steps = []
        for step in recipe.preprocess:
            name = step_name(step)
            values = dict(step[name] or {}) if isinstance(step, dict) else {}
            if name == "centre" and values.get("column") is not None:
                self.centre = float(values["column"])
            self.steps.append({name: values})
        kinds = {kind: task for task, kind in TASKS.items()}
        self.task = kinds.get(recipe.physics.kind, self.task)
        plain = recipe.physics.model_dump(mode="json", exclude_defaults=True)
        self.volume = plain.pop("volume", None)
        plain.pop("kind", None)
        self.physics = plain
        self.method = recipe.method.name
        self.parameters[self.method] = recipe.method.parameters
        asked = recipe.uncertainty
        self.uncertainty = {} if asked is None else asked.model_dump(mode="json", exclude_none=True)
        self.device, self.slab = recipe.execution.device, recipe.execution.slab
        # What has no control of its own (precision, seed, threads) goes through as it came.
        execution = recipe.execution.model_dump(mode="json", exclude_defaults=True)
        self.execution = {k: v for k, v in execution.items() if k not in ("device", "slab")}
        self.physics_changed.emit()
        self.steps_changed.emit()
        self.method_changed.emit()

    def as_text(self, form: Literal["CLI", "Python", "YAML"], recipe: Recipe | None = None) -> str:
        """The recipe as a command line, a piece of Python, or itself."""
        recipe = recipe or self.recipe()
        if form == "YAML":
            return recipe.to_yaml(header="imagereg recipe")
        return as_command(recipe) if form == "CLI" else as_python(recipe)

    # ------------------------------------------------------------------ runs
    def add_run(self, **facts: Any) -> Run:
        """Enter a finished run in the history."""
        self._count += 1
        run = Run(number=self._count, **facts)
        self.runs.append(run)
        self.runs_changed.emit()
        return run

    def update_run(self, number: int, **facts: Any) -> None:
        """Change what the history says of a run; a tag is taken from the run that had it."""
        tag = facts.get("tag")
        self.runs = [
            replace(run, **facts)
            if run.number == number
            else (replace(run, tag="") if tag and run.tag == tag else run)
            for run in self.runs
        ]
        self.runs_changed.emit()

    def remove_run(self, number: int) -> None:
        """Take a run out of the history."""
        self.runs = [run for run in self.runs if run.number != number]
        self.runs_changed.emit()

    def tagged(self, tag: str) -> Run | None:
        """The run that carries a tag."""
        return next((run for run in self.runs if run.tag == tag), None)


_sessions: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()


def session_of(viewer: Any) -> Session:
    """The session of a viewer; every widget of that viewer shares it."""
    if viewer not in _sessions:
        _sessions[viewer] = Session()
    return _sessions[viewer]


def measurement_of_array(array: Any, *, axes: str = "") -> Measurement:
    """A plain image or stack as a measurement."""
    array = np.asarray(array) if not hasattr(array, "compute") else array
    return Measurement(array, axes=axes)
