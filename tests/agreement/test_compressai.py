"""Our hyperprior autoencoders against what compressai's gave for the same weights.

The reference is made by make_compressai_reference.py, in an environment that has compressai.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from make_compressai_reference import SIZES, draw
from safetensors.torch import save_file

from imagereg.errors import InputError, UsageError
from imagereg.networks.compressai_weights import from_state_dict, load_compressai
from imagereg.networks.hyperprior import Hyperprior

KINDS = {
    "MeanScaleHyperprior": "mean_scale",
    "JointAutoregressiveHierarchicalPriors": "autoregressive",
    "Cheng2020Attention": "attention",
}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("compressai_reference.npz")) as file:
        return dict(file)


def state_of(title: str, reference: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The whole state dict as compressai has it, coder's tables included, with the weights drawn."""
    state = {}
    for name, shape in zip(reference[f"{title}.names"], reference[f"{title}.shapes"], strict=True):
        size = tuple(int(n) for n in str(shape).strip("()").split(",") if n.strip())
        state[str(name)] = torch.from_numpy(draw(str(name), size))
    return state


@pytest.mark.parametrize("title", list(SIZES))
def test_networks_and_likelihoods_are_those_of_compressai(
    title: str, reference: dict[str, np.ndarray]
) -> None:
    network = from_state_dict(state_of(title, reference)).double()
    network.load_state_dict({name: value.double() for name, value in network.state_dict().items()})
    assert network.kind == KINDS[title]
    assert (network.width, network.latent) == (SIZES[title] * 2)[:2]

    def expected(name: str) -> torch.Tensor:
        return torch.from_numpy(reference[f"{title}.{name}"])

    x = torch.from_numpy(np.random.default_rng(0).random((2, 3, 64, 64)))
    with torch.no_grad():
        z, h = network.encode(x)
        log_z, log_h = network.log_prior(expected("y"), expected("z"))
        decoded = network.decode(expected("y"))[:, :, ::8, ::8]
    # The weights went through single precision once.
    for found, wanted in ((z, "encoded"), (h, "hyper"), (decoded, "decoded")):
        assert torch.allclose(
            found, expected(wanted), rtol=1e-5, atol=1e-6 * float(expected(wanted).abs().max())
        )
    for log, wanted in ((log_z, "p_y"), (log_h, "p_z")):
        likely = expected(wanted) > 1e-9  # compressai's own floor
        assert likely.double().mean() > 0.1
        assert torch.allclose(log.exp()[likely], expected(wanted)[likely], rtol=3e-4, atol=1e-9)
        assert torch.isfinite(log).all()  # and beyond it ours still has a slope


def test_files_of_compressai_load_and_others_are_refused(
    tmp_path: Path, reference: dict[str, np.ndarray]
) -> None:
    state = {
        name: value.float().contiguous() for name, value in state_of("MeanScaleHyperprior", reference).items()
    }
    save_file(state, str(tmp_path / "net.safetensors"))
    one = load_compressai(tmp_path / "net.safetensors")
    old = {}  # as files before version 1.2 name them
    for name, value in state.items():
        for new, was in (("matrices.", "_matrix"), ("biases.", "_bias"), ("factors.", "_factor")):
            name = name.replace(new, was) if name.startswith("entropy_bottleneck") else name
        old[f"module.{name}"] = value
    torch.save({"state_dict": old}, tmp_path / "net.pth.tar")
    with pytest.raises(UsageError, match="pickled=true"):
        load_compressai(tmp_path / "net.pth.tar")
    two = load_compressai(tmp_path / "net.pth.tar", pickled=True)
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    torch.save({"state_dict": KINDS, "optimiser": Path("x")}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="cannot be read"):
        load_compressai(tmp_path / "bad.pth", pickled=True)
    save_file({"g_a.0.weight": torch.zeros(2, 3, 5, 5)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(InputError, match="none of compressai's"):
        load_compressai(tmp_path / "other.safetensors")


def test_far_latents_have_slopes_that_lead_back() -> None:
    torch.manual_seed(0)
    network = Hyperprior(4, 6, channels=1)
    z = torch.full((1, 6, 4, 4), 60.0, requires_grad=True)
    h = torch.full((1, 4, 1, 1), 300.0, requires_grad=True)
    log_z, log_h = network.log_prior(z, h)
    (log_z.sum() + log_h.sum()).backward()
    assert z.grad is not None and h.grad is not None
    assert float(log_z.detach().max()) < -21 and bool((z.grad < 0).all())
    assert bool(torch.isfinite(h.grad).all()) and bool(torch.isfinite(log_h).all())
