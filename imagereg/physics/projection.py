"""Tomography: the scan of an object as a linear physics, with exact adjoint and filtered back-projection."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import LinearPhysics

from imagereg.geometry import Geometry, Volume
from imagereg.physics.certificate import Certified
from imagereg.physics.noise import as_deepinv
from imagereg.projectors.backends import projector as choose_projector
from imagereg.projectors.base import Projector, back_project, project
from imagereg.projectors.filters import filtered_back_projection


class Tomography(Certified, LinearPhysics):
    """y = A x: line integrals (no unit) of an attenuation image x (1/mm) along the rays of a scan.

    Images are (B, C, H, W) or (B, C, D, H, W), data (B, C, views, columns) or (B, C, views, rows, columns);
    items and channels are independent. Gradients pass through `A` and `A_adjoint`, any number of times.

    Attributes
    ----------
    geometry, volume : the scan and the grid, in mm and radians.
    projector : what does the work; `projector.backend` says how, `projector.reason` why.
    """

    def __init__(
        self,
        geometry: Geometry,
        volume: Volume,
        projector: Projector,
        noise: Any = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(noise_model=as_deepinv(noise), device=device, img_size=(1, *volume.shape))
        self.geometry, self.volume, self.projector, self.dtype = geometry, volume, projector, dtype

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """Line integrals of images."""
        return project(self.projector, x)

    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """The transpose of `A` (unfiltered back-projection)."""
        return back_project(self.projector, y)

    def fbp(self, y: torch.Tensor, *, window: str = "ramp", cutoff: float = 1.0) -> torch.Tensor:
        """Filtered back-projection (parallel and fan beams; Feldkamp-Davis-Kress for cones), in 1/mm.

        No gradient passes.

        Parameters
        ----------
        y : line integrals, (B, C, views, columns) or (B, C, views, rows, columns).
        window : apodisation of the ramp filter: 'ramp' (none), 'shepp-logan', 'cosine', 'hamming', 'hann'.
        cutoff : highest frequency that passes, as a part of Nyquist's, in (0, 1].

        Raises
        ------
        UsageError
            When the shape does not fit, the window is unknown or the cutoff outside (0, 1].
        """
        return filtered_back_projection(self.projector, y, window=window, cutoff=cutoff)

    def A_dagger(self, y: torch.Tensor, *, window: str = "ramp", cutoff: float = 1.0) -> torch.Tensor:
        """Filtered back-projection in the place of the pseudo-inverse, of which it is the discretisation.

        The parameters are those of `fbp`.
        """
        return self.fbp(y, window=window, cutoff=cutoff)

    def example(self) -> torch.Tensor:
        """Zeros on the grid."""
        device = self._device_holder.device
        return torch.zeros(1, 1, *self.projector.image_shape, dtype=self.dtype, device=device)

    def extra_repr(self) -> str:
        """The scan, the grid and what projects."""
        return f"{self.geometry}, {self.volume}, {self.projector.backend}"


def tomography(
    geometry: Geometry,
    volume: Volume | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
    noise: Any = None,
) -> Tomography:
    """The physics of a scan (see `Tomography`).

    Parameters
    ----------
    geometry : a `ParallelBeam`, `FanBeam` or `ConeBeam`.
    volume : the grid of images; what the detector sees where not given. A 3-D grid makes the rows of a
        parallel beam one volume.
    device : where images and data lie.
    dtype : precision of the images that `certificate()` is measured with.
    backend : 'auto' or the name of a projector (see `imagereg.projectors`).
    noise : a noise model of ours or deepinv's, which `physics(x)` then adds.

    Raises
    ------
    UsageError
        When the backend is unknown or cannot do this scan.
    """
    volume = Volume.fit(geometry) if volume is None else volume
    chosen = choose_projector(geometry, volume, device=device, backend=backend)
    return Tomography(geometry, volume, chosen, noise, device, dtype)
