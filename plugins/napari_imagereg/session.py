"""What the workbench knows, without Qt: one session a viewer; panels are views of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from psygnal import Signal

from imagereg.measurement import Measurement
from imagereg.methods.base import Method
from imagereg.methods.registry import methods
from imagereg.physics.registry import kinds
from imagereg.presets import load_preset
from imagereg.recipe import Recipe
from imagereg.sections import Input, parse_slice
from napari_imagereg.history import History
from napari_imagereg.wording import as_command, as_python

TASKS = {"tomography": "auto", "denoise": "identity"} | {
    kind.task: name for name, kind in kinds().items() if name not in ("auto", "identity")
}
"""What is to be done, and the kind of physics that it is done about."""


class Session(History):
    """The state of one workbench: data, steps, method, runs. Every change is announced by a signal.

    Attributes
    ----------
    whole : the data as they were read.
    measurement : the views and rows of them to work on.
    output, execution : what a recipe says beyond the controls of the dock; it goes through as it came.
    """

    data_changed = Signal()
    physics_changed = Signal()
    steps_changed = Signal()
    method_changed = Signal()
    execution_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.task: str = "tomography"
        self.whole: Measurement | None = None
        self.measurement: Measurement | None = None
        self.views: str | None = None
        self.rows: str | None = None
        self.path: Path | None = None
        self.format: str | None = None
        self.layer_name = ""
        self.hints: dict[str, Any] = {}
        self.centre: float | None = None
        self.uncertainty: dict[str, Any] = {}
        self.steps: list[dict[str, dict[str, Any]]] = []
        self.method = "fbp"
        self.parameters: dict[str, dict[str, Any]] = {}
        self.presets: dict[str, str] = {}
        self.physics: dict[str, Any] = {}
        self.volume: dict[str, Any] | None = None
        self.row = 0
        self.device = "auto"
        self.slab: int | None = None
        self.execution: dict[str, Any] = {}
        self.output: dict[str, Any] = {}

    # ------------------------------------------------------------------ data
    def take(self, measurement: Measurement, *, path: Path | None = None, layer: str = "") -> None:
        """Start over with a measurement: the task, the steps and the method that fit it."""
        from imagereg.preprocessing import default_steps, step_name

        self.whole = self.measurement = measurement
        self.path, self.layer_name = path, layer
        self.views = self.rows = self.format = None
        self.output.pop("folder", None)
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

    def take_part(self, views: str | None, rows: str | None) -> None:
        """Work on some views and rows of the data, written as in recipes; None for all of them.

        Raises
        ------
        UsageError
            When they select nothing; everything stays as it was.
        """
        from imagereg.running.setup import chosen_part

        if self.whole is None or (views, rows) == (self.views, self.rows):
            return
        at = self.row_of_file()
        self.measurement = chosen_part(self.whole, views=views, rows=rows)
        self.views, self.rows = views, rows
        places = self._taken()
        self.row = places.index(at) if at in places else len(places) // 2
        self.data_changed.emit()
        self.physics_changed.emit()
        self.method_changed.emit()

    def row_of_file(self, row: int | None = None) -> int:
        """The number in the file of the preview's row, or of another row of the part that is taken."""
        places, row = self._taken(), self.row if row is None else row
        return places[row] if row < len(places) else row

    def _taken(self) -> range:
        rows = range(1 if self.whole is None else self.whole.rows)
        return rows[parse_slice(self.rows)] if self.rows and len(rows) > 1 else rows

    def bin_data(self) -> None:
        """Join neighbouring pixels before anything else is made of them; more of them where that is done."""
        place = next((place for place, step in enumerate(self.steps) if "bin" in step), None)
        if place is None:
            self.steps.insert(0, {"bin": {}})
        else:
            now = self.steps[place]["bin"]
            twice = {name: 2 * now[name] for name in ("columns", "rows") if now.get(name)}
            self.steps[place] = {"bin": {**now, "columns": 4, **twice}}
        self.steps_changed.emit()

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

    def preset_of(self, name: str | None = None) -> dict[str, Any]:
        """The values that the preset of the current method or another gives; empty where there is none."""
        name = name or self.method
        preset = self.presets.get(name)
        return {} if preset is None else dict(load_preset(preset, method=name).parameters)

    def choose_preset(self, preset: str | None) -> None:
        """Start from a preset of the current method, or from its defaults; own values are left behind.

        Raises
        ------
        ImageregError
            When it is none for this method; everything stays as it was.
        """
        if preset is not None:
            load_preset(preset, method=self.method)
        self.presets.pop(self.method, None)
        if preset is not None:
            self.presets[self.method] = preset
        self.parameters[self.method] = {}
        self.method_changed.emit()

    def set_parameters(self, values: dict[str, Any]) -> None:
        """Keep the current method's values."""
        self.parameters[self.method] = dict(values)

    # ------------------------------------------------------------------ recipe
    def recipe(self, *, folder: Path | str | None = None) -> Recipe:
        """The recipe that does what the workbench shows; `folder` goes before the one that it may know."""
        steps: list[Any] = [dict(step) for step in self.steps]
        if self.centre is not None:
            at = [place for place, step in enumerate(steps) if "centre" in step]
            for place in at:
                steps[place] = {"centre": {**steps[place]["centre"], "column": self.centre}}
            if not at:
                steps.append({"centre": {"column": self.centre}})
        physics = {"kind": TASKS[self.task], **self.physics}
        if self.volume is not None:
            physics["volume"] = self.volume
        preset = self.presets.get(self.method)
        output = {**self.output, **({} if folder is None else {"folder": str(folder)})}
        return Recipe.of_mapping(
            {
                "input": {
                    "path": str(self.path or self.layer_name or "data"),
                    "format": self.format,
                    "views": self.views,
                    "rows": self.rows,
                    "hints": self.hints,
                },
                "preprocess": steps,
                "physics": physics,
                "method": {
                    "name": self.method,
                    **({"preset": preset} if preset else {}),
                    **self.parameters_of(),
                },
                **({"uncertainty": self.uncertainty} if self.uncertainty else {}),
                "output": output,
                "execution": {
                    **self.execution,
                    "device": self.device,
                    **({"slab": self.slab} if self.slab else {}),
                },
            },
            where="workbench",
        )

    def load(self, recipe: Recipe) -> None:
        """Show what a recipe says: the inverse of `recipe`.

        Where its file is missing, the rest is taken for the data that are open.
        """
        from napari_imagereg.restoring import restore

        restore(self, recipe)

    def holds(self, source: Input) -> bool:
        """Whether the data are those of a recipe's input, read in the same way."""
        held = (self.path, self.format, self.hints)
        return self.whole is not None and held == (source.path, source.format, source.hints)

    def as_text(self, form: Literal["CLI", "Python", "YAML"], recipe: Recipe | None = None) -> str:
        """The recipe as a command line, a piece of Python, or itself."""
        recipe = recipe or self.recipe()
        if form == "YAML":
            return recipe.to_yaml(header="imagereg recipe")
        return as_command(recipe) if form == "CLI" else as_python(recipe)


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
