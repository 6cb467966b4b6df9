"""Results as layers: registered, named, with provenance; inputs are never touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagereg.measurement import Measurement

KEY = "imagereg"
_ABBREVIATION = {"mm": "mm", "millimeter": "mm", "um": "um", "micrometer": "um", "nm": "nm", "": "pixel"}


def result_keywords(
    image: Any, measurement: Measurement, *, name: str, provenance: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Keywords of `viewer.add_image` for a result in the object's space.

    The image is centred on the rotation axis for scans, and lies where its source lies for images.
    """
    from imagereg.engine import grid_of

    array = np.asarray(image)
    ndim = array.ndim
    voxel, unit = grid_of(measurement)
    scale = tuple(voxel[-ndim:]) if len(voxel) >= ndim else (1.0,) * ndim
    unit = _ABBREVIATION.get(unit, unit) if len(voxel) >= ndim else "pixel"
    low, high = contrast(array)
    keywords: dict[str, Any] = {
        "name": name,
        "scale": scale,
        "units": (unit,) * ndim,
        "axis_labels": ("z", "y", "x")[-ndim:],
        "contrast_limits": (low, high),
        "metadata": {KEY: provenance or {}},
    }
    if measurement.geometry is not None:
        keywords["translate"] = _corner(array.shape, scale, measurement.volume)
    return keywords


def _corner(shape: tuple[int, ...], scale: tuple[float, ...], volume: Any) -> tuple[float, ...]:
    """Where the first voxel of a grid lies, the rotation axis being at 0; rows go down where y goes up."""
    shift = np.zeros(len(shape))
    if volume is not None:
        x, y, *z = volume.centre
        shift[-2:] = -y, x
        if z and len(shape) == 3:
            shift[0] = z[0]
    return tuple(-(n - 1) / 2 * edge + float(move) for n, edge, move in zip(shape, scale, shift, strict=True))


def derived_keywords(
    layer: Any, *, name: str, provenance: dict[str, Any] | None = None, ndim: int | None = None
) -> dict[str, Any]:
    """Keywords that put a new layer where `layer` is: scale, translate, rotate, shear, units, axis labels.

    With `ndim` below the layer's the new one is a slice along its last axes.
    """
    ndim = layer.ndim if ndim is None else min(ndim, layer.ndim)
    corner = ndim * (ndim - 1) // 2
    return {
        "name": name,
        "scale": tuple(layer.scale[-ndim:]),
        "translate": tuple(layer.translate[-ndim:]),
        "rotate": np.array(layer.rotate)[-ndim:, -ndim:],
        "shear": np.array(layer.shear)[-corner:] if corner else None,
        "affine": np.array(layer.affine.affine_matrix)[-ndim - 1 :, -ndim - 1 :],
        "units": tuple(layer.units[-ndim:]),
        "axis_labels": tuple(layer.axis_labels[-ndim:]),
        "metadata": {KEY: provenance or {}},
    }


def image_keywords(
    image: Any,
    measurement: Measurement,
    source: Any = None,
    *,
    name: str,
    provenance: dict[str, Any] | None = None,
    part: tuple[slice, slice] | None = None,
) -> dict[str, Any]:
    """Keywords of a result: in the object's space for scans, where the source layer lies for images.

    A result that is finer than its source (super-resolution) covers the same ground with smaller pixels:
    the ground of the whole source, or of the `part` of its rows and columns.
    """
    array = np.asarray(image)
    keywords = result_keywords(array, measurement, name=name, provenance=provenance)
    rgb = measurement.axes.endswith("C")
    if rgb:
        ndim = array.ndim - 1
        for key in ("scale", "units"):
            keywords[key] = keywords[key][:ndim]
        keywords["axis_labels"] = ("z", "y", "x")[-ndim:]
        keywords["rgb"] = True
        del keywords["contrast_limits"]
    if source is None or measurement.geometry is not None:
        return keywords
    placed = derived_keywords(source, name=name, provenance=provenance, ndim=array.ndim - rgb)
    fine = array.shape[: len(placed["scale"])]
    coarse = np.array(_shape(source)[-len(fine) :])
    first = np.zeros(len(fine))
    if part is not None:
        first[-2:] = [span.start for span in part]
        coarse[-2:] = [span.stop - span.start for span in part]
    ratio = coarse / np.array(fine)
    scale = np.array(placed["scale"])
    shift = placed["rotate"] @ (scale * (first + (ratio - 1) / 2))
    placed["scale"] = tuple(scale * ratio)
    placed["translate"] = tuple(np.array(placed["translate"]) + shift)
    return {**keywords, **placed}


