"""The Sobolev data term keeps the laws of a data term, in every form of it, and s = 0 is least squares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.fft
import torch

from imagereg.errors import UsageError
from imagereg.fidelities.frequencies import FrequencyGrid
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.fidelities.noise_spectrum import fit_order, flat_noise
from imagereg.fidelities.sobolev import Sobolev

SHAPE = (2, 1, 9, 14)
FORMS = [
    {"s": s, "boundary": boundary, "homogeneous": homogeneous, "axes": axes}
    for s, boundary, homogeneous, axes in itertools.product(
        (-1.0, -0.5, 0.0, 0.7), ("periodic", "neumann"), (False, True), ((-2, -1), (-1,))
    )
]


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    u, y = (torch.randn(SHAPE, dtype=torch.float64, generator=generator) for _ in range(2))
    return u, y


def sobolev(y: torch.Tensor, form: dict) -> Sobolev:
    return Sobolev(y, scale=3.0, **form)


def weights(form: dict) -> np.ndarray:
    """W over the frequencies of the orthonormal transform, mean one, from the definition."""
    squared = 0.0
    for axis in (-2, -1):
        length = SHAPE[axis]
        if axis not in form["axes"]:
            continue
        if form["boundary"] == "periodic":
            omega = 2 * np.pi * np.fft.fftfreq(length)
        else:
            omega = np.pi * np.arange(length) / length
        squared = squared + (omega**2).reshape([length, 1] if axis == -2 else [1, length])
    squared = 9.0 * squared
    if not form["homogeneous"]:
        w = (1 + squared) ** form["s"]
    else:
        w = np.where(squared > 0, np.where(squared > 0, squared, 1.0) ** form["s"], 1.0)
    return w / w.mean()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_norm_is_the_weighted_spectral_sum(form: dict) -> None:
    u, y = pair()
    r = (u - y).numpy()
    axes = [axis % 4 for axis in form["axes"]]
    if form["boundary"] == "periodic":
        power = np.abs(scipy.fft.fftn(r, axes=axes, norm="ortho")) ** 2
    else:
        power = scipy.fft.dctn(r, axes=axes, norm="ortho") ** 2
    expected = (weights(form) * power).sum((1, 2, 3))
    f = sobolev(y, form)
    np.testing.assert_allclose(f.norm_squared(u - y), expected, rtol=1e-11)
    np.testing.assert_allclose(f.whiten(u - y).square().sum((1, 2, 3)), expected, rtol=1e-11)
    np.testing.assert_allclose(f.grid.power(u - y), power, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_whitening_is_its_own_adjoint(form: dict) -> None:
    a, b = pair(1)
    f = sobolev(a, form)
    left, right = (f.whiten(a) * b).sum(), (a * f.whiten(b)).sum()
    assert abs(left - right) <= 1e-12 * a.norm() * b.norm() * f.lipschitz**0.5


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_gradient_curvature_and_lipschitz_constant(form: dict) -> None:
    u, y = pair(2)
    d = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    f, h = sobolev(y, form), 1e-4
    slope = (f.fn(u + h * d) - f.fn(u - h * d)) / (2 * h)
    torch.testing.assert_close(slope, (f.grad(u) * d).flatten(1).sum(1), rtol=1e-8, atol=1e-8)
    bend = (f.fn(u + d) - 2 * f.fn(u) + f.fn(u - d)).flatten()
    torch.testing.assert_close(bend, f.curvature(u, d), rtol=1e-9, atol=1e-9)
    assert bool((f.curvature(u, d) <= f.lipschitz * d.square().flatten(1).sum(1) * (1 + 1e-12)).all())


@pytest.mark.parametrize("gamma", [0.3, torch.tensor([0.3, 4.0], dtype=torch.float64).reshape(2, 1, 1, 1)])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_prox_is_optimal_and_moreau_holds(form: dict, gamma: float | torch.Tensor) -> None:
    u, y = pair(4)
    f = sobolev(y, form)
    v = f.prox(u, gamma)
    torch.testing.assert_close(f.grad(v) + (v - u) / gamma, torch.zeros_like(u), rtol=0, atol=1e-10)
    expected = u - gamma * f.prox(u / gamma, 1.0 / gamma)
    torch.testing.assert_close(f.prox_conjugate(u, gamma), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_conjugate_meets_fenchel_and_young(form: dict) -> None:
    u, y = pair(5)
    f = sobolev(y, form)
    v = f.grad(u)
    product = (u * v).flatten(1).sum(1)
    torch.testing.assert_close(f.fn(u) + f.conjugate(v), product, rtol=1e-9, atol=1e-9)
    other = v + torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    assert bool((f.fn(u) + f.conjugate(other) > (u * other).flatten(1).sum(1)).all())


def test_a_free_mean_has_an_infinite_conjugate() -> None:
    u, y = pair(7)
    f = Sobolev(y, -0.5, scale=2.0, homogeneous=True, at_zero=0.0)
    assert torch.isinf(f.conjugate(torch.ones_like(u))).all()
    flat = u - u.mean((-2, -1), keepdim=True)
    assert torch.isfinite(f.conjugate(flat)).all()
    torch.testing.assert_close(f.fn(u + 3.0), f.fn(u), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_order_zero_is_least_squares_bit_for_bit(dtype: torch.dtype) -> None:
    u, y = (a.to(dtype) for a in pair(8))
    f, g = Sobolev(y, 0.0, scale=5.0, boundary="neumann"), LeastSquares(y)
    assert torch.equal(f.fn(u), g.fn(u))
    assert torch.equal(f.grad(u), g.grad(u))
    assert torch.equal(f.prox_conjugate(u, 0.7), g.prox_conjugate(u, 0.7))
    assert f.lipschitz == g.lipschitz
    torch.testing.assert_close(f.prox(u, 0.7), g.prox(u, 0.7))


@pytest.mark.parametrize("s", [-1.0, -0.5, 0.5, 1.0])
def test_noise_of_the_assumed_spectrum_has_the_expected_norm(s: float) -> None:
    white = torch.randn((16, 1, 48, 48), dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    grid = FrequencyGrid(white.shape, (-2, -1), "neumann")
    half, _ = grid.symbol(lambda squared: (1 + 25 * squared) ** (-s / 2), white)
    noise = grid.multiply(white, half)
    noise = 0.3 * noise / noise.square().mean().sqrt()
    f = Sobolev(torch.zeros_like(noise), s, scale=5.0, boundary="neumann")
    measured = float(f.norm_squared(noise).mean()) / noise[0].numel()
    # Few low frequencies carry most of smooth noise, hence the room.
    assert measured == pytest.approx(f.expected(0.3), rel=0.1)


@pytest.mark.parametrize("s", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_order_is_found_on_a_patch_cut_from_noise(s: float) -> None:
    white = torch.randn((1, 1, 192, 192), dtype=torch.float64, generator=torch.Generator().manual_seed(10))
    grid = FrequencyGrid(white.shape, (-2, -1))
    half, _ = grid.symbol(lambda squared: (1 + 25 * squared) ** (-s / 2), white)
    found = fit_order(grid.multiply(white, half)[..., :96, 30:126], scale=5.0)
    assert found.s == pytest.approx(s, abs=max(3 * found.error, 0.1))
    assert found.error < 0.05
    assert found.misfit < 0.1


def test_order_is_found_along_the_detector_of_flats() -> None:
    white = torch.randn((30, 1, 8, 256), dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    grid = FrequencyGrid(white.shape, (-1,))
    half, _ = grid.symbol(lambda squared: (1 + 16 * squared) ** -0.25, white)
    beam = 1e4 * (1 + 0.5 * torch.linspace(-1, 1, 256, dtype=torch.float64).square())
    flats = beam * torch.exp(-0.01 * grid.multiply(white, half)[:, 0]) + 100.0
    noise = flat_noise(flats, torch.full((3, 8, 256), 100.0))
    assert noise.shape == (30, 1, 8, 256)
    assert fit_order(noise, scale=4.0, axes=(-1,)).s == pytest.approx(0.5, abs=0.05)


def test_what_makes_no_sense_is_refused_in_a_sentence() -> None:
    _, y = pair()
    with pytest.raises(UsageError, match="scale = 0"):
        Sobolev(y, 1.0, scale=0.0)
    with pytest.raises(UsageError, match="distinct axes"):
        Sobolev(y, 1.0, scale=1.0, axes=(-1, 3))
    with pytest.raises(UsageError, match="boundary 'mirror'"):
        Sobolev(y, 1.0, scale=1.0, boundary="mirror")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one step size"):
        Sobolev(y, 1.0, scale=1.0).prox(y, torch.ones(SHAPE, dtype=torch.float64))
    with pytest.raises(UsageError, match="too small"):
        fit_order(y, scale=1.0)
    with pytest.raises(UsageError, match="constant"):
        fit_order(torch.ones(1, 1, 32, 32), scale=1.0)
    with pytest.raises(UsageError, match="at least 3"):
        flat_noise(torch.ones(2, 32))
