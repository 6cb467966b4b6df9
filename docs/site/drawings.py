"""Drawings of the geometry conventions, made from the geometries themselves, so that they cannot disagree."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

INK = "#37474f"
RAY = "#e67e22"


def drawings() -> dict[str, bytes]:
    """SVG files by name."""
    return {"parallel": _plane("parallel"), "fan": _plane("fan"), "columns": _columns()}


def _plane(kind: str) -> bytes:
    import imagereg as ir

    angle = np.deg2rad(35.0)
    if kind == "parallel":
        geometry: Any = ir.ParallelBeam([angle], columns=9, pixel=1.0)
    else:
        geometry = ir.FanBeam([angle], columns=9, pixel=1.6, source_origin=9.0, source_detector=15.0)
    view = geometry.vectors()
    source, column = view.source[0, :2], view.column[0, :2]
    offsets = np.arange(geometry.columns) - (geometry.columns - 1) / 2
    # A parallel detector may stand anywhere along its rays; put it where it can be seen.
    middle = view.centre[0, :2] + (6.5 * source / np.linalg.norm(source) if kind == "parallel" else 0)
    cells = middle + offsets[:, None] * column

    figure, axis = _canvas((6.2, 5.6))
    axis.set(xlim=(-11, 7.5), ylim=(-9, 10.5))
    for cell in cells[:: 2 if kind == "parallel" else 1]:
        start = cell - 13 * source / np.linalg.norm(source) if kind == "parallel" else source
        axis.annotate("", cell, start, arrowprops={"arrowstyle": "->", "color": RAY, "lw": 0.9})
    half = column / 2
    axis.plot(*np.transpose([cells[0] - half, cells[-1] + half]), color=INK, lw=5, solid_capstyle="butt")
    axis.text(*(cells[0] - 1.1 * column), "column 0", ha="center", va="center", fontsize=8)
    axis.text(
        *(cells[-1] + 1.3 * column), f"column {geometry.columns - 1}", ha="center", va="center", fontsize=8
    )
    axis.add_patch(_patch("Circle", (0, 0), 3.2, fill=False, color=INK, lw=1))
    for tip, label, place in (((5, 0), "x", (5.4, 0)), ((0, 5), "y", (0, 5.4))):
        axis.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.2})
        axis.text(*place, label, ha="center", va="center", fontsize=11, style="italic")
    direction = column / np.linalg.norm(column)
    axis.annotate(
        "", 4.2 * direction, (0, 0), arrowprops={"arrowstyle": "-|>", "color": "#2980b9", "lw": 1.6}
    )
    axis.text(*(4.7 * direction), "t", color="#2980b9", fontsize=12, style="italic", ha="center", va="center")
    axis.add_patch(_patch("Arc", (0, 0), 4, 4, theta1=0, theta2=np.rad2deg(angle), color="#2980b9"))
    axis.text(
        2.35 * np.cos(angle / 2), 2.35 * np.sin(angle / 2), "a", color="#2980b9", style="italic", fontsize=11
    )
    axis.plot(0, 0, "o", color=INK, ms=4)
    axis.text(-0.3, -0.7, "rotation axis z", fontsize=8, ha="right")
    if kind == "fan":
        axis.plot(*source, "o", color=RAY)
        axis.text(source[0] + 0.6, source[1] - 0.6, "source", fontsize=9, color=RAY)
    return _svg(figure)


def _columns() -> bytes:
    """Pixels of an image and columns of a detector: indices at the middles, the axis between two columns."""
    figure, axis = _canvas((6.6, 2.4))
    axis.set(xlim=(-2.2, 6.5), ylim=(-1.1, 1.5))
    for index in range(6):
        axis.add_patch(_patch("Rectangle", (index - 0.5, 0), 1, 0.6, fill=False, color=INK))
        axis.text(index, 0.3, str(index), ha="center", va="center", fontsize=9)
    axis.plot([2.5, 2.5], [-0.5, 1.3], color="#2980b9", ls="--")
    axis.text(2.55, 1.15, "central ray: column (6 − 1) / 2 = 2.5", color="#2980b9", fontsize=8)
    axis.plot([3.2, 3.2], [-0.9, 1.0], color=RAY)
    axis.text(3.25, -0.75, "centre_of_rotation = 3.2", color=RAY, fontsize=8)
    axis.annotate("", (3.2, -0.3), (2.5, -0.3), arrowprops={"arrowstyle": "->", "color": INK})
    axis.text(2.4, -0.3, "axis_offset = 0.7 · pixel", ha="right", va="center", fontsize=8)
    axis.text(-0.7, 0.3, "detector", ha="right", va="center", fontsize=8)
    return _svg(figure)


def _canvas(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasSVG(figure)
    axis = figure.subplots()
    axis.set_aspect("equal")
    axis.set_axis_off()
    return figure, axis


def _patch(kind: str, *arguments: Any, **options: Any) -> Any:
    import matplotlib.patches

    return getattr(matplotlib.patches, kind)(*arguments, **options)


def _svg(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    return stream.getvalue()
