"""The pre-estimate Psi(y) that adaptive methods build on: a method, a file, an image, or the truth."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.methods.base import Method
from imagereg.methods.registry import method as find_method
from imagereg.methods.registry import methods

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State

TRUTH = "truth"
NETWORK = {"network": "learned_fbp"}
"""The papers' name for a trained pre-estimate, and the method that it is."""
PHASE = "pre-estimate"


def _accept(value: Any) -> Any:
    if isinstance(value, str | Path) and str(value):
        return str(value)
    if isinstance(value, Mapping):
        if not isinstance(value.get("name"), str):
            raise ValueError("give a method as {name: tv, strength: 0.01}, its name among its parameters")
        return dict(value)
    if isinstance(value, Method) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        return value
    raise ValueError("give a method's name, {name: ..., parameter: ...}, a file, an image, or 'truth'")


def _plain(value: Any) -> Any:
    if isinstance(value, Method):
        return {"name": value.name, **value.model_dump(mode="json")}
    if isinstance(value, str | dict):
        return value
    return f"given image {tuple(value.shape)}"


Psi = Annotated[
    Any,
    BeforeValidator(_accept),
    PlainSerializer(_plain),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            ]
        }
    ),
]
"""What a pre-estimate may be: in a recipe a name, a name with parameters, or a file; in Python an image."""


def pre_estimate(psi: Any, measurement: Measurement) -> Generator[State, None, torch.Tensor]:
    """Run the pre-estimate state by state, each with the phase 'pre-estimate', and return its image.

    Parameters
    ----------
    psi : a method's name ('network' for 'learned_fbp'); a method, or a mapping of its name and parameters;
        the path of an image; an image in the layout of results; or 'truth', the measurement's own, which
        makes what is built on it a bound for studies and no reconstruction.
    measurement : ready data.

    Returns
    -------
    (B, C, ...), in the shape of results. One given image serves all items of a batch, as a batch that is
    repeated is served by its images repeated.

    Raises
    ------
    UsageError
        For an unknown name, a method that does not fit the measurement, an image of another shape, or where
        the measurement has no truth.
    InputError
        When the file cannot be read.
    """
    if isinstance(psi, str):
        psi = NETWORK.get(psi, psi)
    if isinstance(psi, Method | dict) or (isinstance(psi, str) and psi in methods()):
        return (yield from _by_method(_method(psi), measurement))
    if isinstance(psi, str) and psi == TRUTH:
        if measurement.truth is None:
            raise UsageError("psi = 'truth': the measurement has no truth; name a method such as 'tv'.")
        image, what = measurement.truth, "the truth itself"
    elif isinstance(psi, str):
        image, what = _read(psi), f"read from {psi}"
    else:
        image, what = psi, "the given image"
    found = _fitted(image, measurement)
    from imagereg.solvers.state import State

    yield State(found, 0, phase=f"{PHASE}, {what}", notes=notes_on(psi))
    return found


def notes_on(psi: Any) -> tuple[str, ...]:
    """What must be said beside the result: that it used the truth, where it did."""
    if isinstance(psi, str) and psi == TRUTH:
        return ("The pre-estimate is the truth itself: this is a bound for studies, not a reconstruction.",)
    return ()


def _method(psi: Any) -> Method:
    if isinstance(psi, dict):
        parameters = dict(psi)
        return find_method(parameters.pop("name"), **parameters)
    return find_method(psi)


def _by_method(chosen: Method, measurement: Measurement) -> Generator[State, None, torch.Tensor]:
    refusal = chosen.refusal(measurement)
    if refusal:
        raise UsageError(f"psi = {chosen.name!r}: {refusal}.")
    last: State | None = None
    for last in chosen.iterate(measurement):
        phase = f"{PHASE}, {last.phase}" if last.phase else PHASE
        yield replace(last, phase=phase, finished="")
    if last is None:
        raise UsageError(f"psi = {chosen.name!r} gave no image: let it take at least one iteration.")
    return last.image.detach()


def _read(path: str) -> Any:
    """The image in a file."""
    file = Path(path)
    if not file.exists():
        raise UsageError(
            f"psi = {path!r}: there is no such file, and no method of that name"
            f"{did_you_mean(path, methods())}"
        )
    if file.suffix == ".npy":
        import numpy as np

        try:
            return np.load(file)
        except (OSError, ValueError) as error:
            raise InputError(f"psi = {path!r} cannot be read: {error}.") from None
    from imagereg.io import read

    return read(file).data


def _fitted(image: Any, measurement: Measurement) -> torch.Tensor:
    """An image as a tensor in the shape, type and device of results."""
    import numpy as np
    import torch

    data = measurement.data
    wanted = tuple(measurement.physics.A_adjoint(torch.zeros_like(data)).shape)
    if not isinstance(image, torch.Tensor):
        image = torch.from_numpy(np.asarray(image[...], dtype=np.float64))
    found = image.to(device=data.device, dtype=data.dtype)
    if found.ndim == len(wanted) - 1 and wanted[1] == 1 and found.shape[0] == wanted[0]:
        found = found[:, None]
    while found.ndim < len(wanted):
        found = found[None]
    if found.shape[0] != wanted[0] and wanted[0] % found.shape[0] == 0:
        found = torch.cat([found] * (wanted[0] // found.shape[0]))
    if tuple(found.shape) != wanted:
        raise UsageError(
            f"psi: an image of shape {tuple(image.shape)} does not fit results of shape {wanted}; give it on "
            "the grid of the reconstruction."
        )
    return found
