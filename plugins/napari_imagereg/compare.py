"""Two results against each other: grid, swipe, flicker, signed difference, line profile."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from qtpy.QtCore import QObject, QTimer

from imagereg.errors import UsageError
from napari_imagereg.layers import derived_keywords, look_at

Mode = Literal["off", "grid", "swipe", "flicker", "difference"]
MODES: tuple[Mode, ...] = ("off", "grid", "swipe", "flicker", "difference")


class Comparison(QObject):
    """Shows two image layers against each other and puts everything back as it was afterwards.

    What is shown are layers of its own that look at the same arrays, so that the compared layers are never
    changed; they go when the comparison ends.
    """

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._mode: Mode = "off"
        self._sources: tuple[Any, Any] | None = None
        self._shown: list[Any] = []
        self._visible: dict[Any, bool] = {}
        self._camera: Any = None
        self.legend = ""
        self._timer = QTimer(self)
        self._timer.setInterval(500)
        self._timer.timeout.connect(self._flick)

    @property
    def mode(self) -> Mode:
        """The mode that is on."""
        return self._mode

    def show(self, mode: Mode, first: Any, second: Any, *, lock: bool = True) -> None:
        """Compare two layers; `lock` gives both one grey range, also when it is changed.

        Raises
        ------
        UsageError
            When the two do not have the same shape.
        """
        self.clear()
        if mode == "off":
            return
        if tuple(first.data.shape) != tuple(second.data.shape):
            shapes = " and ".join(" x ".join(map(str, layer.data.shape)) for layer in (first, second))
            raise UsageError(f"A and B have {shapes} pixels: only images of one shape can be compared.")
        viewer = self._viewer
        selected = set(viewer.layers.selection)
        self._mode, self._sources = mode, (first, second)
        self._visible = {layer: layer.visible for layer in viewer.layers}
        for layer in list(viewer.layers):
            layer.visible = False
        if mode == "difference":
            self._show_difference(first, second)
        else:
            limits = first.contrast_limits if lock else second.contrast_limits
            pair = [("B", second, limits), ("A", first, first.contrast_limits)]
            # The second lies below, so that the first can be cut or hidden to look at it; but the cells of
            # a grid are filled from below, and A shall be on the left.
            below, above = (
                self._add(layer, f"{tag}: {_short(layer.name)}", _levels(layer), shown)
                for tag, layer, shown in (reversed(pair) if mode == "grid" else pair)
            )
            if lock:
                above.events.contrast_limits.connect(lambda _: self._follow(above, below))
                below.events.contrast_limits.connect(lambda _: self._follow(below, above))
        if mode == "grid":
            grid = viewer.canvas.grid
            grid.enabled, grid.shape, grid.stride = True, (1, 2), 1
            for layer in self._shown:
                layer.name_overlay.visible = True
            camera = viewer.scene.camera
            self._camera = (camera.center, camera.zoom)
            look_at(viewer, below, cells=2)
        elif mode == "swipe":
            self.swipe(0.5)
        elif mode == "flicker":
            self._timer.start()
        viewer.layers.selection = {layer for layer in selected if layer in viewer.layers}

    def swipe(self, fraction: float) -> None:
        """Show the first layer left of a line at `fraction` of its width, the second right of it."""
        if self._mode != "swipe" or self._sources is None or not self._alive():
            return
        above = self._shown[-1]
        first = self._sources[0]
        above.data = _cut(_levels(first), min(max(fraction, 0.0), 1.0), axis=-2 if first.rgb else -1)
        above.visible = fraction > 0

    def clear(self) -> None:
        """Leave the mode: take its layers away and put visibility and grid back."""
        self._timer.stop()
        viewer = self._viewer
        if self._mode == "grid":
            viewer.canvas.grid.enabled = False
            if self._camera is not None:
                viewer.scene.camera.center, viewer.scene.camera.zoom = self._camera
        for layer in self._shown:
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        for layer, visible in self._visible.items():
            if layer in viewer.layers:
                layer.visible = visible
        self._mode, self._sources, self._visible, self._shown = "off", None, {}, []
        self.legend = ""

    def _add(self, source: Any, name: str, data: Any, limits: Any, **more: Any) -> Any:
        keywords = {**derived_keywords(source, name=name), "contrast_limits": limits, **more}
        keywords.setdefault("colormap", source.colormap.name)
        if source.rgb and not more:
            keywords = {**derived_keywords(source, name=name), "rgb": True}
        layer = self._viewer.add_image(data, multiscale=isinstance(data, list), **keywords)
        self._shown.append(layer)
        return layer

    def _follow(self, changed: Any, other: Any) -> None:
        if tuple(changed.contrast_limits) != tuple(other.contrast_limits):
            other.contrast_limits = changed.contrast_limits

    def _flick(self) -> None:
        if self._alive():
            above = self._shown[-1]
            above.visible = not above.visible

    def _alive(self) -> bool:
        return bool(self._shown) and all(layer in self._viewer.layers for layer in self._shown)

    def _show_difference(self, first: Any, second: Any) -> None:
        pairs = zip(_as_list(_levels(first)), _as_list(_levels(second)), strict=False)
        differences = [_difference(a, b) for a, b in pairs]
        if first.rgb:
            differences = [difference.mean(-1) for difference in differences]
        span = float(np.percentile(np.abs(np.asarray(differences[-1])), 99.0)) or 1.0
        self._add(
            first,
            f"{first.name} - {second.name}",
            differences if len(differences) > 1 else differences[0],
            (-span, span),
            colormap="PiYG",
        )
        self.legend = f"A - B: green where A is larger, pink where B is; full colour at {span:.3g}."


def _short(name: str) -> str:
    """What was done, without the data that both have in common."""
    return name.rpartition("\N{BLACK RIGHT-POINTING SMALL TRIANGLE}")[2].strip()


def _levels(layer: Any) -> Any:
    return list(layer.data) if layer.multiscale else layer.data


def _as_list(data: Any) -> list[Any]:
    return data if isinstance(data, list) else [data]


def _cut(data: Any, fraction: float, *, axis: int) -> Any:
    """The left part of an image, or of every level of a pyramid, at least one pixel wide."""
    parts = []
    for level in _as_list(data):
        left = slice(max(1, round(fraction * level.shape[axis])))
        parts.append(level[(..., left, *(slice(None),) * (-1 - axis))])
    return parts if isinstance(data, list) else parts[0]


def _difference(first: Any, second: Any) -> Any:
    """First less second; lazy where they are lazy."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        first, second = np.asarray(first, dtype=np.float32), np.asarray(second, dtype=np.float32)
    return first - second


def profile(image: Any, start: tuple[float, float], stop: tuple[float, float]) -> tuple[Any, Any]:
    """Distance along a line in pixels and the image's values there (linear interpolation)."""
    from scipy.ndimage import map_coordinates

    picture = np.asarray(image, dtype=np.float64)
    length = float(np.hypot(stop[0] - start[0], stop[1] - start[1]))
    count = max(2, int(np.ceil(length)) + 1)
    points = np.linspace(start, stop, count).T
    return np.linspace(0, length, count), map_coordinates(picture, points, order=1, mode="nearest")
