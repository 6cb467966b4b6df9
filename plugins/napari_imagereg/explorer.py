"""Work on one slice, one thing at a time: previews, live, and whatever else is started in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from imagereg.errors import ImageregError
from imagereg.recipe import Recipe
from napari_imagereg.jobs import ThreadJob
from napari_imagereg.layers import (
    contrast,
    follow_name,
    image_keywords,
    leave_scans,
)
from napari_imagereg.previewing import PreviewLook, preview_looks
from napari_imagereg.region import LAYER, Region, region_of
from napari_imagereg.uncertainty import legend_of

if TYPE_CHECKING:
    from napari_imagereg.desk import Desk

LIVE = "preview"


class Explorer(QObject):
    """Starts the work on one slice in a thread, puts what it gives into layers and tells it by signals.

    One thing at a time: what is started replaces what runs.
    """

    began = Signal()
    preview_began = Signal()
    looked = Signal(object)
    legend_changed = Signal(str)
    busy = Signal(bool)
    previewed = Signal(str, float, int)

    def __init__(
        self,
        desk: Desk,
        parent: QObject,
        *,
        by_region: Callable[[], bool],
        complaint: Callable[[], str],
    ) -> None:
        """`by_region` tells whether a region is to be previewed, `complaint` what is wrong in the form."""
        super().__init__(parent)
        self._desk, self._by_region, self._complaint = desk, by_region, complaint
        self.viewer, self.session, self.settings = desk.viewer, desk.session, desk.settings
        self.job = ThreadJob(self)
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
        self._desk.fail(sentence, resources)

    # ------------------------------------------------------------------ preview
    def start_preview(self) -> None:
        """Reconstruct the slice of the preview with what the panels say; a running preview is replaced."""
        found = self.question()
        if found is None:
            return
        recipe, measurement = found
        self._recipe = recipe
        self.job.cancel()
        self._drop_live()
        self._take_over(self._show_look, self._finish_preview)
        self.preview_began.emit()
        self.busy.emit(True)
        self._desk.progress(0.0, f"{recipe.method.name}\N{HORIZONTAL ELLIPSIS}")
        row, limits = self.session.row, self.limits()
        part: dict[str, Any] = {"region": self._region(), "file_row": self.session.row_of_file()}
        self.job.start(lambda keep: preview_looks(recipe, measurement, row, keep, **part, **limits))

    def show_region(self, wanted: bool) -> None:
        """Bring the rectangle of the region in, or take it away."""
        if LAYER in self.viewer.layers:
            self.viewer.layers[LAYER].visible = wanted
            return
        source = self._desk.source()
        if not wanted or source is None:
            return
        newest = self.session.runs[-1].layer if self.session.runs else ""
        shown = self.viewer.layers[newest] if newest in self.viewer.layers else source
        low, high = (np.asarray(corner[-2:], dtype=float) for corner in shown.extent.world)
        first, last = low + 0.25 * (high - low), high - 0.25 * (high - low)
        self.viewer.add_shapes(
            [[first, (first[0], last[1]), last, (last[0], first[1])]],
            shape_type="rectangle",
            name=LAYER,
            face_color="transparent",
            edge_color="#e69f00",
            edge_width=float((high - low).max()) / 200,
            units=shown.units[-2:],
        )

    def _region(self) -> Region | None:
        source, measurement = self._desk.source(), self.session.measurement
        if not self._by_region() or LAYER not in self.viewer.layers or measurement is None:
            return None
        layer = self.viewer.layers[LAYER]
        scan = measurement.geometry is not None
        if not len(layer.data) or (source is None and not scan):
            return None
        return region_of(layer, source, scan=scan)

    def question(self) -> tuple[Recipe, Any] | None:
        """The recipe that the panels say and the data, or None where something is missing or wrong."""
        self._desk.fail("")
        measurement = self.session.measurement
        if measurement is None:
            self._desk.fail("open some data first.")
            return None
        if self._complaint():
            self._desk.fail(self._complaint())
            return None
        try:
            return self.session.recipe(), measurement
        except ImageregError as error:
            self._desk.fail(str(error))
            return None

    def limits(self) -> dict[str, Any]:
        """The largest grid and the threads of work on one slice, as the user prefers."""
        return {"limit": self.settings.preview_size, "threads": self.settings.threads}

    def _take_over(self, looked: Any, finished: Any) -> None:
        """Send the job's values to these slots from now on."""
        self.began.emit()
        for signal, slot in ((self.job.looked, looked), (self.job.finished, finished)):
            with contextlib.suppress(RuntimeError, TypeError):
                signal.disconnect()
            signal.connect(slot)

    def _show_look(self, look: PreviewLook) -> None:
        self.looked.emit(look)
        of = f"/{look.total}" if look.total else ""
        fraction, text = look.progress, f"iteration {look.iteration}{of}"
        if fraction and look.seconds > 1 and fraction < 1:
            remaining = look.seconds * (1 / fraction - 1)
            text += f", {int(remaining // 60)}:{int(remaining % 60):02d} to go"
        self._desk.progress(fraction, text)
        if look.finished:
            return
        if self._live is None:
            # Added once: where the user deletes the live layer, the run goes on without one.
            self._live = self._add_image(look, LIVE)
        elif self._live in self.viewer.layers:
            self._live.data = look.image
            if not self._live.rgb:
                self._live.contrast_limits = contrast(look.image)

    def _add_image(self, look: PreviewLook, name: str, **account: Any) -> Any:
        keywords = image_keywords(
            look.image,
            look.measurement,
            self._desk.source(),
            name=name,
            provenance=account or None,
            part=look.spans,
        )
        layer = self.viewer.add_image(look.image, **keywords)
        turned = tuple(self.viewer.dims.order) != tuple(range(self.viewer.dims.ndim))
        if self.session.measurement is not self._seen or turned:
            self._seen = self.session.measurement
            self._show_alone(layer)
        return layer

    def _show_alone(self, layer: Any) -> None:
        """Hide scans, which lie in another space than the first image of them, and look at the image."""
        measurement = self.session.measurement
        if measurement is not None and measurement.geometry is not None:
            leave_scans(self.viewer, layer)

    def _finish_preview(self, look: PreviewLook | None) -> None:
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
            recipe=look.provenance["recipe"],
            finished=look.finished,
        )
        name = f"{self.session.layer_name or 'data'} \N{BLACK RIGHT-POINTING SMALL TRIANGLE} {run.title}"
        layer = self._add_image(look, name, **look.provenance)
        self._drop_live()
        if self._region() is None:
            self.previewed.emit(run.method, look.seconds, look.iteration)
        follow_name(self.session, run.number, layer)
        self.looked.emit(look)
        self._add_offers(look, name)

    def _add_offers(self, look: PreviewLook, name: str) -> None:
        """The images of uncertainty that a method gives beside its image, each with what it means."""
        for offer in look.offers:
            title = f"{name} {offer.name}"
            account = {**look.provenance, "meaning": offer.legend, "calibrated": offer.calibrated}
            keywords = image_keywords(
                offer.image,
                look.measurement,
                self._desk.source(),
                name=title,
                provenance=account,
                part=look.spans,
            )
            colours = {} if offer.name in ("mean", "lower", "upper") else {"colormap": "viridis"}
            self.viewer.add_image(offer.image, **{**keywords, **colours, "visible": False})
        self.legend_changed.emit(legend_of(look.offers))

    def _drop_live(self) -> None:
        live, self._live = self._live, None
        self._remove(live)

    def _remove(self, layer: Any) -> None:
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    # ------------------------------------------------------------------ other work
    def run_once(self, text: str, work: Any, done: Any) -> None:
        """Run one function in the job's thread and hand its value to `done`."""
        self._desk.fail("")
        self.follow(text, lambda _: None, done)

        def once(keep: Any) -> Any:
            yield work()

        self.job.start(once)

    def follow(self, text: str, look: Any, done: Any) -> None:
        """Make room for a job whose values go to `look`, and the last one to `done`; the caller starts it."""
        self.job.cancel()
        self._drop_live()
        self._take_over(look, done)
        self.busy.emit(False)
        self._desk.progress(None, text)
