"""Degrees of freedom of a reconstruction: the trace of d(A x)/dy, by random probes or entry by entry."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from imagereg.choose.runs import Outcome, Runs
from imagereg.errors import UsageError
from imagereg.noise.level import NoiseLevel, noise_level
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


class Divergence:
    """df = sum_i d(A x(y))_i / dy_i for any method, from runs on slightly changed data.

    With probes b of random signs, df = E[b^T (A x(y + h s b) - A x(y)) / (h s)], s being the standard
    deviation of each datum (S. Ramani, T. Blu, M. Unser, IEEE Trans. Image Process. 17 (2008) 1540, doi
    10.1109/TIP.2008.2001404). With `exact`, each datum is changed by itself.

    The changed data run beside the given ones as further items of the same batch: they take the same steps,
    so that the difference is the derivative of what the method does, finished or not. The probes are the
    same for every setting, so that settings are compared on equal terms.

    Parameters
    ----------
    measurement : ready data.
    probes : number of random probes.
    exact : change every datum by itself; for small data and tests.
    step : h, size of the change relative to the noise.
    seed : seed of the probes.

    Raises
    ------
    UsageError
        When `exact` would take more than 4096 runs, or the data are a list.
    """

    def __init__(
        self,
        measurement: Measurement,
        *,
        probes: int = 1,
        exact: bool = False,
        step: float = 0.2,
        seed: int = 0,
    ) -> None:
        data = measurement.data
        self.level: NoiseLevel = noise_level(measurement)
        if exact and data[0].numel() > 4096:
            raise UsageError(
                f"exact degrees of freedom take {data[0].numel()} runs, one a datum; use random probes."
            )
        if probes < 1 or not step > 0:
            raise UsageError(f"probes = {probes}, step = {step}: give at least 1 and a positive step.")
        self.measurement, self.exact = measurement, exact
        self._steps = step * self.level.std * torch.ones_like(data.abs())
        if exact:
            count = data[0].numel()
            units = torch.eye(count, dtype=data.dtype, device=data.device).reshape(count, 1, *data.shape[1:])
            self._probes = units.expand(count, *data.shape)
        else:
            generator = torch.Generator().manual_seed(seed)
            signs = 2.0 * torch.randint(2, (probes, *data.shape), generator=generator) - 1.0
            self._probes = signs.to(data)
        changed = (data + self._steps * self._probes).flatten(0, 1)
        self._together = _repeated(measurement, torch.cat((data, changed)))

    def run(self, method: Method, runs: Runs) -> Generator[State, None, tuple[Outcome, float]]:
        """Run a method on the data and the changed data; what the data gave, and df over the whole batch."""
        data = self.measurement.data
        batch = data.shape[0]
        found = yield from runs.run(method, self._together)
        forward = found.forward[:batch]
        response = found.forward[batch:].reshape(self._probes.shape) - forward
        products = (
            (self._probes.conj() * response / self._steps).real
            if data.is_complex()
            else (self._probes * response / self._steps)
        )
        df = float(products.double().sum()) / (1 if self.exact else self._probes.shape[0])
        return Outcome(found.image[:batch], forward, found.state), df


def _repeated(measurement: Measurement, data: torch.Tensor) -> Measurement:
    """The measurement with a longer batch of data; what belongs to each item is repeated with it."""
    times = data.shape[0] // measurement.data.shape[0]

    def longer(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else torch.cat([tensor] * times)

    return replace(
        measurement, data=data, weights=longer(measurement.weights), truth=longer(measurement.truth)
    )
