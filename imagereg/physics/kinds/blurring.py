"""Images behind a blur that is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imagereg.errors import InputError, UsageError
from imagereg.parameters import parameter
from imagereg.physics.registry import PhysicsKind, Workplace

if TYPE_CHECKING:
    import numpy as np

    from imagereg.measurement import Measurement


class BlurKind(PhysicsKind):
    """y = k * x, k a Gaussian or the kernel in a file, scaled to the sum 1."""

    name: ClassVar[str] = "blur"
    title: ClassVar[str] = "Blur"
    summary: ClassVar[str] = "blur by a known kernel"
    task: ClassVar[str] = "deblur"

    blur: float | None = parameter(None, "standard deviation of a Gaussian blur", gt=0, unit="pixel")
    kernel: Path | None = parameter(None, "file with the blur kernel")

    def build(self, measurement: Measurement, place: Workplace) -> Measurement:
        """Convolution with the kernel."""
        from imagereg.physics import blur, gaussian_kernel

        if (self.blur is None) == (self.kernel is None):
            raise UsageError(
                "physics.kind blur: give either physics.blur (pixels) or physics.kernel (a file)."
            )
        if self.blur is not None:
            kernel: Any = gaussian_kernel(self.blur)
        else:
            assert self.kernel is not None
            kernel = _scaled(place.picture(self.kernel), self.kernel)
        return replace(measurement, physics=blur(kernel, device=place.device, dtype=place.dtype))


def _scaled(array: np.ndarray[Any, Any], path: Path) -> np.ndarray[Any, Any]:
    """The kernel over its sum, which leaves flat regions as they are."""
    total = float(array.sum())
    if not total > 0 or float(array.min()) < 0:
        raise InputError(f"{path}: a blur kernel has values of at least 0 and a positive sum.")
    return array / total
