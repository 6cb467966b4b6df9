"""Laws of every linear map, outer function and prior. One line in a table below puts a new one under all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from imagereg.errors import UsageError
from imagereg.priors import gradient
from imagereg.priors.base import Functional, IdentityMap, LinearMap, Prior
from imagereg.priors.denoiser import DenoiserPrior
from imagereg.priors.gradient import Gradient
from imagereg.priors.norms import L1, L21
from imagereg.priors.power import SmoothedPower
from imagereg.priors.quadratic import Quadratic, SquaredNorm
from imagereg.priors.tv import TV
from imagereg.priors.wavelet import Wavelet, WaveletTransform


def noise(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


FLAT, DEEP = (2, 1, 12, 9), (2, 1, 4, 7, 6)

MAPS: dict[str, tuple[Callable[[], LinearMap], tuple[int, ...]]] = {
    "identity": (IdentityMap, FLAT),
    "gradient": (Gradient, FLAT),
    "gradient of colours": (Gradient, (2, 3, 5, 8)),
    "gradient, slice by slice": (Gradient, DEEP),
    "gradient of volumes": (lambda: Gradient(3), DEEP),
    "gradient with spacing": (lambda: Gradient(3, spacing=(2.0, 1.0, 0.5)), DEEP),
    "gradient of a row": (Gradient, (1, 1, 1, 9)),
    "haar": (lambda: WaveletTransform("haar", levels=3), (2, 1, 16, 24)),
    "db4, odd sizes": (lambda: WaveletTransform("db4", levels=2), (2, 2, 37, 22)),
    "sym8": (lambda: WaveletTransform("sym8", levels=2), (1, 1, 64, 40)),
    "db2 of volumes": (lambda: WaveletTransform("db2", levels=2, dimensions=3), (1, 1, 9, 8, 12)),
}
maps = pytest.mark.parametrize(("make", "shape"), MAPS.values(), ids=MAPS.keys())


@maps
@pytest.mark.parametrize("small", [0, 1 << 30], ids=["compiled", "torch"])
def test_adjoint(
    make: Callable[[], LinearMap], shape: tuple[int, ...], small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient, "SMALL", small)
    K, x = make(), noise(0, shape)
    ahead = K.A(x)
    z = noise(1, tuple(ahead.shape))
    difference = abs(float((ahead * z).sum() - (x * K.A_adjoint(z)).sum()))
    assert difference <= 1e-12 * float(ahead.norm() * z.norm())


@maps
def test_norm_is_a_tight_bound(make: Callable[[], LinearMap], shape: tuple[int, ...]) -> None:
    K = make()
    x = noise(2, shape)
    for _ in range(100):
        x = K.A_adjoint(K.A(x / x.norm()))
    found = float(x.norm()) ** 0.5
    assert found <= K.norm * (1 + 1e-10)
    if min(shape[2:]) > 3:
        assert found >= 0.8 * K.norm


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym8", "coif2"])
@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (1, 1, 45, 31), (2, 1, 40, 66)])
def test_wavelets_are_orthonormal(wavelet: str, shape: tuple[int, ...]) -> None:
    W, x = WaveletTransform(wavelet, levels=4), noise(3, shape)
    assert float((W.A_adjoint(W.A(x)) - x).abs().max()) < 1e-12
    assert float((W.A(W.A_adjoint(x)) - x).abs().max()) < 1e-12
    assert abs(float(W.A(x).norm() / x.norm()) - 1) < 1e-12


def test_details_of_a_constant_image_vanish() -> None:
    W = WaveletTransform("db4", levels=3)
    x = torch.ones(1, 1, 64, 48, dtype=torch.float64)
    mask = W.details(x)
    assert float((W.A(x) * mask).abs().max()) < 1e-10
    assert float(mask.sum()) == 64 * 48 - 8 * 6
    assert float(Wavelet(1.0, levels=3).fn(x)) < 1e-6
    assert float(Wavelet(1.0, levels=3, approximation=True).fn(x)) > 1


WEIGHT = noise(4, (12, 9)).abs() * (noise(5, (12, 9)) > -0.5)
FIELD = (2, 1, 2, 12, 9)

FUNCTIONALS: dict[str, tuple[Callable[[], Functional], tuple[int, ...]]] = {
    "l21": (lambda: L21(0.7), FIELD),
    "l21 with weights": (lambda: L21(0.7, weight=WEIGHT), FIELD),
    "l21, a strength each": (lambda: L21(noise(6, (2, 1, 1, 1)).abs()), FIELD),
    "l21 of volumes": (lambda: L21(0.7), (2, 1, 3, 4, 5, 6)),
    "l1": (lambda: L1(0.7), FLAT),
    "l1 of a field": (lambda: L1(0.7, weight=WEIGHT, field=True), FIELD),
    "squared norm": (lambda: SquaredNorm(0.7), FIELD),
    "squared norm, a strength each": (lambda: SquaredNorm(noise(6, (2, 1, 1, 1)).abs()), FIELD),
    "wavelet details": (lambda: Wavelet(0.7, wavelet="haar", levels=2).outer, FLAT),
    "smoothed power": (lambda: SmoothedPower(0.7, power=1.2, smoothing=0.1), FLAT),
}
NO_CONJUGATE = {"smoothed power"}
functionals = pytest.mark.parametrize(("make", "shape"), FUNCTIONALS.values(), ids=FUNCTIONALS.keys())
steps = pytest.mark.parametrize("gamma", [0.05, 1.0, 20.0])


@functionals
@steps
def test_prox_minimises(make: Callable[[], Functional], shape: tuple[int, ...], gamma: float) -> None:
    g, z = make(), noise(7, shape)
    p = g.prox(z, gamma)
    for w in (noise(8, shape), p + 1e-3 * noise(9, shape), torch.zeros(shape, dtype=torch.float64)):
        below = g.fn(p) + ((z - p) / gamma * (w - p)).flatten(1).sum(1)
        assert bool((g.fn(w) >= below - 1e-6).all())
    assert g.fn(p).shape == (shape[0],)


@functionals
@steps
def test_firmly_non_expansive_and_moreau(
    make: Callable[[], Functional], shape: tuple[int, ...], gamma: float
) -> None:
    g, a, b = make(), noise(10, shape), noise(11, shape)
    d = g.prox(a, gamma) - g.prox(b, gamma)
    assert bool(((d * d).flatten(1).sum(1) <= (d * (a - b)).flatten(1).sum(1) + 1e-9).all())
    torch.testing.assert_close(
        g.prox(a, gamma) + gamma * g.prox_conjugate(a / gamma, 1 / gamma), a, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("name", [name for name in FUNCTIONALS if name not in NO_CONJUGATE])
def test_fenchel_young(name: str) -> None:
    make, shape = FUNCTIONALS[name]
    g, z = make(), noise(12, shape)
    p = g.prox(z, 0.5)
    v = (z - p) / 0.5 * (1 - 1e-11)  # within the dual ball, rounding of the difference apart
    torch.testing.assert_close(g.fn(p) + g.conjugate(v), (p * v).flatten(1).sum(1), rtol=1e-9, atol=1e-9)
    assert bool((g.fn(z) + g.conjugate(v) >= (z * v).flatten(1).sum(1) - 1e-9).all())
    far = 1e3 * v
    assert bool((g.conjugate(far) >= (p * far).flatten(1).sum(1) - g.fn(p)).all())


PRIORS: dict[str, tuple[Callable[[], Prior], tuple[int, ...]]] = {
    "tv": (lambda: TV(0.4, accuracy=1e-10, iterations=3000), FLAT),
    "tv, anisotropic": (lambda: TV(0.4, isotropic=False, accuracy=1e-10, iterations=3000), FLAT),
    "tv of volumes": (lambda: TV(0.3, dimensions=3, accuracy=1e-10, iterations=3000), DEEP),
    "tv with weights": (lambda: TV(0.4, weight=WEIGHT, accuracy=1e-10, iterations=3000), FLAT),
    "wavelet": (lambda: Wavelet(0.3, wavelet="db2", levels=2), FLAT),
    "wavelet, all": (lambda: Wavelet(0.3, wavelet="haar", levels=2, approximation=True), FLAT),
    "quadratic": (lambda: Quadratic(0.7), FLAT),
}
priors = pytest.mark.parametrize(("make", "shape"), PRIORS.values(), ids=PRIORS.keys())


@priors
@pytest.mark.parametrize("gamma", [0.2, 2.0])
def test_prox_of_priors(make: Callable[[], Prior], shape: tuple[int, ...], gamma: float) -> None:
    prior, x, y = make(), noise(13, shape), noise(14, shape)
    p, q = prior.prox(x, gamma), prior.prox(y, gamma)
    value = prior.fn(p)
    assert value is not None
    for w in (noise(15, shape), p + 1e-2 * noise(16, shape), x):
        below = value + ((x - p) / gamma * (w - p)).flatten(1).sum(1)
        assert bool((prior.fn(w) >= below - 1e-4).all())
    d = p - q
    assert bool(((d * d).flatten(1).sum(1) <= (d * (x - y)).flatten(1).sum(1) + 1e-4).all())


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("bounds", [(None, None), (0.0, 0.6)])
def test_tv_prox_equals_a_convex_solver(isotropic: bool, bounds: tuple[float | None, float | None]) -> None:
    import cvxpy as cp

    x, lam = noise(17, (1, 1, 7, 6)), 0.3
    v = cp.Variable((7, 6))
    down, right = v[1:] - v[:-1], v[:, 1:] - v[:, :-1]
    if isotropic:
        pairs = [
            cp.norm(cp.hstack([down[i, j] if i < 6 else 0, right[i, j] if j < 5 else 0]))
            for i in range(7)
            for j in range(6)
        ]
        penalty = sum(pairs)
    else:
        penalty = cp.sum(cp.abs(down)) + cp.sum(cp.abs(right))
    low, high = bounds
    limits = [] if low is None else [v >= low, v <= high]
    cp.Problem(cp.Minimize(0.5 * cp.sum_squares(v - x[0, 0].numpy()) + lam * penalty), limits).solve(
        solver=cp.CLARABEL
    )
    found, _ = TV(lam, isotropic=isotropic, accuracy=1e-12, iterations=5000).prox_within(x, 1.0, bounds)
    np.testing.assert_allclose(found[0, 0].numpy(), v.value, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "dimensions"), [((2, 2, 7, 9), 2), ((2, 1, 4, 5, 6), 3), ((2, 1, 4, 5, 6), 2)]
)
@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_dual_step_equals_the_plain_one(
    shape: tuple[int, ...],
    dimensions: int,
    isotropic: bool,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = noise(18, shape).to(dtype)
    sigma = noise(19, (shape[0], *[1] * (len(shape) - 1))).abs().to(dtype)
    for weight in (None, noise(20, shape[-2:]).abs(), noise(21, shape).abs(), torch.zeros(shape[2:])):
        for strength in (0.3, noise(22, (shape[0], *[1] * (len(shape) - 1))).abs()):
            prior = TV(strength, isotropic=isotropic, dimensions=dimensions, weight=weight)
            monkeypatch.setattr(gradient, "SMALL", 0)
            v = noise(23, tuple(prior.operator.A(x).shape)).to(dtype)
            fast = prior.dual_step(v, x, sigma)
            monkeypatch.setattr(gradient, "SMALL", 1 << 30)
            torch.testing.assert_close(fast, prior.dual_step(v, x, sigma), rtol=1e-5, atol=1e-6)


def test_gradients_pass_through_the_gradient() -> None:
    x = noise(24, (1, 1, 5, 6)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a: Gradient().A(a), (x,))
    assert torch.autograd.gradcheck(lambda a: Gradient().A_adjoint(Gradient().A(a)), (x,))


def test_smooth_priors_have_their_gradient() -> None:
    prior, x, d, h = Quadratic(0.6, operator=Gradient()), noise(25, FLAT), noise(26, FLAT), 1e-5
    slope = (prior.fn(x + h * d) - prior.fn(x - h * d)) / (2 * h)
    torch.testing.assert_close((prior.grad(x) * d).flatten(1).sum(1), slope, rtol=1e-6, atol=1e-6)
    with pytest.raises(TypeError, match="no closed proximal operator"):
        prior.prox(x, 1.0)


def test_a_denoiser_sees_images_between_0_and_1_and_slices_of_volumes_one_by_one() -> None:
    seen: list[torch.Tensor] = []

    def denoiser(x: torch.Tensor, sigma: float) -> torch.Tensor:
        seen.append(x)
        return x

    prior = DenoiserPrior(denoiser, 0.1, low=100.0, high=300.0)
    x = torch.full((1, 1, 4, 4), 200.0)
    torch.testing.assert_close(prior.prox(x), x)
    assert float(seen[0].mean()) == pytest.approx(0.5)
    volume = 100 + 200 * torch.rand(2, 1, 3, 4, 5)
    torch.testing.assert_close(prior.prox(volume), volume)
    assert seen[1].shape == (6, 1, 4, 5)
    assert prior.fn(x) is None


def test_bad_parameters_are_refused() -> None:
    for bad in (
        lambda: TV(-1.0),
        lambda: TV(torch.tensor(float("nan"))),
        lambda: TV(1.0, weight=-torch.ones(2, 2)),
        lambda: Gradient(4),
        lambda: Gradient(2, spacing=(1.0, 0.0)),
        lambda: Gradient(3).A(torch.zeros(1, 1, 3, 3)),
        lambda: WaveletTransform("bior4.4"),
        lambda: WaveletTransform("no such"),
        lambda: Quadratic(-1.0),
        lambda: DenoiserPrior(lambda x, s: x, -0.1),
        lambda: DenoiserPrior(lambda x, s: x, 0.1, low=1.0, high=0.0),
    ):
        with pytest.raises(UsageError):
            bad()
