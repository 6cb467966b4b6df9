"""The method vble, its network and its training, with small random networks."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.methods.registry import method
from imagereg.networks.hyperprior import Hyperprior
from imagereg.networks.store import Card, cards, load_network, save_network
from imagereg.physics import blur, gaussian_kernel
from imagereg.priors.latent import HyperpriorPrior
from imagereg.services.training import make_task
from imagereg.solvers.state import State
from imagereg.training.hyperprior import Hyperpriors, decoder_std
from imagereg.training.loop import Schedule, train

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 40


def small(channels: int = 1) -> Hyperprior:
    torch.manual_seed(0)
    return Hyperprior(4, 6, channels=channels).requires_grad_(False)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    card = Card("x", "vble", "hyperprior", {}, metrics={"rmse": 0.05})
    save_network(tmp_path / "small.safetensors", small(), card)
    return str(tmp_path / "small.safetensors")


def picture(side: int = SIDE) -> torch.Tensor:
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    return (0.2 + 0.5 * (x**2 + y**2 < 0.6).float() + 0.2 * x)[None, None]


def blurred(items: int = 1, channels: int = 1) -> ir.Measurement:
    physics, noise = blur(gaussian_kernel(1.0)), ir.GaussianNoise(0.02)
    truth = picture().repeat(items, channels, 1, 1)
    truth = truth * torch.linspace(1, 0.7, items).reshape(-1, 1, 1, 1)
    return ir.Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


def run(measurement: ir.Measurement, weights: str, **parameters: object) -> State:
    given = {"iterations": 12, "samples": 3, **parameters}
    states = method("vble", weights=weights, **given).iterate(measurement.ready())
    return deque(states, maxlen=1)[0]


@pytest.mark.parametrize("size", [(40, 40), (64, 64), (7, 90), (65, 33)])
def test_images_of_any_size_are_coded_and_decoded(size: tuple[int, int]) -> None:
    network, x = small(), torch.rand(2, 1, *size)
    z, h = network.encode(x)
    rows, columns = (math.ceil(n / 64) for n in size)
    assert z.shape == (2, 6, 4 * rows, 4 * columns) and h.shape == (2, 4, rows, columns)
    assert network.decode(z, size).shape == x.shape
    # What is decoded does not depend on the padding that is cropped away.
    wide = torch.nn.functional.pad(x, (0, -size[1] % 64, 0, -size[0] % 64), mode="replicate")
    if size == (64, 64):
        assert torch.equal(network.encode(wide)[0], z)


def test_latents_have_the_names_of_variational_bayes() -> None:
    """z is the latent that is decoded (stride 16, M channels), h the one above (stride 64, N channels)."""
    network = small()
    z, h = network.encode(torch.rand(1, 1, 128, 64))
    assert (z.shape[1], z.shape[2]) == (network.latent, 8) and (h.shape[1], h.shape[2]) == (network.width, 2)
    means, scales = network.moments(z, h)
    assert means.shape == scales.shape == z.shape
    prior = HyperpriorPrior(network, (1, 128, 64))
    assert [tuple(part.shape[2:]) for part in prior.encode(torch.rand(3, 1, 128, 64))] == [
        (6, 8, 4),
        (4, 2, 1),
    ]


@pytest.mark.parametrize("shape", [(1, 40, 48), (3, 40, 48), (1, 2, 40, 48), (3, 2, 40, 48)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_an_image_go_back_to_their_places(shape: tuple[int, ...], channels: int) -> None:
    prior = HyperpriorPrior(small(channels), shape, low=torch.full((2, *[1] * len(shape)), 0.5), high=2.0)
    image = torch.rand(2, *shape)
    together = shape[0] == channels
    back = prior._image(prior._pictures(image).contiguous(), 2)
    assert torch.allclose(back, image, atol=1e-6)
    z, h = prior.encode(image)
    assert z.shape[:2] == h.shape[:2] == (2, prior.planes)
    assert prior.planes == math.prod(shape[1:-2]) * (1 if together else shape[0])
    assert prior.decode(z).shape == image.shape
    alone = HyperpriorPrior(small(channels), shape, low=0.5, high=2.0)
    assert torch.allclose(prior.energy((z, h))[1], alone.energy((z[1:], h[1:]))[0], rtol=1e-4)


def test_energy_has_the_gradient_of_finite_differences() -> None:
    network = small().double()
    z, h = (3 * part for part in network.encode(torch.rand(1, 1, 64, 64, dtype=torch.float64)))

    def energy(z: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return HyperpriorPrior(network, (1, 64, 64)).energy((z[None], h[None])).sum()

    assert torch.autograd.gradcheck(energy, (z.requires_grad_(), h.requires_grad_()), fast_mode=True)


def test_densities_sum_to_one() -> None:
    network = small().double()
    steps = torch.arange(-400, 401, dtype=torch.float64).reshape(1, 1, -1, 1).expand(1, 4, -1, 1)
    assert torch.allclose(network.entropy_bottleneck(steps).exp().sum(2), torch.ones(1, 4, 1).double())


def test_the_last_state_holds_mean_spread_and_samples(weights: str) -> None:
    measurement = blurred(2)
    state = run(measurement, weights, iterations=40, samples=8)
    found = state.outcome.uncertainty
    assert found.samples.shape == (8, *measurement.truth.shape)
    assert torch.allclose(found.mean, found.samples.mean(0), atol=1e-5)
    assert torch.allclose(found.std, found.samples.std(0), atol=1e-5)
    assert torch.equal(state.image, found.mean) and float(found.std.min()) > 0
    assert state.finished and state.iteration == state.total == 48
    assert torch.equal(run(measurement, weights, iterations=40, samples=8).image, state.image)
    other = run(measurement, weights, iterations=40, samples=8, seed=1)
    assert not torch.equal(other.image, state.image)


@pytest.mark.parametrize("variant", ["z", "xz"])
@pytest.mark.parametrize("inference", ["variational", "map", "dirac"])
def test_every_way_of_inference_lowers_its_objective(weights: str, variant: str, inference: str) -> None:
    states = list(
        method(
            "vble", weights=weights, variant=variant, inference=inference, iterations=60, samples=2, scale=1.0
        ).iterate(blurred().ready())
    )
    losses = [state.values["objective"] for state in states if not state.phase]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert (states[-1].outcome.uncertainty is not None) == (variant == "xz" or inference == "variational")
    assert torch.isfinite(states[-1].image).all()


def test_a_stack_is_solved_as_its_slices(weights: str) -> None:
    whole = blurred(2)
    together = run(whole, weights, scale=1.0)
    for item in range(2):
        one = ir.Measurement(whole.data[item : item + 1], physics=whole.physics, noise=whole.noise)
        alone = run(one, weights, scale=1.0)
        assert torch.allclose(alone.image[0], together.image[item], atol=2e-4)


def test_scale_and_unit_of_the_image_do_not_matter(weights: str) -> None:
    plain = blurred()
    scaled = ir.Measurement(100 * plain.data + 7, physics=plain.physics, noise=ir.GaussianNoise(2.0))
    one, other = run(plain, weights), run(scaled, weights)
    assert torch.allclose(100 * one.image + 7, other.image, atol=0.3)


def test_other_physics_colours_and_volumes(weights: str) -> None:
    colours = run(blurred(1, 3), weights)
    assert colours.image.shape == (1, 3, SIDE, SIDE)
    assert any("own prior" in note for note in colours.notes)
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 20, endpoint=False), columns=60, pixel=0.5)
    scan = ir.tomography(geometry, ir.Volume((SIDE, SIDE), voxel=0.5))
    truth = picture() / 20
    noise = ir.RelativeNoise(0.02)
    data = noise.sample(scan.A(truth), seed=0)
    state = run(ir.Measurement(data, physics=scan, noise=noise), weights, iterations=30)
    assert state.image.shape == truth.shape and float(state.image.max()) < 0.2


def test_physics_that_are_not_linear_go_by_their_gradient(weights: str) -> None:
    from deepinv.physics import Physics

    class Saturating(Physics):
        def A(self, x: torch.Tensor, **_: object) -> torch.Tensor:
            return torch.tanh(2 * x)

    noise = ir.GaussianNoise(0.02)
    data = noise.sample(torch.tanh(2 * picture()), seed=0)
    measurement = ir.Measurement(data, physics=Saturating(), noise=noise)
    states = list(method("vble", weights=weights, iterations=60, samples=2).iterate(measurement.ready()))
    assert states[-1].values["objective"] < states[0].values["objective"]
    with pytest.raises(UsageError, match="not linear"):
        run(measurement, weights, variant="xz")


def test_weights_are_refused_in_a_sentence(tmp_path: Path, weights: str) -> None:
    with pytest.raises(UsageError, match="pickled=true"):
        run(blurred(), "net.pth.tar")
    from safetensors.torch import save_file

    foreign = {name: value.contiguous() for name, value in small().state_dict().items()}
    save_file(foreign, str(tmp_path / "foreign.safetensors"))
    with pytest.raises(UsageError, match="decoder_noise"):
        run(blurred(), str(tmp_path / "foreign.safetensors"))
    state = run(blurred(), str(tmp_path / "foreign.safetensors"), decoder_noise=0.05)
    assert torch.allclose(state.image, run(blurred(), weights).image)


def test_unknown_noise_is_taken_for_little_and_said(weights: str) -> None:
    clean = ir.Measurement(torch.zeros(1, 1, SIDE, SIDE))
    state = run(clean, weights)
    assert any("not known" in note for note in state.notes)


def test_training_lowers_rate_and_distortion_and_its_loss_is_that_of_the_formula() -> None:
    random = torch.Generator().manual_seed(0)
    pictures = [torch.rand(80, 70, generator=random).cumsum(1) / 70 for _ in range(6)]
    task = Hyperpriors(pictures, small().requires_grad_(True), rate=0.05, held=2)
    generator = torch.Generator().manual_seed(1)
    clean, noise = task.batch(generator, 2)
    kept = noise.get_state()
    loss = task.loss(task.network, (clean, noise))
    noise.set_state(kept)
    found, nats = task.network(clean, noise)
    error, bits = (found - clean).square().mean(), nats.mean() / (64 * 64 * math.log(2))
    assert float(loss) == pytest.approx(float(0.05 * 255**2 * error + bits), rel=1e-5)
    # The same up to a factor and constants as a Gaussian likelihood of the stated noise.
    assert 1 / (2 * decoder_std(0.05) ** 2 * math.log(2)) == pytest.approx(0.05 * 255**2)
    first = task.validate(task.network)[0]["held_loss"]
    schedule = Schedule(steps=25, batch=2, rate=0.02, precision="float32", validate=25)
    state = deque(train(task, schedule), maxlen=1)[0]
    assert state.values["held_loss"] < 0.8 * first


def test_training_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(UsageError, match="multiple of 64"):
        make_task("hyperprior", None, settings={"crop": 60, "scenes": 0})
    with pytest.raises(UsageError, match="more than the 2"):
        Hyperpriors([torch.zeros(64, 64)] * 2, small(), held=2)
    with pytest.raises(UsageError, match="3 channels"):
        Hyperpriors([torch.zeros(64, 64)] * 3, small(3), held=2)


def test_a_training_on_own_pictures_goes_on_from_weights(tmp_path: Path, weights: str) -> None:
    import tifffile

    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(2):
        array = np.random.default_rng(number).random((130, 140)).cumsum(1).astype(np.float32)
        tifffile.imwrite(folder / f"{number}.tif", array)
    task = make_task(
        "hyperprior", folder, start=weights, settings={"rate": 0.2, "scenes": 0, "held": 1, "crop": 64}
    )
    assert isinstance(task, Hyperpriors) and task.rate == 0.2
    # Both pictures are learned from: held-out squares come from all over, and of two there is none.
    assert len(task._pictures) == 2
    for name, value in small().state_dict().items():
        assert torch.equal(task.network.state_dict()[name], value)
    with pytest.raises(UsageError, match="larger"):
        make_task("hyperprior", folder, settings={"crop": 192, "scenes": 0})


SHIPPED = [name for name, card in cards().items() if card.method == "vble"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_as_good_as_their_card_says(name: str) -> None:
    network, card = load_network(name, method="vble")
    assert isinstance(network, Hyperprior) and network.channels == 1
    task = Hyperpriors([picture(64)[0, 0]] * 2, network, rate=card.metrics["alpha"], held=1)
    figures, _ = task.validate(network)
    assert figures["rmse"] < 1.6 * card.metrics["rmse"] and figures["bits"] < 3 * card.metrics["bits"]
