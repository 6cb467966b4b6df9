"""What is found out on one slice before a preview: the centre, the noise, a step's effect, a strength."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_imagereg.layers import contrast, replace_layer, show_sinogram
from napari_imagereg.previewing import before_and_after, noise_of, without_centre
from napari_imagereg.suggest import Suggestion, suggestions
from napari_imagereg.sweeping import Sweep, sweep_looks

if TYPE_CHECKING:
    from napari_imagereg.desk import Desk
    from napari_imagereg.explorer import Explorer


class Prober(QObject):
    """Starts such work in the explorer's thread and tells what it gives by signals."""

    centre_found = Signal(object)
    noise_found = Signal(float)
    axis_swept = Signal(object, object)
    suggested = Signal(object)
    parameter_swept = Signal(object)

    def __init__(self, desk: Desk, explorer: Explorer) -> None:
        super().__init__(explorer)
        self._desk, self._explorer = desk, explorer

    def find_centre(self) -> None:
        """Find the centre of rotation from the data."""
        from imagereg.preprocessing import find_centre

        measurement, steps = self._desk.session.measurement, without_centre(self._desk.session.steps)
        if measurement is None:
            return
        self._explorer.run_once(
            "finding the centre of rotation",
            lambda: find_centre(measurement, steps=steps),
            self.centre_found.emit,
        )

    def estimate_noise(self) -> None:
        """Find the standard deviation of the noise of the preview's slice."""
        found = self._explorer.question()
        if found is None:
            return
        recipe, measurement = found
        row, limits = self._desk.session.row, self._explorer.limits()
        self._explorer.run_once(
            "estimating the noise",
            lambda: noise_of(recipe, measurement, row, **limits),
            self.noise_found.emit,
        )

    def sweep(self, columns: list[float]) -> None:
        """Reconstruct with the axis on several columns."""
        from imagereg.preprocessing import centre_sweep

        measurement, steps = self._desk.session.measurement, without_centre(self._desk.session.steps)
        if measurement is None:
            return
        row = self._desk.session.row if measurement.rows > 1 else None
        self._explorer.run_once(
            "reconstructing the sweep",
            lambda: centre_sweep(measurement, columns, row=row, steps=steps),
            lambda pictures: self.axis_swept.emit(columns, pictures),
        )

    def look_at_step(self, name: str) -> None:
        """Show the data before and after one step, and their difference."""
        measurement = self._desk.session.measurement
        if measurement is None:
            return
        names = [next(iter(step)) for step in self._desk.session.steps]
        if name not in names:
            self._desk.fail(f"tick the step {name!r} first.")
            return
        place, steps, row = names.index(name), list(self._desk.session.steps), self._desk.session.row
        file_row = self._desk.session.row_of_file()
        source = self._desk.source()

        def work() -> Any:
            return before_and_after(measurement, steps, place, row)

        def show(pair: Any) -> None:
            before, after = pair
            where: dict[str, Any] = {}
            if measurement.geometry is not None and len(measurement.data.shape) == 3:
                where["translate"] = (0.0, file_row * measurement.geometry.row_edge, 0.0)
                if source is not None:
                    source.visible = False
            for label, part in (("before", before), ("after", after)):
                placed = where if part.data.ndim == 3 else {}
                replace_layer(self._desk.viewer, part, f"{name} {label}", part.data, source=source, **placed)
            # Counts and line integrals have no difference.
            if before.data.shape == after.data.shape and before.quantity == after.quantity:
                change = after.data - before.data
                span = max(map(abs, contrast(change)))
                replace_layer(
                    self._desk.viewer,
                    after,
                    f"{name} difference",
                    change,
                    source=source,
                    colormap="PiYG",
                    contrast_limits=(-span, span),
                    visible=False,
                    **(where if after.data.ndim == 3 else {}),
                )
            show_sinogram(self._desk.viewer, measurement, file_row)

        self._explorer.run_once(f"running {name}", work, show)

    def suggest(self, by: str = "automatic") -> None:
        """Find the main parameter of the method from the data, on the preview's slice."""
        found = self._explorer.question()
        if found is None:
            return
        recipe, measurement = found
        row, limits = self._desk.session.row, self._explorer.limits()

        def look(trial: Suggestion) -> None:
            self.suggested.emit(trial)
            self._desk.progress(None, f"{len(trial.tried)} trials of {trial.name}")

        def show(chosen: Suggestion | None) -> None:
            if chosen is not None:
                self.suggested.emit(chosen)

        self._explorer.follow("choosing from the data", look, show)
        self._explorer.job.start(lambda keep: suggestions(recipe, measurement, row, keep, by=by, **limits))

    def sweep_parameter(self) -> None:
        """Reconstruct the preview's slice with several values of the method's main parameter."""
        found = self._explorer.question()
        if found is None:
            return
        recipe, measurement = found
        row, limits = self._desk.session.row, self._explorer.limits()

        def look(sweep: Sweep) -> None:
            self.parameter_swept.emit(sweep)
            self._desk.progress(None, f"{len(sweep.values)} pictures of {sweep.name}")

        # Each look holds all pictures so far, the last one too.
        self._explorer.follow("reconstructing the sweep", look, lambda _: None)
        self._explorer.job.start(lambda keep: sweep_looks(recipe, measurement, row, keep, **limits))
