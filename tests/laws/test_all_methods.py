"""Laws of all methods: items of a batch are worked on alone, and the unit of the data is but a unit."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.methods.registry import methods
from imagereg.physics import blur, gaussian_kernel

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
BRIGHTNESS = (1.0, 3.0, 10.0)
QUICK = {"iterations": 6, "burn_in": 2, "samples": 3, "thinning": 1, "stages": 3, "tolerance": 1e-9}
JOINT = {"noise2score", "nuclear_norm_denoiser", "recorrupted"}
"""They train one network on all items of the data themselves, and say so."""
ELSEWHERE = {"waveform_inversion", "fdk"}
"""Surveys and cones are one coupled item."""
TESTED = sorted(set(methods()) - JOINT - ELSEWHERE)


@cache
def truth() -> torch.Tensor:
    """Three pictures of a disc with a bar and a hole, each shifted and brighter than the last."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    image = 0.5 * (x**2 + y**2 < 0.75).float()
    image[(x + 0.3) ** 2 + (y - 0.2) ** 2 < 0.06] = 0.0
    image[(x.abs() < 0.5) & ((y + 0.45).abs() < 0.1)] = 0.8
    return torch.stack([f * image.roll(3 * i, -1) for i, f in enumerate(BRIGHTNESS)])[:, None]


@cache
def batch(kind: str) -> ir.Measurement:
    """Three items whose noise is as bright as they are; nobody is told how large it is."""
    generator = torch.Generator().manual_seed(0)
    if kind == "poisson":
        return ir.Measurement(torch.poisson(100 * truth(), generator=generator), noise=ir.PoissonNoise(1.0))
    if kind == "scan":
        geometry = ir.ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), columns=48)
        physics: Any = ir.tomography(geometry, ir.Volume((SIDE, SIDE)))
        level = 0.3
    elif kind == "blur":
        physics, level = blur(gaussian_kernel(1.5)), 0.02
    else:
        physics, level = None, 0.1
    clean = truth() if physics is None else physics.A(truth())
    noise = torch.randn(clean[:1].shape, generator=generator)
    factors = torch.tensor(BRIGHTNESS).reshape(-1, 1, 1, 1)
    return ir.Measurement(clean + level * factors * noise, physics=physics)


def of(name: str) -> ir.Measurement:
    """The first of the batches that a method accepts."""
    kinds = ("scan", "blur", "image", "poisson")
    return next(
        found for found in map(batch, kinds) if not methods()[name].refusal(found) and fits(name, found)
    )


def fits(name: str, measurement: ir.Measurement) -> bool:
    return name != "ddrm" or measurement.physics is None  # it needs singular vectors


def image(name: str, measurement: ir.Measurement) -> torch.Tensor:
    known = methods()[name].model_fields
    given: dict[str, Any] = {key: value for key, value in QUICK.items() if key in known}
    if "psi" in known:
        given["psi"] = "fbp" if measurement.geometry is not None else "tikhonov"
    state = deque(ir.iterate(measurement, name, **given), maxlen=1).pop()
    return state.image.double()


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", TESTED)
def test_an_item_alone_is_the_item_in_its_batch(name: str) -> None:
    """Within what inner iterations leave, at most 1e-3 of the image in any method (decision 6)."""
    whole = of(name)
    together = image(name, whole)
    for item in range(len(BRIGHTNESS)):
        alone = image(name, replace(whole, data=whole.data[item : item + 1]))
        assert distance(alone, together[item : item + 1]) < 2e-3


@pytest.mark.parametrize("power", [100, -100])
@pytest.mark.parametrize("name", TESTED)
def test_data_in_an_extreme_unit_give_the_image_in_that_unit(name: str, power: int) -> None:
    """A factor of 2^100 changes exponents alone, so that only sums taken in another order may differ."""
    whole = of(name)
    one = replace(whole, data=whole.data[:1])
    if one.noise is not None:
        pytest.skip(f"{name} takes counts only, whose unit is a photon")
    expected = image(name, one)
    found = image(name, replace(one, data=one.data * 2.0**power)) / 2.0**power
    assert bool(torch.isfinite(found).all())
    assert distance(found, expected) < 1e-4
