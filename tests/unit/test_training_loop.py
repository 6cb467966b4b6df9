"""The training loop: exact resumption, its figures, its refusals; weights and their cards."""

from __future__ import annotations

import csv
import itertools
import json
from collections import deque
from pathlib import Path

import pytest
import torch
from torch import nn

from imagereg.errors import InputError, UsageError
from imagereg.networks.reconstructor import Reconstructor
from imagereg.networks.store import Card, find_weights, load_network, save_network
from imagereg.networks.unet import UNet, mirrored
from imagereg.training.loop import Schedule, train
from imagereg.training.optimisers import Descent, orthogonal


class Smoothing:
    """Learns a blur from white noise."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = UNet(widths=(4, 8), blocks=1)
        self.held = self.batch(torch.Generator().manual_seed(99), 2)

    def batch(self, generator: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(size, 1, 16, 16, generator=generator)
        return x, nn.functional.avg_pool2d(x, 3, 1, 1)

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return (network(batch[0]).float() - batch[1]).square().mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        return {"held_loss": float(self.loss(network, self.held))}, network(self.held[0][:1])


SHORT = Schedule(steps=40, batch=4, validate=10, checkpoint=10, rate=0.01, precision="float32")


@pytest.mark.parametrize("optimiser", ["muon", "adam"])
@pytest.mark.parametrize("stopped", [10, 27])
def test_a_killed_training_goes_on_to_the_same_weights_to_the_last_bit(
    tmp_path: Path, optimiser: str, stopped: int
) -> None:
    schedule = Schedule(**{**vars(SHORT), "optimiser": optimiser})
    whole = deque(train(Smoothing(), schedule, log=tmp_path / "whole.csv"), maxlen=1)[0]
    files = {"checkpoint": tmp_path / "c.safetensors", "log": tmp_path / "log.csv"}
    # What was computed after the last checkpoint is lost, as when the process dies.
    deque(itertools.islice(train(Smoothing(), schedule, **files), stopped), maxlen=0)
    resumed = deque(train(Smoothing(seed=5), schedule, **files), maxlen=1)[0]
    assert resumed.values["held_loss"] == whole.values["held_loss"]
    assert resumed.values["loss"] == whole.values["loss"]
    expected = whole.outcome.network.state_dict()
    for name, weight in resumed.outcome.network.state_dict().items():
        assert torch.equal(weight, expected[name]), name
    logs = [list(csv.DictReader((tmp_path / name).open())) for name in ("whole.csv", "log.csv")]
    figures = [[(row["step"], row["loss"], row["held_loss"]) for row in rows] for rows in logs]
    assert figures[0] == figures[1]
    assert [row["step"] for row in logs[1]] == ["10", "20", "30", "40"]


def test_states_tell_how_it_goes_and_the_network_learns() -> None:
    states = list(train(Smoothing(), SHORT))
    assert [state.iteration for state in states] == list(range(1, 41))
    assert states[-1].finished == "40 steps"
    assert not states[0].finished
    last = states[-1].values
    assert last["images_per_second"] > 0
    assert last["seconds_to_go"] == 0
    assert last["held_loss"] < 0.5 * float(Smoothing().held[1].square().mean())


def test_a_training_of_a_given_length_ends_with_its_rate_at_zero() -> None:
    schedule = Schedule(steps=10**6, batch=4, limit=100.0)
    # With time the rate falls as it otherwise does with the steps.
    same = Schedule(steps=1000, batch=4)
    assert schedule.factor(500, 50.0) == pytest.approx(same.factor(501))
    assert schedule.factor(500, 100.0) == pytest.approx(0)
    assert [schedule.size(500, seconds) for seconds in (10.0, 80.0)] == [4, 8]
    # Steps that come first end it as well.
    assert Schedule(steps=10, limit=100.0).done(10, 1.0) == 1
    states = list(train(Smoothing(), Schedule(**{**vars(SHORT), "limit": 1e-9})))
    assert [state.finished for state in states] == ["1 steps"]
    assert states[0].values["seconds_to_go"] == 0
    with pytest.raises(UsageError, match="more than 0"):
        Schedule(limit=0.0)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    deque(itertools.islice(train(Smoothing(), SHORT, checkpoint=path), 12), maxlen=0)
    with pytest.raises(UsageError, match=r"rate = 0\.01 and not 0\.02"):
        next(train(Smoothing(), Schedule(**{**vars(SHORT), "rate": 0.02}), checkpoint=path))
    other = Smoothing()
    other.network = UNet(widths=(4, 6), blocks=1)
    with pytest.raises(UsageError, match="another network"):
        next(train(other, SHORT, checkpoint=path))
    path.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="no checkpoint"):
        next(train(Smoothing(), SHORT, checkpoint=path))


def test_a_diverging_training_stops_with_advice() -> None:
    with pytest.raises(UsageError, match="lower the learning rate"):
        deque(train(Smoothing(), Schedule(steps=60, batch=2, rate=1e30, optimiser="adam")), maxlen=0)


def test_muon_turns_a_matrix_into_a_nearly_orthogonal_one_of_the_same_axes() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((12, 40), (40, 12)):
        matrix = torch.randn(shape, generator=generator)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        found = orthogonal(matrix)
        inner = u.T @ found @ v.T
        assert float(torch.linalg.svdvals(found).min()) > 0.5
        assert float(torch.linalg.svdvals(found).max()) < 1.35
        assert float((inner - torch.diag(inner.diag())).abs().max()) < 1e-4


def test_adam_takes_steps_of_the_rate_against_a_constant_gradient() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    descent = Descent(layer, "adam", 0.1)
    for number in range(1, 6):
        layer.weight.grad = torch.full_like(layer.weight, 7.0)
        descent.step(number, 1.0)
    assert torch.allclose(layer.weight, before - 0.5, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (5, 64), (1, 3)])
def test_the_unet_takes_images_of_any_size_and_items_are_independent(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = UNet(2, 3, widths=(4, 6, 8), blocks=1).double()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2)
    x = torch.randn(3, 2, *shape, dtype=torch.float64)
    whole = network(x)
    assert whole.shape == (3, 3, *shape)
    single = torch.cat([network(item[None]) for item in x])
    assert torch.allclose(whole, single, atol=1e-12)
    assert mirrored(x, 4).shape[-1] % 4 == 0


def test_weights_and_card_come_back_as_they_went(tmp_path: Path) -> None:
    network = Reconstructor(widths=(4, 8), blocks=1)
    card = Card("?", "learned_fbp", "reconstructor", {}, data="noise", licence="free", metrics={"psnr": 30.0})
    save_network(tmp_path / "mine.safetensors", network, card)
    found, read = load_network(tmp_path / "mine.safetensors", method="learned_fbp")
    x = torch.randn(1, 1, 12, 12)
    assert torch.equal(found(x), network(x))
    assert not any(weight.requires_grad for weight in found.parameters())
    assert (read.name, read.data, read.metrics) == ("mine", "noise", {"psnr": 30.0})
    assert read.parameters == sum(weight.numel() for weight in network.parameters())
    whole = (tmp_path / "mine.safetensors").stat().st_size
    save_network(tmp_path / "mine.safetensors", network, card, half=True)
    assert (tmp_path / "mine.safetensors").stat().st_size < 0.75 * whole
    rounded, _ = load_network(tmp_path / "mine.safetensors")
    assert torch.allclose(rounded(x), network(x), atol=1e-2)
    assert next(rounded.parameters()).dtype == torch.float32


def test_what_is_wrong_with_weights_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none are called so; did you mean 'learned_fbp'"):
        load_network("learned_fpb")
    with pytest.raises(UsageError, match="can run programs"):
        load_network("net.pth")
    with pytest.raises(UsageError, match="no such file"):
        find_weights(tmp_path / "no.safetensors")
    path = tmp_path / "mine.safetensors"
    card = Card("?", "learned_fbp", "reconstructor", {})
    save_network(path, Reconstructor(widths=(4, 8), blocks=1), card)
    with pytest.raises(UsageError, match="are for learned_fbp and not for noise2score"):
        load_network(path, method="noise2score")
    values = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**values, "settings": {"widths": [4, 9]}}))
    with pytest.raises(InputError, match="cannot be read as weights of reconstructor"):
        load_network(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="need the card"):
        load_network(path)
