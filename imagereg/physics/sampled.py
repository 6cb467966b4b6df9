"""Our noise models as deepinv's, for those that deepinv does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from deepinv.physics import NoiseModel

if TYPE_CHECKING:
    from imagereg.physics.noise import Noise


class Sampled(NoiseModel):
    """A deepinv noise model that draws from one of ours.

    Parameters
    ----------
    noise : the model to draw from.
    rng : where seeds come from; torch's own generator where not given.
    """

    def __init__(self, noise: Noise, rng: torch.Generator | None = None) -> None:
        super().__init__(rng=rng)
        self.noise = noise

    def forward(self, input: torch.Tensor, seed: int | None = None) -> torch.Tensor:
        """Noisy data; a seed makes them repeatable."""
        if seed is None:
            seed = int(torch.randint(2**62, (1,), generator=self.rng))
        return self.noise.sample(input, seed=seed)