def _shape(layer: Any) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(data.shape[: layer.ndim])


def measurement_keywords(measurement: Measurement, *, name: str) -> dict[str, Any]:
    """Keywords for a measurement's own layer.

    The view axis of a scan is an index, shown in the same unit as the others (napari drops all units when
    degrees and lengths share a viewer); the angles are in the metadata.
    """
    shape = measurement.data.shape
    geometry = measurement.geometry
    if geometry is None:
        scale = measurement.pixel if len(measurement.pixel) == len(shape) else (1.0,) * len(shape)
        unit = _ABBREVIATION.get(measurement.unit, measurement.unit) if measurement.pixel else "pixel"
        return {
            "name": name,
            "scale": scale,
            "units": (unit,) * len(shape),
            "metadata": {KEY: {"measurement": measurement}},
        }
    edges = {2: (geometry.pixel, geometry.pixel), 3: (geometry.pixel, geometry.row_edge, geometry.pixel)}[
        len(shape)
    ]
    return {
        "name": name,
        "scale": edges,
        "units": ("mm",) * len(shape),
        "axis_labels": ("angle", "v", "u") if len(shape) == 3 else ("angle", "u"),
        "metadata": {
            KEY: {"measurement": measurement, "angles_deg": np.rad2deg(geometry.angles).tolist()},
        },
    }


def measurement_of(layer: Any) -> Measurement | None:
    """The measurement that a reader left in a layer's metadata."""
    held = layer.metadata.get(KEY, {})
    found = held.get("measurement") if isinstance(held, dict) else None
    return found if isinstance(found, Measurement) else None


def contrast(array: Any) -> tuple[float, float]:
    """Grey range for display: percentiles of a thinned copy, so that it costs nothing on a volume."""
    from imagereg.preview import grey_range

    step = tuple(slice(None, None, max(1, n // 128)) for n in array.shape)
    return grey_range(np.asarray(array[step], dtype=np.float64))


def replace_layer(
    viewer: Any, measurement: Measurement, name: str, array: Any, *, source: Any = None, **more: Any
) -> Any:
    """Add a layer in the measurement's space, in place of the one of the same name."""
    if name in viewer.layers:
        viewer.layers.remove(name)
    if measurement.geometry is None and source is not None:
        keywords = derived_keywords(source, name=name, ndim=array.ndim)
    else:
        keywords = measurement_keywords(measurement, name=name)
        keywords["metadata"] = {}
    return viewer.add_image(array, **{**keywords, "contrast_limits": contrast(array), **more})


def follow_name(session: Any, number: int, layer: Any) -> None:
    """Let a run know its layer by name, also when the user renames it."""

    def tell(event: Any = None) -> None:
        session.update_run(number, layer=layer.name)

    layer.events.name.connect(tell)
    tell()


def show_sinogram(viewer: Any, measurement: Measurement, row: int) -> None:
    """Turn the viewer to views against columns, at one detector row of a scan that lies in it."""
    if measurement.geometry is None or len(measurement.data.shape) != 3 or viewer.dims.ndim != 3:
        return
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, row * measurement.geometry.row_edge)
    viewer.reset_view()


def look_at(viewer: Any, layer: Any, *, cells: int = 1) -> None:
    """Fit the axes of a layer that are displayed into the canvas, or into one of `cells` beside each other.

    The viewer's own call refuses layers that have fewer axes than the viewer.
    """
    shown = [axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed[-2:]]
    low, high = (np.asarray(corner, dtype=float)[shown] for corner in layer.extent.world)
    room = np.asarray(viewer.canvas.size, dtype=float) / (1, cells)
    camera = viewer.scene.camera
    camera.center = (0.0, *(float(middle) for middle in (low + high) / 2))
    camera.zoom = 0.95 * float((room / np.maximum(high - low, 1e-12)).min())


def leave_scans(viewer: Any, layer: Any) -> None:
    """Turn from scans, which lie in another space and are hidden, to an image."""
    for other in viewer.layers:
        if "angle" in other.axis_labels:
            other.visible = False
    viewer.dims.ndisplay = 2
    viewer.dims.order = tuple(range(viewer.dims.ndim))
    look_at(viewer, layer)
