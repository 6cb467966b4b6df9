"""Every physics, ours and deepinv's, under the laws of linear operators."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import deepinv as dinv
import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.phantoms import Ellipsoids, shepp_logan
from imagereg.physics import (
    certify,
    disc_kernel,
    gaussian_kernel,
    identity,
    motion_kernel,
    operator_norm,
)


@dataclass(frozen=True)
class Case:
    """A physics in a precision, and the shape (C, ...) of an image that it takes."""

    name: str
    make: Callable[[torch.dtype], Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return self.name


def _angles(n: int, arc: float = np.pi) -> np.ndarray:
    return np.linspace(0, arc, n, endpoint=False) + 0.1


def _scan(geometry: Any, volume: ir.Volume) -> Callable[[torch.dtype], Any]:
    return lambda dtype: ir.tomography(geometry, volume, dtype=dtype)


def _blur(kernel: torch.Tensor, border: str) -> Callable[[torch.dtype], Any]:
    return lambda dtype: ir.blur(kernel, border=border, dtype=dtype)


def _down(shape: tuple[int, ...], factor: int, **keywords: Any) -> Callable[[torch.dtype], Any]:
    return lambda dtype: ir.downsampling(shape, factor, dtype=dtype, **keywords)


PARALLEL = ir.ParallelBeam(_angles(9), 15, pixel=0.7, axis_offset=0.3, shifts=np.linspace(-0.2, 0.3, 9))
FAN = ir.FanBeam(_angles(11, 2 * np.pi), 17, pixel=1.3, source_origin=30, source_detector=45, axis_offset=0.4)
CONE = ir.ConeBeam(
    _angles(6, 2 * np.pi),
    9,
    pixel=1.5,
    rows=7,
    source_origin=20,
    source_detector=32,
    detector_offset=(0.3, -0.2),
)
TILTED = ir.ParallelBeam(_angles(5), 9, rows=6, tilt=0.1)
LOPSIDED = torch.tensor([[0.1, 0.5, 0.2, 0.0], [0.0, -0.3, 0.4, 0.1], [0.2, 0.0, 0.0, 0.05]])
SOLID = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))

OURS = [
    Case("parallel", _scan(PARALLEL, ir.Volume((10, 12), 0.8)), (1, 10, 12)),
    Case("fan", _scan(FAN, ir.Volume((11, 10), 1.0, (0.5, -0.7))), (1, 11, 10)),
    Case("cone", _scan(CONE, ir.Volume((5, 7, 6), 1.1)), (1, 5, 7, 6)),
    Case("parallel-rows", _scan(ir.ParallelBeam(_angles(5), 9, rows=4), ir.Volume((4, 7, 8))), (1, 4, 7, 8)),
    Case("parallel-tilted", _scan(TILTED, ir.Volume((6, 7, 8))), (1, 6, 7, 8)),
    Case("blur-reflect", _blur(gaussian_kernel(1.1), "reflect"), (2, 12, 11)),
    Case("blur-symmetric", _blur(LOPSIDED, "symmetric"), (1, 9, 8)),
    Case("blur-nearest-motion", _blur(motion_kernel(7), "nearest"), (1, 9, 10)),
    Case("blur-periodic", _blur(disc_kernel(2.2), "periodic"), (1, 8, 9)),
    Case("blur-zero", _blur(LOPSIDED, "zero"), (1, 9, 8)),
    Case("blur-valid", _blur(LOPSIDED, "valid"), (1, 9, 8)),
    Case("blur-wide", _blur(gaussian_kernel(2.5), "reflect"), (1, 9, 10)),
    Case("blur-wide-valid", _blur(gaussian_kernel(1.8), "valid"), (1, 19, 18)),
    Case("blur-solid", _blur(SOLID, "reflect"), (1, 5, 6, 7)),
    Case("blur-solid-wide", _blur(gaussian_kernel(1.0, ndim=3), "symmetric"), (1, 5, 6, 7)),
    Case("mean-2", _down((8, 12), 2), (1, 8, 12)),
    Case("mean-3-solid", _down((3, 6, 9), 3), (1, 3, 6, 9)),
    Case("gaussian-2", _down((10, 12), 2, kernel="gaussian", border="reflect"), (2, 10, 12)),
    Case("bicubic-3", _down((9, 12), 3, kernel="bicubic", border="zero"), (1, 9, 12)),
    Case("bicubic-4-wide", _down((12, 16), 4, kernel="bicubic"), (1, 12, 16)),
    Case("inpainting", lambda _: ir.inpainting(np.arange(63).reshape(7, 9) % 3 > 0), (2, 7, 9)),
    Case("identity", lambda _: identity(), (1, 6, 5)),
]

# torch's own generator is seeded where deepinv draws from it.
_mask = (torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.4).float()
DEEPINV = [
    Case("deepinv-mri", lambda d: dinv.physics.MRI(mask=_mask, img_size=(2, 8, 8)).to(d), (2, 8, 8)),
    Case(
        "deepinv-compressed-sensing",
        lambda d: dinv.physics.CompressedSensing(
            m=20, img_size=(1, 6, 6), dtype=d, rng=torch.Generator().manual_seed(0)
        ),
        (1, 6, 6),
    ),
    Case(
        "deepinv-blur-fft",
        lambda d: dinv.physics.BlurFFT((1, 8, 9), LOPSIDED[None, None].to(d)).to(d),
        (1, 8, 9),
    ),
]
ALL = [*OURS, *DEEPINV]
SINGLE, DOUBLE = torch.float32, torch.float64


def _noise(shape: tuple[int, ...], dtype: torch.dtype, seed: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *shape, dtype=DOUBLE, generator=generator).to(dtype)


def _dense(case: Case) -> torch.Tensor:
    """The matrix of a physics, column by column."""
    physics = case.make(DOUBLE)
    n = math.prod(case.shape)
    columns = [physics.A(e.reshape(1, *case.shape)).flatten() for e in torch.eye(n, dtype=DOUBLE)]
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(SINGLE, 1e-6), (DOUBLE, 1e-12)], ids=["single", "double"])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_adjoint_and_linearity(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    certificate = certify(case.make(dtype), _noise(case.shape, dtype, 0), seed=3)
    assert certificate.adjoint_error <= tolerance
    assert certificate.linearity_error <= tolerance
    assert certificate.exact_transpose
    assert certificate.dtype == str(dtype).removeprefix("torch.")
    assert certificate.image_shape == (1, *case.shape)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_norm_and_transpose_against_the_matrix(case: Case) -> None:
    matrix = _dense(case)
    largest = float(torch.linalg.svdvals(matrix)[0])
    physics = case.make(DOUBLE)
    assert largest * (1 - 1e-12) <= operator_norm(physics, _noise(case.shape, DOUBLE, 0)) <= largest * 1.0002
    y = _noise((matrix.shape[0],), DOUBLE, 5)[0]
    data = physics.A(_noise(case.shape, DOUBLE, 0))
    back = physics.A_adjoint(y.reshape(data.shape)).flatten()
    torch.testing.assert_close(back, matrix.T @ y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", OURS, ids=str)
def test_gradients_pass_both_ways_twice(case: Case) -> None:
    physics = case.make(DOUBLE)
    x = _noise(case.shape, DOUBLE, 1).requires_grad_()
    y = _noise(tuple(physics.A(x).shape[1:]), DOUBLE, 2).requires_grad_()
    loss = 0.5 * (physics.A(x) - y).square().sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    expected = physics.A_adjoint(physics.A(x) - y)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    direction = _noise(case.shape, DOUBLE, 3)
    (curvature,) = torch.autograd.grad((gradient * direction).sum(), x)
    torch.testing.assert_close(curvature, physics.A_adjoint(physics.A(direction)), rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(physics.A, x, fast_mode=True)
    assert torch.autograd.gradcheck(physics.A_adjoint, y, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda v: physics.A(v) ** 2, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda v: physics.A_adjoint(v) ** 2, y, fast_mode=True)


@pytest.mark.parametrize("case", OURS, ids=str)
def test_items_of_a_batch_are_independent(case: Case) -> None:
    physics = case.make(SINGLE)
    x = _noise(case.shape, SINGLE, 4, batch=3)
    y = physics.A(x)
    assert y.dtype == SINGLE
    for i in range(3):
        torch.testing.assert_close(physics.A(x[i : i + 1]), y[i : i + 1], rtol=1e-5, atol=1e-6)
    back = physics.A_adjoint(y)
    assert back.shape == x.shape
    torch.testing.assert_close(physics.A_adjoint(y[1:2]), back[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", OURS, ids=str)
def test_our_physics_vouch_for_themselves(case: Case) -> None:
    physics = case.make(SINGLE)
    physics.A(_noise(case.shape, SINGLE, 0))
    certificate = physics.certificate()
    assert certificate.exact_transpose
    assert physics.certificate() is certificate
    plain = certificate.as_dict()
    assert set(plain) >= {
        "norm",
        "adjoint_error",
        "linearity_error",
        "exact_transpose",
        "dtype",
        "device",
        "seed",
    }
    assert operator_norm(physics, _noise(case.shape, SINGLE, 0, batch=3)) == pytest.approx(
        certificate.norm, rel=2e-3
    )


def test_misspelt_parameters_of_operators_are_errors() -> None:
    physics = ir.blur(gaussian_kernel(1.0))
    with pytest.raises(TypeError):
        physics.A(torch.zeros(1, 1, 8, 8), boder="zero")  # type: ignore[call-arg]


# ---------------------------------------------------------------------- certificates of all sorts
def test_a_false_adjoint_is_found_however_large_the_data() -> None:
    x = torch.zeros(1, 1, 200, 200)
    honest = dinv.physics.LinearPhysics(A=lambda v, **_: 2 * v, A_adjoint=lambda v, **_: 2 * v)
    false = dinv.physics.LinearPhysics(A=lambda v, **_: 2 * v, A_adjoint=lambda v, **_: 2.01 * v)
    assert certify(honest, x).exact_transpose
    found = certify(false, x)
    assert not found.exact_transpose
    assert found.transpose_error == pytest.approx(0.005, rel=1e-3)


def test_what_is_not_linear_shows() -> None:
    affine = dinv.physics.LinearPhysics(A=lambda v, **_: v + 1.0, A_adjoint=lambda v, **_: v)
    assert certify(affine, torch.zeros(1, 1, 6, 6)).linearity_error > 0.1
    with pytest.raises(UsageError, match="not a deepinv LinearPhysics"):
        certify(dinv.physics.Physics(A=lambda v: v**2), torch.zeros(1, 1, 4, 4))
    with pytest.raises(UsageError, match="not a deepinv LinearPhysics"):
        operator_norm(dinv.physics.Physics(A=lambda v: v**2), torch.zeros(1, 1, 4, 4))
    broken = dinv.physics.LinearPhysics(A=lambda v, **_: v / 0, A_adjoint=lambda v, **_: v)
    with pytest.raises(UsageError, match="not finite"):
        operator_norm(broken, torch.zeros(1, 1, 4, 4))
    with pytest.raises(UsageError, match="not finite"):
        certify(broken, torch.zeros(1, 1, 4, 4))


def test_complex_images_take_complex_products() -> None:
    phase = torch.exp(1j * torch.arange(36, dtype=DOUBLE)).reshape(6, 6)
    like = torch.zeros(1, 1, 6, 6, dtype=torch.complex128)
    right = dinv.physics.LinearPhysics(
        A=lambda v, **_: 3 * phase * v, A_adjoint=lambda v, **_: 3 * phase.conj() * v
    )
    found = certify(right, like)
    assert found.adjoint_error < 1e-14
    assert found.norm == pytest.approx(3.0, rel=1e-5)
    wrong = dinv.physics.LinearPhysics(A=lambda v, **_: 3 * phase * v, A_adjoint=lambda v, **_: 3 * phase * v)
    assert certify(wrong, like).transpose_error > 0.5


def test_stacked_physics_have_lists_for_data() -> None:
    stacked = ir.blur(gaussian_kernel(1.0), border="periodic").stack(ir.downsampling((8, 8), 2))
    found = certify(stacked, torch.zeros(1, 1, 8, 8))
    assert found.exact_transpose
    assert found.data_shape == ((1, 1, 8, 8), (1, 1, 4, 4))
    assert found.norm == pytest.approx(math.sqrt(1 + 0.25), rel=1e-3)


def test_the_norm_is_kept_until_the_operator_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    physics = dinv.physics.Blur(filter=torch.ones(1, 1, 3, 3) / 9, padding="circular")
    like = torch.zeros(1, 1, 8, 8)
    calls = []
    forward = physics.A
    monkeypatch.setattr(physics, "A", lambda *a, **k: calls.append(1) or forward(*a, **k))
    assert operator_norm(physics, like) == pytest.approx(1.0, rel=1e-3)
    before = len(calls)
    operator_norm(physics, like)
    assert len(calls) == before
    physics.update_parameters(filter=torch.ones(1, 1, 3, 3) / 3)
    assert operator_norm(physics, like) == pytest.approx(3.0, rel=1e-3)
    physics.filter.mul_(2)
    assert operator_norm(physics, like) == pytest.approx(6.0, rel=1e-3)
    zero = dinv.physics.LinearPhysics(A=lambda v, **_: 0 * v, A_adjoint=lambda v, **_: 0 * v)
    assert operator_norm(zero, like) == 0.0


def test_the_norm_is_an_upper_bound_when_steps_do_not_suffice() -> None:
    spread = torch.linspace(0.9, 1.0, 400, dtype=DOUBLE).reshape(20, 20)
    physics = dinv.physics.LinearPhysics(A=lambda v, **_: spread * v, A_adjoint=lambda v, **_: spread * v)
    for iterations in (3, 5, 10, 100):
        found = operator_norm(physics, torch.zeros(1, 1, 20, 20, dtype=DOUBLE), iterations=iterations)
        assert 1.0 <= found <= 1.05


# ---------------------------------------------------------------------- why not deepinv's own
def test_deepinv_blur_is_no_pair_for_horizontal_motion() -> None:
    kernel = motion_kernel(7).float()[None, None]
    x = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    theirs = dinv.physics.Blur(filter=kernel, padding="replicate")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert certify(theirs, x).transpose_error > 1e-2
        with pytest.raises(RuntimeError):
            dinv.physics.Blur(filter=kernel, padding="reflect").A_adjoint(x)
    ours = ir.blur(kernel, border="nearest")
    assert certify(ours, x).exact_transpose
    torch.testing.assert_close(ours.A(x), theirs.A(x))


@pytest.mark.parametrize(
    ("padding", "border"), [("reflect", "reflect"), ("replicate", "nearest"), ("circular", "periodic")]
)
@pytest.mark.parametrize("size", [(5, 4), (15, 16)])
def test_blur_is_deepinv_blur_where_that_works(padding: str, border: str, size: tuple[int, int]) -> None:
    kernel = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    x = _noise((2, 24, 25), DOUBLE, 0)
    theirs = dinv.physics.Blur(filter=kernel, padding=padding)
    ours = ir.blur(kernel, border=border, dtype=DOUBLE)
    torch.testing.assert_close(ours.A(x), theirs.A(x))
    y = theirs.A(x)
    torch.testing.assert_close(ours.A_adjoint(y), theirs.A_adjoint(y))


def test_downsampling_keeps_the_scene_in_place() -> None:
    ramp = torch.arange(32, dtype=SINGLE).expand(1, 1, 32, 32).contiguous()
    middles = ramp[..., 0, :].reshape(16, 2).mean(1)
    for kernel in ("mean", "gaussian", "bicubic"):
        ours = ir.downsampling((32, 32), 2, kernel=kernel).A(ramp)[0, 0, 8]
        torch.testing.assert_close(ours[4:-4], middles[4:-4])
    theirs = dinv.physics.Downsampling((1, 32, 32), "gaussian", 2).A(ramp)[0, 0, 8]
    torch.testing.assert_close(theirs[4:-4], middles[4:-4] - 0.5)


def test_mean_downsampling_is_the_mean_of_blocks() -> None:
    x = _noise((2, 6, 9), DOUBLE, 0)
    expected = torch.nn.functional.avg_pool2d(x, 3)
    torch.testing.assert_close(ir.downsampling((6, 9), 3, dtype=DOUBLE).A(x), expected)


# ---------------------------------------------------------------------- tomography of a known scene
def test_projections_come_closer_to_the_exact_ones_with_the_pixel_size() -> None:
    errors = []
    for n in (64, 128, 256):
        geometry = ir.ParallelBeam(_angles(24), n, pixel=64 / n)
        grid = ir.Volume.fit(geometry)
        image = torch.from_numpy(shepp_logan(grid, supersampling=8))[None, None]
        exact = torch.from_numpy(shepp_logan.bodies(grid).project(geometry))
        data = ir.tomography(geometry, grid).A(image)[0, 0]
        errors.append(float((data - exact).norm() / exact.norm()))
    assert errors[0] > 1.6 * errors[1]
    assert errors[1] > 1.6 * errors[2]
    assert errors[2] < 0.02


def test_filtered_back_projection_recovers_absolute_values() -> None:
    geometry = ir.ParallelBeam(_angles(180), 160, pixel=0.5)
    grid = ir.Volume.fit(geometry)
    disc = Ellipsoids([0.02, 0.01], [[0, 0], [8, 5]], [[30, 26], [9, 9]], [0.3, 0])
    data = torch.from_numpy(disc.project(geometry)).float()[None, None]
    physics = ir.tomography(geometry)
    image = physics.A_dagger(data)[0, 0].numpy()
    middle = (160 - 1) / 2
    column, row = round(middle + 8 / grid.edges[1]), round(middle - 5 / grid.edges[0])
    inner = image[row - 8 : row + 9, column - 8 : column + 9].mean()
    outer = image[row - 8 : row + 9, 30:46].mean()
    assert inner == pytest.approx(0.03, rel=0.01)
    assert outer == pytest.approx(0.02, rel=0.01)
    smooth = physics.A_dagger(data, window="hann")
    assert float(smooth.std()) < float(torch.from_numpy(image).std())
    torch.testing.assert_close(physics.fbp(data), physics.A_dagger(data))


# ---------------------------------------------------------------------- deepinv works on ours
def test_deepinv_prox_and_noise_work_on_our_physics() -> None:
    case = OURS[0]
    physics = case.make(DOUBLE)
    matrix = _dense(case)
    y, z = (
        _noise(tuple(physics.A(_noise(case.shape, DOUBLE, 0)).shape[1:]), DOUBLE, 1),
        _noise(case.shape, DOUBLE, 2),
    )
    found = physics.prox_l2(z, y, 0.7, max_iter=500, tol=1e-13)
    left = 0.7 * matrix.T @ matrix + torch.eye(matrix.shape[1], dtype=DOUBLE)
    expected = torch.linalg.solve(left, 0.7 * matrix.T @ y.flatten() + z.flatten())
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-4, atol=1e-6)
    noisy = ir.tomography(PARALLEL, ir.Volume((10, 12), 0.8), noise=ir.RelativeNoise(0.05))
    x = _noise(case.shape, SINGLE, 3)
    error = noisy(x, seed=4) - noisy.A(x)
    assert float(error.norm() / noisy.A(x).norm()) == pytest.approx(0.05, rel=1e-5)
    torch.testing.assert_close(noisy(x, seed=4), noisy(x, seed=4), rtol=0, atol=0)
    with pytest.raises(UsageError, match="noise model"):
        identity(noise=0.1)


@pytest.mark.parametrize("case", OURS, ids=str)
def test_the_transpose_is_the_adjoint_and_its_transpose_the_operator(case: Case) -> None:
    physics = case.make(torch.float64)
    y = physics.A(torch.ones(1, *case.shape, dtype=torch.float64))
    assert physics.T.T is physics
    torch.testing.assert_close(physics.T(y), physics.A_adjoint(y), rtol=0, atol=0)
