"""ASTRA's CUDA kernels against our own on the CPU; needs a GPU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from imagereg.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, Volume
from imagereg.phantoms.shepp_logan import head
from imagereg.projectors import back_project, project, projector
from imagereg.projectors.filters import filtered_back_projection

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

FAN = {"source_origin": 150.0, "source_detector": 250.0}
SHIFTS = np.random.default_rng(0).normal(size=(60, 2))


def angles(arc: float = 2 * math.pi) -> np.ndarray:
    return np.linspace(0, arc, 60, endpoint=False)


CASES: dict[str, tuple[Geometry, Volume]] = {
    "parallel": (ParallelBeam(angles(math.pi), 96), Volume((64, 64))),
    "parallel, off": (
        ParallelBeam(angles(), 160, 0.7, axis_offset=1.0, shifts=SHIFTS[:, 0]),
        Volume((64, 60), 0.8, (1.5, -2.0)),
    ),
    "parallel, rows are slices": (ParallelBeam(angles(math.pi), 96, rows=7), Volume((7, 64, 60))),
    "fan": (FanBeam(angles(), 96, 1.6, axis_offset=1.0, **FAN), Volume((64, 60), centre=(1.0, -2.0))),
    "cone": (
        ConeBeam(angles(), 96, 1.6, rows=50, axis_offset=1.0, **FAN),
        Volume((24, 64, 60), centre=(1.0, -2.0, 0.5)),
    ),
    "cone, shifted and tilted": (
        ConeBeam(angles(), 96, 1.6, rows=50, shifts=SHIFTS, tilt=0.05, **FAN),
        Volume((24, 64, 60)),
    ),
    "parallel, tilted": (ParallelBeam(angles(), 96, rows=40, tilt=0.05), Volume((24, 64, 60))),
}


def body(volume: Volume) -> torch.Tensor:
    """A smooth blob that is not the same after any flip."""
    axes = [torch.linspace(-1, 1, n) for n in volume.shape]
    grid = torch.meshgrid(*axes, indexing="ij")
    square = sum(part**2 for part in grid)
    tilt = 1 + sum((0.3 + 0.2 * k) * part for k, part in enumerate(grid))
    return (torch.clamp(1 - square, min=0) ** 2 * tilt)[None, None].float()


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_both_kernels_see_the_same(name: str, items: int) -> None:
    gpu, cpu = projector(*CASES[name], device="cuda"), projector(*CASES[name])
    assert gpu.backend == "astra_cuda" and not gpu.exact_transpose
    x = body(gpu.volume).repeat(items, 1, *([1] * gpu.volume.ndim))
    x = x * torch.arange(1, items + 1).reshape(-1, *([1] * (x.ndim - 1)))
    y = cpu.forward(x)
    found = gpu.forward(x.cuda()).cpu()
    assert float((found - y).norm() / y.norm()) < 1e-2
    found = gpu.back(y.cuda()).cpu()
    wanted = cpu.back(y)
    assert float((found - wanted).norm() / wanted.norm()) < 3e-2


@pytest.mark.parametrize("name", CASES)
def test_the_transpose_is_near_on_smooth_images(name: str) -> None:
    A = projector(*CASES[name], device="cuda")
    x = body(A.volume).cuda()
    Ax = A.forward(x)
    error = float(((Ax.double() ** 2).sum() - (x.double() * A.back(Ax).double()).sum()).abs())
    assert error < 1e-2 * float((Ax.double() ** 2).sum())


def test_gradients_pass_on_the_gpu() -> None:
    A = projector(*CASES["parallel"], device="cuda")
    x = body(A.volume).cuda().requires_grad_()
    y = project(A, x)
    (gradient,) = torch.autograd.grad((y**2).sum() / 2, x)
    assert torch.allclose(gradient, back_project(A, y.detach()), rtol=1e-5)


def test_filtered_back_projection_on_the_gpu_is_that_on_the_cpu() -> None:
    geometry, volume = CASES["fan"]
    data = torch.from_numpy(head().placed(volume).project(geometry)).float()[None, None]
    wanted = filtered_back_projection(projector(geometry, volume), data)
    found = filtered_back_projection(projector(geometry, volume, device="cuda"), data.cuda()).cpu()
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))
