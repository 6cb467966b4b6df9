"""Noise models: what they draw, what they say of their own size, and what they refuse."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.physics.noise import NOISES, TransmissionNoise, as_deepinv, noise_from_dict

MODELS = [
    ir.GaussianNoise(0.3),
    ir.RelativeNoise(0.05),
    ir.PoissonNoise(0.02),
    TransmissionNoise(5e3),
    ir.GammaNoise(40.0),
]
LEVEL = np.full((200, 200), 1.3)


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_draws_have_the_mean_and_variance_that_the_model_says(noise: Any) -> None:
    drawn = noise.sample(LEVEL, seed=0)
    n = LEVEL.size
    std = float(noise.std(LEVEL).mean())
    # The logarithm of a count is biased by 1 / (2 counts).
    bias = math.exp(1.3) / 5e3 / 2 if noise.name == "transmission" else 0.0
    assert abs(drawn.mean() - LEVEL.mean() - bias) < 4 * std / math.sqrt(n)
    assert drawn.std() == pytest.approx(std, rel=0.02)
    np.testing.assert_allclose(noise.variance(LEVEL), noise.std(LEVEL) ** 2)
    np.testing.assert_allclose(noise.weights(LEVEL).mean(), 1 / std**2, rtol=5e-3)
    assert noise.norm(drawn) == pytest.approx(np.linalg.norm(drawn - LEVEL), rel=0.05)


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_a_seed_means_the_same_for_numpy_and_torch(noise: Any) -> None:
    clean = np.linspace(0.5, 2.0, 60).reshape(3, 4, 5)
    array = noise.sample(clean, seed=7)
    tensor = noise.sample(torch.from_numpy(clean), seed=7)
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-12)
    np.testing.assert_array_equal(noise.sample(clean, seed=7), array)
    assert not np.array_equal(noise.sample(clean, seed=8), array)
    single = noise.sample(torch.from_numpy(clean).float(), seed=7)
    assert single.dtype == torch.float32
    assert noise.sample(clean.astype(np.float32), seed=7).dtype == np.float32
    for method in (noise.std, noise.weights):
        np.testing.assert_allclose(method(torch.from_numpy(clean)).numpy(), method(clean))
        assert method(torch.from_numpy(clean).float()).dtype == torch.float32


def test_generators_go_on() -> None:
    noise, clean = ir.GaussianNoise(1.0), np.zeros(8)
    generator = np.random.default_rng(3)
    first, second = noise.sample(clean, seed=generator), noise.sample(clean, seed=generator)
    np.testing.assert_array_equal(first, noise.sample(clean, seed=3))
    assert not np.array_equal(first, second)
    own = torch.Generator().manual_seed(5)
    a, b = noise.sample(torch.zeros(8), seed=own), noise.sample(torch.zeros(8), seed=own)
    assert not torch.equal(a, b)
    assert torch.equal(a, noise.sample(torch.zeros(8), seed=torch.Generator().manual_seed(5)))
    for wrong in (None, -1, 1.5, True, "x"):
        with pytest.raises(UsageError, match="seed="):
            noise.sample(clean, seed=wrong)
    with pytest.raises(TypeError):
        noise.sample(clean)  # type: ignore[call-arg]


def test_relative_noise_has_an_exact_norm_for_each_item() -> None:
    noise = ir.RelativeNoise(0.02)
    clean = torch.rand(3, 1, 6, 7, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1]).reshape(3, 1, 1, 1)
    error = noise.sample(clean, seed=1) - clean
    for i in range(3):
        assert float(error[i].norm() / clean[i].norm()) == pytest.approx(0.02, rel=1e-12)
    flat = np.arange(30.0)
    assert np.linalg.norm(noise.sample(flat, seed=0) - flat) == pytest.approx(0.02 * np.linalg.norm(flat))
    weights = noise.weights(clean)
    expected = [float(c.square().mean()) * 0.02**2 for c in clean]
    for i in range(3):
        np.testing.assert_allclose(1 / weights[i].numpy(), expected[i] / (1 + 0.02**2))


def test_poisson_noise_counts_photons() -> None:
    noise = ir.PoissonNoise(gain=0.25)
    drawn = noise.sample(np.full(1000, 2.0), seed=0)
    np.testing.assert_allclose(drawn / 0.25, np.rint(drawn / 0.25))
    np.testing.assert_array_equal(noise.sample(np.zeros(4), seed=0), 0)
    np.testing.assert_allclose(noise.weights(np.array([0.0, 0.1, 1.0])), [16.0, 16.0, 4.0])
    with pytest.raises(UsageError, match="2 of the clean values"):
        noise.sample(np.array([-1.0, float("nan"), 1.0]), seed=0)


def test_transmission_noise_is_the_logarithm_of_counts() -> None:
    noise = TransmissionNoise(I0=100)
    clean = np.array([0.0, 1.0, 50.0])
    counts = noise.counts(clean, seed=2)
    np.testing.assert_array_equal(counts, np.rint(counts))
    drawn = noise.sample(clean, seed=2)
    np.testing.assert_allclose(100 * np.exp(-drawn[:2]), counts[:2])
    assert counts[2] == 0
    assert drawn[2] == pytest.approx(-math.log(0.5 / 100))
    np.testing.assert_allclose(noise.weights(drawn)[:2], counts[:2])
    with pytest.raises(UsageError, match="TransmissionNoise"):
        noise.sample(np.array([float("nan")]), seed=0)


def test_gamma_noise_multiplies() -> None:
    noise = ir.GammaNoise(looks=4)
    np.testing.assert_array_equal(noise.sample(np.zeros(5), seed=0), 0)
    assert (noise.sample(np.full(1000, 3.0), seed=0) > 0).all()
    weights = noise.weights(np.array([0.0, 2.0, -1.0, 1.0]))
    np.testing.assert_allclose(weights, [4.0, 1.0, 4.0, 4.0])
    with pytest.raises(UsageError, match="negative"):
        noise.sample(np.array([-1.0]), seed=0)


def test_complex_noise_is_circular() -> None:
    clean = torch.zeros(200, 200, dtype=torch.complex64)
    drawn = ir.GaussianNoise(2.0).sample(clean, seed=0)
    assert drawn.dtype == torch.complex64
    assert float(drawn.real.std()) == pytest.approx(math.sqrt(2), rel=0.02)
    assert float(drawn.abs().square().mean()) == pytest.approx(4.0, rel=0.02)


def test_integers_become_floats_and_gradients_pass() -> None:
    assert ir.GaussianNoise(1.0).sample(np.arange(5), seed=0).dtype == np.float64
    x = torch.ones(4, dtype=torch.float64, requires_grad=True)
    for noise in (ir.GaussianNoise(1.0), ir.GammaNoise(3.0)):
        noise.sample(x, seed=0).sum().backward()
        assert x.grad is not None


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_deepinv_draws_from_the_same_distribution(noise: Any) -> None:
    torch.manual_seed(0)
    model = noise.deepinv()
    clean = torch.full((1, 1, 200, 200), 1.3)
    drawn = model(clean)
    assert float(drawn.mean()) == pytest.approx(1.3, abs=0.02)
    assert float(drawn.std()) == pytest.approx(float(noise.std(clean).mean()), rel=0.03)
    assert as_deepinv(model) is model


@pytest.mark.parametrize("noise", MODELS, ids=lambda noise: noise.name)
def test_models_are_plain_values(noise: Any) -> None:
    plain = noise.as_dict()
    assert plain["name"] == noise.name
    assert noise_from_dict(plain) == noise
    assert hash(noise_from_dict(plain)) == hash(noise)
    assert NOISES[noise.name] is type(noise)


def test_bad_values_are_one_sentence() -> None:
    for kind in NOISES.values():
        parameter = next(iter(kind.__dataclass_fields__))  # type: ignore[attr-defined]
        for value in (0, -1.0, math.nan, math.inf, "much", None):
            with pytest.raises(UsageError, match=f"{kind.__name__}\\({parameter}="):
                kind(**{parameter: value})
    with pytest.raises(UsageError, match="did you mean 'gaussian'"):
        noise_from_dict({"name": "gausian", "sigma": 1})
    with pytest.raises(UsageError, match="did you mean 'sigma'"):
        noise_from_dict({"name": "gaussian", "sigm": 1})
    with pytest.raises(UsageError, match="needs sigma"):
        noise_from_dict({"name": "gaussian"})
    with pytest.raises(UsageError, match=r"noise\.name"):
        noise_from_dict({"sigma": 1})


def test_noise_models_load_without_torch() -> None:
    program = (
        "import time; start = time.perf_counter(); import imagereg.physics.noise as n; "
        "took = time.perf_counter() - start; import sys; n.GaussianNoise(0.1); "
        "heavy = {'torch', 'deepinv', 'numpy', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy; print(took)"
    )
    took = float(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )
    assert took < 0.5  # 20 ms on a quiet machine
