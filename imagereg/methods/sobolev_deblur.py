"""Deblurring with a data term in a Sobolev norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Needs
from imagereg.methods.support.sobolev import SobolevMethod
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class SobolevDeblur(SobolevMethod):
    """min 1/2 ||k * x - y||²_{H^s} + penalty.

    Where the blur's borders are those of the weights (periodic, or symmetric with a symmetric kernel) each
    image step is one division in Fourier space; other blurs are solved by PDHG.
    """

    name: ClassVar[str] = "sobolev_deblur"
    title: ClassVar[str] = "Sobolev H^s deblurring"
    summary: ClassVar[str] = (
        "deblurring with the data term in a Sobolev norm, as a preconditioner or for noise that is not white"
    )
    reference: ClassVar[str] = "B. Zhu, J. Hu, Y. Lou, Y. Yang 2021, arXiv 2109.06255"
    needs: ClassVar[Needs] = Needs(quantity=("image", "line_integrals"))
    main: ClassVar[str] = "strength"

    strength: float = parameter(
        0.02,
        "How much the penalty counts against the data: more is smoother",
        ge=0,
        le=1e6,
        unit="relative to the image's range (tv) or to the data's curvature (quadratic)",
        log=True,
    )

    @classmethod
    def refusal(cls, measurement: Measurement) -> str:
        """Refuse scans, and images without a blur."""
        if measurement.geometry is not None:
            return f"{cls.name} is for blurred images and the data are a scan; take tv with fidelity=sobolev"
        if measurement.physics is None:
            return f"{cls.name} needs a blur as the physics of the measurement; take sobolev_denoise"
        return super().refusal(measurement)
