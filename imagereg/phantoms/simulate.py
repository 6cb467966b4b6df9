"""A scan of a phantom: clean or noisy line integrals with the truth beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.geometry import Geometry, Volume
from imagereg.measurement import Measurement
from imagereg.phantoms.catalogue import Phantom
from imagereg.phantoms.catalogue import phantom as find_phantom
from imagereg.phantoms.ellipsoids import Ellipsoids

if TYPE_CHECKING:
    from imagereg.physics.noise import Noise


def simulate(
    phantom: str | Phantom | Ellipsoids | NDArray[Any],
    geometry: Geometry,
    *,
    volume: Volume | None = None,
    noise: Noise | None = None,
    seed: int = 0,
    supersampling: int = 4,
    **parameters: Any,
) -> Measurement:
    """Scan a phantom: exact line integrals where it has them, those of our projector for a plain image.

    Parameters
    ----------
    phantom : a name (see `PHANTOMS`), a `Phantom`, bodies in mm, or an image on the grid in 1/mm.
    geometry : the scan. A 3-D phantom seen by a parallel beam of several rows is cut into slices.
    volume : the grid of the truth; what the detector sees where not given.
    noise : a noise model of line integrals; none for clean data.
    seed : of the noise, and of a random phantom (unless its own `seed` is among the parameters).
    supersampling : points along each edge of a voxel of the truth.
    parameters : of a phantom by name, `attenuation` (1/mm of grey value 1) among them.

    Returns
    -------
    A measurement in frames: data (views, columns) or (views, rows, columns), truth on the grid, weights where
    the noise makes some data better than others.

    Raises
    ------
    UsageError
        When phantom, grid and scan do not fit together, or a parameter is unknown.
    """
    grid = Volume.fit(geometry) if volume is None else volume
    if isinstance(phantom, str):
        phantom = find_phantom(phantom)
    if isinstance(phantom, np.ndarray):
        if parameters:
            raise UsageError(f"simulate: an image takes no parameter {next(iter(parameters))!r}.")
        truth, data = phantom, _projected(phantom, geometry, grid)
    else:
        sliced = phantom.ndim == 3 and grid.ndim == 2
        scene = _stack(grid, geometry) if sliced else grid
        if isinstance(phantom, Phantom):
            if phantom.random:
                parameters.setdefault("seed", seed)
            radius = min(grid.size[-2:]) / 2 if sliced else None
            phantom = phantom.bodies(scene, radius=radius, **parameters)
        elif parameters:
            raise UsageError(f"simulate: bodies take no parameter {next(iter(parameters))!r}.")
        truth, data = phantom.image(scene, supersampling=supersampling), phantom.project(geometry)
        if truth.ndim == 2 and geometry.rows > 1:
            truth = np.broadcast_to(truth, (geometry.rows, *truth.shape)).copy()
    # A stream of its own: the noise must not depend on the numbers that the phantom was drawn with.
    noisy = data if noise is None else noise.sample(data, seed=np.random.default_rng([seed, 1]))
    weights = None if noise is None or noise.uniform else noise.weights(noisy).astype(np.float32)
    return Measurement(
        noisy.astype(np.float32),
        geometry=geometry,
        volume=volume,
        noise=noise,
        weights=weights,
        truth=truth,
    )


def _stack(grid: Volume, geometry: Geometry) -> Volume:
    """The 3-D grid whose slices are those of the rows of a scan with independent slices."""
    height = geometry.row_edge / geometry.magnification
    return Volume((geometry.rows, *grid.shape), (height, *grid.edges), (*grid.centre, 0.0))


def _projected(image: NDArray[Any], geometry: Geometry, grid: Volume) -> NDArray[np.float64]:
    """Line integrals of an image by our own projector, in frames."""
    import torch

    from imagereg.physics import tomography

    wanted = grid.shape if grid.ndim == 3 or geometry.rows == 1 else (geometry.rows, *grid.shape)
    if image.shape != wanted:
        raise UsageError(f"simulate: an image of shape {image.shape} where {wanted} is wanted by {grid}.")
    physics = tomography(geometry, grid, dtype=torch.float64)
    tensor = torch.as_tensor(np.asarray(image, dtype=np.float64))
    tensor = tensor[None, None] if tensor.ndim == grid.ndim else tensor[:, None]
    data = physics.A(tensor)
    frames = data[0, 0] if grid.ndim == 3 or len(data) == 1 else data[:, 0].movedim(0, 1)
    return frames.numpy()
