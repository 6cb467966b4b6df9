"""Acoustic waves through a velocity model: what the receivers of a survey record, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from deepinv.physics import Physics
from numpy.typing import ArrayLike

from imagereg.errors import UsageError
from imagereg.physics.noise import as_deepinv


class AcousticWave(Physics):
    r"""Velocities (B, 1, H, W) in m/s give pressures (B, 1, shots, receivers, samples); not linear.

    (1/v²) ∂²p/∂t² - ∇²p = w(t) δ(x - source), by finite differences of 4th order in space and 2nd order in
    time on the `deepwave` package, with absorbing layers on all sides. `A_vjp` is the gradient by the
    adjoint-state method, one group of shots at a time.

    Parameters
    ----------
    wavelet : (samples,) the source's signal w; its length and `interval` are those of the recording.
    shape : (H, W) of the velocity model, depth first.
    spacing : edge of a cell in metres.
    interval : seconds from sample to sample; the solver takes smaller steps where stability asks for them.
    sources : (shots, 2) row and column of each shot, in cells.
    receivers : (receivers, 2) row and column of each receiver, in cells, the same for all shots.
    fastest : largest velocity in m/s that any model will have: it fixes the time step, so that the
        discretisation does not change while a model is being found.
    frequency : main frequency of the wavelet in Hz, for the absorbing layers.
    reference : (H, W) or (1, 1, H, W) velocities known beforehand, where an inversion starts.
    together : shots simulated at a time; more take more memory.
    stride : the gradient correlates wavefields at every stride-th sample; 1 is exact, and a stride is safe
        while 1 / (2 stride interval) exceeds the frequencies of the wavelet.

    Raises
    ------
    UsageError
        When `deepwave` is not installed, or a shape, a position or a number makes no sense.

    References
    ----------
    Tarantola, Geophysics 49 (1984) 1259, doi 10.1190/1.1441754; Virieux, Operto, Geophysics 74 (2009) WCC1,
    doi 10.1190/1.3238367; A. Richardson, Deepwave, doi 10.5281/zenodo.3829886.
    """

    def __init__(
        self,
        wavelet: ArrayLike | torch.Tensor,
        *,
        shape: tuple[int, int],
        spacing: float,
        interval: float,
        sources: ArrayLike,
        receivers: ArrayLike,
        fastest: float,
        frequency: float,
        reference: torch.Tensor | None = None,
        together: int = 4,
        stride: int = 1,
        noise: Any = None,
    ) -> None:
        _deepwave()
        super().__init__(noise_model=as_deepinv(noise))
        for name, value in (
            ("spacing", spacing),
            ("interval", interval),
            ("fastest", fastest),
            ("frequency", frequency),
            ("together", together),
            ("stride", stride),
        ):
            if not value > 0:
                raise UsageError(f"AcousticWave({name}={value}): give a positive number.")
        self.wavelet = torch.as_tensor(wavelet)
        self.shape = (int(shape[0]), int(shape[1]))
        self.sources = _positions(sources, "sources", self.shape)
        self.receivers = _positions(receivers, "receivers", self.shape)
        if self.wavelet.ndim != 1 or self.wavelet.numel() < 2:
            raise UsageError(f"AcousticWave(wavelet of shape {tuple(self.wavelet.shape)}): give (samples,).")
        self.spacing, self.interval = float(spacing), float(interval)
        self.fastest, self.frequency = float(fastest), float(frequency)
        self.together, self.stride = int(together), int(stride)
        self.reference = (
            None if reference is None else torch.as_tensor(reference).reshape(1, 1, *reference.shape[-2:])
        )

    @property
    def samples(self) -> int:
        """Samples of a trace."""
        return self.wavelet.numel()

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """Pressures (B, 1, shots, receivers, samples) at the receivers for each shot."""
        self._check(x)
        traces = [torch.cat([self._shoot(model, group) for group in self._groups()]) for model in x[:, 0]]
        return torch.stack(traces)[:, None]

    def A_vjp(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """J(x)^T v, the gradient of <A(x), v> with respect to the velocities, in the shape of x."""
        self._check(x)
        gradients = []
        for model, cotangent in zip(x[:, 0], v[:, 0], strict=True):
            gradient = torch.zeros_like(model)
            for group in self._groups():
                with torch.enable_grad():
                    leaf = model.detach().clone().requires_grad_()
                    traces = self._shoot(leaf, group)
                    gradient += torch.autograd.grad(traces, leaf, cotangent[group])[0]
            gradients.append(gradient)
        return torch.stack(gradients)[:, None]

    def _groups(self) -> Iterator[slice]:
        for first in range(0, len(self.sources), self.together):
            yield slice(first, min(first + self.together, len(self.sources)))

    def _shoot(self, model: torch.Tensor, group: slice) -> torch.Tensor:
        """(shots of the group, receivers, samples) of one model."""
        shots = len(self.sources[group])
        # The recording must be a whole number of strides; what is added is cut off again.
        longer = torch.nn.functional.pad(self.wavelet, (0, -self.samples % self.stride))
        amplitudes = longer.to(model).expand(shots, 1, -1)
        traces = _deepwave().scalar(
            model,
            self.spacing,
            self.interval,
            source_amplitudes=amplitudes,
            source_locations=self.sources[group][:, None].to(model.device),
            receiver_locations=self.receivers.expand(shots, -1, -1).to(model.device),
            accuracy=4,
            pml_freq=self.frequency,
            max_vel=self.fastest,
            model_gradient_sampling_interval=self.stride,
        )[-1]
        return traces[..., : self.samples]

    def _check(self, x: torch.Tensor) -> None:
        if x.ndim != 4 or x.shape[1:] != (1, *self.shape):
            wanted = f"(B, 1, {self.shape[0]}, {self.shape[1]})"
            raise UsageError(f"AcousticWave: velocities of shape {tuple(x.shape)}; give {wanted}.")
        low, high = float(x.min()), float(x.max())
        if not 0 < low <= high <= self.fastest:
            raise UsageError(
                f"AcousticWave: velocities from {low:.5g} to {high:.5g} m/s; they must be positive and "
                f"not exceed fastest = {self.fastest:.5g} m/s, which fixes the time step."
            )


def surface_survey(
    shape: tuple[int, int],
    *,
    spacing: float,
    seconds: float,
    frequency: float,
    fastest: float,
    shots: int = 16,
    receiver_every: int = 2,
    depth: int = 1,
    interval: float | None = None,
    **options: Any,
) -> AcousticWave:
    """Shots evenly along the surface, receivers all along it, a Ricker wavelet.

    w(t) = (1 - 2 a²) exp(-a²), a = π · frequency · (t - 1.5 / frequency), a pulse free of a mean.

    Parameters
    ----------
    shape : (H, W) of the velocity model in cells.
    spacing : edge of a cell in metres.
    seconds : length of the recording.
    frequency : peak frequency of the wavelet in Hz.
    fastest : largest velocity in m/s that any model will have.
    shots : number of shots.
    receiver_every : cells from receiver to receiver.
    depth : row of shots and receivers.
    interval : seconds from sample to sample; 1 / (50 frequency) where not given.
    options : further parameters of `AcousticWave`.
    """
    interval = interval or 1 / (50 * frequency)
    samples = round(seconds / interval)
    time = torch.arange(samples, dtype=torch.float64) * interval
    squared = (torch.pi * frequency * (time - 1.5 / frequency)).square()
    wavelet = (1 - 2 * squared) * torch.exp(-squared)
    columns = np.linspace(0.02, 0.98, shots) * (shape[1] - 1)
    sources = np.stack([np.full(shots, depth), np.rint(columns).astype(int)], 1)
    places = np.arange(0, shape[1], receiver_every)
    receivers = np.stack([np.full(len(places), depth), places], 1)
    return AcousticWave(
        wavelet,
        shape=shape,
        spacing=spacing,
        interval=interval,
        sources=sources,
        receivers=receivers,
        fastest=fastest,
        frequency=frequency,
        **options,
    )


def _positions(given: ArrayLike, name: str, shape: tuple[int, int]) -> torch.Tensor:
    places = torch.as_tensor(np.asarray(given))
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) or places.is_floating_point():
        raise UsageError(
            f"AcousticWave({name} of shape {tuple(places.shape)}): give whole (row, column) cells, (n, 2)."
        )
    outside = (places < 0).any(1) | (places >= torch.tensor(shape)).any(1)
    if bool(outside.any()):
        first = tuple(places[outside][0].tolist())
        raise UsageError(f"AcousticWave({name}): {first} lies outside the model of {shape} cells.")
    return places.long()


def _deepwave() -> Any:
    try:
        import deepwave
    except ImportError:
        raise UsageError(
            "acoustic waves need the package deepwave: pip install 'imagereg[seismic]'."
        ) from None
    return deepwave
