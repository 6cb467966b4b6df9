"""Painted scenes: opaque ellipses, lines and dots on black, as data for networks that must see edges."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from imagereg.phantoms import ellipses_and_lines, foam


def painted(
    size: int, random: np.random.Generator, *, ellipses: tuple[int, int] = (6, 16), lines: int = 12
) -> NDArray[np.float32]:
    """A picture in [0, 1] of opaque bodies, later ones covering earlier ones, with hard edges.

    Unlike `imagereg.phantoms.ellipses_and_lines`, whose bodies add up, each body has a grey value of its own,
    down to near black: that is how occlusion and faint contrast arise.

    Parameters
    ----------
    size : edge in pixels.
    random : what all is drawn from.
    ellipses : least and largest number of ellipses.
    lines : largest number of lines; up to as many dots.

    Returns
    -------
    (size, size).
    """
    picture = np.zeros((size, size), dtype=np.float32)
    for _ in range(random.integers(*ellipses, endpoint=True)):
        radius, angle = 0.8 * np.sqrt(random.random()), random.uniform(0, 2 * np.pi)
        axes = np.exp(random.uniform(np.log(0.03), np.log(0.32), 2))
        _ellipse(
            picture,
            radius * np.cos(angle),
            radius * np.sin(angle),
            axes,
            random.uniform(0, np.pi),
            random.uniform(0.02, 1) if random.random() < 0.8 else 1.0,
        )
    for _ in range(random.integers(0, lines, endpoint=True)):
        x, y = random.uniform(-0.75, 0.75, 2)
        axes = np.array([random.uniform(0.04, 0.4), random.uniform(0.4, 1.6) / size])
        _ellipse(picture, x, y, axes, random.uniform(0, np.pi), _line_grey(random))
    for _ in range(random.integers(0, lines, endpoint=True)):
        x, y = random.uniform(-0.75, 0.75, 2)
        radius = random.uniform(0.8, 3.0) / size
        _ellipse(picture, x, y, np.array([radius, radius]), 0.0, _line_grey(random))
    return picture


def generated_scenes(count: int, *, size: int = 192, seed: int = 0) -> list[torch.Tensor]:
    """Pictures (size, size) in [0, 1]: of six, four of opaque bodies, one of bodies that add up, one of foam.

    Parameters
    ----------
    count : number of pictures.
    size : edge in pixels.
    seed : of everything random.
    """
    random = np.random.default_rng(seed)
    scenes = []
    for number in range(count):
        if number % 6 < 4:
            scene = painted(size, random)
        else:
            kind = ellipses_and_lines if number % 6 == 4 else foam
            scene = kind(size, seed=int(random.integers(2**31)), supersampling=2)
        scenes.append(torch.from_numpy(np.ascontiguousarray(scene, dtype=np.float32)))
    return scenes


def _line_grey(random: np.random.Generator) -> float:
    return 1.0 if random.random() < 0.5 else random.uniform(0.02, 1)


def _ellipse(
    picture: NDArray[np.float32], x: float, y: float, axes: NDArray[np.floating], angle: float, grey: float
) -> None:
    """Set the pixels whose centre lies in an ellipse; coordinates from -1 to 1."""
    size = picture.shape[0]
    reach = axes.max()
    first = np.clip(np.floor((np.array([y, x]) - reach + 1) * size / 2), 0, size).astype(int)
    last = np.clip(np.ceil((np.array([y, x]) + reach + 1) * size / 2) + 1, 0, size).astype(int)
    rows, columns = ((2 * np.arange(a, b) + 1) / size - 1 for a, b in zip(first, last, strict=True))
    dy, dx = rows[:, None] - y, columns[None, :] - x
    cos, sin = np.cos(angle), np.sin(angle)
    inside = ((cos * dx + sin * dy) / axes[0]) ** 2 + ((cos * dy - sin * dx) / axes[1]) ** 2 <= 1
    picture[first[0] : last[0], first[1] : last[1]][inside] = grey
