"""From pairs to presets to recipes: what is learned does what it did in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from imagereg.choose.learn import iterate_learning, psnr
from imagereg.choose.smoothed_tv import SmoothedTV
from imagereg.errors import InputError, UsageError
from imagereg.measurement import Measurement
from imagereg.physics import identity
from imagereg.presets import load_preset
from imagereg.priors.field_of_experts import FieldOfExpertsPrior
from imagereg.recipe import Recipe
from imagereg.services.learning import read_pairs, write_preset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Three pictures of blocks on a ramp in an odd grey range, with noise."""
    random = np.random.default_rng(0)
    t = np.linspace(0, 1, 32)
    clean = []
    for _ in range(3):
        a, b, w = random.uniform(0.2, 0.6, 3)
        block = (np.abs(t[:, None] - a) < w / 2) & (np.abs(t[None, :] - b) < w / 2)
        clean.append(0.8 * block + 0.2 * t[None, :])
    stack = np.stack(clean)[:, None]
    noisy = stack + 0.1 * random.standard_normal(stack.shape)
    return torch.from_numpy(50 + 200 * noisy), torch.from_numpy(50 + 200 * stack)


def scaled(image: torch.Tensor) -> torch.Tensor:
    return (image.double() - 50) / 200


def restored(recipe: Recipe, noisy: torch.Tensor) -> torch.Tensor:
    *_, last = recipe.resolved_method().iterate(Measurement(noisy, physics=identity()))
    return last.image


