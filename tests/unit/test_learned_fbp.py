"""The network on filtered back-projection: what it gains, its units, and its place as a pre-estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.methods.support.pre_estimate import pre_estimate
from imagereg.metrics import psnr
from imagereg.networks.reconstructor import Reconstructor, grey_scale, reconstruct
from imagereg.training.learned_fbp import LearnedFBP, Scans
from imagereg.training.loop import Schedule, train
from imagereg.training.painted import painted


def scan(geometry: object, *, scale: float = 1.0, size: int = 128) -> ir.Measurement:
    truth = torch.from_numpy(painted(size, np.random.default_rng(12345)))[None, None] * scale
    physics = ir.tomography(geometry, ir.Volume((size, size)))
    noise = ir.RelativeNoise(0.01)
    return ir.Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


GEOMETRIES = {
    "parallel": ir.ParallelBeam(np.linspace(0, np.pi, 60, endpoint=False), 190, pixel=1.0),
    "fan": ir.FanBeam(
        np.linspace(0, 2 * np.pi, 90, endpoint=False),
        220,
        pixel=1.3,
        source_origin=500.0,
        source_detector=700.0,
    ),
}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_shipped_weights_gain_on_scenes_that_they_never_saw(kind: str) -> None:
    measurement = scan(GEOMETRIES[kind])
    truth = measurement.truth.numpy()
    fbp = psnr(ir.reconstruct(measurement, "fbp").image.numpy(), truth, data_range=1.0)
    result = ir.reconstruct(measurement, "learned_fbp")
    assert psnr(result.image.numpy(), truth, data_range=1.0) > fbp + 5
    assert float(result.image.min()) >= 0


def test_the_unit_of_the_data_does_not_matter() -> None:
    one = ir.reconstruct(scan(GEOMETRIES["parallel"]), "learned_fbp").image
    other = ir.reconstruct(scan(GEOMETRIES["parallel"], scale=0.01), "learned_fbp").image
    assert torch.allclose(100 * other, one, atol=1e-3)


def test_it_is_a_pre_estimate_under_both_names() -> None:
    measurement = scan(GEOMETRIES["parallel"], size=128).ready()
    images = []
    for psi in ("network", "learned_fbp"):
        work = pre_estimate(psi, measurement)
        try:
            while True:
                state = next(work)
                assert state.phase == "pre-estimate"
        except StopIteration as end:
            images.append(end.value)
    assert torch.equal(*images)


def test_grey_scale_is_that_of_the_image_and_not_of_its_noise() -> None:
    image = torch.zeros(2, 1, 64, 64)
    image[..., 16:48, 16:48] = 3.0
    noisy = image + torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(grey_scale(noisy).flatten(), torch.tensor([3.0, 3.0]), rtol=0.2)
    assert float(grey_scale(torch.zeros(1, 1, 5, 7))) == 1.0


def small() -> Reconstructor:
    torch.manual_seed(0)
    return Reconstructor(widths=(4, 8), blocks=1).requires_grad_(False)


def test_later_passes_gain_and_explain_more_of_the_data() -> None:
    measurement = scan(GEOMETRIES["parallel"])
    states = list(ir.iterate(measurement, "learned_fbp"))
    assert [state.iteration for state in states] == [1, 2, 3]
    assert [state.finished for state in states] == ["", "", "3 iterations"]
    quality = [psnr(s.image.numpy(), measurement.truth.numpy(), data_range=1.0) for s in states]
    assert quality[1] > quality[0] + 1
    assert quality[2] > quality[0] + 1
    misfit = [float((measurement.physics.A(s.image) - measurement.data).norm()) for s in states]
    assert misfit[2] < misfit[0]
    single = ir.reconstruct(measurement, "learned_fbp", iterations=1)
    assert torch.equal(single.image, states[0].image)


def test_channels_and_items_are_independent() -> None:
    network = small()
    physics = ir.tomography(GEOMETRIES["parallel"], ir.Volume((64, 64)))
    data = physics.A(torch.rand(2, 3, 64, 64))
    whole, part = (list(reconstruct(network, physics, y, 2))[-1][0] for y in (data, data[1:, 2:]))
    assert torch.allclose(whole[1:, 2:], part, atol=1e-5)


def test_where_the_data_are_explained_a_pass_sees_the_image_itself() -> None:
    physics = ir.tomography(GEOMETRIES["parallel"], ir.Volume((64, 64)))

    class Keeps(Reconstructor):
        def forward(self, back: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
            seen.append((back, image))
            return torch.zeros_like(back) if image is None else back

    seen: list = []
    data = physics.A(torch.rand(1, 1, 64, 64))
    list(reconstruct(Keeps(widths=(4, 8)), physics, data, 2))
    (first, none), (second, image) = seen
    assert none is None
    assert float(image.abs().max()) == 0
    assert torch.allclose(second, first, atol=1e-5)  # nothing was explained: the residual is the data


def test_a_pass_that_leads_away_from_the_data_does_not_count() -> None:
    physics = ir.tomography(GEOMETRIES["parallel"], ir.Volume((64, 64)))
    truth = torch.rand(2, 1, 64, 64)

    class Strays(Reconstructor):
        """Its second pass halves the error of the second item and doubles that of the first."""

        def forward(self, back: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
            near = (truth + 0.1) / scale
            astray = torch.tensor([0.1, -0.05])[: len(near)].reshape(-1, 1, 1, 1)
            return near if image is None else near + astray / scale

    data = physics.A(truth)
    scale = grey_scale(physics.fbp(data))
    (first, no), (second, end) = reconstruct(Strays(widths=(4, 8)), physics, data, 2)
    assert (no, end) == ("", "2 iterations")
    assert torch.allclose(first, truth + 0.1, atol=1e-5)
    assert torch.equal(second[0], first[0])
    assert torch.allclose(second[1], truth[1] + 0.05, atol=1e-5)
    truth, scale = truth[:1], scale[:1]
    *_, (last, end) = reconstruct(Strays(widths=(4, 8)), physics, data[:1], 5)
    assert end == "pass 2 led away from the data"
    assert torch.equal(last, first[:1])
    misfit = (physics.A(first) - data[:2]).flatten(2).norm(dim=2)
    ((only, end),) = reconstruct(Strays(widths=(4, 8)), physics, data[:1], 5, noise=1.01 * misfit[:1])
    assert end == "the data are explained to their noise"
    assert torch.equal(only, first[:1])


def test_a_scan_unlike_those_of_the_training_is_told_so() -> None:
    def said(geometry: object) -> list[str]:
        (state,) = ir.iterate(scan(geometry), "learned_fbp", iterations=1)
        return [note for note in state.notes if "learned from" in note]

    few = ir.ParallelBeam(np.linspace(0, np.pi, 8, endpoint=False), 190, pixel=1.0)
    (note,) = said(few)
    assert "8 views for 128 pixels" in note
    assert "20 to 120" in note
    assert not said(GEOMETRIES["parallel"])


def test_training_scans_are_those_of_the_scenes() -> None:
    scans = Scans(size=64, views=(90, 120), noise=(0.001, 0.002))
    made = scans.simulated(3, seed=7)
    back = made.physics.fbp(made.data)
    assert back.shape == made.truth.shape == (3, 1, 64, 64)
    assert float((back - made.truth).norm() / made.truth.norm()) < 0.4
    again = scans.simulated(3, seed=7)
    assert torch.equal(again.data, made.data)
    pictures = (torch.rand(80, 70),)
    with pytest.raises(UsageError, match="smallest picture"):
        Scans(128, pictures=pictures)
    task = LearnedFBP(small().requires_grad_(True), scans=Scans(64, (20, 30), pictures=pictures), stacks=1)
    assert len(task.batch(torch.Generator().manual_seed(0), 5)) == 5
    assert set(task.validate(task.network)[0]) == {"psnr", "psnr_pass_1", "psnr_pass_2", "psnr_fbp"}


def test_each_pass_is_trained_for_itself() -> None:
    scans = Scans(size=48, views=(20, 30))
    task = LearnedFBP(small().requires_grad_(True), scans=scans, stacks=2, passes=2)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    batch = task.batch(torch.Generator().manual_seed(5), 4)
    with torch.no_grad():
        loss = task.loss(task.network, batch)
    list(train(task, Schedule(steps=40, batch=2, rate=0.01, precision="float32")))
    with torch.no_grad():
        assert task.loss(task.network, batch) < loss
    after = task.network.state_dict()
    assert {name.split(".")[0] for name in after if (after[name] != before[name]).any()} == {"first", "later"}
    # No gradient of the second pass reaches the first network.
    task.network.zero_grad()
    *_, last = task._passes(task.network, batch)
    last.square().sum().backward()
    assert all(weight.grad is None for weight in task.network.first.parameters())


def test_painted_scenes_are_in_the_unit_range_with_hard_edges() -> None:
    for seed in range(5):
        picture = painted(96, np.random.default_rng(seed))
        assert picture.min() == 0
        assert 0 < picture.max() <= 1
        assert len(np.unique(picture)) < 60
