"""Scans of random ellipses with a known axis, for the tests of preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.geometry import Geometry, ParallelBeam


def ellipses(seed: int, *, size: float = 0.8, count: int = 12) -> NDArray[np.float64]:
    """(n, 6) of x, y, semi-axes, tilt and density, in units of the radius of the field of view."""
    rng = np.random.default_rng(seed)
    body = [0.05, -0.03, size, 0.8 * size, 0.4, 1.0]
    found = [body]
    for _ in range(count):
        radius, turn = 0.7 * size * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        semi = rng.uniform(0.02, 0.12, 2)
        density = rng.choice([-0.6, 0.6, 1.0, 2.0])
        found.append([radius * np.cos(turn), radius * np.sin(turn), *semi, rng.uniform(0, np.pi), density])
    return np.array(found)


def project(
    shapes: NDArray[np.float64], geometry: Geometry, radius: float, sub: int = 2
) -> NDArray[np.float64]:
    """(views, columns) exact line integrals, from the geometry's own positions of source and detector."""
    vectors = geometry.vectors()
    places = (np.arange(geometry.columns * sub) - (sub - 1) / 2) / sub - (geometry.columns - 1) / 2
    detector = vectors.centre[:, None] + vectors.column[:, None] * places[None, :, None]
    if geometry.kind == "parallel":
        along = np.broadcast_to(vectors.source[:, None], detector.shape)
    else:
        along = detector - vectors.source[:, None]
        along = along / np.linalg.norm(along, axis=2, keepdims=True)
    angle = np.arctan2(-along[..., 0], along[..., 1])
    distance = detector[..., 0] * np.cos(angle) + detector[..., 1] * np.sin(angle)
    sums = np.zeros(distance.shape)
    for x, y, a, b, tilt, density in shapes * np.array([radius] * 4 + [1, 1]):
        off = distance - x * np.cos(angle) - y * np.sin(angle)
        reach = (a * np.cos(angle - tilt)) ** 2 + (b * np.sin(angle - tilt)) ** 2
        sums += density * 2 * a * b / reach * np.sqrt(np.maximum(reach - off**2, 0))
    return sums.reshape(sums.shape[0], -1, sub).mean(axis=2) / radius


def parallel_scan(
    seed: int = 0,
    *,
    columns: int = 128,
    views: int = 120,
    arc: float = np.pi,
    centre: float | None = None,
    photons: float = 1e5,
    zoom: float = 1.0,
    endpoint: bool = False,
) -> tuple[NDArray[np.float32], ParallelBeam, float]:
    """Noisy line integrals (views, columns), the geometry that a file would give, and the true axis."""
    rng = np.random.default_rng(seed + 1000)
    place = (columns - 1) / 2 if centre is None else centre
    geometry = ParallelBeam(angles=np.linspace(0, arc, views, endpoint=endpoint), columns=columns)
    room = min(place, columns - 1 - place) - 3
    sums = project(ellipses(seed), geometry.with_centre(place), room * zoom)
    return noisy(sums, photons, rng), geometry, place


def noisy(sums: NDArray[Any], photons: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Line integrals as counting gives them, with so many photons a pixel in air."""
    return (-np.log(np.maximum(rng.poisson(photons * np.exp(-sums)), 0.5) / photons)).astype(np.float32)
