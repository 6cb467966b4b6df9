"""Denoising by a network whose Jacobian has a small nuclear norm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from imagereg.methods.support.self_supervised import SelfSupervised, one_by_one
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


class NuclearNormDenoiser(SelfSupervised):
    """A U-Net f trained on the noisy images alone: 1/2 |f(y) - y|^2 + sigma^2 |J_f|_* (Jacobian of f).

    Poisson noise and speckle are brought to equal size by the square root or the logarithm first.
    """

    name: ClassVar[str] = "nuclear_norm_denoiser"
    title: ClassVar[str] = "Nuclear-norm denoiser"
    summary: ClassVar[str] = (
        "denoiser trained on the noisy image itself, with a penalty on the nuclear norm of its Jacobian"
    )
    reference: ClassVar[str] = "C. Scarvelis, J. Solomon, NeurIPS (2024), arXiv:2405.14544"
    main: ClassVar[str] = "strength"

    strength: float = parameter(
        1.0,
        "Weight of the nuclear norm: 1 is the published sigma^2, more is smoother",
        gt=0,
        le=100,
        unit="noise variance",
        log=True,
    )
    steps: int = parameter(400, "Steps of training", ge=1, le=1_000_000)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """States of the training, then the image."""
        import torch

        from imagereg.networks.score import noise_scale
        from imagereg.networks.unet import UNet
        from imagereg.priors.stabilised import for_noise
        from imagereg.solvers.state import State
        from imagereg.training.loop import Schedule, train
        from imagereg.training.nuclear_norm import NuclearNorm

        began = time.perf_counter()
        data, known = measurement.data, self.known_noise(measurement)
        domain, lifted = for_noise(known.kind, data, level=known.level, offset=known.offset)
        stable = domain.to(lifted)
        # After the change of variable the noise has one size, which the image itself shows best.
        sigma = known.level if known.kind == "gaussian" else float(noise_scale(stable).median())
        centre = stable.mean((-2, -1), keepdim=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = UNet(widths=(24, 48, 96), blocks=1).to(data.device)
        task = NuclearNorm(stable / sigma, network, crop=self.crop, eta=self.strength)
        every = max(1, min(100, self.steps // 4))
        schedule = Schedule(
            steps=self.steps,
            batch=self.batch,
            validate=every,
            seed=self.seed,
            average=0.99,
            precision="float32",
        )

        def denoise(trained: Any, y: torch.Tensor = lifted) -> torch.Tensor:
            scaled = (domain.to(y) - centre) / sigma
            clean = one_by_one(trained, scaled.reshape(-1, 1, *y.shape[-2:])).reshape(y.shape)
            return domain.back(centre + sigma * clean)

        with torch.enable_grad():
            states = train(task, schedule)
            for last in self.watched(
                states, lambda net: denoise(net) + known.offset, data, every, (known.how,)
            ):
                yield last
        network = last.outcome.network
        image = denoise(network)
        values = {"noise_level": known.level, "loss": last.values["held_loss"]}
        values |= self.risk(
            lambda y: denoise(network, y), lifted, image, self.noise_model(known.kind, known.level)
        )
        yield State(
            image + known.offset,
            self.steps + 1,
            self.steps + 1,
            time.perf_counter() - began,
            finished=f"{self.steps} steps",
            notes=(known.how, "Trained on these images alone."),
            values=values,
        )
