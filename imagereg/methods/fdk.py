"""Feldkamp, Davis and Kress: filtered back-projection for cones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Method, Needs
from imagereg.methods.fbp import Window, analytic
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


class FDK(Method):
    """Filtered back-projection along the rays of a cone: exact in the middle plane, close to it elsewhere."""

    name: ClassVar[str] = "fdk"
    title: ClassVar[str] = "Feldkamp-Davis-Kress"
    direct: ClassVar[bool] = True
    summary: ClassVar[str] = "fast standard for cone beams of moderate opening angle"
    reference: ClassVar[str] = (
        "L. Feldkamp, L. Davis, J. Kress, J. Opt. Soc. Am. A 1 (1984) 612, doi:10.1364/JOSAA.1.000612"
    )
    needs: ClassVar[Needs] = Needs(geometry=("cone",))
    main: ClassVar[str] = "cutoff"
    pixelwise: ClassVar[bool] = True

    window: Window = parameter("ramp", "Apodisation of the ramp filter; Hann damps noise most")
    cutoff: float = parameter(1.0, "Highest frequency that passes, as a part of Nyquist's", gt=0, le=1)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state: the reconstruction."""
        yield from analytic(measurement, self.window, self.cutoff)
