"""What denoisers that train on the user's own noisy images have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from imagereg.methods.base import Method, Needs
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State

PHASE = "training"


@dataclass(frozen=True)
class KnownNoise:
    """The noise of a measurement, as far as it is known before denoising.

    Attributes
    ----------
    kind : 'gaussian', 'poisson' or 'gamma'.
    level : sigma, gain or looks; rough where not `certain`.
    certain : whether the level came from a noise model or from the user.
    how : one sentence for people.
    offset : grey value of no light, for Poisson noise.
    told : whether the kind was told from the image.
    """

    kind: Any
    level: float
    certain: bool
    how: str
    offset: float = 0.0
    told: bool = False


class SelfSupervised(Method):
    """Base of denoisers without clean images: the noise, and how long to train on one's own images."""

    needs: ClassVar[Needs] = Needs(quantity=("image",))
    copies: ClassVar[tuple[float, float]] = (3.0, 20.0)

    noise: Literal["auto", "gaussian", "poisson", "gamma"] = parameter(
        "auto", "Kind of noise; auto: that of the data's noise model, else told from the image"
    )
    level: float = parameter(
        0.0,
        "Standard deviation of Gaussian noise, grey value of a photon, or looks of speckle; 0: from the data",
        ge=0,
    )
    batch: int = parameter(8, "Squares of a training step", ge=1, le=1024, level="advanced")
    crop: int = parameter(64, "Edge of the squares", ge=16, le=1024, unit="pixel", level="advanced")
    seed: int = parameter(0, "Seed of everything random", ge=0, level="advanced")

    @classmethod
    def refusal(cls, measurement: Measurement) -> str:
        """Refuse physics and volumes: these methods are for images."""
        kind = type(measurement.physics).__name__
        if measurement.physics is not None and kind != "Identity":
            return f"{cls.name} is for images without physics and these have {kind}; take pnp or tv"
        if not measurement.framed and len(measurement.data.shape) != 4:
            return f"{cls.name} is for images (B, C, H, W) and the data are {tuple(measurement.data.shape)}"
        return super().refusal(measurement)

    def known_noise(self, measurement: Measurement) -> KnownNoise:
        """Kind and level: from the parameters, else the noise model, else the image."""
        from imagereg.noise.kind import noise_kind

        data, model = measurement.data, measurement.noise
        name = str(getattr(model, "name", ""))
        if self.noise == "auto" and name in ("gaussian", "relative", "poisson", "gamma"):
            if self.level:
                kind = "gaussian" if name == "relative" else name
                return KnownNoise(kind, self.level, True, f"Noise: {kind}, {self.level:.4g} as given.")
            if name == "poisson":
                return KnownNoise("poisson", model.gain, True, f"Noise: {model}.")
            if name == "gamma":
                return KnownNoise("gamma", model.looks, True, f"Noise: {model}.")
            sigma = float(model.std(data).mean())
            return KnownNoise("gaussian", sigma, True, f"Noise: {model}.")
        wanted: Any = None if self.noise == "auto" else self.noise
        if wanted is not None and self.level:
            return KnownNoise(wanted, self.level, True, f"Noise: {wanted}, {self.level:.4g} as given.")
        found = noise_kind(data, kind=wanted)
        told = "as given" if wanted else f"told from the image (variance grows as grey^{found.power:.2f})"
        level, how = self.level or found.level, f"Noise: {found.kind}, {told}"
        if found.offset:
            how += f", with an offset of {found.offset:.4g}"
        return KnownNoise(found.kind, level, bool(self.level), how + ".", found.offset, told=wanted is None)

    def noise_model(self, kind: str, level: float) -> Any:
        """The noise model of a kind and level."""
        from imagereg.physics.noise import GammaNoise, GaussianNoise, PoissonNoise

        return {"gaussian": GaussianNoise, "poisson": PoissonNoise, "gamma": GammaNoise}[kind](level)

    def watched(
        self,
        states: Iterator[State],
        denoise: Callable[[Any], torch.Tensor],
        first: torch.Tensor,
        every: int,
        notes: tuple[str, ...],
    ) -> Iterator[State]:
        """States of a training with the denoised image so far, made anew every `every` steps."""
        image = first
        for state in states:
            if state.iteration % every == 0 or state.finished:
                image = denoise(state.outcome.network)
            yield replace(state, image=image, phase=PHASE, finished="", notes=notes)

    def risk(
        self,
        denoise: Callable[[torch.Tensor], torch.Tensor],
        data: torch.Tensor,
        image: torch.Tensor,
        model: Any,
    ) -> dict[str, float]:
        """The PSNR that Stein's estimate gives without a clean image, under the name 'psnr_estimate'."""
        from imagereg.noise.denoising_risk import denoising_risk, psnr_of
        from imagereg.priors.weights import grey_range

        variance = model.variance(image.clamp_min(0) if model.name != "gaussian" else image)
        risk = denoising_risk(denoise, data, variance, image=image, seed=self.seed)
        return {"psnr_estimate": psnr_of(risk, max(float(grey_range(image).max()), 1e-12))}


def one_by_one(network: Any, images: torch.Tensor) -> torch.Tensor:
    """The network on each item by itself, which bounds the memory of large stacks."""
    import torch

    with torch.no_grad():
        return torch.cat([network(image[None]) for image in images])
