"""Commands of menus and palette: quick denoising and deblurring, a simulated scan, the tour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from napari_imagereg.jobs import ThreadJob
from napari_imagereg.layers import contrast, derived_keywords, measurement_keywords

_jobs: set[ThreadJob] = set()


def _viewer(given: Any) -> Any:
    """The viewer that was given, or the one that the menu belongs to."""
    if given is not None:
        return given
    import napari

    return napari.current_viewer()


def _chosen(viewer: Any) -> Any:
    layer = viewer.layers.selection.active
    if layer is None or layer._type_string != "image" or layer.rgb:
        from napari.utils.notifications import show_warning

        show_warning("imagereg: choose one grey image layer first.")
        return None
    return layer


def _start(work: Callable[[], Any], show: Callable[[Any], None]) -> None:
    """Call `work` in a thread and hand what it gives to `show`; complaints are shown by the viewer."""
    job = ThreadJob()
    _jobs.add(job)

    def complain(sentence: str, resources: bool) -> None:
        from napari.utils.notifications import show_error

        show_error(f"imagereg: {sentence}")

    job.finished.connect(show)
    job.failed.connect(complain)
    job.ended.connect(lambda: _jobs.discard(job))
    job.start(lambda keep: _once(work))


def _once(work: Callable[[], Any]) -> Iterator[Any]:
    yield work()


def _restore(viewer: Any, layer: Any, name: str, **recipe: Any) -> None:
    """Run a method on the layer and add the result beside it."""
    from imagereg.recipe import Recipe
    from napari_imagereg.session import measurement_of_array

    data = layer.data[0] if layer.multiscale else layer.data
    measurement = measurement_of_array(data)
    chosen = Recipe.of_mapping({"input": {"path": layer.name}, **recipe})

    def work() -> Any:
        import torch

        from imagereg.engine import reconstruct
        from imagereg.running.setup import with_physics

        part = with_physics(measurement, chosen, torch.device("cpu"), torch.float32)
        return np.asarray(reconstruct(part, chosen.resolved_method(), device="cpu").image)

    def show(image: Any) -> None:
        title = f"{layer.name} \N{BLACK RIGHT-POINTING SMALL TRIANGLE} {name}"
        keywords = derived_keywords(layer, name=title, provenance={"recipe": chosen.to_yaml()})
        viewer.add_image(image, contrast_limits=contrast(image), **keywords)

    _start(work, show)


def denoise(viewer: Any = None) -> None:
    """Total variation denoising of the chosen layer."""
    viewer = _viewer(viewer)
    layer = _chosen(viewer)
    if layer is not None:
        _restore(viewer, layer, "TV denoised", method={"name": "tv"})


def deblur(viewer: Any = None) -> None:
    """Total variation deblurring of the chosen layer, for a Gaussian blur of 1.5 pixels."""
    viewer = _viewer(viewer)
    layer = _chosen(viewer)
    if layer is not None:
        _restore(viewer, layer, "TV deblurred", method={"name": "tv"}, physics={"kind": "blur", "blur": 1.5})


def simulate(viewer: Any = None) -> None:
    """Scan the chosen layer with a parallel beam: a new layer with its sinogram, geometry and truth."""
    viewer = _viewer(viewer)
    layer = _chosen(viewer)
    if layer is None:
        return
    from imagereg.geometry import ParallelBeam, Volume
    from imagereg.phantoms import simulate as scan

    picture = np.asarray(layer.data, dtype=np.float32)
    picture = picture if picture.ndim == 2 else picture[picture.shape[0] // 2]
    side = int(np.ceil(np.hypot(*picture.shape)))
    geometry = ParallelBeam(np.linspace(0, np.pi, 180, endpoint=False), side)

    def work() -> Any:
        return scan(picture, geometry, volume=Volume(picture.shape))

    def show(found: Any) -> None:
        viewer.add_image(found.data, **measurement_keywords(found, name=f"{layer.name} scan"))

    _start(work, show)


def tour(viewer: Any = None) -> Any:
    """Open the workbench and walk through it."""
    _, bench = _viewer(viewer).window.add_plugin_dock_widget("imagereg", "Workbench")
    return bench.start_tour()
