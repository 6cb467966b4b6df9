"""Samples with known truth, made in a second without a network: File > Open Sample > imagereg."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagereg.geometry import ConeBeam, FanBeam, ParallelBeam, Volume
from imagereg.measurement import Measurement
from imagereg.phantoms import ellipses_and_lines, simulate
from imagereg.physics import GaussianNoise, RelativeNoise
from napari_imagereg.layers import KEY, contrast, measurement_keywords
from napari_imagereg.settings import Settings

LayerData = tuple[Any, dict[str, Any], str]


def _layer(measurement: Measurement, name: str) -> list[LayerData]:
    keywords = measurement_keywords(measurement, name=name)
    keywords["contrast_limits"] = contrast(measurement.data)
    return [(measurement.data, keywords, "image")]


def shepp_logan() -> list[LayerData]:
    """The Shepp-Logan head from 180 parallel views with 1 % noise."""
    geometry = ParallelBeam(np.linspace(0, np.pi, 180, endpoint=False), 256, pixel=1.0)
    return _layer(
        simulate("shepp_logan", geometry, noise=RelativeNoise(0.01), attenuation=0.02), "Shepp-Logan"
    )


def sparse_fan() -> list[LayerData]:
    """Ellipses and lines from 60 fan-beam views with 1 % noise."""
    geometry = FanBeam(
        np.linspace(0, 2 * np.pi, 60, endpoint=False), 384, pixel=1.4, source_origin=600, source_detector=1000
    )
    scan = simulate(
        "ellipses_and_lines",
        geometry,
        volume=Volume((256, 256), 1.0),
        noise=RelativeNoise(0.01),
        attenuation=0.02,
    )
    return _layer(scan, "sparse fan")


def limited_angle() -> list[LayerData]:
    """A foam from views over 120 degrees only."""
    geometry = ParallelBeam(np.deg2rad(np.arange(0, 120, 1.0)), 256, pixel=1.0)
    return _layer(simulate("foam", geometry, noise=RelativeNoise(0.01), attenuation=0.02), "limited angle")


def raw_scan() -> list[LayerData]:
    """Raw counts of a foam with flats, darks, rings, and the axis off centre, read from a file."""
    from imagereg.io import read
    from imagereg.simulation import write_raw_scan

    path = Settings.load().cache_folder() / "foam.h5"
    if not path.exists():
        write_raw_scan(path, columns=256, rows=4, views=120, seed=2)
    return _layer(read(path), "raw foam")


def cone() -> list[LayerData]:
    """The 3-D Shepp-Logan head from 90 cone-beam views."""
    geometry = ConeBeam(
        np.linspace(0, 2 * np.pi, 90, endpoint=False),
        96,
        pixel=2.0,
        rows=96,
        source_origin=500,
        source_detector=800,
    )
    scan = simulate(
        "shepp_logan_3d",
        geometry,
        volume=Volume((64, 64, 64), 1.6),
        noise=RelativeNoise(0.01),
        supersampling=2,
        attenuation=0.02,
    )
    return _layer(scan, "cone beam")


def _picture(seed: int) -> Any:
    return ellipses_and_lines(256, seed=seed)


def noisy() -> list[LayerData]:
    """A picture with Gaussian noise of a tenth of its range."""
    truth = _picture(5)
    data = GaussianNoise(0.1).sample(truth, seed=5).astype(np.float32)
    return [
        (data, {"name": "noisy", "contrast_limits": (0, 1), "metadata": {KEY: {"truth": truth}}}, "image")
    ]


def blurred() -> list[LayerData]:
    """A picture blurred by a Gaussian of 1.5 pixels, with a little noise."""
    from scipy.ndimage import gaussian_filter

    truth = _picture(6)
    data = GaussianNoise(0.01).sample(gaussian_filter(truth, 1.5, mode="reflect"), seed=6).astype(np.float32)
    return [
        (data, {"name": "blurred", "contrast_limits": (0, 1), "metadata": {KEY: {"truth": truth}}}, "image")
    ]
