"""A picture of each method at work on a small scene that it fits; kept, so that the next build is quick."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 20.0
"""Of processor time; what takes longer is shown as far as it comes."""

QUICK: dict[str, dict[str, Any]] = {
    "nuclear_norm_denoiser": {"steps": 60, "crop": 48, "batch": 4},
    "recorrupted": {"steps": 120, "crop": 48, "batch": 4},
    "waveform_inversion": {"iterations": 20, "bottom": 2500.0},
    "dps": {"iterations": 40},
    "vble": {"iterations": 80, "samples": 16},
}
"""Methods that take long, with fewer steps than one would take."""


@dataclass(frozen=True)
class Picture:
    """PNG and the sentence below it."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Scene:
    """Data with their truth: what they are, and how to make them."""

    name: str
    said: str
    make: Callable[[], tuple[Any, Any]]


def picture(kind: Any, cache: Path) -> Picture | None:
    """The method's picture, from the cache where nothing of it changed; None where no scene fits."""
    key = hashlib.sha256(
        (
            json.dumps(kind.model_json_schema(), sort_keys=True, default=str) + _source(kind) + _source(Scene)
        ).encode()
    ).hexdigest()[:16]
    png, caption = (cache / f"{kind.name}-{key}{suffix}" for suffix in (".png", ".txt"))
    if not caption.exists():
        made = _make(kind)
        if made is None:
            return None
        cache.mkdir(parents=True, exist_ok=True)
        png.write_bytes(made.png)
        caption.write_text(made.caption, encoding="utf-8")
    return Picture(png.read_bytes(), caption.read_text(encoding="utf-8"))


def _source(kind: Any) -> str:
    return inspect.getsource(inspect.getmodule(kind) or kind)


def _make(kind: Any) -> Picture | None:
    import imagereg as ir
    from imagereg.metrics import psnr

    settings = QUICK.get(kind.name, {})
    for scene in SCENES:
        measurement, truth = scene.make()
        if kind.refusal(measurement) or not _suits(kind, scene):
            continue
        began, last = time.process_time(), None
        try:
            for state in ir.iterate(measurement, ir.method(kind.name, **settings), device="cpu", seed=0):
                last = state
                if time.process_time() - began > SECONDS:
                    break
        except ir.ImageregError:
            continue
        if last is None:
            continue
        before = _before(measurement)
        image = last.image.detach()
        whole = "" if last.finished else f", stopped after {SECONDS:.0f} s"
        said = ", ".join(f"{name} = {value}" for name, value in settings.items()) or "its defaults"
        figure = (
            f"; PSNR {psnr(_flat(image), _flat(truth)):.1f} dB"
            if _flat(image).shape == _flat(truth).shape
            else ""
        )
        views = {"truth": truth, before[0]: before[1], kind.name: image}
        return Picture(ir.show(views).png, f"{scene.said}; the method with {said}{whole}{figure}.")
    return None


def _flat(image: Any) -> Any:
    array = image.detach().cpu().numpy() if hasattr(image, "detach") else np.asarray(image)
    return array.reshape([n for n in array.shape if n > 1])


def _before(measurement: Any) -> tuple[str, Any]:
    """What one has without the method: the quick reconstruction, or the data."""
    import imagereg as ir

    geometry = measurement.geometry
    if geometry is not None and measurement.quantity == "line_integrals":
        quick = "fdk" if geometry.kind == "cone" else "fbp"
        return f"{quick}", ir.reconstruct(measurement, quick).image
    if geometry is not None:
        return "counts", measurement.data
    return "data", measurement.data


def _suits(kind: Any, scene: Scene) -> bool:
    """Whether a method's picture is made from this scene: methods that only denoise are shown denoising."""
    bases = [base.__name__ for base in kind.__mro__]
    if scene.name == "scan":
        return not {"SelfSupervised", "SobolevMethod"} & set(bases)
    return scene.name != "noisy" or "DiffusionMethod" not in bases


def _scan() -> tuple[Any, Any]:
    import imagereg as ir
    from imagereg.phantoms import ellipses_and_lines, simulate

    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 60, endpoint=False), columns=183)
    truth = ellipses_and_lines(128, seed=4)
    return simulate(
        truth, geometry, volume=ir.Volume((128, 128)), noise=ir.RelativeNoise(0.01), seed=1
    ), truth


def _cone() -> tuple[Any, Any]:
    import imagereg as ir
    from imagereg.phantoms import simulate

    geometry = ir.ConeBeam(
        np.linspace(0, 2 * np.pi, 60, endpoint=False),
        columns=64,
        rows=64,
        source_origin=200,
        source_detector=250,
    )
    scan = simulate("shepp_logan_3d", geometry, noise=ir.RelativeNoise(0.01), seed=1)
    return scan, scan.truth


def _photograph() -> Any:
    import torch
    from skimage.data import camera

    return torch.as_tensor(camera()[80:208, 160:288] / 255, dtype=torch.float32)[None, None]


def _noisy() -> tuple[Any, Any]:
    import imagereg as ir

    noise, truth = ir.GaussianNoise(0.1), _photograph()
    return ir.Measurement(noise.sample(truth, seed=1), noise=noise), truth


def _blurred() -> tuple[Any, Any]:
    import imagereg as ir
    from imagereg.physics import gaussian_kernel

    physics, noise, truth = ir.blur(gaussian_kernel(1.5)), ir.GaussianNoise(0.01), _photograph()
    data = noise.sample(physics.A(truth), seed=1)
    return ir.Measurement(data, physics=physics, noise=noise, quantity="image"), truth


def _counts() -> tuple[Any, Any]:
    import imagereg as ir
    from imagereg.phantoms import simulate

    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 90, endpoint=False), columns=137)
    grid, noise = ir.Volume((96, 96)), ir.TransmissionNoise(2000)
    scan = simulate("shepp_logan", geometry, volume=grid, noise=noise, attenuation=0.03, seed=1)
    return scan, scan.truth


def _survey() -> tuple[Any, Any]:
    import torch

    import imagereg as ir
    from imagereg.physics.wave import surface_survey

    survey = surface_survey((20, 48), spacing=20.0, seconds=0.8, frequency=5.0, fastest=3400.0, shots=4)
    truth = torch.linspace(1500, 2500, 20)[:, None].expand(1, 1, 20, 48).clone()
    truth[..., 8:12, 16:32] += 300
    # Velocities that rise with depth are where the inversion starts; the lens is what it has to find.
    return ir.Measurement(survey.A(truth), physics=survey, quantity="image"), truth


SCENES = (
    Scene("scan", "A parallel-beam scan of 60 views with 1 % of noise", _scan),
    Scene("cone", "A cone-beam scan of 60 views, the middle slice", _cone),
    Scene("counts", "A transmission scan with 2000 photons a ray", _counts),
    Scene("noisy", "A photograph with noise of a tenth of its range", _noisy),
    Scene("blurred", "A blurred photograph with a little noise", _blurred),
    Scene("survey", "A seismic survey of four shots, velocities in m/s", _survey),
)
