"""Two results against each other: grid, swipe, flicker, signed difference, line profile."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from qtpy.QtCore import QObject, QTimer

Mode = Literal["off", "grid", "swipe", "flicker", "difference"]
MODES: tuple[Mode, ...] = ("off", "grid", "swipe", "flicker", "difference")


class Comparison(QObject):
    """Shows two image layers against each other and puts everything back as it was afterwards."""

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._mode: Mode = "off"
        self._layers: tuple[Any, Any] | None = None
        self._visible: dict[Any, bool] = {}
        self._difference: Any = None
        self._timer = QTimer(self)
        self._timer.setInterval(500)
        self._timer.timeout.connect(self._flick)

    @property
    def mode(self) -> Mode:
        """The mode that is on."""
        return self._mode

    def show(self, mode: Mode, first: Any, second: Any, *, lock: bool = True) -> None:
        """Compare two layers; `lock` gives both the grey range of the first."""
        self.clear()
        if mode == "off":
            return
        viewer = self._viewer
        self._mode, self._layers = mode, (first, second)
        self._visible = {layer: layer.visible for layer in viewer.layers}
        for layer in viewer.layers:
            layer.visible = layer in (first, second)
        if lock:
            second.contrast_limits = first.contrast_limits
        if mode == "grid":
            viewer.grid.enabled = True
            viewer.grid.shape = (1, 2)
        elif mode == "swipe":
            viewer.layers.move(viewer.layers.index(first), len(viewer.layers))
            self.swipe(0.5)
        elif mode == "flicker":
            self._timer.start()
        else:
            self._show_difference(first, second)

    def swipe(self, fraction: float) -> None:
        """Show the first layer left of a line at `fraction` of its width, the second right of it."""
        if self._mode != "swipe" or self._layers is None:
            return
        first = self._layers[0]
        if first.ndim < 3:
            # Clipping planes need three axes, so a picture is shown through its own alpha instead.
            self._clip_picture(first, fraction)
            return
        width = first.data.shape[-1]
        first.experimental_clipping_planes = [
            {"position": (0, 0, fraction * width), "normal": (0, 0, -1), "enabled": True}
        ]

    def clear(self) -> None:
        """Leave the mode and put visibility, grid and clipping back."""
        self._timer.stop()
        viewer = self._viewer
        if self._mode == "grid":
            viewer.grid.enabled = False
        if self._mode == "swipe" and self._layers is not None:
            self._unclip(self._layers[0])
        if self._difference is not None and self._difference in viewer.layers:
            viewer.layers.remove(self._difference)
        for layer, visible in self._visible.items():
            if layer in viewer.layers:
                layer.visible = visible
        self._mode, self._layers, self._visible, self._difference = "off", None, {}, None

    def _flick(self) -> None:
        if self._layers is None:
            return
        first, second = self._layers
        first.visible, second.visible = not first.visible, first.visible

    def _show_difference(self, first: Any, second: Any) -> None:
        from napari_imagereg.layers import derived_keywords

        difference = np.asarray(first.data, dtype=np.float32) - np.asarray(second.data, dtype=np.float32)
        span = float(np.percentile(np.abs(difference), 99.5)) or 1.0
        first.visible = second.visible = False
        self._difference = self._viewer.add_image(
            difference,
            **derived_keywords(first, name=f"{first.name} - {second.name}"),
            colormap="PiYG",
            contrast_limits=(-span, span),
        )

    def _clip_picture(self, layer: Any, fraction: float) -> None:
        whole = layer.metadata.setdefault("imagereg_whole", np.asarray(layer.data))
        cut = np.array(whole, dtype=np.float32)
        cut[:, round(fraction * cut.shape[1]) :] = np.nan
        layer.data = cut

    def _unclip(self, layer: Any) -> None:
        layer.experimental_clipping_planes = []
        whole = layer.metadata.pop("imagereg_whole", None)
        if whole is not None:
            layer.data = whole


def profile(image: Any, start: tuple[float, float], stop: tuple[float, float]) -> tuple[Any, Any]:
    """Distance along a line in pixels and the image's values there (linear interpolation)."""
    from scipy.ndimage import map_coordinates

    picture = np.asarray(image, dtype=np.float64)
    length = float(np.hypot(stop[0] - start[0], stop[1] - start[1]))
    count = max(2, int(np.ceil(length)) + 1)
    points = np.linspace(start, stop, count).T
    return np.linspace(0, length, count), map_coordinates(picture, points, order=1, mode="nearest")
