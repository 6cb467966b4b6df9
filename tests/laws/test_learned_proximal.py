"""Laws of learned proximal networks: gradients of convex functions, exactly, whatever the weights."""

from __future__ import annotations

import numpy
import pytest
import torch

from imagereg.errors import UsageError
from imagereg.networks.edges import fold, widened
from imagereg.networks.icnn import ICNN
from imagereg.networks.inversion import prior_value, value_at
from imagereg.priors.learned_proximal import ExplicitPrior, LearnedProximal, LearnedProximalPrior

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = [(12, 12), (13, 10), (7, 18)]


def network(inputs: int = 1, *, convexity: float = 0.05, seed: int = 0) -> ICNN:
    """A small network in double precision with weights that training could have given."""
    torch.manual_seed(seed)
    made = ICNN(inputs, widths=(6, 8, 8), strides=(1, 2, 2), sharpness=20.0, convexity=convexity).double()
    for weight in made.parameters():
        weight.data += 0.3 * weight.data.std() * torch.randn_like(weight)
    made.constrain()
    return made.requires_grad_(False)


def images(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("inputs", [1, 3])
def test_the_gradient_of_a_batch_is_the_stack_of_single_gradients(size: tuple[int, int], inputs: int) -> None:
    f, x = network(inputs), images(4, inputs, *size)
    single = torch.cat([f(item[None]) for item in x])
    assert torch.allclose(f(x), single, rtol=0, atol=1e-13)
    assert f.potential(x).shape == (4,)


@pytest.mark.parametrize("size", SIZES)
def test_f_is_the_derivative_of_the_potential(size: tuple[int, int]) -> None:
    f, x, way = network(), images(2, 1, *size), images(2, 1, *size, seed=2) - 0.5
    step = 1e-5
    change = (f.potential(x + step * way) - f.potential(x - step * way)) / (2 * step)
    assert torch.allclose(change, (f(x) * way).flatten(1).sum(1), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", SIZES)
def test_f_is_strongly_monotone(size: tuple[int, int], seed: int) -> None:
    f = network(seed=seed)
    # Near and far pairs: convexity is local and global.
    for distance in (1e-3, 0.1, 3.0):
        a = images(8, 1, *size, seed=seed)
        b = a + distance * (images(8, 1, *size, seed=seed + 10) - 0.5)
        square = (a - b).square().flatten(1).sum(1)
        product = ((f(a) - f(b)) * (a - b)).flatten(1).sum(1)
        assert bool((product >= f.convexity * square * (1 - 1e-9)).all())


def test_negative_weights_break_monotonicity_and_are_brought_back() -> None:
    f = network(convexity=0.0)
    # Only the second layer counts and sees the first one alone, through weights of the wrong sign.
    f.along[0].weight.data.neg_()
    f.direct[1].weight.data.zero_()
    f.direct[1].bias.data.fill_(5.0)
    for weight in (*f.readout, *f.square):
        weight.data.zero_()
    f.readout[1].data.fill_(1.0)
    a, b = images(16, 1, 12, 12), images(16, 1, 12, 12, seed=3)
    assert bool((((f(a) - f(b)) * (a - b)).flatten(1).sum(1) < 0).all())
    f.constrain()
    assert bool((((f(a) - f(b)) * (a - b)).flatten(1).sum(1) >= 0).all())
    weights = [*f.readout, *f.square, *(layer.weight for layer in f.along)]
    assert all(bool((weight >= 0).all()) for weight in weights)


@pytest.mark.parametrize("size", SIZES)
def test_without_thresholds_all_windows_add_up_to_the_image_up_to_its_edges(size: tuple[int, int]) -> None:
    f = ICNN(widths=(50,), strides=(1,), sharpness=1e5, convexity=0.0).double().requires_grad_(False)
    f.direct[0].bias.zero_()
    x = images(2, 1, *size)
    assert torch.allclose(f(x), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("more", [(2, 0, 0), (0, 3, 1), (7, 9, 4)])
def test_folding_is_the_adjoint_of_widening(more: tuple[int, int, int]) -> None:
    x = images(2, 1, 3, 5) - 0.5
    wide = widened(x, *more)
    y = images(*wide.shape, seed=7) - 0.5
    assert float((wide * y).sum()) == pytest.approx(float((x * fold(y, *more)).sum()), rel=1e-12)
    edge = numpy.pad(x.numpy(), ((0, 0), (0, 0), more[:2], (more[0], more[2])), mode="symmetric")
    assert numpy.array_equal(wide.numpy(), edge)


def test_slopes_are_nought_or_far_from_subnormal() -> None:
    f = ICNN().requires_grad_(False)
    for z in f._layers(images(1, 1, 24, 24).float()):
        slope = 1 - (-f.sharpness * z).exp()
        assert float(slope[slope > 0].min()) > 1e-8
        assert bool((slope == 0).any())


@pytest.mark.parametrize("size", SIZES)
def test_the_jacobian_is_symmetric(size: tuple[int, int]) -> None:
    f, x = network(), images(1, 1, *size)
    u, v = images(1, 1, *size, seed=4) - 0.5, images(1, 1, *size, seed=5) - 0.5
    point = x.requires_grad_()
    out = f(point)
    (ju,) = torch.autograd.grad(out, point, u, retain_graph=True)
    (jv,) = torch.autograd.grad(out, point, v)
    left, right = float((ju * v).sum()), float((jv * u).sum())
    assert left == pytest.approx(right, rel=1e-11)
    assert abs(left) > 1e-3


def test_inversion_finds_the_point_and_the_value() -> None:
    f, v = network(), images(3, 1, 13, 10)
    found = prior_value(f, f(v), tolerance=1e-9)
    assert float(found.residual.max()) <= 1e-9
    assert torch.allclose(found.point, v, atol=1e-6)
    assert torch.allclose(found.value, value_at(f, v, f(v)), rtol=1e-10, atol=1e-12)
    alone = prior_value(f, f(v)[1:2], tolerance=1e-9)
    assert torch.equal(alone.point, found.point[1:2])


def test_f_is_the_proximal_operator_of_the_inverted_prior() -> None:
    f, v = network(), images(5, 1, 12, 12)
    x = f(v)
    least = 0.5 * (v - x).square().flatten(1).sum(1) + prior_value(f, x, tolerance=1e-7).value
    # Other images in the range of f, near and far, where phi is finite.
    for distance in (0.01, 0.3, 2.0):
        other = f(v + distance * (images(5, 1, 12, 12, seed=20) - 0.5))
        phi = prior_value(f, other, tolerance=1e-7).value
        assert bool((0.5 * (v - other).square().flatten(1).sum(1) + phi > least).all())


def test_the_residual_tells_of_images_outside_the_range() -> None:
    f, bright = network(convexity=0.0), 1e3 * torch.ones(1, 1, 12, 12, dtype=torch.float64)
    # Without quadratic terms, |f| is bounded by the weights, and no v reaches an image this bright.
    for linear, square in zip(f.readout, f.square, strict=True):
        linear.fill_(0.5)
        square.zero_()
    assert float(prior_value(f, bright, iterations=10).residual) > 0.1
    with pytest.raises(UsageError, match="not in the range"):
        ExplicitPrior(LearnedProximal(f, 0.1), iterations=10).fn(bright)


def test_the_middle_of_a_large_image_does_not_see_its_edges() -> None:
    f, x = network(), images(1, 1, 64, 72)
    # The strides are aligned: the crop begins at multiples of 4.
    crop = f(x[..., 8:56, 16:64])
    assert torch.allclose(f(x)[..., 28:36, 36:44], crop[..., 20:28, 20:28], rtol=0, atol=1e-12)


@pytest.mark.parametrize("relaxation", [0.2, 1.0])
def test_a_relaxed_operator_is_a_proximal_operator_too(relaxation: float) -> None:
    denoiser = LearnedProximal(network(), 0.05, relaxation=relaxation)
    v = images(2, 3, 12, 12)
    x = denoiser(v, 0.3)
    assert torch.equal(x, denoiser(v))
    way = images(2, 3, 12, 12, seed=7) - 0.5
    change = (denoiser.potential(v + 1e-5 * way) - denoiser.potential(v - 1e-5 * way)) / 2e-5
    assert torch.allclose(change, (x * way).flatten(1).sum(1), rtol=1e-6, atol=1e-8)
    found = denoiser.prior(x, tolerance=1e-9)
    assert torch.allclose(found.point, v, atol=1e-6)
    explicit = ExplicitPrior(denoiser, tolerance=1e-8)
    assert torch.allclose(explicit.grad(x), v - x, atol=1e-5)
    assert torch.equal(explicit.prox(v, gamma=3.0), x)


def test_the_prior_of_images_in_other_units_is_the_same_one() -> None:
    denoiser, v = LearnedProximal(network(), 0.05), images(2, 1, 12, 12)
    span = torch.tensor([3.0, 0.5], dtype=torch.float64).reshape(2, 1, 1, 1)
    prior = LearnedProximalPrior(denoiser, low=-1.0, high=span - 1.0)
    x = prior.prox(-1 + span * v)
    assert torch.allclose(x, -1 + span * denoiser(v))
    plain = denoiser.prior(denoiser(v), tolerance=1e-9)
    found = prior.value(x, tolerance=1e-9)
    assert torch.allclose(found.value, span.flatten() ** 2 * plain.value)
    assert torch.allclose(prior.value_at(-1 + span * v, x), found.value)
    # The proximal step of s^2 phi((x + 1) / s) minimises: no image in the range of f does better.
    noisy = -1 + span * v
    other = prior.prox(noisy + 0.1 * span * (images(2, 1, 12, 12, seed=9) - 0.5))
    least = 0.5 * (noisy - x).square().flatten(1).sum(1) + found.value
    value = 0.5 * (noisy - other).square().flatten(1).sum(1) + prior.value(other, tolerance=1e-9).value
    assert bool((value > least).all())


def test_derivatives_of_f_are_there_when_asked_for() -> None:
    f, x = network(), images(1, 1, 8, 8)
    with torch.no_grad():
        assert not f(x.requires_grad_()).requires_grad
    assert f(x).requires_grad
    assert not f(x.detach()).requires_grad
    f.requires_grad_(True)
    f(x.detach()).square().sum().backward()
    assert all(weight.grad is not None for weight in f.direct[0].parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel": 2},
        {"first": 4},
        {"strides": (1, 2)},
        {"sharpness": 0.0},
        {"convexity": -1.0},
        {"widths": (), "strides": ()},
    ],
)
def test_bad_architectures_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match="ICNN"):
        ICNN(**{"widths": (4, 4, 4), "strides": (1, 2, 1), **wrong})
