"""Real scans from file to slice, against what is known of them independently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imagereg as ir

pytestmark = pytest.mark.real


@pytest.mark.parametrize("row", [0, 1])
def test_tooth_from_raw_counts(shared: Path, row: int) -> None:
    """Three independent estimates of the centre lie between 295.7 and 296.1."""
    raw = ir.read(shared / "tooth" / "tooth.h5").select(rows=slice(row, row + 1))
    scan = ir.preprocess(raw, ["flatfield", "centre"])
    assert scan.geometry is not None
    assert abs(scan.geometry.centre_of_rotation - 295.9) < 0.6
    result = ir.reconstruct(scan, "fbp")
    image = np.asarray(result.image).squeeze()
    assert np.isfinite(image).all()
    # The tooth is denser than the air around it by far more than the noise of the air.
    half = image.shape[0] // 2
    corner, middle = image[:60, :60], image[half - 60 : half + 60, half - 60 : half + 60]
    assert middle.mean() > corner.mean() + 5 * corner.std() / np.sqrt(corner.size)


def read_disc(shared: Path) -> tuple[Any, Any]:
    from skimage.io import imread

    scan = ir.read(shared / "htc2022" / "ta_full_a_1.mat")
    scan = replace(scan, volume=ir.Volume((512, 512), 0.14832))  # the grid of the published masks
    return scan, imread(shared / "htc2022" / "gt" / "ta_category7.png") > 0


def agreement(image: Any, mask: Any) -> float:
    from skimage.filters import threshold_otsu

    from imagereg.metrics import matthews_correlation

    picture = np.asarray(image).squeeze()
    return matthews_correlation(picture > threshold_otsu(picture), mask)


def test_helsinki_disc_full_scan_matches_the_published_mask(shared: Path) -> None:
    scan, mask = read_disc(shared)
    assert agreement(ir.reconstruct(scan, "fbp").image, mask) >= 0.97
    assert agreement(ir.reconstruct(scan, "tv", iterations=60).image, mask) >= 0.97


def test_helsinki_disc_from_every_eighth_view(shared: Path) -> None:
    scan, mask = read_disc(shared)
    few = scan.select(views=slice(0, 720, 8))
    assert few.geometry is not None
    assert few.geometry.views == 90
    assert agreement(ir.reconstruct(few, "tv", iterations=100).image, mask) >= 0.95


def test_diamond_stack_centre_and_all_slices(shared: Path) -> None:
    scan = ir.preprocess(ir.read(shared / "savu" / "tomo24737_projections.npz"), ["flatfield", "centre"])
    assert scan.geometry is not None
    assert abs(scan.geometry.centre_of_rotation - 85.8) < 0.6
    result = ir.reconstruct(scan, "fbp")
    assert np.asarray(result.image).shape[0] == 135


def test_neutron_rings_are_reduced(shared: Path) -> None:
    from imagereg.metrics import ring_energy

    raw = ir.read(shared / "sarepy_neutron" / "sinogram_360_neutron_image.tif", angles="linspace(0,360,459)")
    before = ir.preprocess(raw, [{"flatfield": {"air": 99}}, {"centre": {"column": 245.0}}])
    after = ir.preprocess(before, ["rings"])
    energies = [ring_energy(np.asarray(ir.reconstruct(m, "fbp").image).squeeze()) for m in (before, after)]
    assert energies[1] < 0.5 * energies[0]


def test_electron_tilt_series(shared: Path) -> None:
    raw = ir.read(shared / "haadf_tilt" / "haadf_aligned_crop.npz")
    assert raw.geometry is not None
    assert raw.geometry.views == 77
    result = ir.reconstruct(ir.preprocess(raw, [{"centre": {}}]).select(rows=slice(60, 62)), "fbp")
    assert np.isfinite(np.asarray(result.image)).all()
