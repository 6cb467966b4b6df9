"""Recorrupted-to-recorrupted: training on noisy images that are split into two by more noise."""

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


class RecorruptedToRecorrupted(SelfSupervised):
    """min E |f(y1) - y2|^2, y1 and y2 two images with independent noise that are made from y.

    For Gaussian noise y1 = y + sigma (a / (1 - a))^1/2 n and y2 = (y - (1 - a) y1) / a; Poisson counts are
    split by binomial and speckle by beta numbers. The loss is deepinv's; it needs the noise level.
    """

    name: ClassVar[str] = "recorrupted"
    title: ClassVar[str] = "Recorrupted-to-recorrupted (R2R)"
    summary: ClassVar[str] = (
        "denoiser trained on the noisy image itself, for noise of known level; a baseline for comparison"
    )
    reference: ClassVar[str] = (
        "T. Pang et al., CVPR (2021), doi:10.1109/CVPR46437.2021.00208; B. Monroy et al., CVPR "
        "(2025), arXiv:2412.04648 (Poisson and Gamma)"
    )
    main: ClassVar[str] = "alpha"

    alpha: float = parameter(
        0.3, "Share of the second image: little noise is added where it is small", gt=0, lt=1
    )
    steps: int = parameter(600, "Steps of training", ge=1, le=1_000_000)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """States of the training, then the image, a mean over five recorruptions."""
        import torch

        from imagereg.priors.weights import grey_range
        from imagereg.solvers.state import State
        from imagereg.training.loop import Schedule, train
        from imagereg.training.recorrupted import Recorrupted

        began = time.perf_counter()
        data, known = measurement.data, self.known_noise(measurement)
        span = float(grey_range(data).max()) or 1.0
        lifted = data - known.offset if known.kind == "gaussian" else (data - known.offset).clamp_min(0)
        scaled = known.level if known.kind == "gamma" else known.level / span
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            task = Recorrupted(
                lifted / span, self.noise_model(known.kind, scaled), alpha=self.alpha, crop=self.crop
            )
        every = max(1, min(100, self.steps // 4))
        schedule = Schedule(steps=self.steps, batch=self.batch, validate=every, seed=self.seed, average=0.99)

        def denoise(trained: Any) -> torch.Tensor:
            single = (lifted / span).reshape(-1, 1, *data.shape[-2:])
            return (
                span * one_by_one(lambda y: task.mean(trained, y), single).reshape(data.shape) + known.offset
            )

        with torch.enable_grad():
            states = train(task, schedule)
            for last in self.watched(states, denoise, data, every, (known.how,)):
                yield last
        yield State(
            last.image,
            self.steps + 1,
            self.steps + 1,
            time.perf_counter() - began,
            finished=f"{self.steps} steps",
            notes=(known.how, "Trained on these images alone."),
            values={"noise_level": known.level, "loss": last.values["held_loss"]},
        )
