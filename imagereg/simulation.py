"""Raw scans as a beamline writes them, simulated: counts, flats, darks, rings, an axis off centre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_raw_scan(
    path: Path,
    *,
    columns: int = 320,
    rows: int = 2,
    views: int = 120,
    pixel: float = 0.005,
    photons: float = 3e4,
    seed: int = 0,
) -> tuple[NDArray[np.float32], float]:
    """Write a Data Exchange HDF5 file of a simulated parallel-beam scan.

    Counts of a pixel are Poisson with mean flat * exp(-line integral) plus the dark current; the beam's
    profile is uneven, some pixels respond wrongly (rings), a few hold zingers, the axis is off centre.

    Parameters
    ----------
    path : the file to write; it must not exist.
    columns, rows, views : size of the scan, over 180 degrees.
    pixel : detector pixel in mm.
    photons : mean counts of the open beam.
    seed : seed of phantom and noise.

    Returns
    -------
    truth : (rows, columns, columns) attenuation in 1/mm.
    axis : column on which the rotation axis falls.
    """
    import h5py

    from imagereg.geometry import ParallelBeam, Volume
    from imagereg.phantoms import foam

    random = np.random.default_rng(seed)
    axis = (columns - 1) / 2 + float(random.uniform(-6, 6))
    angles = np.linspace(0, np.pi, views, endpoint=False)
    geometry = ParallelBeam(angles, columns, pixel=pixel).with_centre(axis)
    grid = Volume((columns, columns), pixel)
    radius = 0.44 * columns * pixel  # the whole object is seen, although the axis is off centre
    truth = np.empty((rows, columns, columns), dtype=np.float32)
    integrals = np.empty((views, rows, columns))
    for row in range(rows):
        bodies = foam.bodies(grid, attenuation=1.0 / radius, radius=radius, seed=seed + row)
        truth[row] = bodies.image(grid)
        integrals[:, row] = bodies.project(geometry)
    profile = (
        photons * (0.6 + 0.4 * np.hanning(columns + 20)[10:-10]) * np.linspace(0.95, 1.05, rows)[:, None]
    )
    response = 1 + 0.004 * random.standard_normal((rows, columns))
    response[random.random((rows, columns)) < 0.01] *= 0.96
    drift = 1 + 0.01 * np.sin(np.linspace(0, 6, views))[:, None, None]
    dark = 100.0 + 5.0 * random.standard_normal((rows, columns))
    # The response to the object's harder beam differs from the flats': that is what makes rings.
    counts = random.poisson(drift * profile * response * np.exp(-integrals)) + dark
    struck = random.random(counts.shape) < 2e-4
    counts[struck] += photons * random.uniform(0.5, 2.0, int(struck.sum()))
    flats = random.poisson(np.broadcast_to(profile, (20, rows, columns))) + dark
    darks = dark + random.normal(0, 3, (10, rows, columns))
    with h5py.File(path, "x") as file:
        exchange = file.create_group("exchange")
        for name, array in (("data", counts), ("data_white", flats), ("data_dark", darks)):
            exchange.create_dataset(name, data=_counts(array))
        theta = exchange.create_dataset("theta", data=np.rad2deg(angles))
        theta.attrs["units"] = "deg"
        size = file.create_dataset("measurement/instrument/detector/pixel_size_x", data=pixel * 1000)
        size.attrs["units"] = "um"
    return truth, axis


def _counts(array: NDArray[Any]) -> NDArray[np.uint16]:
    return np.clip(np.rint(array), 0, 65535).astype(np.uint16)
