"""Agreement with ASTRA's CPU kernels, and of the cone with rays sampled by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from imagereg.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, Volume
from imagereg.geometry.astra_format import to_astra
from imagereg.phantoms.shepp_logan import head
from imagereg.projectors import projector

astra = pytest.importorskip("astra", reason="ASTRA has no wheel for this platform")


def angles(n: int, arc: float) -> np.ndarray:
    return np.linspace(0, arc, n, endpoint=False)


def reference(kernel: str, geometry: Geometry, volume: Volume) -> Any:
    scan, grid = to_astra(geometry, volume)
    return astra.optomo.OpTomo(astra.create_projector(kernel, scan, grid))


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def run(apply: Any, array: np.ndarray) -> np.ndarray:
    return apply(torch.from_numpy(np.ascontiguousarray(array))[None, None])[0, 0].numpy()


SHIFTS = np.random.default_rng(0).normal(size=60)
PARALLEL = {
    "plain": (ParallelBeam(angles(60, math.pi), 180), Volume((128, 128))),
    "fine and off": (
        ParallelBeam(
            angles(60, 2 * math.pi), 180, 0.4, axis_offset=3.2, detector_offset=-1.0, shifts=SHIFTS
        ),
        Volume((128, 100), 0.5, (4.0, -7.0)),
    ),
    "coarse": (ParallelBeam(angles(60, math.pi), 60, pixel=2.5), Volume((100, 128))),
}  # fmt: skip


@pytest.mark.parametrize("name", PARALLEL)
@pytest.mark.parametrize("what", ["head", "noise"])
def test_parallel_beams_agree_with_the_linear_kernel(name: str, what: str) -> None:
    geometry, volume = PARALLEL[name]
    other = reference("linear", geometry, volume)
    image = np.random.default_rng(1).random(volume.shape).astype(np.float32)
    if what == "head":
        image = head().placed(volume).image(volume)
    ours = projector(geometry, volume)
    data = other.FP(image)
    assert relative(run(ours.forward, image), data) < 1e-3
    assert relative(run(ours.back, data), other.BP(data)) < 1e-3


def test_fans_agree_with_the_line_kernel() -> None:
    """That kernel weighs voxels by the length of the ray in them, so the two differ as models do."""
    volume = Volume((128, 128), 0.5, (1.0, -2.0))
    geometry = FanBeam(
        angles(60, 2 * math.pi), 180, 0.9, axis_offset=1.0, source_origin=150, source_detector=250
    )
    image = head().placed(volume).image(volume)
    other, ours = reference("line_fanflat", geometry, volume), projector(geometry, volume)
    data = other.FP(image)
    assert relative(run(ours.forward, image), data) < 2e-2
    assert relative(run(ours.back, data), other.BP(data)) < 5e-2


def sampled(image: np.ndarray, geometry: Geometry, volume: Volume, steps: int = 4000) -> np.ndarray:
    """Rays sampled densely through the trilinear interpolant of the image."""
    from scipy.ndimage import map_coordinates

    source, middle, column, row = geometry.vectors()
    down = np.arange(geometry.rows) - (geometry.rows - 1) / 2
    across = np.arange(geometry.columns) - (geometry.columns - 1) / 2
    data = np.zeros(geometry.data_shape)
    for view in range(geometry.views):
        ends = middle[view] + down[:, None, None] * row[view] + across[None, :, None] * column[view]
        away = ends - source[view]
        far = np.linalg.norm(away, axis=-1, keepdims=True)
        reach = np.linalg.norm(volume.size)
        at = np.linalg.norm(source[view]) + (np.arange(steps) + 0.5) / steps * 2 * reach - reach
        points = source[view] + away[..., None, :] / far[..., None, :] * at[:, None]
        x, y, z = np.moveaxis(points - np.array(volume.centre), -1, 0)
        depth, height, width = volume.shape
        place = [
            z / volume.edges[0] + (depth - 1) / 2,
            -y / volume.edges[1] + (height - 1) / 2,
            x / volume.edges[2] + (width - 1) / 2,
        ]
        values = map_coordinates(image, place, order=1, mode="constant", cval=0.0)
        data[view] = values.sum(-1) * (2 * reach / steps)
    return data


@pytest.mark.parametrize("tilt", [0.0, 0.08])
def test_cones_agree_with_rays_sampled_densely(tilt: float) -> None:
    """Joseph's steps are planes of voxels apart, so on a smooth body both tend to the same integral."""
    volume = Volume((26, 30, 28), (1.1, 0.9, 1.0), (0.5, -1.0, 0.8))
    geometry = ConeBeam(
        angles(5, 2 * math.pi) + 0.2, 24, pixel=2.2, rows=18, row_pixel=2.5, axis_offset=1.0,
        detector_offset=(0.5, 1.0), source_origin=90, source_detector=150, tilt=tilt,
    )  # fmt: skip
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in volume.shape), indexing="ij")
    body = np.maximum(0, 1 - x**2 - y**2 - z**2) ** 2 * (1 + 0.5 * x - 0.3 * y + 0.4 * z)
    found = run(projector(geometry, volume).forward, body)
    wanted = sampled(body, geometry, volume, steps=1500)
    assert relative(found, wanted) < 2e-3


def test_the_middle_plane_of_a_cone_is_a_fan() -> None:
    keywords = {"pixel": 1.4, "source_origin": 90.0, "source_detector": 150.0, "axis_offset": 1.5}
    views, image = angles(20, 2 * math.pi), np.random.default_rng(0).random((40, 36))
    cone = ConeBeam(views, 60, rows=5, **keywords)
    fan = FanBeam(views, 60, **keywords)
    volume = np.broadcast_to(image, (3, 40, 36))
    found = run(projector(cone, Volume((3, 40, 36), (4.0, 1.0, 1.0))).forward, volume)
    assert relative(found[:, 2], run(projector(fan, Volume((40, 36))).forward, image)) < 1e-12
