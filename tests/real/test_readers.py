"""Real files open with plain `read`, and what is read is what the measurement means."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import imagereg as ir
from imagereg import samples
from imagereg.geometry import FanBeam

pytestmark = pytest.mark.real


def fan_fbp(sinogram: NDArray[Any], geometry: FanBeam, size: int, voxel: float) -> NDArray[Any]:
    """Filtered back-projection of a full turn on a flat detector, in the geometry's own convention.

    A point (x, y) lies at depth L = D - x sin a + y cos a from the source and falls, on the detector scaled
    down to the axis, at s = D (x cos a + y sin a) / L (Kak & Slaney, Principles of Computerized Tomographic
    Imaging, 1988, section 3.4.2).
    """
    views, columns = sinogram.shape
    distance = geometry.source_origin
    step = geometry.pixel / geometry.magnification
    s = (np.arange(columns) - geometry.centre_of_rotation) * step
    length = 1 << int(np.ceil(np.log2(2 * columns)))
    lags = np.fft.fftfreq(length, 1 / length)
    odd = lags % 2 != 0
    kernel = np.zeros(length)
    kernel[0], kernel[odd] = 0.25, -1 / (np.pi * lags[odd]) ** 2
    weighted = sinogram * distance / np.hypot(distance, s)
    filtered = np.fft.irfft(np.fft.rfft(weighted, length) * np.fft.rfft(kernel).real)[:, :columns] / step
    x = (np.arange(size) - (size - 1) / 2) * voxel
    y = -x[:, None]
    image = np.zeros((size, size))
    for angle, line in zip(geometry.angles, filtered, strict=True):
        depth = distance - x * np.sin(angle) + y * np.cos(angle)
        fall = distance * (x * np.cos(angle) + y * np.sin(angle)) / depth
        image += (distance / depth) ** 2 * np.interp(fall, s, line)
    return image * np.pi / views


def matthews(image: NDArray[Any], mask: NDArray[Any]) -> float:
    from skimage.filters import threshold_otsu

    return float(np.corrcoef((image > threshold_otsu(image)).ravel(), mask.ravel())[0, 1])


def test_htc_disc_matches_its_mask_as_it_is(shared: Path) -> None:
    scan = ir.read(shared / "htc2022/ta_full_a_1.mat")
    geometry = scan.geometry
    assert isinstance(geometry, FanBeam)
    assert (geometry.source_origin, geometry.source_detector) == (410.66, 553.74)
    assert (geometry.columns, geometry.pixel) == (560, pytest.approx(0.2))
    assert geometry.pixel / geometry.magnification == pytest.approx(0.14832, abs=1e-5)
    mask = np.asarray(ir.read(shared / "htc2022/gt/ta_category7.png").data) > 0
    # View 720 repeats view 0. Every other view is plenty, and the discs are said to be in mm.
    views = slice(0, 720, 2)
    image = fan_fbp(np.asarray(scan.data[views]), geometry[views], 512, 0.14832)
    assert matthews(image, mask) > 0.99
    assert matthews(image[::-1], mask) < 0.8
    assert matthews(image[:, ::-1], mask) < 0.8
    limited = ir.read(shared / "htc2022/ta_full_a_1.mat", entry="CtDataLimited")
    assert limited.data.shape == (61, 560)
    assert np.ptp(limited.geometry.angles) == pytest.approx(np.deg2rad(30))


def test_tooth(shared: Path) -> None:
    scan = ir.read(shared / "tooth/tooth.h5")
    assert (scan.source.format, scan.quantity) == ("dxchange", "counts")
    assert scan.data.shape == (181, 2, 640)
    assert scan.flats.shape == scan.darks.shape == (10, 2, 640)
    assert np.rad2deg(scan.geometry.angles[-1]) == pytest.approx(179.01, abs=0.01)
    assert scan.notes == ("no pixel size in the file: 1 mm assumed; give the hint pixel (mm).",)
    again = pickle.loads(pickle.dumps(scan.data))
    np.testing.assert_array_equal(again[90, 1], scan.data[...][90, 1])
    transmission = (scan.data[...] - scan.darks[...].mean(0)) / (
        scan.flats[...].mean(0) - scan.darks[...].mean(0)
    )
    assert 0.9 < np.median(transmission[:, :, :40]) < 1.1
    # The mirrored last view is the first one, shifted by twice the distance of the axis from the middle.
    first, last = (-np.log(transmission[view, 0].clip(1e-3)) for view in (0, 180))
    spectrum = np.fft.rfft(first - first.mean()) * np.conj(np.fft.rfft(last[::-1] - last.mean()))
    shift = int(np.argmax(np.fft.irfft(spectrum, 640)))
    assert (640 - 1) / 2 + ((shift + 320) % 640 - 320) / 2 == pytest.approx(295.9, abs=1.5)


def test_diamond_stack(shared: Path) -> None:
    scan = ir.read(shared / "savu/tomo24737_projections.npz")
    assert (scan.quantity, scan.data.shape) == ("transmission", (91, 135, 160))
    assert scan.rows == 135
    assert np.rad2deg(scan.geometry.angles[[0, -1]]) == pytest.approx([-88.2, 91.8], abs=1e-3)
    assert any("taken as transmission" in note for note in scan.notes)


@pytest.mark.parametrize("name", ["haadf_aligned_crop", "haadf_raw_misaligned_half"])
def test_tilt_series_conserve_mass_along_their_axis(shared: Path, name: str) -> None:
    """Each slice across the tilt axis projects to the same total in every view; slices along it do not."""
    path = shared / f"haadf_tilt/{name}.npz"
    scan = ir.read(path)
    assert scan.quantity == "line_integrals"
    assert scan.geometry.pixel == pytest.approx(3.36e-6 if "aligned_crop" in name else 6.72e-6)

    def spread(data: Any) -> float:
        frames = np.asarray(data, dtype=float)[10:-10]
        totals = (frames - np.percentile(frames, 1)).sum(axis=2)
        busy = totals.mean(axis=0) > 0.3 * totals.mean(axis=0).max()
        return float(np.median(totals[:, busy].std(axis=0) / totals[:, busy].mean(axis=0)))

    if name == "haadf_aligned_crop":
        assert spread(scan.data) < 0.5 * spread(ir.read(path, axes="views,rows,columns").data)
    turned = ir.read(path, axes="views,rows,columns")
    np.testing.assert_array_equal(np.asarray(turned.data).transpose(0, 2, 1), np.asarray(scan.data))


def test_neutron_sinogram(shared: Path) -> None:
    path = shared / "sarepy_neutron/sinogram_360_neutron_image.tif"
    assert ir.read(path).quantity == "image"
    scan = ir.read(path, angles="linspace(0, 360, N)")
    assert (scan.quantity, scan.data.shape, scan.geometry.columns) == ("counts", (459, 503), 503)
    np.testing.assert_allclose(scan.geometry.angles, np.linspace(0, 2 * np.pi, 459))


@pytest.mark.parametrize(
    ("file", "shape", "low", "high"),
    [
        ("ct_dicom/CT_small.dcm", (128, 128), -1024, 1167),
        ("ct_dicom/CT1_UNC.dcm", (512, 512), None, None),
        ("ct_tcia/tcga_luad_subset.npz", (14, 512, 512), -2048, 3071),
        ("tigre/thorax_img128.mat", (128, 128, 128), None, None),
        ("leap/FORBILD_head_512.npy", (512, 512), 0, 0.035995),
        ("htc2022/htc2022_solid_disc_full_recon_fbp.mat", (512, 512), None, None),
        ("set12/01.png", (256, 256), 0, 255),
        ("fmd/bacteria_noisy16.png", None, None, None),
    ],
)
def test_images(shared: Path, file: str, shape: Any, low: float | None, high: float | None) -> None:
    image = ir.read(shared / file)
    assert image.quantity == "image"
    values = np.asarray(image.data)
    assert np.isfinite(values).all()
    assert shape is None or values.shape == shape
    if low is not None and high is not None:
        assert values.min() >= low
        assert values.max() <= high + 1e-5


def test_dicom_has_its_pixel(shared: Path) -> None:
    assert ir.read(shared / "ct_dicom/CT_small.dcm").pixel == pytest.approx((0.661468, 0.661468))
    folder = ir.read(shared / "ct_dicom")
    assert any("several series" in note for note in folder.notes)


@pytest.mark.parametrize("name", [s.name for s in samples.SAMPLES.values() if s.kind == "file"])
def test_registered_samples_are_the_files_of_the_mirror(shared: Path, name: str) -> None:
    path = samples.fetch(name, mirror=shared)
    assert path.stat().st_size == samples.SAMPLES[name].size
    measurement = samples.load(name, mirror=shared)
    assert measurement.geometry is not None or measurement.quantity == "image"
