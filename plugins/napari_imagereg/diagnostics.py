"""Questions to a finished run: its residual where the data lie, and its method on two halves of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from imagereg.errors import UsageError
from imagereg.measurement import Measurement
from imagereg.recipe import Recipe
from napari_imagereg.history import Run
from napari_imagereg.layers import image_keywords, look_at, replace_layer, show_sinogram
from napari_imagereg.previewing import prepare_slice, single

if TYPE_CHECKING:
    from napari_imagereg.desk import Desk
    from napari_imagereg.explorer import Explorer

SHOWN = 4.0
"""Grey range of a residual map in standard deviations of the noise."""


def data_of(recipe: Recipe, whole: Measurement, row: int) -> Measurement:
    """What the method of a run worked on: one row of its part of the data, preprocessed, with its physics.

    Parameters
    ----------
    row : the row in that part, for runs of several.
    """
    from imagereg.running.setup import chosen_part

    part = chosen_part(whole, views=recipe.input.views, rows=recipe.input.rows)
    return prepare_slice(recipe, part, row).part


def image_of(layer: Any, measurement: Measurement, row: int) -> Any:
    """The image of a run that belongs to these data: a slice of its layer, or the whole of it."""
    data = layer.data[0] if layer.multiscale else layer.data
    ndim = len(data.shape) - bool(layer.rgb)
    if ndim == 3 and not measurement.coupled:
        data = data[min(row, data.shape[0] - 1)]
    return np.asarray(data)


def halves_looks(recipe: Recipe, whole: Measurement, row: int, stop: threading.Event) -> Iterator[Any]:
    """The states of a run's method on both halves of its data, and their agreement last."""
    from imagereg.engine import grid_of, iterate, prepare
    from imagereg.uncertainty.half_sets import compare_halves

    execution = recipe.execution
    part = data_of(recipe, whole, row)
    voxel, unit = grid_of(part)
    ready = prepare(part, device=execution.device, precision=execution.precision)

    def run(half: Measurement) -> Iterator[Any]:
        return iterate(
            half,
            recipe.resolved_method(),
            device=execution.device,
            precision=execution.precision,
            seed=execution.seed,
        )

    for look in compare_halves(ready, run, seed=execution.seed, voxel=voxel, unit=unit or "pixel"):
        if stop.is_set():
            return
        yield part, look


class Examiner(QObject):
    """Asks the chosen run in the explorer's thread; answers are layers and signals."""

    fit_found = Signal(str, object)
    halves_found = Signal(str, object)

    def __init__(self, desk: Desk, explorer: Explorer, selected: Callable[[], Run | None]) -> None:
        super().__init__(explorer)
        self._desk, self._explorer, self._selected = desk, explorer, selected

    def _chosen(self) -> tuple[Run, Any, Recipe, Measurement]:
        """The chosen run with its layer, its recipe, and the data as they were read.

        Raises
        ------
        UsageError
            When one of them is not there any more.
        """
        desk = self._desk
        run, whole = self._selected(), desk.session.whole
        if run is None or whole is None:
            raise UsageError("preview something first.")
        if run.layer not in desk.viewer.layers:
            raise UsageError("the layer of this run is gone; run it again.")
        recipe = Recipe.parse(run.recipe)
        source = recipe.input.path
        if source != Path(desk.session.path or desk.session.layer_name):
            raise UsageError(f"this run is of {source.name}, which is not open now.")
        return run, desk.viewer.layers[run.layer], recipe, whole

    def show_residual(self) -> None:
        """Project the image of the chosen run and show what it leaves unexplained."""
        try:
            run, layer, recipe, whole = self._chosen()
        except UsageError as error:
            self._desk.fail(str(error))
            return
        row, title = self._desk.session.row, run.title
        # One projection: not worth a way to another device.
        recipe = recipe.with_values({"execution.device": "cpu"})

        def work() -> Any:
            from imagereg.uncertainty.consistency import consistency

            part = data_of(recipe, whole, row)
            return part, consistency(part, image_of(layer, part, row))

        def show(found: Any) -> None:
            part, fit = found
            self.fit_found.emit(title, fit)
            self._show_map(part, single(fit.map), f"residual #{run.number}")

        self._explorer.run_once("projecting the image", work, show)

    def _show_map(self, part: Measurement, residual: Any, name: str) -> None:
        desk = self._desk
        where: dict[str, Any] = {}
        file_row = desk.session.row_of_file()
        if part.geometry is not None:
            for other in desk.viewer.layers:
                other.visible = False
            if residual.ndim == 3 and not part.coupled:
                where["translate"] = (0.0, file_row * part.geometry.row_edge, 0.0)
        layer = replace_layer(
            desk.viewer,
            part,
            name,
            residual,
            source=desk.source(),
            **where,
            colormap="PiYG",
            contrast_limits=(-SHOWN, SHOWN),
        )
        show_sinogram(desk.viewer, part, file_row)
        look_at(desk.viewer, layer)

    def compare_halves(self) -> None:
        """Run the method of the chosen run on two halves of its data and show down to where they agree."""
        try:
            run, _, recipe, whole = self._chosen()
        except UsageError as error:
            self._desk.fail(str(error))
            return
        row, title, desk = self._desk.session.row, run.title, self._desk

        def look(news: Any) -> None:
            state = news[1]
            if hasattr(state, "phase"):
                of = f"/{state.total}" if state.total else ""
                desk.progress(state.progress, f"{state.phase}: iteration {state.iteration}{of}")

        def show(news: Any) -> None:
            if news is not None and hasattr(news[1], "curve"):
                part, found = news
                self.halves_found.emit(title, found)
                self._add_halves(part, found, recipe, title)

        self._explorer.follow("reconstructing two halves of the data", look, show)
        self._explorer.job.start(lambda keep: halves_looks(recipe, whole, row, keep))

    def _add_halves(self, part: Measurement, found: Any, recipe: Recipe, title: str) -> None:
        """Both images as hidden layers, to flick between."""
        viewer, source = self._desk.viewer, self._desk.source()
        for word, image in (("first half", found.first), ("second half", found.second)):
            name = f"{title} {word}"
            if name in viewer.layers:
                viewer.layers.remove(name)
            account = {"recipe": recipe.to_yaml(), "half": found.how}
            keywords = image_keywords(image, part, source, name=name, provenance=account)
            viewer.add_image(image, **{**keywords, "visible": False})
