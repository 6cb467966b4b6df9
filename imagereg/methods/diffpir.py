"""DiffPIR: plug and play along a reverse diffusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Needs
from imagereg.methods.support.diffusion_prior import LevelMethod, Posed
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.base import Solver


class DiffusionRestoration(LevelMethod):
    """Denoise, fit to the data, add noise of the next level, in turns.

    The fit is argmin f(A x) + strength e^2 / (s h)^2 / 2 ||x - D||^2, e the noise of the data, s the level
    and h the grey range.
    """

    name: ClassVar[str] = "diffpir"
    title: ClassVar[str] = "DiffPIR"
    summary: ClassVar[str] = (
        "plug-and-play restoration with a diffusion prior, over a decreasing noise schedule"
    )
    reference: ClassVar[str] = (
        "Y. Zhu, K. Zhang, J. Liang, J. Cao, B. Wen, R. Timofte, L. Van Gool, Denoising diffusion models for "
        "plug-and-play image restoration, CVPR workshops (2023), arXiv:2305.08995"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "strength"
    passes: ClassVar[float] = 20.0

    strength: float = parameter(
        1.0,
        "Weight of the prior over what the noise of the data asks for: more is smoother",
        gt=0,
        le=1e4,
        log=True,
    )
    zeta: float = parameter(
        0.3, "Part of the noise that is drawn anew in each step", ge=0, le=1, level="advanced"
    )

    def solver(self, posed: Posed, measurement: Measurement, seed: int) -> Solver:
        """The splitting along its levels."""
        from imagereg.solvers.diffpir import DiffPIR

        return DiffPIR(
            self.levels(),
            posed.error(measurement),
            strength=self.strength,
            zeta=self.zeta,
            seed=seed,
        )
