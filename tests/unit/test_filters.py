"""Filtered back-projection: filters, weights, and absolute values of what comes out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from imagereg.errors import UsageError
from imagereg.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, Volume
from imagereg.phantoms import Ellipsoids
from imagereg.phantoms.shepp_logan import head
from imagereg.projectors import projector
from imagereg.projectors.filters import (
    WINDOWS,
    filtered_back_projection,
    ramp_filter,
    ramp_kernel,
    window_response,
)
from imagereg.projectors.pixel_driven import back_project_anywhere, back_project_pixels
from imagereg.projectors.redundancy import parker, shares

VALUE, RADIUS, PLACE = 0.03, 11.0, (4.0, -6.0)
FAN = {"source_origin": 120.0, "source_detector": 200.0}


def arc(degrees: float, views: int) -> np.ndarray:
    return np.deg2rad(np.linspace(0, degrees, views, endpoint=False))


def reconstructed(geometry: Geometry, volume: Volume, **keywords: Any) -> tuple[np.ndarray, np.ndarray]:
    """The middle slice of what is made of a ball's (disc's) projections, and distances from its centre."""
    centre = (*PLACE, 0.0)[: volume.ndim]
    body = Ellipsoids([VALUE], [centre], [[RADIUS] * volume.ndim], [0.0])
    data = torch.from_numpy(body.project(geometry)).float()[None, None]
    image = filtered_back_projection(projector(geometry, volume), data, **keywords)[0, 0].numpy()
    image = image[volume.shape[0] // 2] if volume.ndim == 3 else image
    (height, width), (tall, wide) = volume.shape[-2:], volume.edges[-2:]
    x = volume.centre[0] + (np.arange(width) - (width - 1) / 2) * wide
    y = volume.centre[1] - (np.arange(height) - (height - 1) / 2) * tall
    return image, np.hypot(x[None] - PLACE[0], y[:, None] - PLACE[1])


PLANE = Volume((100, 110), 0.6, (2.0, -1.0))
SPACE = Volume((11, 80, 90), (0.7, 0.6, 0.6), (2.0, -3.0, 0.0))
SMALL = Volume((3, 60, 66), (0.7, 0.6, 0.6), (4.0, -6.0, 0.0))
RANDOM = np.sort(np.random.default_rng(0).random(500)) * math.pi
SHIFTS = np.random.default_rng(1).normal(size=(180, 2))

DISCS: dict[str, tuple[Geometry, Volume]] = {
    "half a turn": (ParallelBeam(arc(180, 300), 200, 0.4), PLANE),
    "half a turn, end included": (ParallelBeam(np.linspace(0, math.pi, 301), 200, 0.4), PLANE),
    "a turn": (ParallelBeam(arc(360, 501), 200, 0.4, axis_offset=1.7), PLANE),
    "three quarters": (ParallelBeam(arc(270, 450), 200, 0.4, axis_offset=1.7), PLANE),
    "two turns": (ParallelBeam(np.linspace(0, 4 * math.pi, 800), 200, 0.4), PLANE),
    "random angles": (ParallelBeam(RANDOM, 200, 0.4), PLANE),
    "half a detector": (ParallelBeam(arc(360, 600), 110, 0.4, detector_offset=14.0), PLANE),
    "fine pixels": (ParallelBeam(arc(180, 300), 500, 0.13), PLANE),
    "fan, a turn": (FanBeam(arc(360, 500), 260, 0.6, **FAN), PLANE),
    "fan, axis aside": (FanBeam(arc(360, 500), 260, 0.6, axis_offset=4.0, **FAN), PLANE),
    "fan, short": (FanBeam(arc(226, 400), 260, 0.6, **FAN), PLANE),
    "fan, short, axis aside": (FanBeam(arc(230, 400) + 1.0, 260, 0.6, axis_offset=-3.0, **FAN), PLANE),
    "fan, over-scanned": (FanBeam(arc(300, 500), 260, 0.6, **FAN), PLANE),
    "fan, half a detector": (FanBeam(arc(360, 600), 160, 0.6, detector_offset=30.0, **FAN), PLANE),
    "cone, a turn": (ConeBeam(arc(360, 300), 220, 0.6, rows=51, row_pixel=1.2, **FAN), SPACE),
    "cone, short": (ConeBeam(arc(225, 250), 220, 0.6, rows=51, row_pixel=1.2, **FAN), SPACE),
    "cone, tilted": (ConeBeam(arc(360, 120), 160, 0.8, rows=31, row_pixel=1.2, tilt=0.02, **FAN), SMALL),
    "parallel, shifted": (ParallelBeam(arc(180, 180), 180, 0.4, rows=70, shifts=SHIFTS), SPACE),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCS)
def test_a_body_of_known_value_has_it_in_one_per_mm(name: str) -> None:
    image, distance = reconstructed(*DISCS[name])
    inside, around = distance < RADIUS - 2.5, (distance > RADIUS + 2) & (distance < RADIUS + 6)
    assert image[inside].mean() == pytest.approx(VALUE, rel=2e-3)
    assert image[inside].std() < 0.02 * VALUE
    assert abs(image[around].mean()) < 2e-3 * VALUE


def test_a_missing_wedge_is_missing() -> None:
    """Views beside the wedge are not made to stand for it: the mean falls with the arc that was seen."""
    image, distance = reconstructed(ParallelBeam(arc(140, 280), 200, 0.4), PLANE)
    assert image[distance < RADIUS - 3].mean() / VALUE == pytest.approx(140 / 180, abs=0.01)


@pytest.mark.parametrize("kind", ["parallel", "fan"])
@pytest.mark.parametrize("window", WINDOWS)
def test_the_head_has_its_values(kind: str, window: str) -> None:
    """Flat regions of the head from its exact sinogram, at 512^2: within 1 %."""
    volume = Volume((512, 512), 0.2)
    scene = head().placed(volume)
    geometry: Geometry = ParallelBeam(arc(180, 720), 768, 0.2)
    if kind == "fan":
        geometry = FanBeam(arc(360, 1080), 768, 0.35, source_origin=300.0, source_detector=500.0)
    if window != "ramp":
        geometry = geometry[::3]
    data = torch.from_numpy(scene.project(geometry)).float()[None, None]
    image = filtered_back_projection(projector(geometry, volume), data, window=window)[0, 0].numpy()
    truth = scene.image(volume)
    around = {"size": 7, "mode": "nearest"}
    flat = maximum_filter(truth, **around) - minimum_filter(truth, **around) < 1e-6
    levels = {round(float(value), 6) for value in truth[flat]}
    checked = []
    for value in sorted(levels):
        region = flat & (np.abs(truth - value) < 1e-6)
        if region.sum() < 60:
            continue
        checked.append(value)
        assert image[region].mean() == pytest.approx(value, rel=0.01, abs=0.0015), value
    # Air and ventricles, brain, tumours.
    assert {0.0, 0.2, 0.3} <= set(checked)


def test_windows_pass_less_and_less() -> None:
    passed = [window_response(name, 256).sum() for name in WINDOWS]
    assert passed == sorted(passed, reverse=True)
    for name in WINDOWS:
        response = window_response(name, 256, cutoff=0.5)
        assert response[0] == pytest.approx(1.0) and not response[65:].any()
        assert (np.diff(response) <= 1e-12).all()


def test_the_ramp_is_the_ramp() -> None:
    """Its transform is |f| up to Nyquist's frequency, but for the little that keeps the mean."""
    pixel, length = 0.3, 4096
    response = np.fft.rfft(ramp_kernel(1024, pixel, length)).real * pixel
    frequency = np.fft.rfftfreq(length, pixel)
    assert np.abs(response - frequency).max() < 1e-3 * frequency.max()
    assert response[0] > 0
    with pytest.raises(UsageError, match="wrap around"):
        ramp_kernel(1024, pixel, 1024)


