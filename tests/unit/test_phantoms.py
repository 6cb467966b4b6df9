"""Phantoms: images that converge, projections that are exact, scenes that keep their promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.phantoms import (
    PHANTOMS,
    Ellipsoids,
    foam,
    foam_3d,
    phantom,
    shepp_logan,
    shepp_logan_3d,
    simulate,
)
from imagereg.phantoms import ellipses_and_lines as ellipses
from imagereg.physics.noise import TransmissionNoise

ANGLES = np.linspace(0, np.pi, 7, endpoint=False) + 0.05


def _numeric(bodies: Ellipsoids, geometry: ir.geometry.Geometry, steps: int = 20001) -> np.ndarray:  # type: ignore[name-defined]
    """Line integrals by summing the function itself along each ray."""
    source, centre, column, row = geometry.vectors()
    rows = geometry.rows if bodies.ndim == 3 else 1
    data = np.zeros((geometry.views, rows, geometry.columns))
    s = np.linspace(-60, 60, steps)
    for v, r, c in np.ndindex(*data.shape):
        pixel = centre[v] + (r - (rows - 1) / 2) * row[v] + (c - (geometry.columns - 1) / 2) * column[v]
        along = source[v] if geometry.kind == "parallel" else pixel - source[v]
        along = along / np.linalg.norm(along)
        start = pixel if geometry.kind == "parallel" else source[v] - (source[v] @ along) * along
        points = (start + s[:, None] * along)[:, : bodies.ndim]
        total = np.zeros(steps)
        for value, middle, axes, angle in zip(
            bodies.values, bodies.centres, bodies.axes, bodies.angles, strict=True
        ):
            d = points - middle
            cos, sin = math.cos(angle), math.sin(angle)
            turned = [cos * d[:, 0] + sin * d[:, 1], cos * d[:, 1] - sin * d[:, 0], *d[:, 2:].T]
            total += value * (sum((t / a) ** 2 for t, a in zip(turned, axes, strict=True)) <= 1)
        data[v, r, c] = total.sum() * (s[1] - s[0])
    return data


FLAT = Ellipsoids(
    [1.0, -0.4, 0.3], [[1, 2], [4, -3], [-5, 6]], [[20, 12], [3, 7], [1.5, 1.5]], [0.4, -0.7, 0]
)
SOLID = Ellipsoids([1.0, 0.5], [[1, 2, -1], [4, -3, 2]], [[15, 12, 9], [3, 7, 4]], [0.4, -0.7])


@pytest.mark.parametrize(
    ("bodies", "geometry"),
    [
        (FLAT, ir.ParallelBeam(ANGLES, 11, pixel=4.0, axis_offset=1.0, shifts=0.3 * ANGLES)),
        (FLAT, ir.FanBeam(ANGLES, 11, pixel=6.0, source_origin=80, source_detector=120, detector_offset=2.0)),
        (SOLID, ir.ParallelBeam(ANGLES[:3], 7, pixel=4.0, rows=5, tilt=0.1)),
        (
            SOLID,
            ir.ConeBeam(
                ANGLES[:3], 7, pixel=7.0, rows=5, source_origin=80, source_detector=120, axis_offset=1.0
            ),
        ),
    ],
    ids=["parallel", "fan", "parallel-tilted", "cone"],
)
def test_projections_are_line_integrals(bodies: Ellipsoids, geometry: ir.ParallelBeam) -> None:
    found = bodies.project(geometry)
    expected = _numeric(bodies, geometry)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=0.03)
    assert np.ptp(expected) > 5


def test_a_sphere_has_the_chords_of_a_sphere() -> None:
    ball = Ellipsoids([2.0], [[0, 0, 0]], [[5, 5, 5]], [0])
    geometry = ir.ParallelBeam([0.3], 9, rows=3)
    t, z = np.arange(9) - 4.0, np.arange(3) - 1.0
    expected = 4 * np.sqrt(np.maximum(25 - t[None, :] ** 2 - z[:, None] ** 2, 0))
    np.testing.assert_allclose(ball.project(geometry)[0], expected, atol=1e-12)


def test_images_have_the_area_and_the_place_of_their_bodies() -> None:
    volume = ir.Volume((60, 80), (1.0, 0.75), centre=(2.0, -3.0))
    bodies = Ellipsoids([2.0], [[5.0, 1.0]], [[9.0, 4.0]], [math.pi / 2])
    image = bodies.image(volume, supersampling=8).astype(float)
    assert image.sum() * 0.75 == pytest.approx(2 * math.pi * 36, rel=2e-3)
    x = 2 + (np.arange(80) - 39.5) * 0.75
    y = -3 - (np.arange(60) - 29.5) * 1.0
    assert (image.sum(0) @ x) / image.sum() == pytest.approx(5.0, abs=0.02)
    assert (image.sum(1) @ y) / image.sum() == pytest.approx(1.0, abs=0.02)
    spread = np.sqrt((image.sum(1) @ (y - 1) ** 2) / image.sum())
    assert spread == pytest.approx(9 / 2, rel=0.01)  # turned by 90 degrees: long along y
    outside = Ellipsoids([2.0], [[500.0, 1.0]], [[9.0, 4.0]], [0.0])
    assert not outside.image(volume).any()


def test_solids_have_their_volume_and_their_slices() -> None:
    volume = ir.Volume((30, 40, 44), 1.0, centre=(0, 0, 1.0))
    image = SOLID.image(volume).astype(float)
    exact = sum(v * 4 / 3 * math.pi * a.prod() for v, a in zip(SOLID.values, SOLID.axes, strict=True))
    assert image.sum() == pytest.approx(exact, rel=2e-3)
    z = 1 + np.arange(30) - 14.5
    first = Ellipsoids(SOLID.values[:1], SOLID.centres[:1], SOLID.axes[:1], SOLID.angles[:1]).image(volume)
    assert (first.sum((1, 2)) @ z) / first.sum() == pytest.approx(-1.0, abs=0.02)


def test_finer_supersampling_converges() -> None:
    volume = ir.Volume((32, 32))
    fine = shepp_logan(volume, supersampling=32)
    errors = [np.abs(shepp_logan(volume, supersampling=s) - fine).mean() for s in (1, 4, 16)]
    assert errors[0] > 3 * errors[1] > 6 * errors[2]


def test_shepp_logan_is_the_one_that_everyone_knows() -> None:
    theirs = resize(shepp_logan_phantom(), (200, 200), anti_aliasing=True)
    ours = shepp_logan(200)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97
    assert np.corrcoef(ours[::-1].ravel(), theirs.ravel())[0, 1] < 0.8
    assert float(ours.max()) == pytest.approx(1.0)
    middle = shepp_logan(200, contrast="original", attenuation=0.02)[100, 100]
    assert middle == pytest.approx(0.02 * 1.02, rel=1e-6)
    head = shepp_logan_3d(ir.Volume((41, 64, 64), (64 / 41, 1, 1)))
    brain = shepp_logan(64)
    assert np.corrcoef(head[20].ravel(), brain.ravel())[0, 1] > 0.99
    with pytest.raises(UsageError, match="contrast"):
        shepp_logan(32, contrast="high")


@pytest.mark.parametrize("seed", range(5))
def test_ellipses_and_lines_stay_in_their_range(seed: int) -> None:
    image = ellipses(256, seed=seed, supersampling=2)
    assert image.min() >= -1e-6
    assert image.max() <= 1 + 1e-6
    assert image.max() > 0.5
    assert len(np.unique(np.round(ellipses(256, seed=seed, supersampling=1), 4))) > 12
    np.testing.assert_array_equal(image, ellipses(256, seed=seed, supersampling=2))
    assert np.abs(image - ellipses(256, seed=seed + 100, supersampling=2)).mean() > 0.02


@pytest.mark.parametrize(("kind", "ndim"), [(foam, 2), (foam_3d, 3)])
def test_bubbles_do_not_touch(kind: object, ndim: int) -> None:
    volume = ir.Volume((64,) * ndim)
    bodies = kind.bodies(volume, seed=4, bubbles=60)  # type: ignore[attr-defined]
    assert len(bodies) == 61
    assert bodies.ndim == ndim
    radii, centres = bodies.axes[:, 0], bodies.centres
    apart = np.linalg.norm(centres[1:, None] - centres[None, 1:], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart > radii[1:, None] + radii[None, 1:]).all()
    assert (np.linalg.norm(centres[1:], axis=1) + radii[1:] < radii[0]).all()
    image = bodies.image(volume)
    assert float(image.min()) >= -1e-6
    assert float(image.max()) <= 1 + 1e-6


def test_the_catalogue() -> None:
    for name, kind in PHANTOMS.items():
        assert phantom(name) is kind
        assert kind.name == name
        assert kind.__doc__
        image = kind(24)
        assert image.shape == (24,) * kind.ndim
        assert image.dtype == np.float32
        np.testing.assert_allclose(kind(24, attenuation=0.02), 0.02 * image, atol=1e-7)
    assert shepp_logan((12, 20)).shape == (12, 20)
    with pytest.raises(UsageError, match="did you mean 'shepp_logan'"):
        phantom("sheplogan")
    with pytest.raises(UsageError, match="did you mean 'bubbles'"):
        foam(16, bubles=3)
    with pytest.raises(UsageError, match="no parameter 'ndim'"):
        foam(16, ndim=3)
    with pytest.raises(UsageError, match="no parameter 'seed'"):
        shepp_logan(16, seed=3)
    with pytest.raises(UsageError, match="2 axes"):
        shepp_logan((4, 8, 8))
    with pytest.raises(UsageError, match="supersampling"):
        shepp_logan(16, supersampling=0)
    with pytest.raises(UsageError, match="foam"):
        foam(16, bubbles=-1)
    with pytest.raises(UsageError, match="dots=-1"):
        ellipses(16, dots=-1)


def test_bodies_refuse_nonsense() -> None:
    with pytest.raises(UsageError, match="shapes"):
        Ellipsoids([1.0], [[0, 0]], [[1, 1, 1]], [0])
    with pytest.raises(UsageError, match="positive"):
        Ellipsoids([1.0], [[0, 0]], [[1, 0]], [0])
    with pytest.raises(UsageError, match="finite"):
        Ellipsoids([math.nan], [[0, 0]], [[1, 1]], [0])
    with pytest.raises(UsageError, match="height"):
        FLAT.project(ir.ConeBeam([0.0], 4, rows=4, source_origin=10, source_detector=20))
    with pytest.raises(UsageError, match="do not fit"):
        FLAT.image(ir.Volume((4, 4, 4)))


# ---------------------------------------------------------------------- scans
def test_simulate_gives_clean_data_with_the_truth() -> None:
    geometry = ir.FanBeam(ANGLES, 40, pixel=2.0, source_origin=200, source_detector=300)
    scan = simulate("ellipses_and_lines", geometry, seed=3, attenuation=0.01)
    assert scan.data.shape == (7, 40)
    assert scan.truth.shape == (40, 40)
    assert scan.weights is None
    grid = ir.Volume.fit(geometry)
    np.testing.assert_allclose(scan.truth, ellipses(grid, seed=3, attenuation=0.01))
    np.testing.assert_allclose(
        scan.data, ellipses.bodies(grid, seed=3, attenuation=0.01).project(geometry), rtol=1e-5
    )


def test_simulated_noise_is_repeatable_and_has_weights() -> None:
    geometry = ir.ParallelBeam(ANGLES, 40)
    noise = TransmissionNoise(1e4)
    clean = simulate("shepp_logan", geometry, attenuation=0.05)
    scan = simulate("shepp_logan", geometry, noise=noise, seed=5, attenuation=0.05)
    again = simulate("shepp_logan", geometry, noise=noise, seed=5, attenuation=0.05)
    np.testing.assert_array_equal(scan.data, again.data)
    error = (scan.data - clean.data) * np.sqrt(scan.weights)
    assert error.std() == pytest.approx(1.0, rel=0.15)
    assert simulate("shepp_logan", geometry, noise=ir.GaussianNoise(0.1)).weights is None
    assert scan.noise == noise


def test_rows_of_a_parallel_beam_are_slices_of_a_solid() -> None:
    geometry = ir.ParallelBeam(ANGLES, 40, rows=3)
    scan = simulate("shepp_logan_3d", geometry)
    assert scan.data.shape == (7, 3, 40)
    assert scan.truth.shape == (3, 40, 40)
    assert scan.rows == 3
    flat = simulate("shepp_logan", geometry)
    assert flat.data.shape == (7, 3, 40)
    np.testing.assert_array_equal(flat.data[:, 0], flat.data[:, 2])
    assert np.corrcoef(scan.truth[1].ravel(), flat.truth[1].ravel())[0, 1] > 0.98
    cone = ir.ConeBeam(ANGLES, 20, rows=16, source_origin=100, source_detector=120)
    assert simulate(shepp_logan_3d, cone).truth.shape == (16, 20, 20)


def test_an_image_is_projected_by_our_own_projector() -> None:
    geometry = ir.ParallelBeam(ANGLES, 48, rows=2)
    single = ir.ParallelBeam(ANGLES, 48)
    image = foam(48, seed=1)
    exact = simulate(foam, single, seed=1)
    scan = simulate(image, single)
    assert np.linalg.norm(scan.data - exact.data) < 0.05 * np.linalg.norm(exact.data)
    stack = simulate(np.stack([image, 0 * image]), geometry)
    np.testing.assert_allclose(stack.data[:, 0], scan.data, rtol=1e-5, atol=1e-5)
    assert not stack.data[:, 1].any()
    with pytest.raises(UsageError, match="is wanted"):
        simulate(image[:-1], single)
    with pytest.raises(UsageError, match="no parameter 'seeds'"):
        simulate(image, single, seeds=3)
    with pytest.raises(UsageError, match="no parameter 'bubbles'"):
        simulate(FLAT, single, bubbles=3)
