"""Methods: sensible with their defaults, and a `strength` that means the same whatever the units."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import InputError, UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.fidelities.poisson import KullbackLeibler, TransmissionPoisson
from imagereg.methods.registry import method, methods
from imagereg.methods.support.data_term import data_term
from imagereg.methods.support.scaling import measure
from imagereg.parameters import parameter
from imagereg.physics import TransmissionNoise, blur, gaussian_kernel
from imagereg.priors.denoisers import DnCNN, denoiser
from imagereg.solvers.problem import Problem
from imagereg.solvers.state import State

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 48


@cache
def phantom(side: int = SIDE) -> torch.Tensor:
    """A disc with a hole, a bar and a bright dot, in [0, 1]."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    image = 0.5 * (x**2 + y**2 < 0.75).float()
    image[(x + 0.3) ** 2 + (y - 0.2) ** 2 < 0.06] = 0.0
    image[(x.abs() < 0.5) & ((y + 0.45).abs() < 0.1)] = 0.8
    image[(x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.02] = 1.0
    return image[None, None]


def final(states: Iterator[State]) -> State:
    """The last state, without keeping the others."""
    return deque(states, maxlen=1).pop()


def scan(views: int = 30, *, voxel: float = 1.0, factor: float = 1.0, side: int = SIDE) -> ir.Measurement:
    """A sparse parallel scan with 2 % noise; `factor` multiplies the grey values."""
    geometry = ir.ParallelBeam(
        np.linspace(0, np.pi, views, endpoint=False), columns=int(1.5 * side), pixel=voxel
    )
    physics = ir.tomography(geometry, ir.Volume((side, side), voxel=voxel))
    truth = factor * phantom(side) / voxel
    noise = ir.RelativeNoise(0.02)
    return ir.Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


def noisy() -> ir.Measurement:
    noise = ir.GaussianNoise(0.1)
    return ir.Measurement(noise.sample(phantom(), seed=0), noise=noise, truth=phantom())


def blurred() -> ir.Measurement:
    physics, noise = blur(gaussian_kernel(1.5)), ir.GaussianNoise(0.02)
    return ir.Measurement(
        noise.sample(physics.A(phantom()), seed=0), physics=physics, noise=noise, truth=phantom()
    )


def solve(measurement: ir.Measurement, name: str, **parameters: Any) -> State:
    state = final(method(name, **parameters).iterate(measurement.ready()))
    assert state is not None
    return state


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    scale = float(truth.max() - truth.min())
    return float(-10 * torch.log10((image - truth).square().mean() / scale**2))


OURS = ["cgls", "fbp", "fdk", "pnp", "sirt", "tikhonov", "tv", "wavelet"]


def test_all_are_registered_and_have_a_card() -> None:
    for name in OURS:
        chosen = methods()[name]
        assert (chosen.title and chosen.summary and "doi" in chosen.reference.lower()) or name == "tikhonov"
        assert "\n" not in chosen.summary
        assert not chosen.main or chosen.main in chosen.model_fields
        for field in chosen.model_fields.values():
            assert field.description and "\n" not in field.description


# What the defaults reach on these phantoms, less a margin of about 1 dB.
SPARSE = {"fbp": 15.0, "sirt": 22.0, "cgls": 19.0, "tikhonov": 19.0, "tv": 25.0, "wavelet": 22.0, "pnp": 22.0}


@pytest.mark.parametrize("name", SPARSE)
def test_defaults_on_a_sparse_scan(name: str) -> None:
    measurement = scan()
    state = solve(measurement, name)
    assert psnr(state.image, measurement.truth) > SPARSE[name]
    assert state.finished


@pytest.mark.parametrize("name", ["tv", "wavelet", "tikhonov", "pnp"])
def test_defaults_denoise(name: str) -> None:
    measurement = noisy()
    before = psnr(measurement.data, measurement.truth)
    assert psnr(solve(measurement, name).image, measurement.truth) > before + 2


@pytest.mark.parametrize("name", ["tv", "wavelet", "tikhonov", "pnp", "sirt", "cgls"])
def test_defaults_deblur(name: str) -> None:
    measurement = blurred()
    before = psnr(measurement.data, measurement.truth)
    assert psnr(solve(measurement, name).image, measurement.truth) > before + 0.3


@pytest.mark.parametrize("name", ["tv", "wavelet"])
@pytest.mark.parametrize("level", [0.005, 0.02, 0.1])
def test_the_automatic_strength_follows_the_noise(name: str, level: float) -> None:
    """Nearer to the best of strengths a factor 1.8 apart than one number for all, told the noise or not."""
    base = scan(60).ready()
    noise = ir.GaussianNoise(level * float(base.physics.A(base.truth).square().mean().sqrt()))
    data = noise.sample(base.physics.A(base.truth), seed=1)

    def reached(known: Any, **given: Any) -> tuple[float, State]:
        seen = ir.Measurement(data, physics=base.physics, noise=known, truth=base.truth)
        state = solve(seen, name, iterations=600, **given)
        return psnr(state.image, base.truth), state

    best = max(reached(noise, strength=float(s))[0] for s in np.geomspace(1e-3, 1.0, 13))
    for known in (noise, None):
        score, state = reached(known, strength="auto")
        assert score > best - (1.5 if level < 0.1 else 3.5)
        assert any(note.startswith("strength ") for note in state.notes)


def test_strength_is_a_number_again_where_the_noise_cannot_be_told() -> None:
    flat = ir.Measurement(torch.ones(1, 1, 8, 8))  # too small to show its noise
    state = solve(flat, "tv", iterations=2)
    assert any("the noise of the data is not known" in note for note in state.notes)


RELATIVE = ["tv", "wavelet", "tikhonov"]


@pytest.mark.parametrize("name", RELATIVE)
def test_scaling_the_data_scales_the_result(name: str) -> None:
    one = solve(scan(), name, iterations=60, tolerance=1e-12).image
    other = solve(scan(factor=1000.0), name, iterations=60, tolerance=1e-12).image
    torch.testing.assert_close(other / 1000, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", RELATIVE)
def test_other_units_of_length_give_the_same_picture(name: str) -> None:
    one = solve(scan(), name, iterations=60, tolerance=1e-12).image
    other = solve(scan(voxel=1e-3), name, iterations=60, tolerance=1e-12).image
    torch.testing.assert_close(other * 1e-3, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", RELATIVE)
def test_weights_count_up_to_a_factor(name: str) -> None:
    base = scan().ready()
    weights = torch.exp(-0.2 * base.data)
    results = []
    for factor in (1.0, 1e4):
        weighted = ir.Measurement(base.data, physics=base.physics, weights=factor * weights)
        results.append(solve(weighted, name, iterations=60, tolerance=1e-12).image)
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-3)


def test_slices_do_not_change_each_other() -> None:
    single = scan().ready()
    both = torch.cat([single.data, 0.2 * single.data.flip(-1)])
    stack = ir.Measurement(both, physics=single.physics)
    for name in RELATIVE:
        alone = solve(
            ir.Measurement(single.data, physics=single.physics), name, iterations=40, tolerance=1e-12
        )
        together = solve(stack, name, iterations=40, tolerance=1e-12)
        torch.testing.assert_close(together.image[:1], alone.image, rtol=1e-4, atol=1e-4)


def test_the_best_strength_does_not_depend_on_the_number_of_views() -> None:
    strengths = [0.005, 0.015, 0.045, 0.135, 0.4]

    def best(views: int) -> int:
        measurement = scan(views)
        found = [
            psnr(solve(measurement, "tv", strength=s, tolerance=1e-2).image, measurement.truth)
            for s in strengths
        ]
        return int(np.argmax(found))

    assert abs(best(20) - best(40)) <= 1


def test_absolute_strength_is_the_factor_of_papers() -> None:
    measurement = noisy()
    state = solve(measurement, "tv", strength=0.1, absolute=True, tolerance=1e-5, iterations=2000)
    assert state.problem is not None
    assert state.problem.priors[0].outer.strength == 0.1
    from skimage.restoration import denoise_tv_chambolle

    expected = denoise_tv_chambolle(
        measurement.data[0, 0].double().numpy(), weight=0.1, eps=1e-12, max_num_iter=20000
    )
    assert np.abs(state.image[0, 0].numpy() - expected).max() < 5e-3


def test_a_known_scale_takes_the_place_of_the_estimate() -> None:
    measurement = scan().ready()
    bare = Problem(LeastSquares(measurement.data), measurement.physics)
    free, fixed = measure(bare), measure(bare, scale=2.0)
    assert float(fixed.span) == 2.0
    assert 0.5 < float(free.span) < 2.0
    torch.testing.assert_close(fixed.linear(0.1), 0.1 * fixed.curvature * 2.0)
    assert measure(bare, absolute=True).linear(0.1) == 0.1


def test_the_data_term_follows_what_is_known_of_the_noise() -> None:
    plain = scan().ready()
    assert isinstance(data_term(plain)[0], LeastSquares)
    assert data_term(plain)[1] == ""
    weighted = ir.Measurement(plain.data, physics=plain.physics, weights=torch.ones_like(plain.data))
    term, note = data_term(weighted)
    assert isinstance(term, LeastSquares) and term.weights is not None
    assert "weighted" in note
    assert solve(weighted, "tv", iterations=2, strength=0.05).notes == (note,)
    photons = ir.Measurement(10 * phantom(), noise=ir.PoissonNoise(0.5)).ready()
    assert isinstance(data_term(photons)[0], KullbackLeibler)
    through = ir.Measurement(plain.data / 50, physics=plain.physics, noise=TransmissionNoise(100.0))
    term, _ = data_term(through, "poisson")
    assert isinstance(term, TransmissionPoisson)
    torch.testing.assert_close(term.estimate, through.data, rtol=1e-3, atol=1e-3)
    with pytest.raises(UsageError, match="no counts"):
        data_term(plain, "poisson")
    with pytest.raises(UsageError, match="no weights"):
        data_term(ir.Measurement(plain.data, physics=plain.physics), "weighted")


def test_the_poisson_likelihood_beats_least_squares_at_few_counts() -> None:
    base = scan(60).ready()
    noise = TransmissionNoise(30.0)
    clean = base.physics.A(phantom()) / 12
    data = noise.sample(clean, seed=1)
    few = ir.Measurement(data, physics=base.physics, noise=noise)
    results = {
        kind: psnr(solve(few, "tv", fidelity=kind).image, phantom() / 12)
        for kind in ("least_squares", "poisson")
    }
    assert results["poisson"] > results["least_squares"]


@pytest.mark.parametrize("solver", ["fista", "admm"])
def test_tv_by_its_other_solvers(solver: str) -> None:
    measurement = scan()
    expected = solve(measurement, "tv", tolerance=1e-5, iterations=2000)
    state = solve(measurement, "tv", solver=solver, tolerance=1e-5, iterations=400)
    assert state.objective == pytest.approx(expected.objective, rel=1e-3)


def test_volumes_are_regularised_in_three_dimensions() -> None:
    volume = phantom(16)[:, :, None].repeat(1, 1, 6, 1, 1)
    noise = ir.GaussianNoise(0.1)
    measurement = ir.Measurement(noise.sample(volume, seed=0))
    before = psnr(measurement.data, volume)
    # A quadratic prior blurs the edges that the other two keep.
    for name, gain in (("tv", 2), ("wavelet", 2), ("tikhonov", 1)):
        state = solve(measurement, name, **({"levels": 2, "wavelet": "haar"} if name == "wavelet" else {}))
        assert psnr(state.image, volume) > before + gain, name
    assert state.problem.priors[0].operator.dimensions == 3


@pytest.mark.parametrize("solver", ["hqs", "fista", "admm"])
def test_any_denoiser_plugs_in(solver: str) -> None:
    calls: list[float] = []

    def own(x: torch.Tensor, sigma: float) -> torch.Tensor:
        calls.append(sigma)
        return denoiser("tv")(x, sigma)

    measurement = scan()
    chosen = method("pnp", solver=solver, iterations=12).using(own)
    state = final(chosen.iterate(measurement.ready()))
    assert len(calls) == 12
    assert psnr(state.image, measurement.truth) > 19
    if solver == "hqs":
        assert calls[0] == pytest.approx(0.2) and calls[-1] == pytest.approx(0.05)
        assert calls == sorted(calls, reverse=True)


@pytest.mark.parametrize("name", ["tv", "wavelet", "median", "nlm"])
def test_classical_denoisers_denoise(name: str) -> None:
    y = phantom() + 0.1 * torch.randn(phantom().shape, generator=torch.Generator().manual_seed(0))
    clean = denoiser(name)(y, 0.1)
    assert clean.shape == y.shape
    assert psnr(clean, phantom()) > psnr(y, phantom()) + 2


def test_a_network_from_a_file(tmp_path: Path) -> None:
    """A chain that returns half of its input as the noise."""
    centre = np.zeros((1, 1, 3, 3), dtype=np.float32)
    centre[0, 0, 1, 1] = 0.5
    np.savez(tmp_path / "half.npz", w0=centre, b0=np.zeros(1, dtype=np.float32))
    network = DnCNN.load(tmp_path / "half.npz")
    x = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(network(x, 0.1), x / 2)
    np.savez(tmp_path / "bad.npz", w0=centre)
    with pytest.raises(InputError, match="b0"):
        DnCNN.load(tmp_path / "bad.npz")
    with pytest.raises(InputError, match="cannot be read"):
        DnCNN.load(tmp_path / "absent.npz")
    with pytest.raises(UsageError, match="needs its weights"):
        denoiser("dncnn")
    with pytest.raises(UsageError, match="did you mean 'median'"):
        denoiser("medain")


def test_parameters_are_checked() -> None:
    with pytest.raises(UsageError, match="did you mean 'strength'"):
        method("tv", strenght=1.0)
    with pytest.raises(UsageError, match=r"tv\.strength"):
        method("tv", strength=-1.0)
    with pytest.raises(UsageError, match="orthogonal"):
        solve(noisy(), "wavelet", wavelet="bior2.2")
    assert "is for parallel and fan beams" in methods()["fbp"].refusal(noisy())
    assert "is for cone beams" in methods()["fdk"].refusal(scan())


class Grains(ir.Method):
    """Noise of its own seed."""

    name: ClassVar[str] = "grains_for_test"
    title: ClassVar[str] = "Grains"
    summary: ClassVar[str] = "noise"
    reference: ClassVar[str] = ""
    seed: int = parameter(0, "Seed of the noise", ge=0)

    def iterate(self, measurement: ir.Measurement) -> Iterator[State]:
        noise = torch.randn(measurement.data.shape, generator=torch.Generator().manual_seed(self.seed))
        yield State(noise, 1, 1, finished="1 step")


def test_the_seed_of_a_call_reaches_methods_that_have_their_own() -> None:
    image = ir.Measurement(phantom())
    plain, other, again, own = (
        ir.reconstruct(image, Grains(), seed=0),
        ir.reconstruct(image, Grains(), seed=1),
        ir.reconstruct(image, Grains(seed=1)),
        ir.reconstruct(image, Grains(seed=0), seed=1),  # chosen on the method itself
    )
    assert not torch.equal(plain.image, other.image)
    assert torch.equal(other.image, again.image) and torch.equal(own.image, plain.image)
    assert other.provenance["parameters"]["seed"] == 1


RENAMED = {
    ("red_diff", "most"): "sigma_max",
    ("diffpir", "most"): "sigma_max",
    ("diffpir", "least"): "sigma_min",
    ("pnp", "first"): "sigma_start",
    ("pnp", "balance"): "penalty",
    ("langevin", "balance"): "penalty",
    ("noise2score", "turned"): "self_ensemble",
}


@pytest.mark.parametrize(("old", "new"), RENAMED.items(), ids=str)
def test_earlier_names_of_parameters_go_on_working_and_are_told(old: tuple[str, str], new: str) -> None:
    name, before = old
    value = True if before == "turned" else 0.123
    chosen = method(name, **{before: value})
    assert getattr(chosen, new) == value
    assert chosen.renamed == (f"`{before}` is now called `{new}`.",)
    assert method(name, **{new: value}).renamed == ()
    assert before not in type(chosen).model_fields
    with pytest.raises(UsageError, match=f"{before} and {new} are one parameter"):
        method(name, **{before: value, new: value})


def test_a_run_notes_the_earlier_name_and_the_recipe_is_written_with_the_present_one(tmp_path: Path) -> None:
    from imagereg.recipe import Recipe

    states = ir.iterate(noisy(), "pnp", balance=0.5, iterations=2)
    assert "`balance` is now called `penalty`." in final(states).notes
    written = Recipe.of_mapping({"input": "x.npy", "method": {"name": "pnp", "balance": 0.5}}).resolved()
    assert "penalty: 0.5" in written.to_yaml()
    assert "balance" not in written.to_yaml()


def test_an_earlier_name_of_a_method_stands_for_its_values() -> None:
    from imagereg.presets import load_preset

    found = method("adaptive_tv")
    assert (found.name, found.p) == ("space_variant_tv", 0.3)
    assert method("adaptive_tv", p=0.5).p == 0.5
    assert "adaptive_tv" not in methods()
    assert load_preset("adaptive_tv", method="space_variant_tv").parameters == {"p": 0.3}