def test_filtering_does_not_wrap() -> None:
    """What enters at one end of the detector is not seen at the other as if they were neighbours."""
    line = torch.zeros(2, 100, dtype=torch.float64)
    line[0, 0] = line[1, 50] = 1
    out = ramp_filter(line, 1.0)
    assert torch.allclose(out[0, 1:50], out[1, 51:], atol=1e-12)
    assert float(out[0, 99]) == pytest.approx(-1 / (math.pi * 99) ** 2, rel=1e-9)


@pytest.mark.parametrize("keywords", [{"window": "han"}, {"cutoff": 0.0}, {"cutoff": 1.5}])
def test_bad_filters_are_refused(keywords: dict[str, Any]) -> None:
    A = projector(ParallelBeam(arc(180, 4), 8), Volume((6, 6)))
    with pytest.raises(UsageError):
        filtered_back_projection(A, torch.zeros(1, 1, 4, 8), **keywords)


def test_data_of_the_wrong_shape_are_refused() -> None:
    A = projector(ParallelBeam(arc(180, 4), 8), Volume((6, 6)))
    with pytest.raises(UsageError, match=r"give \(B, C, 4, 8\)"):
        filtered_back_projection(A, torch.zeros(4, 8))


@pytest.mark.parametrize(
    ("geometry", "volume"),
    [
        (ParallelBeam(arc(360, 9), 60, 0.9, axis_offset=4.0, shifts=SHIFTS[:9, 0]), Volume((30, 41), 0.8)),
        (FanBeam(arc(360, 9), 90, 0.6, axis_offset=4.0, **FAN), Volume((30, 41), (0.5, 0.8), (2.0, 3.0))),
        (FanBeam(arc(360, 9), 400, 0.1, **FAN), Volume((30, 41), 0.8)),
        (ConeBeam(arc(360, 9), 60, 1.2, rows=40, shifts=SHIFTS[:9], **FAN), Volume((21, 30, 41))),
        (ConeBeam(arc(360, 9), 60, 1.2, rows=90, row_pixel=0.2, **FAN), Volume((21, 30, 41))),
        (ParallelBeam(arc(360, 9), 60, rows=30, shifts=SHIFTS[:9]), Volume((21, 30, 41), centre=(1, 2, 3))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("items", [1, 9])
def test_the_kernels_agree_with_plain_torch(geometry: Geometry, volume: Volume, items: int) -> None:
    shape = (geometry.views, geometry.columns)
    if volume.ndim == 3:
        shape = (geometry.views, geometry.rows, geometry.columns)
    data = torch.randn(items, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = back_project_anywhere(geometry, volume, data)
    found = back_project_pixels(geometry, volume, data)
    assert float((found - wanted).abs().max()) < 1e-9 * float(wanted.abs().max())


def test_a_stack_is_reconstructed_slice_by_slice() -> None:
    geometry, volume = ParallelBeam(arc(180, 30), 60, rows=5), Volume((5, 40, 40))
    data = torch.randn(1, 1, 30, 5, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = filtered_back_projection(projector(geometry, volume), data)
    flat = projector(geometry, volume.slice)
    for row in range(5):
        assert torch.allclose(
            whole[:, :, row], filtered_back_projection(flat, data[:, :, :, row]), atol=1e-12
        )


@pytest.mark.parametrize("degrees", [212.0, 240.0, 320.0])
def test_the_two_rays_of_a_line_share_one_weight(degrees: float) -> None:
    """Parker's weights of (b, g) and (b + pi - 2 g, -g) add up to one wherever both were measured."""
    views = np.deg2rad(np.arange(0, degrees, 0.25))
    fan = np.deg2rad(np.arange(-15, 15.25, 0.25))
    weights = parker(views, np.broadcast_to(fan, (views.size, fan.size)))
    checked = 0
    for column, angle in enumerate(fan):
        partner = np.round((np.arange(views.size) * 0.25 + 180 - 2 * np.rad2deg(angle)) / 0.25).astype(int)
        inside = partner < views.size
        total = weights[inside, column] + weights[partner[inside], fan.size - 1 - column]
        assert np.allclose(total, 1, atol=1e-9)
        checked += int(inside.sum())
    assert checked > 500


def test_views_share_the_arc() -> None:
    even, gap = shares(arc(360, 8), math.pi)
    assert np.allclose(even, math.pi / 8) and gap == 0
    wedge, gap = shares(np.deg2rad(np.arange(-60, 61, 2.0)), math.pi)
    assert np.allclose(wedge, np.deg2rad(2.0)) and gap == pytest.approx(np.deg2rad(60.0))
    uneven, _ = shares(np.array([0.0, 1.0, 1.5]), math.pi)
    assert uneven.sum() == pytest.approx(math.pi)
