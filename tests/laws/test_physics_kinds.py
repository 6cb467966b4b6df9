"""Every kind of physics that is declared, as recipes build it, under the laws of linear operators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.physics import certify
from imagereg.physics.registry import Workplace, kinds

SHAPE = (12, 10)


def picture(path: Path) -> Any:
    """What every file holds that a kind asks for: a lopsided kernel, or a mask of some pixels."""
    found = np.zeros((5, 5), np.float32)
    found[1, 2], found[2, 1:4], found[3, 3] = 0.5, 1.0, 0.25
    if "mask" in path.name:
        found = np.random.default_rng(1).integers(0, 2, SHAPE).astype(np.float32)
    return found


PLACE = Workplace(torch.device("cpu"), torch.float64, "auto", picture)


def declared(name: str) -> Any:
    """A kind with a value for every parameter that has no default and is a file."""
    kind = kinds()[name]
    files = {key: Path(key) for key, field in kind.model_fields.items() if "Path" in str(field.annotation)}
    return kind(**files)


def data_of(name: str) -> ir.Measurement:
    """Data that the kind may have: an image where it takes images, else a scan."""
    if kinds()[name].images:
        return ir.Measurement(np.ones((1, *SHAPE), np.float32))
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 7, endpoint=False), 12)
    return ir.Measurement(np.ones((7, 12), np.float32), geometry=geometry)


@pytest.mark.parametrize("name", sorted(kinds()))
def test_a_kind_is_linear_and_its_transpose_is_one(name: str) -> None:
    kind, data = declared(name), data_of(name)
    kind.refuse(data)
    ready = kind.build(data, PLACE).ready(dtype=torch.float64)
    like = ready.physics.A_adjoint(torch.zeros_like(ready.data))
    certify(ready.physics, like)


@pytest.mark.parametrize("name", sorted(kinds()))
def test_the_image_is_finer_than_the_data_by_what_the_kind_says(name: str) -> None:
    kind, data = declared(name), data_of(name)
    ready = kind.build(data, PLACE).ready(dtype=torch.float64)
    image = ready.physics.A_adjoint(torch.zeros_like(ready.data))
    if data.geometry is None:
        assert tuple(image.shape[-2:]) == tuple(kind.finer * n for n in SHAPE)
    else:
        assert kind.finer == 1


@pytest.mark.parametrize("name", sorted(kinds()))
def test_data_that_a_kind_is_not_for_are_refused(name: str) -> None:
    kind = declared(name)
    image = ir.Measurement(np.ones((1, *SHAPE), np.float32))
    scan = replace(
        image,
        data=np.ones((7, 12), np.float32),
        geometry=ir.ParallelBeam(np.linspace(0, np.pi, 7, endpoint=False), 12),
    )
    for held, data in ((kind.images, image), (kind.scans, scan)):
        if held:
            kind.refuse(data)
        else:
            with pytest.raises(UsageError, match=r"physics\.kind"):
                kind.refuse(data)
