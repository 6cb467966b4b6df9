"""Weights by name: a safetensors file, and beside it a card in JSON that says what they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagereg.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

_ROOM = Path(__file__).resolve().parents[1]
_SHIPPED = (_ROOM / "_data" / "weights", _ROOM.parent / "data" / "weights")


@dataclass(frozen=True)
class Card:
    """What a file of weights is and where it comes from.

    Parameters
    ----------
    name : what users type; the stem of the file.
    method : the method that the network is for.
    architecture : key of `ARCHITECTURES`.
    settings : keywords of the architecture.
    summary : one sentence on what it does.
    data : what it was trained on.
    licence : of the training data, and what follows for the weights' use.
    command : how it was trained.
    seed : of the training.
    parameters : number of weights.
    metrics : figures by name, with what they were measured on in the name.
    """

    name: str
    method: str
    architecture: str
    settings: Mapping[str, Any]
    summary: str = ""
    data: str = ""
    licence: str = ""
    command: str = ""
    seed: int = 0
    parameters: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)


def architectures() -> dict[str, Callable[..., nn.Module]]:
    """Name to class of every network that can be stored."""
    from imagereg.networks.diffusion import DiffusionUNet
    from imagereg.networks.hyperprior import Hyperprior
    from imagereg.networks.icnn import ICNN
    from imagereg.networks.reconstructor import Reconstructor
    from imagereg.networks.score import ScoreNetwork

    return {
        "reconstructor": Reconstructor,
        "score": ScoreNetwork,
        "icnn": ICNN,
        "diffusion": DiffusionUNet,
        "hyperprior": Hyperprior,
    }


def cards() -> dict[str, Card]:
    """The cards of all shipped weights by name, in alphabetical order; loads no weights."""
    paths = {path.stem: path for folder in reversed(_SHIPPED) for path in folder.glob("*.json")}
    return {name: read_card(path) for name, path in sorted(paths.items())}


def find_weights(name: str | Path) -> Path:
    """The file of weights: a path, or the name of shipped ones.

    Raises
    ------
    UsageError
        When there is none of that name.
    """
    text = str(name)
    if text.endswith(".safetensors"):
        if not Path(text).is_file():
            raise UsageError(f"weights {text!r}: there is no such file.")
        return Path(text)
    if text.endswith((".pt", ".pth", ".pkl", ".ckpt")):
        raise UsageError(
            f"weights {text!r}: such files can run programs when they are loaded; "
            "convert them to .safetensors."
        )
    known = cards()
    if text not in known:
        hint = did_you_mean(text, known) or f"; there are {', '.join(known) or 'none'}"
        raise UsageError(f"weights {text!r}: none are called so{hint}; or give a .safetensors file.")
    for folder in _SHIPPED:
        if (folder / f"{text}.safetensors").is_file():
            return folder / f"{text}.safetensors"
    raise InputError(f"weights {text!r}: the card is there and {text}.safetensors is missing; reinstall.")


def read_card(path: Path) -> Card:
    """Read a card.

    Raises
    ------
    InputError
        When the file is missing or is no card.
    """
    try:
        return Card(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: weights need the card that `imagereg train` writes beside them."
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no card of weights ({error}).") from None


def load_network(name: str | Path, *, method: str = "") -> tuple[nn.Module, Card]:
    """A trained network, ready to be applied, and its card.

    Parameters
    ----------
    name : the name of shipped weights, or the path of a .safetensors file with its card beside it.
    method : when given, the weights must be for it.

    Raises
    ------
    UsageError
        For an unknown name, or weights for another method.
    InputError
        When a file is missing, broken, or does not fit the architecture on its card.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = find_weights(name)
    card = read_card(path.with_suffix(".json"))
    if method and card.method != method:
        raise UsageError(f"weights {str(name)!r} are for {card.method} and not for {method}.")
    known = architectures()
    if card.architecture not in known:
        raise InputError(
            f"{path.with_suffix('.json')}: no architecture is called {card.architecture!r}"
            f"{did_you_mean(card.architecture, known)}."
        )
    try:
        network = known[card.architecture](**card.settings)
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (SafetensorError, OSError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as weights of {card.architecture} ({reason}).") from None
    return network.eval().requires_grad_(False), card


def save_network(path: Path, network: nn.Module, card: Card, *, half: bool = False) -> Card:
    """Write weights and, beside them, their card, completed by the architecture's settings and size.

    Parameters
    ----------
    path : ends with .safetensors; the card gets the same stem.
    half : write numbers of 16 bits, which are rounded by up to 5e-4 of their size, in half the space.

    Raises
    ------
    UsageError
        When the name does not end with .safetensors.
    """
    from safetensors.torch import save

    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: weights are written as .safetensors.")
    count = sum(weight.numel() for weight in network.parameters())
    settings = network.settings()  # type: ignore[operator]
    full = Card(**{**asdict(card), "name": path.stem, "settings": settings, "parameters": count})
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    tensors = {name: value.half() for name, value in state.items()} if half else state
    path.write_bytes(save(tensors))
    text = json.dumps(asdict(full), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return full
