"""Preprocessing of real scans, against what is known of them independently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import imagereg as ir
from imagereg.metrics import ring_energy
from imagereg.preprocessing import centre_sweep, find_centre, health, preprocess

pytestmark = pytest.mark.real


def tooth(shared: Path) -> ir.Measurement:
    import h5py

    with h5py.File(shared / "tooth" / "tooth.h5") as file:
        entry = file["exchange"]
        data, flats, darks = (entry[name][...] for name in ("data", "data_white", "data_dark"))
        angles = np.deg2rad(entry["theta"][...])
    geometry = ir.ParallelBeam(angles=angles, columns=640, rows=2)
    return ir.Measurement(data, geometry=geometry, quantity="counts", flats=flats, darks=darks)


def neutron(shared: Path) -> ir.Measurement:
    import tifffile

    counts = tifffile.imread(next((shared / "sarepy_neutron").glob("*.tif")))
    geometry = ir.ParallelBeam(angles=np.linspace(0, 2 * np.pi, 459), columns=503)
    return ir.Measurement(counts, geometry=geometry, quantity="counts")


def diamond(shared: Path) -> ir.Measurement:
    stored = np.load(shared / "savu" / "tomo24737_projections.npz")
    geometry = ir.ParallelBeam(angles=np.deg2rad(stored["angles_deg"]), columns=160, rows=135)
    return ir.Measurement(stored["projections"], geometry=geometry, quantity="transmission")


def tilt_series(shared: Path) -> ir.Measurement:
    stored = np.load(shared / "haadf_tilt" / "haadf_aligned_crop.npz")
    series = stored["tilt_series"].transpose(0, 2, 1).astype(np.float32)
    geometry = ir.ParallelBeam(angles=np.deg2rad(stored["angles_deg"]), columns=176, rows=140)
    return ir.Measurement(series, geometry=geometry, quantity="line_integrals")


def disc(shared: Path) -> ir.Measurement:
    from scipy.io import loadmat

    stored = loadmat(shared / "htc2022" / "ta_full_a_1.mat", squeeze_me=True, struct_as_record=False)[
        "CtDataFull"
    ]
    geometry = ir.FanBeam(
        angles=np.deg2rad(stored.parameters.angles.astype(float)),
        columns=560,
        pixel=0.2,
        source_origin=410.66,
        source_detector=553.74,
    )
    return ir.Measurement(stored.sinogram.astype(np.float32), geometry=geometry)


@pytest.mark.parametrize("row", [0, 1])
def test_tooth_centre_from_raw_counts(shared: Path, row: int) -> None:
    scan = preprocess(tooth(shared).select(rows=slice(row, row + 1)), ["flatfield", "centre"])
    record = scan.history[1]
    assert abs(record["column"] - 295.9) < 0.6
    assert record["found"]["agreed"] and len(record["found"]["votes"]) == 4
    low, high = record["found"]["interval"]
    assert low < 296.1 and high > 295.7 and high - low < 2


def test_tooth_weights_have_the_scale_of_the_scatter(shared: Path) -> None:
    """In the air beside the tooth the views scatter as the weights say, within the beam's own flicker."""
    scan = preprocess(tooth(shared), ["flatfield"])
    air = slice(480, 620)
    from_view_to_view = np.diff(scan.data[:, 0, air], axis=0).std() / np.sqrt(2)
    told = np.sqrt(np.mean(1 / scan.weights[:, 0, air]))
    assert 0.5 < from_view_to_view / told < 2


def test_health_of_the_tooth(shared: Path) -> None:
    """Nothing is wrong with the scan but four counts 8 to 20 standard deviations above all beside them."""
    assert [(finding.sentence.split()[0], finding.step) for finding in health(tooth(shared))] == [
        ("4", "outliers")
    ]


def test_diamond_stack_centre(shared: Path) -> None:
    found = find_centre(diamond(shared))
    assert abs(found.column - 85.8) < 0.6
    assert found.agreed


def test_neutron_centre_and_rings(shared: Path) -> None:
    plain = preprocess(neutron(shared), [{"flatfield": {"air": 99}}])
    cleaned = preprocess(neutron(shared), ["outliers", {"flatfield": {"air": 99}}, "rings", "centre"])
    assert cleaned.geometry is not None
    assert abs(cleaned.geometry.centre_of_rotation - 245.0) < 0.6
    before, after = (ring_energy(centre_sweep(scan, [245.0], size=503)[0]) for scan in (plain, cleaned))
    assert after < before / 100


def test_tilt_series_with_a_missing_wedge(shared: Path) -> None:
    """Slices of the tip are round with the axis on column 88, and crescents with it on 83."""
    found = find_centre(tilt_series(shared))
    assert abs(found.column - 88.0) < 1.0
    assert set(found.votes) == {"moments", "sharpness"}
    assert any("half a turn apart" in said for said in found.remarks)


@pytest.mark.parametrize(
    "views", [slice(None), slice(0, 430), slice(0, 720, 8)], ids=["full", "short", "eighth"]
)
def test_disc_in_a_fan_is_centred(shared: Path, views: slice) -> None:
    found = find_centre(disc(shared).select(views=views))
    assert abs(found.column - 279.5) < 0.6
    assert found.agreed


def test_a_moved_axis_is_found_where_it_was_moved(shared: Path) -> None:
    """Cropping columns on the left moves the axis by as many: a check that needs no known truth."""
    whole = preprocess(tooth(shared), ["flatfield", "centre"])
    cropped = preprocess(tooth(shared), [{"crop": {"columns": [60, 640]}}, "flatfield", "centre"])
    assert whole.geometry is not None and cropped.geometry is not None
    difference = whole.geometry.centre_of_rotation - cropped.geometry.centre_of_rotation
    assert abs(difference - 60) < 0.2
    halved = preprocess(replace(whole, history=()), ["bin", {"centre": {"rows": 1}}])
    assert halved.geometry is not None
    expected = (whole.geometry.centre_of_rotation + 0.5) / 2 - 0.5
    assert abs(halved.geometry.centre_of_rotation - expected) < 0.2
