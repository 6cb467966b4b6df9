"""What the workbench tries on one slice: previews, the centre, a step's effect, a suggested strength."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from imagereg.errors import ImageregError
from imagereg.recipe import Recipe
from napari_imagereg.jobs import Job
from napari_imagereg.layers import contrast, follow_name, image_keywords, look_at, replace_layer
from napari_imagereg.previewing import Look, before_and_after, preview_looks
from napari_imagereg.suggest import Suggestion, suggestions

if TYPE_CHECKING:
    from napari_imagereg.dock import Workbench

LIVE = "preview"


class Explorer(QObject):
    """Starts the work on one slice in a thread and puts what it gives into layers and panels.

    One thing at a time: what is started replaces what runs.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self.viewer, self.session, self.settings = bench.viewer, bench.session, bench.settings
        self.data, self.physics, self.method = bench.data, bench.physics, bench.method
        self.preview, self.footer, self.fail = bench.preview, bench.footer, bench.fail
        self.job = Job(self)
        self.job.failed.connect(self._fail_job)
        self._live: Any = None
        self._recipe: Recipe | None = None
        self._seen: Any = None

    def cancel(self) -> None:
        """End what runs; the image of a cancelled preview goes away."""
        self.job.cancel()
        # Taking a layer away is slow where OpenGL is: the buttons answer first.
        live, self._live = self._live, None
        if live is not None:
            QTimer.singleShot(0, lambda: self._remove(live))

    def _fail_job(self, sentence: str, resources: bool) -> None:
        self._drop_live()
        self.fail(sentence, resources)

    # ------------------------------------------------------------------ preview
    def start_preview(self) -> None:
        """Reconstruct the slice of the preview with what the panels say; a running preview is replaced."""
        found = self._question()
        if found is None:
            return
        recipe, measurement = found
        self._recipe = recipe
        self.job.cancel()
        self._drop_live()
        self._take_over(self._show_look, self._finish_preview)
        self.preview.begin()
        self.footer.set_busy(True)
        self.footer.show_progress(0.0, f"{recipe.method.name}\N{HORIZONTAL ELLIPSIS}")
        row, limits = self.session.row, self._limits()
        self.job.start(lambda keep: preview_looks(recipe, measurement, row, keep, **limits))

    def _question(self) -> tuple[Recipe, Any] | None:
        """The recipe that the panels say and the data, or None where something is missing or wrong."""
        self.footer.show_error("")
        measurement = self.session.measurement
        if measurement is None:
            self.fail("open some data first.")
            return None
        if self.method.form.error():
            self.fail(self.method.form.error())
            return None
        try:
            return self.session.recipe(), measurement
        except ImageregError as error:
            self.fail(str(error))
            return None

    def _limits(self) -> dict[str, int]:
        return {"limit": self.settings.preview_size, "threads": self.settings.threads}

    def _take_over(self, looked: Any, finished: Any) -> None:
        """Send the job's values to these slots from now on."""
        for signal, slot in ((self.job.looked, looked), (self.job.finished, finished)):
            with contextlib.suppress(RuntimeError, TypeError):
                signal.disconnect()
            signal.connect(slot)

    def _show_look(self, look: Look) -> None:
        self.preview.show_look(look)
        of = f"/{look.total}" if look.total else ""
        fraction, text = look.progress, f"iteration {look.iteration}{of}"
        if fraction and look.seconds > 1 and fraction < 1:
            remaining = look.seconds * (1 / fraction - 1)
            text += f", {int(remaining // 60)}:{int(remaining % 60):02d} to go"
        self.footer.show_progress(fraction, text)
        if look.finished:
            return
        if self._live is None:
            # Added once: where the user deletes the live layer, the run goes on without one.
            self._live = self._add_image(look, LIVE)
        elif self._live in self.viewer.layers:
            self._live.data = look.image
            if not self._live.rgb:
                self._live.contrast_limits = contrast(look.image)

    def _add_image(self, look: Look, name: str, **account: Any) -> Any:
        measurement = look.measurement or self.session.measurement
        assert measurement is not None
        keywords = image_keywords(
            look.image, measurement, self.data.source(), name=name, provenance=account or None
        )
        layer = self.viewer.add_image(look.image, **keywords)
        if self.session.measurement is not self._seen:
            self._seen = self.session.measurement
            self._show_alone(layer)
        return layer

    def _show_alone(self, layer: Any) -> None:
        """Hide scans, which lie in another space than the first image of them, and look at the image."""
        measurement = self.session.measurement
        if measurement is not None and measurement.geometry is not None:
            source = self.data.source()
            if source is not None:
                source.visible = False
            self.viewer.dims.ndisplay = 2
            look_at(self.viewer, layer)

    def _finish_preview(self, look: Look | None) -> None:
        if look is None or self._recipe is None:
            return
        recipe = self._recipe
        run = self.session.add_run(
            method=recipe.method.name,
            parameters=recipe.resolved_method().model_dump(mode="json"),
            iterations=look.iteration,
            seconds=look.seconds,
            residual=look.figures.get("residual"),
            metrics=look.metrics,
            layer="",
            recipe=recipe.to_yaml(),
            finished=look.finished,
        )
        name = f"{self.session.layer_name or 'data'} \N{BLACK RIGHT-POINTING SMALL TRIANGLE} {run.title}"
        layer = self._add_image(look, name, **look.provenance)
        self._drop_live()
        if look.deviation is not None:
            self._add_deviation(look, name)
        follow_name(self.session, run.number, layer)
        self.preview.show_look(look)

    def _add_deviation(self, look: Look, name: str) -> None:
        """The standard deviation that a method gives beside its image, with what it means."""
        measurement = look.measurement or self.session.measurement
        assert measurement is not None
        legend = "standard deviation of the result as its method states it, in the result's unit"
        keywords = image_keywords(
            look.deviation,
            measurement,
            self.data.source(),
            name=f"{name} std",
            provenance={**look.provenance, "meaning": legend},
        )
        self.viewer.add_image(look.deviation, **{**keywords, "colormap": "viridis", "visible": False})
        self.preview.show_legend(f"{name} std: {legend}.")

    def _drop_live(self) -> None:
        live, self._live = self._live, None
        self._remove(live)

    def _remove(self, layer: Any) -> None:
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    # ------------------------------------------------------------------ centre, steps, suggestion
    def _small_job(self, text: str, work: Any, done: Any) -> None:
        """Run one function in the job's thread and hand its value to `done`."""
        self.footer.show_error("")
        self.job.cancel()
        self._drop_live()
        self._take_over(lambda _: None, done)
        self.footer.set_busy(True, can_keep=False)
        self.footer.show_progress(None, text)

        def once(keep: Any) -> Any:
            yield work()

        self.job.start(once)

    def _steps_before_centre(self) -> list[Any]:
        return [step for step in self.session.steps if "centre" not in step]

    def find_centre(self) -> None:
        """Find the centre of rotation from the data."""
        from imagereg.preprocessing import find_centre

        measurement, steps = self.session.measurement, self._steps_before_centre()
        if measurement is None:
            return
        self._small_job(
            "finding the centre of rotation",
            lambda: find_centre(measurement, steps=tuple(steps)),
            self.physics.show_estimate,
        )

    def sweep(self, columns: list[float]) -> None:
        """Reconstruct with the axis on several columns."""
        from imagereg.preprocessing import centre_sweep

        measurement, steps = self.session.measurement, self._steps_before_centre()
        if measurement is None:
            return
        row = self.session.row if measurement.rows > 1 else None
        self._small_job(
            "reconstructing the sweep",
            lambda: centre_sweep(measurement, columns, row=row, steps=tuple(steps)),
            lambda pictures: self.physics.show_sweep(columns, pictures),
        )

    def look_at_step(self, name: str) -> None:
        """Show the data before and after one step, and their difference."""
        measurement = self.session.measurement
        if measurement is None:
            return
        names = [next(iter(step)) for step in self.session.steps]
        if name not in names:
            self.fail(f"tick the step {name!r} first.")
            return
        place, steps, row = names.index(name), list(self.session.steps), self.session.row
        source = self.data.source()

        def work() -> Any:
            return before_and_after(measurement, steps, place, row)

        def show(pair: Any) -> None:
            before, after = pair
            for label, part in (("before", before), ("after", after)):
                replace_layer(self.viewer, part, f"{name} {label}", part.data, source=source)
            if before.data.shape == after.data.shape:
                change = after.data - before.data
                span = max(map(abs, contrast(change)))
                replace_layer(
                    self.viewer,
                    after,
                    f"{name} difference",
                    change,
                    source=source,
                    colormap="PiYG",
                    contrast_limits=(-span, span),
                )

        self._small_job(f"running {name}", work, show)

    def suggest(self, by: str = "automatic") -> None:
        """Find the main parameter of the method from the data, on the preview's slice."""
        found = self._question()
        if found is None:
            return
        recipe, measurement = found
        row, limits = self.session.row, self._limits()

        def look(trial: Suggestion) -> None:
            self.method.show_suggestion(trial)
            self.footer.show_progress(None, f"{len(trial.tried)} trials of {trial.name}")

        def show(chosen: Suggestion | None) -> None:
            if chosen is not None:
                self.method.show_suggestion(chosen)

        self.job.cancel()
        self._drop_live()
        self._take_over(look, show)
        self.footer.set_busy(True, can_keep=False)
        self.footer.show_progress(None, "choosing from the data")
        self.job.start(lambda keep: suggestions(recipe, measurement, row, keep, by=by, **limits))
