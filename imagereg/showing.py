"""Pictures for notebooks: side by side, difference, profile, and a swipe between two images."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError, did_you_mean
from imagereg.preview import grey_range, middle, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

View = Literal["side", "difference", "profile", "swipe"]
DPI = 60
UNSIGNED: dict[str, Any] = {"Software": None}  # so that a picture has the same bytes under every matplotlib


@dataclass(frozen=True)
class Picture:
    """A drawn picture: notebooks display it, `save` keeps it.

    Attributes
    ----------
    png : bytes of the PNG; empty for a swipe.
    html : markup of the swipe, which needs nothing but itself; empty for the others.
    titles : of the images in it.
    """

    png: bytes = field(default=b"", repr=False)
    html: str = field(default="", repr=False)
    titles: tuple[str, ...] = ()

    def _repr_png_(self) -> bytes | None:
        return self.png or None

    def _repr_html_(self) -> str | None:
        return self.html or None

    def save(self, path: str | Path) -> Path:
        """Write it as `.html` where it is a swipe, as `.png` otherwise.

        Raises
        ------
        UsageError
            When the file exists, or its suffix is of the other kind.
        """
        path = Path(path)
        suffix = ".html" if self.html else ".png"
        if path.suffix != suffix:
            raise UsageError(f"{path}: this picture is saved as {suffix}; change the file's suffix.")
        if path.exists():
            raise UsageError(f"{path} exists; choose another name or remove it.")
        path.write_bytes(self.html.encode() if self.html else self.png)
        return path


def show(
    *images: Any,
    view: View = "side",
    truth: Any = None,
    row: int | None = None,
    columns: int = 4,
) -> Picture:
    """Draw images on one grey scale: the truth's where it is given, else that of the first.

    Parameters
    ----------
    images : arrays, tensors, results or measurements, or one mapping of titles to these. Of volumes and
        stacks the middle slice is shown, of scans the sinogram of the middle row.
    view : 'side' by side; 'difference', the first two and the second minus the first; 'profile', the values
        along a row; 'swipe', a slider that uncovers the second below the first (HTML).
    truth : an image of the same shape; titles then tell the PSNR against it, in dB.
    row : the row of 'profile'; the middle where not given.
    columns : panels in a row at most, of 'side'.

    Raises
    ------
    UsageError
        When there is no image, the view is unknown, or a view of two images has others or shapes differ.
    """
    if view not in get_args(View):
        raise UsageError(f"show: no view is called {view!r}{did_you_mean(view, get_args(View))}")
    pictures = _titled(images)
    if not pictures:
        raise UsageError("show: give one image at least.")
    if view in ("difference", "swipe") and len(pictures) != 2:
        raise UsageError(f"show: the view {view!r} takes two images, not {len(pictures)}.")
    shapes = {picture.shape for picture in pictures.values()}
    if view != "side" and len(shapes) > 1:
        raise UsageError(f"show: the view {view!r} compares images of one shape, not {sorted(shapes)}.")
    scale = grey_range(next(iter(pictures.values())))
    if truth is not None:
        pictures, scale = _judged(pictures, _plane(truth)), grey_range(_plane(truth))
    titles = tuple(pictures)
    if view == "swipe":
        return Picture(html=_swipe(pictures, scale), titles=titles)
    if view == "profile":
        figure = _profile(pictures, row, scale)
    elif view == "difference":
        figure = _difference(pictures, scale)
    else:
        figure = panels(pictures, columns=columns, dpi=DPI, scale=scale)
    return Picture(png=_png(figure), titles=titles)


def _titled(images: tuple[Any, ...]) -> dict[str, NDArray[np.float64]]:
    """Planes by title: those given, or the methods of results, or numbers."""
    if len(images) == 1 and isinstance(images[0], Mapping):
        return {str(title): _plane(image) for title, image in images[0].items()}
    titled: dict[str, NDArray[np.float64]] = {}
    for number, image in enumerate(images, start=1):
        title = str(getattr(image, "provenance", {}).get("method", number))
        titled[title if title not in titled else f"{title} {number}"] = _plane(image)
    return titled


def _plane(image: Any) -> NDArray[np.float64]:
    """The slice that stands for an image, a result or a scan."""
    geometry = getattr(image, "geometry", None)
    array = getattr(image, "image", image)
    array = getattr(array, "data", array) if hasattr(array, "quantity") else array
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    array = np.asarray(array[...] if hasattr(array, "shape") and array.shape else array)
    if array.ndim < 2:
        raise UsageError(f"show: an image has two axes at least, not the shape {array.shape}.")
    if geometry is not None and array.ndim in (3, 5):
        return middle(np.moveaxis(array, -2, 0) if array.ndim == 3 else np.moveaxis(array[0, 0], -2, 0))
    return middle(array)


def _judged(
    pictures: Mapping[str, NDArray[np.float64]], truth: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    from imagereg.metrics import psnr

    judged = {}
    for title, picture in pictures.items():
        same = np.array_equal(picture, truth)
        judged[title if same else f"{title}, {psnr(picture, truth):.1f} dB"] = picture
    return judged


def _difference(pictures: Mapping[str, NDArray[np.float64]], scale: tuple[float, float]) -> Figure:
    """Both images, and second minus first in colours of which white is zero."""
    first, second = pictures.values()
    figure = panels({**pictures, "second − first": second - first}, columns=3, dpi=DPI, scale=scale)
    drawn = figure.axes[2].images[0]
    largest = float(np.nanpercentile(np.abs(second - first), 99.8)) or 1.0
    drawn.set(cmap="RdBu_r", clim=(-largest, largest))
    figure.tight_layout()
    return figure


def _profile(
    pictures: Mapping[str, NDArray[np.float64]], row: int | None, scale: tuple[float, float]
) -> Figure:
    """The first image with the row marked, and the values along it of all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first = next(iter(pictures.values()))
    row = len(first) // 2 if row is None else row
    if not -len(first) <= row < len(first):
        raise UsageError(f"show: row {row} is not within an image of {len(first)} rows.")
    figure = Figure(figsize=(10, 3.6), dpi=DPI)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    left.imshow(first, cmap="gray", vmin=scale[0], vmax=scale[1], interpolation="nearest")
    left.axhline(row % len(first), color="C1", linewidth=1)
    left.set_axis_off()
    for title, picture in pictures.items():
        right.plot(picture[row], label=title, linewidth=1)
    right.set_xlabel(f"column of row {row}")
    right.legend(fontsize=8)
    right.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata=UNSIGNED)
    return stream.getvalue()


