"""From the `uncertainty` section of a recipe to states that know their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imagereg.errors import UsageError
from imagereg.sections import Uncertainty

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method
    from imagereg.solvers.outcome import PixelUncertainty
    from imagereg.solvers.state import State
    from imagereg.uncertainty.calibration import Calibration
    from imagereg.uncertainty.spread import Spread

Request = Uncertainty | Mapping[str, Any] | str | None
"""A section, its values, or the name of a source."""


def request_of(given: Request) -> Uncertainty | None:
    """The section that is meant."""
    if given is None or isinstance(given, Uncertainty):
        return given
    values = {"source": given} if isinstance(given, str) else dict(given)
    return Uncertainty.of(values, where="uncertainty")


def calibration_of(request: Uncertainty | None, method: Method, ready: Measurement) -> Calibration | None:
    """The calibration that a section names, checked against what is to be run.

    Raises
    ------
    InputError
        When the file cannot be read.
    UsageError
        When it was made for another method, physics, source or level, or with too few images.
    """
    if request is None or request.calibration is None:
        return None
    from imagereg.uncertainty.calibration import Calibration, fingerprint

    calibration = Calibration.load(request.calibration)
    identity = {"name": method.name, "parameters": method.model_dump(mode="json")}
    said = calibration.mismatch(identity, source_of(request), fingerprint(ready), request.level)
    if said:
        raise UsageError(f"{request.calibration}: {said}.")
    _ = calibration.factor  # too few images are told before the work, not after it
    return calibration


def source_of(request: Uncertainty) -> dict[str, Any]:
    """What of a section decides the raw intervals, the level aside."""
    return {"source": request.source} if request.source == "method" else request.model_dump(include=_SOURCE)


_SOURCE = {"source", "runs"}


def states_with_intervals(
    method: Method, ready: Measurement, request: Uncertainty | None, seed: int
) -> Iterator[State]:
    """The states of a method, resampled as the section asks; the last one holds intervals.

    The outcome of the last state has an uncertainty with `lower`, `upper`, `level`, `calibrated` and
    `guarantee`, and with `mean`, `std`, `samples` and `meaning` where they are known. Without a section that
    is so for methods that know their uncertainty themselves.

    Raises
    ------
    UsageError
        When calibration or source do not fit, before any work.
    """
    from imagereg.uncertainty.calibration import fingerprint
    from imagereg.uncertainty.sources import refusal, sampled
    from imagereg.uncertainty.spread import NOMINAL, completed

    calibration = calibration_of(request, method, ready)
    said = "" if request is None else refusal(request.source, method, ready)
    if said:
        raise UsageError(f"{said}.")
    if request is None or request.source == "method":
        states = method.iterate(ready)
    else:
        states = sampled(method, ready, request.source, request.runs, seed)
    for state in states:
        known = state.outcome.uncertainty if state.finished else None
        if known is None:
            if state.finished and request is not None:
                raise UsageError(
                    f"{method.name} does not tell its uncertainty; take uncertainty.source = bootstrap."
                )
            yield state
            continue
        level = NOMINAL if request is None else request.level
        full = replace(
            completed(known, state.image, level, calibration, ready.data),
            meaning=known.meaning or f"told by {method.name}",
            source={"source": "method"} if request is None else source_of(request),
            physics=fingerprint(ready),
        )
        yield replace(state, outcome=replace(state.outcome, uncertainty=full, calibration=calibration))


def spread_of(state: State | None, measurement: Measurement, image: Any) -> Spread | None:
    """What a last state knows of its error, in the layout of the measurement's owner; None where nothing."""
    known = None if state is None else state.outcome.uncertainty
    if state is None or known is None or known.lower is None:
        return None
    from imagereg.uncertainty.spread import Interval, Spread

    def framed(tensor: torch.Tensor | None) -> Any:
        return None if tensor is None else measurement.from_tensor(tensor)

    samples: Any = known.samples
    if samples is not None:
        import numpy as np
        import torch

        parts = [measurement.from_tensor(sample) for sample in samples]
        samples = torch.stack(parts) if isinstance(parts[0], torch.Tensor) else np.stack(parts)
    assert known.level is not None
    asked = Interval(
        framed(known.lower), framed(known.upper), known.level, bool(known.calibrated), known.guarantee
    )
    mean, std = framed(known.mean), framed(known.std)
    return Spread(image, asked, mean, std, samples, known.meaning, state.outcome.calibration)


def account_of(known: PixelUncertainty | None, request: Uncertainty | None) -> dict[str, Any] | None:
    """Plain values for the provenance: source, level, whether it is calibrated, and the guarantee."""
    if known is None or known.lower is None:
        return None
    names = ("meaning", "level", "calibrated", "guarantee", "factor", "source", "physics")
    account = {name: getattr(known, name) for name in names}
    if request is not None and request.calibration is not None:
        account["calibration"] = request.calibration.name
    return account
