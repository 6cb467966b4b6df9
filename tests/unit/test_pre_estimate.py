"""What may be a pre-estimate, in Python and in recipes, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.methods.registry import method
from imagereg.methods.support.pre_estimate import pre_estimate

ADAPTIVE = ["space_variant_tv", "graph_laplacian"]


def scene(items: int = 1) -> ir.Measurement:
    """Denoising in tensors, ready."""
    truth = torch.zeros(items, 1, 12, 14)
    truth[..., 3:9, 4:10] = 1.0
    noisy = ir.GaussianNoise(0.1).sample(truth, seed=0)
    return ir.Measurement(noisy, noise=ir.GaussianNoise(0.1), truth=truth).ready()


def found(psi: object, measurement: ir.Measurement) -> tuple[torch.Tensor, list]:
    states, work = [], pre_estimate(psi, measurement)
    while True:
        try:
            states.append(next(work))
        except StopIteration as end:
            return end.value, states


def test_a_method_by_name_with_parameters_or_as_an_object_is_the_same() -> None:
    measurement = scene()
    expected = ir.reconstruct(measurement, "tv", strength=0.02, iterations=20).image
    for psi in (
        {"name": "tv", "strength": 0.02, "iterations": 20},
        method("tv", strength=0.02, iterations=20),
    ):
        image, states = found(psi, measurement)
        assert torch.equal(image, expected)
        assert all(state.phase == "pre-estimate" and not state.finished for state in states)


def test_an_image_serves_in_any_layout(tmp_path: Path) -> None:
    measurement, picture = scene(), np.random.default_rng(0).random((12, 14))
    np.save(tmp_path / "first.npy", picture)
    for psi in (picture, torch.from_numpy(picture)[None, None], str(tmp_path / "first.npy")):
        image, _ = found(psi, measurement)
        assert torch.allclose(image[0, 0], torch.from_numpy(picture).float())


def test_images_are_repeated_with_a_repeated_batch() -> None:
    pictures = torch.rand(2, 1, 12, 14)
    image, _ = found(pictures, scene(items=6))
    assert torch.equal(image, torch.cat([pictures] * 3))


def test_the_truth_is_allowed_and_told() -> None:
    measurement = scene()
    image, _ = found("truth", measurement)
    assert torch.equal(image, measurement.truth)
    for name in ADAPTIVE:
        result = ir.reconstruct(measurement, name, psi="truth", iterations=3)
        assert any("the truth itself" in note for note in result.state.notes)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_states_of_the_pre_estimate_and_of_earlier_passes_have_a_phase(name: str) -> None:
    psi = {"name": "tv", "iterations": 2}
    states = list(ir.iterate(scene(), name, psi=psi, iterations=3, psi_passes=2))
    phases = [state.phase for state in states]
    assert phases == ["pre-estimate"] * 2 + ["pre-estimate, pass 1 of 2"] * 3 + [""] * 3
    assert [bool(state.finished) for state in states] == [False] * 7 + [True]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_what_psi_is_goes_into_recipes_and_comes_back(name: str) -> None:
    chosen = method(name, psi={"name": "tv", "strength": 0.1})
    plain = chosen.model_dump(mode="json")
    assert plain["psi"] == {"name": "tv", "strength": 0.1}
    assert method(name, **plain) == chosen
    as_object = method(name, psi=method("tv", strength=0.1)).model_dump(mode="json")["psi"]
    assert as_object["name"] == "tv"
    assert as_object["strength"] == 0.1
    given = method(name, psi=np.zeros((3, 4))).model_dump(mode="json")["psi"]
    assert given == "given image (3, 4)"
    assert type(chosen).model_json_schema()["properties"]["psi"]["anyOf"][0] == {"type": "string"}


@pytest.mark.parametrize(
    ("psi", "sentence"),
    [
        ("tvv", "did you mean 'tv'"),
        ({"name": "tv", "strenght": 1}, "did you mean 'strength'"),
        (np.zeros((5, 5)), "does not fit results of shape"),
        ("fbp", "psi = 'fbp': fbp"),
    ],
)
def test_refusals(psi: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        found(psi, scene())


@pytest.mark.parametrize("psi", [3, {"strength": 1}, ""])
def test_values_that_are_no_pre_estimate(psi: object) -> None:
    with pytest.raises(UsageError, match=r"space_variant_tv\.psi"):
        method("space_variant_tv", psi=psi)


def test_without_a_truth_there_is_none_to_take() -> None:
    bare = ir.Measurement(torch.rand(1, 1, 8, 8)).ready()
    with pytest.raises(UsageError, match="has no truth"):
        found("truth", bare)


def test_an_image_as_pre_estimate_stays_one_when_another_parameter_changes() -> None:
    image = torch.linspace(0, 1, 168).reshape(1, 1, 12, 14)
    one = method("space_variant_tv", psi=image, p=0.4)
    other = method(one, strength=0.3)
    assert (other.strength, other.p) == (0.3, 0.4)
    assert torch.equal(torch.as_tensor(other.psi), torch.as_tensor(one.psi))