def _swipe(pictures: Mapping[str, NDArray[np.float64]], scale: tuple[float, float]) -> str:
    """Two pictures on each other and a slider that moves the cut; no script besides its one handler."""
    below, above = (_source(picture, *scale) for picture in pictures.values())
    left, right = (escape(title) for title in pictures)
    whole = "width:100%;margin:0;image-rendering:pixelated"
    return (
        f'<figure class="imagereg-swipe" style="margin:0;max-width:32em">'
        f'<div style="position:relative;line-height:0;--cut:50%">'
        f'<img alt="{left}" src="{below}" style="{whole}">'
        f'<img alt="{right}" src="{above}" style="{whole};position:absolute;inset:0;height:100%;'
        f'clip-path:inset(0 0 0 var(--cut))">'
        f'<div style="position:absolute;top:0;bottom:0;left:var(--cut);width:2px;background:#f80;'
        f'pointer-events:none"></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="cut between {left} and {right}" '
        f"oninput=\"this.parentNode.style.setProperty('--cut',this.value+'%')\" "
        f'style="position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize">'
        f'</div><figcaption style="display:flex;justify-content:space-between">'
        f"<span>{left}</span><span>{right}</span></figcaption></figure>"
    )


def _source(picture: NDArray[np.float64], low: float, high: float) -> str:
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, picture, cmap="gray", vmin=low, vmax=high, format="png", metadata=UNSIGNED)
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode()}"
