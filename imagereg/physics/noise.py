"""Noise models: frozen values that sample, and that say how large the error of each datum is.

Arrays may be NumPy's or torch's; this module imports neither until one arrives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from imagereg.errors import UsageError, did_you_mean
from imagereg.physics import draws

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array: TypeAlias = "np.ndarray[Any, Any] | torch.Tensor"
    Seed: TypeAlias = "int | np.random.Generator | torch.Generator"


class Noise:
    """Base of the noise models.

    Class variables
    ---------------
    name : what recipes call it.
    uniform : whether every datum has the same variance, so that weights change nothing.
    scales : whether data in another unit have noise of the same kind (see `scaled`).
    """

    name: ClassVar[str] = ""
    uniform: ClassVar[bool] = False
    scales: ClassVar[bool] = True

    def sample(self, clean: Array, *, seed: Seed) -> Array:
        """Noisy data in the shape, dtype and device of `clean`.

        Parameters
        ----------
        clean : data without noise, NumPy or torch.
        seed : a whole number, which gives the same noise for NumPy and torch and on every device; or a
            `numpy.random.Generator` (or, for tensors, a `torch.Generator`) to go on from.

        Raises
        ------
        UsageError
            When the model is not defined for the clean values.
        """
        raise TypeError(f"{type(self).__name__} cannot be sampled.")

    def variance(self, clean: Array) -> Array:
        """Variance of each datum, in the shape of `clean`."""
        raise TypeError(f"{type(self).__name__} has no variance.")

    def std(self, clean: Array) -> Array:
        """Standard deviation of each datum, in the shape of `clean`."""
        return self.variance(clean) ** 0.5

    def weights(self, data: Array) -> Array:
        """Inverse variance of each datum, estimated from the noisy data themselves."""
        return 1.0 / self.variance(data)

    def norm(self, data: Array) -> float:
        """Expected ||noisy - clean||_2 over all data, for the discrepancy principle."""
        return math.sqrt(float((1.0 / self.weights(data)).sum()))

    def scaled(self, factor: float) -> Noise:
        """The noise of the data times a factor."""
        return self

    def deepinv(self) -> Any:
        """The deepinv noise model that samples from the same distribution."""
        from imagereg.physics.sampled import Sampled

        return Sampled(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain values that `noise_from_dict` reads back."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]

    def _positive(self, **values: float) -> None:
        """Turn parameters into plain numbers, refusing those that are not positive."""
        for name, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not 0 < number < math.inf:
                raise UsageError(f"{type(self).__name__}({name}={value!r}): give a positive number.")
            object.__setattr__(self, name, number)


@dataclass(frozen=True)
class GaussianNoise(Noise):
    """y = clean + sigma g, g ~ N(0, 1).

    Parameters
    ----------
    sigma : standard deviation, in the unit of the data.
    """

    sigma: float
    name: ClassVar[str] = "gaussian"
    uniform: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._positive(sigma=self.sigma)

    def sample(self, clean: Array, *, seed: Seed) -> Array:
        """Clean data plus white noise."""
        return clean + self.sigma * draws.normal(clean, seed)

    def variance(self, clean: Array) -> Array:
        """sigma^2 everywhere."""
        return draws.filled(clean, self.sigma**2)

    def scaled(self, factor: float) -> GaussianNoise:
        """sigma times the factor."""
        return GaussianNoise(self.sigma * factor)

    def deepinv(self) -> Any:
        """deepinv's `GaussianNoise`."""
        import deepinv.physics

        return deepinv.physics.GaussianNoise(sigma=self.sigma)


@dataclass(frozen=True)
class RelativeNoise(Noise):
    """y = clean + level ||clean|| g / ||g||, g ~ N(0, 1): the relative norm of the error is exact.

    Each item of a batch (tensors of four axes or more) has its own norms; other arrays are one item.

    Parameters
    ----------
    level : ||noisy - clean|| / ||clean||, for example 0.01.
    """

    level: float
    name: ClassVar[str] = "relative"
    uniform: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._positive(level=self.level)

    def sample(self, clean: Array, *, seed: Seed) -> Array:
        """Clean data plus white noise scaled to the norm."""
        g = draws.normal(clean, seed)
        scaled = g * (self.level * draws.norms(clean) / draws.norms(g))
        return clean + (scaled.to(clean.dtype) if draws.is_tensor(clean) else scaled)

    def variance(self, clean: Array) -> Array:
        """level^2 ||clean||^2 / M, M being the number of data of an item."""
        each = self.level**2 * draws.norms(clean) ** 2 / draws.count(clean)
        spread = draws.filled(clean, 1.0)
        return spread * (each.to(spread.dtype) if draws.is_tensor(clean) else each)

    def weights(self, data: Array) -> Array:
        """Inverse variance; ||noisy||^2 is (1 + level^2) ||clean||^2 on average."""
        return (1 + self.level**2) / self.variance(data)


