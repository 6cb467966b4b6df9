"""DDRM: denoising diffusion restoration in the basis of singular vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Needs
from imagereg.methods.support.diffusion_prior import LevelMethod, Posed
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.base import Solver


class DenoisingRestoration(LevelMethod):
    """A reverse diffusion of the coefficients in A's singular vectors, each held by its own datum.

    For physics whose singular vectors are known: missing pixels, denoising, and deepinv's
    `DecomposablePhysics`.
    """

    name: ClassVar[str] = "ddrm"
    title: ClassVar[str] = "DDRM"
    summary: ClassVar[str] = (
        "diffusion restoration in the singular vectors of the physics: inpainting, deblurring, downsampling"
    )
    reference: ClassVar[str] = (
        "B. Kawar, M. Elad, S. Ermon, J. Song, Denoising diffusion restoration models, NeurIPS (2022), "
        "arXiv:2201.11793"
    )
    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "eta"

    eta: float = parameter(0.85, "Randomness where there is no datum", ge=0, le=1)
    eta_b: float = parameter(1.0, "Trust in a datum above its noise", ge=0, le=1, level="advanced")

    @classmethod
    def refusal(cls, measurement: Measurement) -> str:
        """Scans have no known singular vectors."""
        said = super().refusal(measurement)
        if not said and measurement.geometry is not None:
            return (
                f"{cls.name} is for physics with known singular vectors and the data are a scan; use red_diff"
            )
        return said

    def solver(self, posed: Posed, measurement: Measurement, seed: int) -> Solver:
        """The diffusion along its levels."""
        from imagereg.solvers.ddrm import DDRM

        return DDRM(
            self.levels(),
            posed.error(measurement),
            eta=self.eta,
            eta_b=self.eta_b,
            seed=seed,
        )
