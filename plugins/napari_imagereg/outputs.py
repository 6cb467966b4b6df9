"""What leaves the dock: recipes in three forms, and images of runs with their recipe inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from imagereg.errors import ImageregError
from imagereg.io.atomic import replacing
from imagereg.recipe import Recipe
from napari_imagereg.history import Run

if TYPE_CHECKING:
    from napari_imagereg.desk import Desk

Form = Literal["CLI", "Python", "YAML"]


class Outputs(QObject):
    """Puts recipes on the clipboard or into files, and runs back into the form."""

    def __init__(self, desk: Desk, parent: QWidget) -> None:
        super().__init__(parent)
        self._desk, self._session, self._parent = desk, desk.session, parent

    def _run(self, number: int) -> Run:
        return next(run for run in self._session.runs if run.number == number)

    def copy_as(self, form: Form) -> None:
        """Put what the panels say on the clipboard as a command, Python or YAML."""
        try:
            self._put(self._session.as_text(form), form, "what the panels say")
        except ImageregError as error:
            self._desk.fail(str(error))

    def copy_run(self, number: int, form: Form) -> None:
        """Put what makes exactly the image of a run on the clipboard."""
        run = self._run(number)
        self._put(self._session.as_text(form, Recipe.parse(run.recipe)), form, run.title)

    def _put(self, text: str, form: str, what: str) -> None:
        QApplication.clipboard().setText(text)
        self._desk.progress(None, f"{form} of {what} is on the clipboard")

    def save_recipe(self) -> None:
        """Write the recipe where the user says."""
        name, _ = QFileDialog.getSaveFileName(
            self._parent, "Save the recipe", "recipe.yaml", "Recipes (*.yaml)"
        )
        if not name:
            return
        try:
            text = self._session.as_text("YAML")
            with replacing(Path(name), overwrite=True) as partial:
                partial.write_text(text, encoding="utf-8")
        except ImageregError as error:
            self._desk.fail(str(error))

    def reopen(self, number: int) -> None:
        """Put a run's parameters back into the panels."""
        recipe = Recipe.parse(self._run(number).recipe)
        self._session.parameters[recipe.method.name] = recipe.method.parameters
        self._session.presets.pop(recipe.method.name, None)
        self._session.method = recipe.method.name
        self._session.method_changed.emit()

    def export(self, number: int) -> None:
        """Write a run's image with its recipe inside."""
        run, viewer = self._run(number), self._desk.viewer
        if run.layer not in viewer.layers:
            self._desk.fail("the layer of this run is gone; run it again.")
            return
        name, _ = QFileDialog.getSaveFileName(self._parent, "Export", f"{run.method}-{run.number}.ome.tif")
        if name:
            from napari_imagereg.writers import write_layer

            layer = viewer.layers[run.layer]
            try:
                write_layer(name, layer.data, layer.as_layer_data_tuple()[1])
            except ImageregError as error:
                self._desk.fail(str(error))