@pytest.mark.parametrize(
    ("method", "by", "settings"),
    [
        ("tv", "maid", {"smoothing": 2e-3}),
        ("tv", "hoag", {"smoothing": 2e-3}),
        ("space_variant_tv", "hoag", {"smoothing": 2e-3}),
        ("field_of_experts", "hoag", {"filters": 4, "size": 3}),
    ],
)
def test_a_learned_preset_does_in_a_recipe_what_it_did_in_training(
    method: str, by: str, settings: dict[str, float], pairs: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    noisy, clean = pairs
    *_, last = iterate_learning(noisy, clean, method, by=by, steps=12, **settings)
    assert last.values["psnr"] > last.values["psnr_noisy"] + 3
    path = tmp_path / "preset.yaml"
    preset = write_preset(last, path, source=tmp_path, names=["a", "b", "c"])
    (tmp_path / "recipe.yaml").write_text(
        "input: a.tif\n"
        f"method: {{name: {method}, preset: preset.yaml, tolerance: 1.0e-5, iterations: 1000}}\n"
    )
    recipe = Recipe.load(tmp_path / "recipe.yaml")
    image = scaled(restored(recipe, noisy))
    assert psnr(image, scaled(clean)) > last.values["psnr"] - 0.35
    assert preset.learned["pairs"] == 3
    assert recipe.sha256 == Recipe.of_mapping(recipe.resolved().plain()).sha256
    if method != "tv":
        return
    # Near the best strength that the truth could find.
    strength = recipe.resolved_method().strength
    for factor in (0.5, 2.0):
        other = scaled(restored(recipe.with_values({"strength": factor * strength}), noisy))
        assert psnr(other, scaled(clean)) < psnr(image, scaled(clean))


def test_learning_is_for_images_in_any_grey_range(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    noisy, clean = pairs
    found = []
    for scale in (1.0, 1e-3):
        *_, last = iterate_learning(noisy * scale, clean * scale, "tv", by="hoag", steps=6, smoothing=1e-2)
        found.append(last.outcome.learned.parameters["strength"])
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_the_prior_equals_its_formula_and_its_gradient_autograd(
    pairs: tuple[torch.Tensor, torch.Tensor],
) -> None:
    random = torch.Generator().manual_seed(0)
    c = torch.randn((3, 1, 5, 5), generator=random, dtype=torch.float64)
    w, v = torch.tensor([0.5, 1.0, 2.0]).double(), torch.tensor([0.1, 0.2, 0.05]).double()
    prior = FieldOfExpertsPrior(w, v, c)
    x = torch.randn((2, 1, 12, 14), generator=random, dtype=torch.float64).requires_grad_()
    responses = torch.nn.functional.conv2d(x, c)
    lengths = (responses.square() + v[:, None, None] ** 2).sqrt() - v[:, None, None]
    value = (w[:, None, None] * lengths).flatten(1).sum(1)
    assert torch.allclose(prior.fn(x), value)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.allclose(prior.grad(x.detach()), gradient)
    # Slices of a volume are pictures of their own.
    volume = x.detach().movedim(0, 1)[None]
    assert torch.allclose(prior.fn(volume), value.sum())
    # The Lipschitz constant that FISTA takes is an upper bound, and a close one.
    curvature = prior.outer.slope(1.0) * prior.operator.norm**2
    q = torch.randn((1, 1, 60, 60), generator=random, dtype=torch.float64)
    for _ in range(60):
        q = prior.operator.A_adjoint(prior.operator.A(q / q.norm()))
    assert 0.85 * curvature <= float(q.norm()) <= curvature


def test_the_energy_of_learning_is_the_objective_of_the_method() -> None:
    """Smoothed TV tends to TV, and lambda is strength times the range."""
    from imagereg.methods.support.scaling import measure
    from imagereg.methods.tv import TotalVariation
    from imagereg.solvers.problem import Problem

    random = torch.Generator().manual_seed(1)
    noisy = torch.randn((2, 1, 16, 16), generator=random, dtype=torch.float64)
    method = TotalVariation(strength=0.07)
    measurement = Measurement(noisy, physics=identity())
    from imagereg.fidelities.least_squares import LeastSquares

    bare = Problem(LeastSquares(noisy), measurement.physics)
    scaling = measure(bare)
    lower = SmoothedTV(noisy, smoothing=1e-7)
    x = torch.randn(noisy.shape, generator=random, dtype=torch.float64)
    for item in range(2):
        one = SmoothedTV(noisy[item : item + 1], smoothing=1e-7)
        theta = (torch.as_tensor(scaling.linear(0.07)).flatten()[item].log())[None]
        energy = float(one.energy(x[item : item + 1], theta))
        problem = Problem(
            LeastSquares(noisy[item : item + 1]),
            measurement.physics,
            method.penalty(
                Measurement(noisy[item : item + 1], physics=identity()),
                measure(Problem(LeastSquares(noisy[item : item + 1]), measurement.physics)),
            ),
        )
        assert problem.objective(x[item : item + 1]) == pytest.approx(energy, rel=1e-5)
    assert lower.convexity == 1.0


# ------------------------------------------------------------------ mistakes
def test_mistakes_in_learning_are_refused(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    noisy, clean = pairs
    for arguments, words in (
        (("fbp", {}), "cannot be learned"),
        (("tv", {"by": "mayd"}), "did you mean 'maid'"),
        (("tv", {"strenght": 0.1}), "did you mean 'strength'"),
    ):
        with pytest.raises(UsageError, match=words):
            next(iterate_learning(noisy, clean, arguments[0], **arguments[1]))
    with pytest.raises(UsageError, match="no pairs"):
        next(iterate_learning(noisy[:2], clean, "tv"))
    with pytest.raises(UsageError, match="constant"):
        next(iterate_learning(noisy, torch.ones_like(clean), "tv"))


def test_folders_of_pairs_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        read_pairs(tmp_path)
    for half in ("noisy", "clean"):
        (tmp_path / half).mkdir()
    with pytest.raises(InputError, match="holds no image"):
        read_pairs(tmp_path)
    np.save(tmp_path / "noisy" / "a.npy", np.random.default_rng(0).random((20, 24)))
    with pytest.raises(InputError, match="a has no partner"):
        read_pairs(tmp_path)
    np.save(tmp_path / "clean" / "a.npy", np.random.default_rng(0).random((20, 25)))
    with pytest.raises(UsageError, match="has shape"):
        read_pairs(tmp_path)
    np.save(tmp_path / "clean" / "a.npy", np.random.default_rng(1).random((20, 24)))
    noisy, clean, names = read_pairs(tmp_path, crop=16)
    assert noisy.shape == clean.shape == (1, 1, 16, 16)
    assert names == ["a"]
    with pytest.raises(UsageError, match="--crop 64"):
        read_pairs(tmp_path, crop=64)


def test_presets_are_checked_and_recipes_go_before_them(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("method: tv\nparameters: {strength: 0.25, iterations: 7}\n")
    recipe = Recipe.of_mapping(
        {"input": "a.tif", "method": {"name": "tv", "preset": str(path), "iterations": 9}}
    )
    method = recipe.resolved_method()
    assert (method.strength, method.iterations) == (0.25, 9)
    assert "preset" not in recipe.resolved().plain()["method"]
    with pytest.raises(UsageError, match="a preset for tv"):
        load_preset(str(path), method="tikhonov")
    with pytest.raises(UsageError, match="no such preset"):
        load_preset("nonsense", method="tv")
    with pytest.raises(InputError, match="cannot read the preset"):
        load_preset(str(tmp_path / "q.yaml"), method="tv")
    path.write_text("strength: 3\n")
    with pytest.raises(UsageError, match="is no preset"):
        load_preset(str(path), method="tv")
    path.write_text("method: tv\nparameters: {strenght: 0.25}\n")
    with pytest.raises(UsageError, match="did you mean 'strength'"):
        Recipe.of_mapping({"input": "a.tif", "method": {"name": "tv", "preset": str(path)}})