@dataclass(frozen=True)
class PoissonNoise(Noise):
    """y = gain Poisson(clean / gain): photons counted in emission or fluorescence.

    The data have the unit of the clean image, and one photon adds `gain`. For scans in transmission see
    `TransmissionNoise`.

    Parameters
    ----------
    gain : grey value of one photon; 1 for counts.
    """

    gain: float = 1.0
    name: ClassVar[str] = "poisson"

    def __post_init__(self) -> None:
        self._positive(gain=self.gain)

    def sample(self, clean: Array, *, seed: Seed) -> Array:
        """Photons of mean clean / gain, times the gain."""
        _refuse_negative(clean, "PoissonNoise")
        return self.gain * draws.poisson(clean / self.gain, seed)

    def variance(self, clean: Array) -> Array:
        """gain * clean."""
        return self.gain * clean

    def weights(self, data: Array) -> Array:
        """1 / (gain y), no datum being taken for fewer than one photon."""
        return 1.0 / (self.gain * data.clip(self.gain, None))

    def scaled(self, factor: float) -> PoissonNoise:
        """The gain times the factor."""
        return PoissonNoise(self.gain * factor)

    def deepinv(self) -> Any:
        """deepinv's `PoissonNoise`."""
        import deepinv.physics

        return deepinv.physics.PoissonNoise(gain=self.gain, normalize=True)


@dataclass(frozen=True)
class TransmissionNoise(Noise):
    """p = -log(N / I0), N ~ Poisson(I0 exp(-clean)): line integrals from counted photons (Beer-Lambert).

    A pixel that no photon reached is taken for half a photon, so that its line integral is finite.

    Parameters
    ----------
    I0 : mean photons of a detector pixel with nothing in the beam.

    References
    ----------
    K. Sauer and C. Bouman, IEEE Trans. Signal Process. 41 (1993) 534, doi:10.1109/78.193196 (the weights).
    """

    I0: float = 1e4
    name: ClassVar[str] = "transmission"
    scales: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._positive(I0=self.I0)

    def counts(self, clean: Array, *, seed: Seed) -> Array:
        """N ~ Poisson(I0 exp(-clean)): raw counts of the clean line integrals."""
        mean = self.I0 * draws.exp(-clean)
        _refuse_negative(mean, "TransmissionNoise")
        return draws.poisson(mean, seed)

    def sample(self, clean: Array, *, seed: Seed) -> Array:
        """Line integrals -log(N / I0) of sampled counts."""
        return -draws.log(self.counts(clean, seed=seed).clip(0.5, None) / self.I0)

    def variance(self, clean: Array) -> Array:
        """exp(clean) / I0, to first order."""
        return draws.exp(clean) / self.I0

    def weights(self, data: Array) -> Array:
        """I0 exp(-p), the photons counted."""
        return self.I0 * draws.exp(-data)


@dataclass(frozen=True)
class GammaNoise(Noise):
    """y = clean times speckle, speckle ~ Gamma(looks, 1 / looks), of mean one and variance 1 / looks.

    Parameters
    ----------
    looks : number of independent looks that are averaged; small means strong speckle.
    """

    looks: float
    name: ClassVar[str] = "gamma"

    def __post_init__(self) -> None:
        self._positive(looks=self.looks)

    def sample(self, clean: Array, *, seed: Seed) -> Array:
        """Clean data times speckle."""
        _refuse_negative(clean, "GammaNoise")
        return clean * draws.gamma(clean, self.looks, seed)

    def variance(self, clean: Array) -> Array:
        """clean^2 / looks."""
        return clean**2 / self.looks

    def weights(self, data: Array) -> Array:
        """looks / y^2; data that are not positive get the weight of the smallest positive one."""
        positive = data[data > 0]
        least = float(positive.min()) if len(positive) else 1.0
        return self.looks / data.clip(least, None) ** 2

    def deepinv(self) -> Any:
        """deepinv's `GammaNoise`."""
        import deepinv.physics

        return deepinv.physics.GammaNoise(l=self.looks)


NOISES: dict[str, type[Noise]] = {
    kind.name: kind for kind in (GaussianNoise, RelativeNoise, PoissonNoise, TransmissionNoise, GammaNoise)
}


def noise_from_dict(values: Mapping[str, Any]) -> Noise:
    """The noise model that `as_dict` described: {'name': 'gaussian', 'sigma': 0.01}.

    Raises
    ------
    UsageError
        For an unknown name or parameter, a missing one, or a value that the model refuses.
    """
    given = dict(values)
    name = str(given.pop("name", ""))
    if name not in NOISES:
        raise UsageError(f"noise.name = {name!r}: no such noise model{did_you_mean(name, NOISES)}.")
    kind = NOISES[name]
    known = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    for key in given:
        if key not in known:
            raise UsageError(
                f"noise.{key}: {name} noise has no such parameter{did_you_mean(str(key), known)}."
            )
    try:
        return kind(**given)
    except TypeError:
        raise UsageError(f"noise: {name} noise needs {' and '.join(known)}.") from None


def as_deepinv(noise: Any) -> Any:
    """A noise model of ours or deepinv's as deepinv's; no noise for None.

    Raises
    ------
    UsageError
        When it is neither.
    """
    import deepinv.physics

    if noise is None:
        return deepinv.physics.ZeroNoise()
    if isinstance(noise, Noise):
        return noise.deepinv()
    if isinstance(noise, deepinv.physics.NoiseModel):
        return noise
    raise UsageError(f"noise={noise!r}: give a noise model such as imagereg.GaussianNoise(0.01), or None.")


def _refuse_negative(array: Array, who: str) -> None:
    """Refuse values that are negative or not numbers, which have no counts."""
    wrong = int((~(array >= 0)).sum())
    if wrong:
        raise UsageError(
            f"{who}: {wrong} of the clean values are negative or not numbers; there is no noise for them."
        )
