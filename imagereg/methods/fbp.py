"""Filtered back-projection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.base import Method, Needs
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State

Window = Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"]


class FBP(Method):
    """x = A^T F y with the ramp filter F, apodised: the inverse of a scan of very many views."""

    name: ClassVar[str] = "fbp"
    title: ClassVar[str] = "Filtered back-projection"
    direct: ClassVar[bool] = True
    summary: ClassVar[str] = "fast, quantitative standard for many views and little noise"
    reference: ClassVar[str] = (
        "G. Ramachandran, A. Lakshminarayanan, Proc. Natl. Acad. Sci. 68 (1971) 2236, "
        "doi:10.1073/pnas.68.9.2236; D. Parker, Med. Phys. 9 (1982) 254, doi:10.1118/1.595078 (short scans)"
    )
    needs: ClassVar[Needs] = Needs(geometry=("parallel", "fan"))
    main: ClassVar[str] = "cutoff"
    pixelwise: ClassVar[bool] = True
    copies: ClassVar[tuple[float, float]] = (12.0, 4.0)

    window: Window = parameter("ramp", "Apodisation of the ramp filter; Hann damps noise most")
    cutoff: float = parameter(1.0, "Highest frequency that passes, as a part of Nyquist's", gt=0, le=1)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state: the reconstruction."""
        yield from analytic(measurement, self.window, self.cutoff)


def analytic(measurement: Measurement, window: str, cutoff: float) -> Iterator[State]:
    """The one state of a filtered back-projection, with its residual to look at."""
    import time

    import torch

    from imagereg.fidelities.least_squares import LeastSquares
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.state import State

    began = time.perf_counter()
    with torch.no_grad():
        image = measurement.physics.fbp(measurement.data, window=window, cutoff=cutoff)
    problem = Problem(LeastSquares(measurement.data), measurement.physics)
    seconds = time.perf_counter() - began
    yield State(image, 1, 1, seconds, finished="1 step", problem=problem)
