"""Phase retrieval from one distance (Paganin): what edge-enhanced projections say of a homogeneous object."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.layout import stack, with_stack

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

_KEV_MM = 1.239841984e-6
_REACH = 7.0


class Paganin(Step):
    """Line integrals p = -log F^-1[ F[T] / (1 + a |k|^2) ], a = z lambda delta / (4 pi beta).

    T is the transmission at the distance z behind an object of refractive index 1 - delta + i beta, k the
    angular spatial frequency in the object's plane and lambda = 12.398 / energy in Angstrom. With a
    magnification M the distance counts as z / M and pixels as pixel / M. Views are filtered as pictures,
    padded by their own edges over seven times the filter's length sqrt(a); a scan of a single row is
    filtered along its columns.

    Source: D. Paganin, S. C. Mayo, T. E. Gureyev, P. R. Miller and S. W. Wilkins, J. Microsc. 206, 33
    (2002), doi 10.1046/j.1365-2818.2002.01010.x.
    """

    name: ClassVar[str] = "paganin"
    title: ClassVar[str] = "Phase retrieval (Paganin)"
    summary: ClassVar[str] = "single-distance phase retrieval for an object of one material"
    reference: ClassVar[str] = "Paganin et al. (2002), doi 10.1046/j.1365-2818.2002.01010.x"

    energy: float = parameter(20.0, "energy of the photons", gt=0, unit="keV")
    distance: float = parameter(100.0, "distance from object to detector", gt=0, unit="mm")
    delta_beta: float = parameter(1000.0, "delta over beta of the material", gt=0, log=True)
    pixel: float | None = parameter(
        None,
        "edge of a pixel in the object's plane; the geometry's where not given",
        gt=0,
        unit="mm",
        level="advanced",
    )

    magnification: float | None = parameter(
        None,
        "size of the shadow over that of the object; the geometry's where not given",
        ge=1,
        level="advanced",
    )

    @property
    def length(self) -> float:
        """sqrt(a), the length in mm over which the filter blurs."""
        distance = self.distance / (self.magnification or 1.0)
        return math.sqrt(distance * _KEV_MM / self.energy * self.delta_beta / (4 * math.pi))

    @property
    def halo(self) -> int:
        """Rows within the filter's reach, where the pixel is known."""
        return 0 if self.pixel is None else math.ceil(_REACH * self.length / self.pixel)

    def resolve(self, measurement: Measurement) -> Self:
        """The magnification, and the pixel in the object's plane."""
        self._needs(measurement)
        geometry = measurement.geometry
        assert geometry is not None
        magnification = self.magnification or geometry.magnification
        pixel = self.pixel or geometry.pixel / magnification
        chosen = self._resolved({"pixel": pixel, "magnification": magnification})
        pixels = chosen.length / (chosen.pixel or 1.0)
        remark = f"paganin: blurs over {pixels:.3g} pixels of {chosen.pixel:.6g} mm"
        if not 0.1 < pixels < geometry.columns / 4:
            remark += ", which is hardly what you want: look at energy, distance and the pixel's size"
        chosen._found, chosen._remarks = {"length_mm": round(chosen.length, 8)}, (remark,)
        return chosen

    def work(self, measurement: Measurement) -> Outcome:
        """Line integrals of the retrieved thickness."""
        self._needs(measurement, "transmission", "line_integrals")
        step = self if self.pixel is not None else self.resolve(measurement)
        geometry = measurement.geometry
        assert geometry is not None and step.pixel is not None
        values = stack(measurement)
        if measurement.quantity == "line_integrals":
            values = np.exp(-values)
        edges = (step.pixel * geometry.row_edge / geometry.pixel, step.pixel)
        filtered = _lorentzian(values, step.length, edges)
        floor = np.float32(1e-6)
        low = int((filtered <= floor).sum())
        notes = (f"paganin: {low} values at or below {floor:g} before the logarithm",) if low else ()
        integrals = -np.log(np.maximum(filtered, floor))
        return Outcome(with_stack(measurement, integrals, quantity="line_integrals"), {}, notes)


def _lorentzian(views: np.ndarray, length: float, edges: tuple[float, float]) -> np.ndarray:
    """Views under 1 / (1 + length^2 |k|^2), padded by their edges; `edges` of a pixel along rows, columns."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    rows, columns = views.shape[1:]
    # Beyond twice its own size a picture's edge has been averaged to what it will be for good.
    pad_rows = 0 if rows == 1 else min(2 * rows, math.ceil(_REACH * length / edges[0]))
    pad_columns = min(2 * columns, math.ceil(_REACH * length / edges[1]))
    shape = tuple(
        next_fast_len(count + 2 * pad, real=True) if pad else count
        for count, pad in ((rows, pad_rows), (columns, pad_columns))
    )
    along = 2 * math.pi * np.fft.fftfreq(shape[0], edges[0])[:, None]
    across = 2 * math.pi * np.fft.rfftfreq(shape[1], edges[1])
    response = (1 / (1 + length**2 * (along**2 + across**2))).astype(np.float32)
    after = ((pad_rows, shape[0] - rows - pad_rows), (pad_columns, shape[1] - columns - pad_columns))
    filtered = np.empty_like(views)
    for view in range(views.shape[0]):
        padded = np.pad(views[view], after, mode="edge")
        smooth = irfft2(rfft2(padded, workers=-1) * response, shape, workers=-1)
        filtered[view] = smooth[pad_rows : pad_rows + rows, pad_columns : pad_columns + columns]
    return filtered
