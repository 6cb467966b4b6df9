"""Ring removal: what is fixed to a detector column makes a stripe in the sinogram and a ring in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.layout import stack, with_stack
from imagereg.preprocessing.rowwise import over_rows
from imagereg.preprocessing.stripes import remove_all, remove_by_sorting, remove_by_wavelets, stripe_strength

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

Algorithm = Literal["sorting", "all_stripes", "wavelet_fourier"]


class Rings(Step):
    """Take stripes off each sinogram (views, columns), by one of three algorithms.

    sorting: each column is sorted by value, a running median along the columns (length `size`) takes off
    what differs from the neighbours at the same rank, and the order is put back. No blurring, weak to
    middling stripes, also those that depend on the signal.

    all_stripes: before that, columns that do not respond or fluctuate too much are interpolated, and wide,
    strong stripes (up to half of `width`) that stand out by more than `ratio` of what columns usually
    differ by are levelled.

    wavelet_fourier: in a wavelet transform of `levels` levels the coefficients of vertical detail are
    damped at the lowest frequencies along the views by 1 - exp(-k^2 / (2 sigma^2)).

    Source: N. T. Vo, R. C. Atwood and M. Drakopoulos, Opt. Express 26, 28396 (2018), doi
    10.1364/OE.26.028396 (sorting: algorithm 3; all_stripes: 6, 5 and 3); B. Muench, P. Trtik, F. Marone and
    M. Stampanoni, Opt. Express 17, 8567 (2009), doi 10.1364/OE.17.008567 (wavelet_fourier).
    """

    name: ClassVar[str] = "rings"
    title: ClassVar[str] = "Ring removal"
    summary: ClassVar[str] = "stripes of the sinogram, which make rings in the image, removed"
    reference: ClassVar[str] = (
        "Vo, Atwood and Drakopoulos (2018), doi 10.1364/OE.26.028396; "
        "Muench et al. (2009), doi 10.1364/OE.17.008567"
    )

    algorithm: Literal["sorting", "all_stripes", "wavelet_fourier"] = parameter(
        "sorting", "how stripes are found"
    )
    size: int | None = parameter(
        None,
        "length of the running median, made odd; a fortieth of the columns where not given",
        ge=3,
        unit="columns",
    )
    width: int | None = parameter(
        None,
        "running median for wide stripes (all_stripes); twice `size` where not given",
        ge=3,
        unit="columns",
        level="advanced",
    )
    ratio: float = parameter(
        3.0, "how far a column stands out to be a wide or dead stripe (all_stripes)", gt=1, level="advanced"
    )
    levels: int = parameter(
        2, "levels of the wavelet transform; each doubles the width of stripes (wavelet_fourier)", ge=1, le=10
    )
    sigma: float = parameter(1.0, "damping of low frequencies (wavelet_fourier)", gt=0, unit="periods a scan")
    wavelet: str = parameter("db5", "wavelet (wavelet_fourier), by its name in PyWavelets", level="advanced")

    def resolve(self, measurement: Measurement) -> Self:
        """Lengths of the medians, from the number of columns."""
        self._needs(measurement, "line_integrals", "transmission")
        columns = int(measurement.data.shape[-1])
        size = self.size or max(5, columns // 40 | 1)
        return self._resolved({"size": size, "width": self.width or 2 * size})

    def work(self, measurement: Measurement) -> Outcome:
        """The scan without stripes, and how strong these were before and after."""
        self._needs(measurement, "line_integrals", "transmission")
        step = self if self.size is not None and self.width is not None else self.resolve(measurement)
        values = stack(measurement)
        cleaned = over_rows(step._clean, values)
        found = {
            "stripes_before": round(stripe_strength(values), 6),
            "stripes_after": round(stripe_strength(cleaned), 6),
        }
        return Outcome(with_stack(measurement, cleaned), found)

    def _clean(self, sinogram: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.size is not None and self.width is not None
        if self.algorithm == "sorting":
            return remove_by_sorting(sinogram, self.size | 1)
        if self.algorithm == "all_stripes":
            return remove_all(sinogram, self.size | 1, self.width | 1, self.ratio)
        return remove_by_wavelets(sinogram, self.wavelet, self.levels, self.sigma)
