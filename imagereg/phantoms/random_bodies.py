"""Random scenes: ellipses with dots and lines, and foam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.phantoms.ellipsoids import Ellipsoids, from_table

_GRID = 256


def ellipses_and_lines(seed: int = 0, *, ellipses: int = 8, dots: int = 8, lines: int = 6) -> Ellipsoids:
    """Ellipses of different contrast with small bright dots and thin lines, in [0, 1], within the unit disc.

    A large faint ellipse holds the others. Each body's contrast is drawn from what keeps the whole within
    [0, 1] wherever the body reaches. Lines are slender ellipses, so that the scene has exact projections.

    Parameters
    ----------
    seed : of the random numbers.
    ellipses, dots, lines : numbers of bodies; a body that finds no room is left out.
    """
    for name, count in (("ellipses", ellipses), ("dots", dots), ("lines", lines)):
        if count < 0:
            raise UsageError(f"ellipses_and_lines({name}={count}): give a number of at least 0.")
    random = np.random.default_rng(seed)
    scene = _Scene()
    wide, high = random.uniform(0.6, 0.88, 2)
    scene.add(random.uniform(0.15, 0.35), wide, high, 0.0, 0.0, random.uniform(0, 180))
    for _ in range(ellipses):
        long = random.uniform(0.08, 0.4)
        x, y = _inside(random, 0.75 - long / 2)
        scene.fit(random, (0.1, 0.4), long, long * random.uniform(0.3, 1), x, y, random.uniform(0, 180))
    for _ in range(lines):
        x, y = _inside(random, 0.5)
        length, width = random.uniform(0.1, 0.4), random.uniform(0.006, 0.012)
        scene.fit(random, (0.25, 0.6), length, width, x, y, random.uniform(0, 180))
    for _ in range(dots):
        x, y = _inside(random, 0.75)
        radius = random.uniform(0.012, 0.03)
        scene.fit(random, (0.4, 0.8), radius, radius, x, y, 0.0)
    return from_table(scene.rows)


def foam(seed: int = 0, *, bubbles: int = 150, ndim: int = 2) -> Ellipsoids:
    """A disc (ball) of radius 0.9 and value 1 with bubbles of value 0 that touch neither it nor each other.

    Parameters
    ----------
    seed : of the random numbers.
    bubbles : number of bubbles; fewer where no more find room.
    ndim : 2 or 3.
    """
    if bubbles < 0 or ndim not in (2, 3):
        raise UsageError(f"foam(bubbles={bubbles}, ndim={ndim}): give at least 0 bubbles in 2 or 3 axes.")
    random = np.random.default_rng(seed)
    outer, gap, least, most = 0.9, 0.006, 0.012, 0.16
    centres, radii = np.zeros((0, ndim)), np.zeros(0)
    for _ in range(20 * bubbles):
        if len(radii) == bubbles:
            break
        candidates = random.uniform(-outer, outer, (64, ndim))
        room = outer - np.linalg.norm(candidates, axis=1)
        if len(radii):
            apart = np.linalg.norm(candidates[:, None] - centres, axis=2) - radii
            room = np.minimum(room, apart.min(1))
        room -= gap
        wanted = least + (most - least) * random.random() ** 3  # many small bubbles, few large ones
        fitting = np.flatnonzero(room >= least)
        if len(fitting):
            index = fitting[0]
            centres = np.vstack([centres, candidates[index]])
            radii = np.append(radii, min(room[index], wanted))
    n = len(radii) + 1
    axes = np.repeat(np.append(outer, radii)[:, None], ndim, axis=1)
    values = np.append(1.0, -np.ones(n - 1))
    return Ellipsoids(values, np.vstack([np.zeros((1, ndim)), centres]), axes, np.zeros(n))


class _Scene:
    """Bodies so far, with bounds of their sum on a coarse grid: each body counts as larger and as smaller."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, ...]] = []
        self.low = np.zeros((_GRID, _GRID))
        self.high = np.zeros((_GRID, _GRID))

    def add(self, value: float, a: float, b: float, x: float, y: float, degrees: float) -> None:
        """Take a body in."""
        self.rows.append((value, a, b, x, y, degrees))
        wide, narrow = self._mask(a, b, x, y, degrees, 1), self._mask(a, b, x, y, degrees, -1)
        self.high += np.where(wide if value > 0 else narrow, value, 0.0)
        self.low += np.where(narrow if value > 0 else wide, value, 0.0)

    def fit(
        self,
        random: np.random.Generator,
        contrast: tuple[float, float],
        a: float,
        b: float,
        x: float,
        y: float,
        degrees: float,
    ) -> None:
        """Take a body in with a contrast that keeps the sum within [0, 1], if there is one."""
        where = self._mask(a, b, x, y, degrees, 1)
        least, most = contrast
        up, down = min(most, 1 - self.high[where].max()), min(most, self.low[where].min())
        ways = [sign * random.uniform(least, room) for sign, room in ((1, up), (-1, down)) if room >= least]
        if ways:
            self.add(float(random.choice(ways)), a, b, x, y, degrees)

    @staticmethod
    def _mask(a: float, b: float, x: float, y: float, degrees: float, side: int) -> NDArray[np.bool_]:
        """Points of the grid in a body whose half-axes are longer (side 1) or shorter (-1) by a grid step."""
        step = 2 / _GRID
        a, b = a + side * step, b + side * step
        if min(a, b) <= 0:
            return np.zeros((_GRID, _GRID), dtype=bool)
        at = (np.arange(_GRID) + 0.5) * step - 1
        dx, dy = at[None, :] - x, at[:, None] - y
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        return ((cos * dx + sin * dy) / a) ** 2 + ((cos * dy - sin * dx) / b) ** 2 <= 1


def _inside(random: np.random.Generator, radius: float) -> tuple[float, float]:
    """A point that is evenly distributed in a disc."""
    angle, r = random.uniform(0, 2 * np.pi), radius * np.sqrt(random.random())
    return float(r * np.cos(angle)), float(r * np.sin(angle))
