"""Pictures of results: one slice with its scale, or several side by side on one grey scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def middle(image: NDArray[Any]) -> NDArray[Any]:
    """The middle slice of a stack or volume, or the image itself; colour images as grey."""
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[-1] == 3:
        return array.mean(-1)
    while array.ndim > 2:
        array = array[array.shape[0] // 2]
    return np.asarray(array, dtype=np.float64)


def grey_range(picture: NDArray[Any]) -> tuple[float, float]:
    """0.5th and 99.8th percentile of the finite values, widened where they coincide."""
    finite = picture[np.isfinite(picture)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, (0.5, 99.8)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def write_preview(
    image: NDArray[Any],
    path: Path,
    *,
    voxel: Sequence[float] = (),
    unit: str = "",
    title: str = "",
    label: str = "",
) -> Path:
    """Write the middle slice as a PNG with a grey bar, and a scale bar where the voxel is known."""
    return write_panels({title: image}, path, voxel=voxel, unit=unit, label=label)


def write_panels(
    images: Mapping[str, NDArray[Any]],
    path: Path,
    *,
    voxel: Sequence[float] = (),
    unit: str = "",
    shared_scale: bool = True,
    columns: int = 4,
    label: str = "",
) -> Path:
    """Write the middle slices of several images as one PNG (parameters as for `panels`)."""
    figure = panels(images, voxel=voxel, unit=unit, shared_scale=shared_scale, columns=columns, label=label)
    return _save(figure, Path(path))


def panels(
    images: Mapping[str, NDArray[Any]],
    *,
    voxel: Sequence[float] = (),
    unit: str = "",
    shared_scale: bool = True,
    columns: int = 4,
    label: str = "",
    dpi: int = 110,
    scale: tuple[float, float] | None = None,
) -> Figure:
    """Draw the middle slices of several images side by side.

    Parameters
    ----------
    images : title to image; with `shared_scale` all take the grey range of the first.
    voxel : edges in `unit` in the order of the axes, for a scale bar.
    columns : panels in a row at most.
    label : what the grey values are, for the grey bar.
    dpi : pixels an inch; a panel is 4.6 inches wide.
    scale : grey values of black and white of all; those of the first image where not given.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pictures = {title: middle(image) for title, image in images.items()}
    first = next(iter(pictures.values()))
    across = min(columns, len(pictures))
    down = -(-len(pictures) // across)
    aspect = first.shape[0] / first.shape[1]
    figure = Figure(figsize=(4.6 * across + 0.4, 4.0 * down * min(2.0, max(0.4, aspect)) + 0.5), dpi=dpi)
    FigureCanvasAgg(figure)
    scale = scale or grey_range(first)
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
        low, high = scale if shared_scale else grey_range(picture)
        drawn = axis.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        figure.colorbar(drawn, ax=axis, fraction=0.046, pad=0.02, label=label)
        if title:
            axis.set_title(title, fontsize=10)
        if voxel:
            _scale_bar(axis, picture.shape, float(voxel[-1]), unit)
    figure.tight_layout()
    return figure


def write_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: Path,
    *,
    x: str,
    y: str,
    marks: Mapping[str, float] | None = None,
) -> Path:
    """Write curves as a PNG.

    Parameters
    ----------
    curves : label to (x values, y values).
    x, y : labels of the axes with their units.
    marks : label to the x value of a vertical line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=110)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for label, (xs, ys) in curves.items():
        axis.plot(xs, ys, label=label)
    for index, (label, place) in enumerate((marks or {}).items()):
        axis.axvline(place, linestyle="--", linewidth=1, color=f"C{index + len(curves)}", label=label)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    return _save(figure, Path(path))


def _save(figure: Any, path: Path) -> Path:
    from imagereg.io.atomic import replacing

    with replacing(path, overwrite=True) as partial:
        figure.savefig(partial, format="png")
    return path


def _scale_bar(axis: Any, shape: tuple[int, ...], edge: float, unit: str) -> None:
    """A bar of a round length, about a fifth of the picture wide."""
    wanted = shape[1] * edge / 5
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(m * power for m in (1, 2, 5) if m * power <= wanted)
    bar = length / edge
    x, y = shape[1] * 0.05, shape[0] * 0.95
    axis.plot([x, x + bar], [y, y], color="black", linewidth=5, solid_capstyle="butt")
    axis.plot([x, x + bar], [y, y], color="white", linewidth=3, solid_capstyle="butt")
    axis.annotate(
        f"{length:g} {'px' if unit == 'pixel' else unit}",
        (x + bar / 2, y - shape[0] * 0.02),
        color="white",
        ha="center",
        va="bottom",
        fontsize=8,
        bbox={"facecolor": "black", "alpha": 0.5, "pad": 1, "edgecolor": "none"},
    )
