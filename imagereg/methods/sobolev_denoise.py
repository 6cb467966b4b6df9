"""Denoising with a data term in a Sobolev norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Needs
from imagereg.methods.support.sobolev import SobolevMethod

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class SobolevDenoise(SobolevMethod):
    """min 1/2 ||x - y||²_{H^s} + penalty: noise that is not white counts where it is."""

    name: ClassVar[str] = "sobolev_denoise"
    title: ClassVar[str] = "Sobolev H^s denoising"
    summary: ClassVar[str] = (
        "denoising with the data term in a Sobolev norm, for smooth (s > 0) or fine-grained (s < 0) noise"
    )
    reference: ClassVar[str] = (
        "B. Zhu, J. Hu, Y. Lou, Y. Yang 2021, arXiv 2109.06255; L. Rudin, S. Osher, E. Fatemi, Physica D 60 "
        "(1992) 259, doi:10.1016/0167-2789(92)90242-F (total variation)"
    )
    needs: ClassVar[Needs] = Needs(quantity=("image",))
    main: ClassVar[str] = "strength"

    @classmethod
    def refusal(cls, measurement: Measurement) -> str:
        """Refuse physics: they are for `sobolev_deblur`."""
        kind = type(measurement.physics).__name__
        if measurement.physics is not None and kind != "Identity":
            return f"{cls.name} is for images without physics and these have {kind}; take sobolev_deblur"
        return super().refusal(measurement)
