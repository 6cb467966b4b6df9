"""Weights of compressai's autoencoders from a file, without compressai."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from imagereg.errors import InputError, UsageError
from imagereg.networks.hyperprior import Hyperprior, Kind

PICKLES = (".tar", ".pth", ".pt")

# What serves the coder that writes bits, constants, and quantiles from which its tables are made.
_CODER = re.compile(
    r"(gaussian_conditional\..*|.*(quantiles|target|mask|pedestal|bound|_offset|_quantized_cdf|_cdf_length))$"
)
_OLD = re.compile(r"(entropy_bottleneck\.)_(matrix|bias|factor)(\d+)$")
_NEW = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


def load_compressai(path: str | Path, *, pickled: bool = False) -> Hyperprior:
    """The network of a file with a state dict of compressai 1.x, ready to be applied.

    MeanScaleHyperprior, JointAutoregressiveHierarchicalPriors and Cheng2020Attention are known; which one it
    is, and its channels, are told from the weights.

    Parameters
    ----------
    path : .safetensors; or .pth.tar, .pth, .pt.
    pickled : allow files of the latter kind. They are read with torch.load(weights_only=True), which makes
        nothing but tensors and plain values of them.

    Raises
    ------
    UsageError
        For a pickle that was not allowed.
    InputError
        When the file is missing, broken, or holds another network.
    """
    path = Path(path)
    if path.suffix in PICKLES and not pickled:
        raise UsageError(
            f"{path} is a pickle, which can run programs when loaded carelessly; say pickled=true to have "
            "tensors alone read from it, or convert it to .safetensors."
        )
    try:
        if path.suffix in PICKLES:
            found = torch.load(path, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            found = load_file(str(path))
    except Exception as error:  # broken files raise errors of many kinds
        raise InputError(f"{path} cannot be read as weights ({str(error).splitlines()[0]}).") from None
    for name in ("state_dict", "network", "model"):  # where trainings put them
        found = found.get(name, found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InputError(f"{path} holds no state dict.")
    return from_state_dict(found, str(path))


def from_state_dict(state: dict[str, torch.Tensor], where: str = "the state dict") -> Hyperprior:
    """The network of a state dict of compressai.

    Parameters
    ----------
    where : what errors call it.

    Raises
    ------
    InputError
        When it is of another network.
    """
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    weights = {
        _OLD.sub(lambda m: f"{m[1]}{_NEW[m[2]]}.{m[3]}", name): value.float()
        for name, value in plain.items()
        if not _CODER.match(name)
    }
    try:
        kind = _kind(weights)
        first = weights["g_a.0.conv1.weight" if kind == "attention" else "g_a.0.weight"]
        width = len(first)
        latent = width if kind == "attention" else len(weights["g_a.6.weight"])
        network = Hyperprior(width, latent, channels=first.shape[1], kind=kind)
        network.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where} is of none of compressai's MeanScaleHyperprior, JointAutoregressiveHierarchicalPriors "
            f"and Cheng2020Attention ({reason})."
        ) from None
    return network.eval().requires_grad_(False)


def _kind(weights: dict[str, torch.Tensor]) -> Kind:
    if "context_prediction.weight" not in weights:
        return "mean_scale"
    return "attention" if "g_a.0.conv1.weight" in weights else "autoregressive"
