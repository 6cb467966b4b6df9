"""Every projector under the laws: exact transpose, linearity, gradients of both orders, truth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from imagereg.errors import UsageError
from imagereg.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, Volume
from imagereg.phantoms.shepp_logan import head
from imagereg.projectors import back_project, project, projector

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def angles(n: int, arc: float = 2 * math.pi) -> np.ndarray:
    # Two of these views look along an axis of the grid, where every ray meets voxels' edges alike.
    return np.linspace(0, arc, n, endpoint=False)


def jitter(views: int, columns: int = 1) -> np.ndarray:
    moved = np.random.default_rng(3).normal(size=(views, columns))
    return moved[:, 0] if columns == 1 else moved


FAN = {"source_origin": 60.0, "source_detector": 110.0}
OFF = {"axis_offset": 1.3, "detector_offset": -0.4}

PLANE: dict[str, tuple[Geometry, Volume]] = {
    "parallel": (ParallelBeam(angles(12, math.pi), 48), Volume((32, 32))),
    "parallel, everything off": (
        ParallelBeam(angles(11) + 0.1, 61, pixel=0.7, shifts=jitter(11), **OFF),
        Volume((37, 29), (1.0, 0.6), (1.5, -2.0)),
    ),
    "parallel, coarse detector": (ParallelBeam(angles(8), 11, pixel=3.1), Volume((23, 31))),
    "parallel, fine detector": (ParallelBeam(angles(8), 150, pixel=0.21), Volume((23, 31))),
    "parallel, one row of voxels": (ParallelBeam(angles(7), 20), Volume((1, 17))),
    "parallel, one view": (ParallelBeam([0.3], 20), Volume((9, 17))),
    "parallel, detector beside the grid": (
        ParallelBeam(angles(6), 9, detector_offset=12.0),
        Volume((16, 16)),
    ),
    "fan": (FanBeam(angles(12), 48, pixel=1.6, **FAN), Volume((32, 32))),
    "fan, everything off": (
        FanBeam(angles(11) + 0.1, 61, pixel=1.1, shifts=jitter(11), **OFF, **FAN),
        Volume((37, 29), (1.0, 0.6), (1.5, -2.0)),
    ),
    "fan, wide": (
        FanBeam(angles(9), 80, pixel=2.0, source_origin=26.0, source_detector=40.0),
        Volume((31, 30)),
    ),
    "fan, coarse detector": (FanBeam(angles(8), 12, pixel=7.0, **FAN), Volume((23, 31))),
}

SPACE: dict[str, tuple[Geometry, Volume]] = {
    "parallel, rows are slices": (ParallelBeam(angles(7), 24, rows=5), Volume((5, 15, 18))),
    "parallel, rows are not slices": (ParallelBeam(angles(7), 24, rows=9), Volume((6, 15, 18), (1.3, 1, 1))),
    "parallel, shifted": (ParallelBeam(angles(7), 24, rows=9, shifts=jitter(7, 2)), Volume((6, 15, 18))),
    "parallel, tilted": (
        ParallelBeam(angles(7), 24, rows=9, tilt=0.06),
        Volume((6, 15, 18), centre=(1, 0, 0.5)),
    ),
    "cone": (ConeBeam(angles(7), 30, pixel=1.5, rows=19, row_pixel=1.1, **FAN), Volume((20, 15, 18))),
    "cone, everything off": (
        ConeBeam(
            angles(7) + 0.1, 30, pixel=1.5, rows=19, row_pixel=2.6, axis_offset=2.0,
            detector_offset=(1.0, -3.0), shifts=jitter(7, 2), **FAN,
        ),
        Volume((9, 15, 18), (0.9, 1.1, 0.8), (1.0, 2.0, -3.0)),
    ),
    "cone, fine rows": (ConeBeam(angles(5), 30, 1.5, rows=57, row_pixel=0.3, **FAN), Volume((20, 15, 18))),
    "cone, coarse rows": (ConeBeam(angles(5), 30, 1.5, rows=7, row_pixel=9.0, **FAN), Volume((20, 15, 18))),
    "cone, tilted": (ConeBeam(angles(5), 30, pixel=1.5, rows=19, tilt=0.1, **FAN), Volume((20, 15, 18))),
    "cone, thin slices": (
        ConeBeam(angles(5), 30, pixel=1.5, rows=19, **FAN),
        Volume((40, 15, 18), (0.1, 1.0, 1.0)),
    ),
}  # fmt: skip


def noise(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def adjoint_error(case: tuple[Geometry, Volume], items: tuple[int, int], dtype: torch.dtype) -> float:
    """|<Ax, y> - <x, A'y>| / (|Ax| |y|) on signed noise."""
    A = projector(*case)
    x, y = noise((*items, *A.image_shape), dtype, 1), noise((*items, *A.data_shape), dtype, 2)
    Ax, Aty = A.forward(x).double(), A.back(y).double()
    x, y = x.double(), y.double()
    if not Ax.any():
        return float(Aty.abs().max())
    return float(((Ax * y).sum() - (x * Aty).sum()).abs() / (Ax.norm() * y.norm()))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("slices", [1, 3, 8, 33])
@pytest.mark.parametrize("name", PLANE)
def test_back_is_the_transpose_in_the_plane(name: str, slices: int, dtype: torch.dtype) -> None:
    assert adjoint_error(PLANE[name], (slices, 1), dtype) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", SPACE)
def test_back_is_the_transpose_in_space(name: str, dtype: torch.dtype) -> None:
    assert adjoint_error(SPACE[name], (2, 1), dtype) <= TOLERANCE[dtype]


@pytest.mark.parametrize("name", ["parallel, everything off", "fan, everything off"])
def test_the_transpose_holds_voxel_by_voxel(name: str) -> None:
    """The whole matrix, so that no error of one weight hides in a sum."""
    geometry, volume = PLANE[name]
    volume = Volume((7, 6), volume.edges, volume.centre)
    A = projector(geometry[:5], volume)
    inputs, outputs = math.prod(A.image_shape), math.prod(A.data_shape)
    matrix = A.forward(torch.eye(inputs, dtype=torch.float64).reshape(inputs, 1, *A.image_shape))
    transposed = A.back(torch.eye(outputs, dtype=torch.float64).reshape(outputs, 1, *A.data_shape))
    assert torch.allclose(matrix.reshape(inputs, -1), transposed.reshape(outputs, -1).T, atol=1e-12, rtol=0)
    assert float(matrix.max()) > 0.1


@pytest.mark.parametrize("name", [*PLANE, *SPACE])
def test_linear(name: str) -> None:
    A = projector(*(PLANE | SPACE)[name])
    for apply, shape in ((A.forward, A.image_shape), (A.back, A.data_shape)):
        a, b = noise((3, 1, *shape), torch.float64, 1), noise((3, 1, *shape), torch.float64, 2)
        assert torch.allclose(apply(2 * a - 3 * b), 2 * apply(a) - 3 * apply(b), atol=1e-10)


@pytest.mark.parametrize("name", [n for n in PLANE if n.startswith(("parallel", "fan"))])
@pytest.mark.parametrize("slices", [2, 5, 13, 33, 41])
def test_a_slice_of_a_stack_is_the_slice_alone(name: str, slices: int) -> None:
    """Blocks of every width, full or not, do what the kernel for one slice does."""
    A = projector(*PLANE[name])
    x, y = (
        noise((slices, 1, *A.image_shape), torch.float64, 1),
        noise((slices, 1, *A.data_shape), torch.float64, 2),
    )
    together, apart = A.forward(x), torch.cat([A.forward(x[k : k + 1]) for k in range(slices)])
    assert torch.allclose(together, apart, atol=1e-10)
    together, apart = A.back(y), torch.cat([A.back(y[k : k + 1]) for k in range(slices)])
    assert torch.allclose(together, apart, atol=1e-10)


def test_rows_of_a_parallel_beam_are_slices() -> None:
    A = projector(*SPACE["parallel, rows are slices"])
    geometry, volume = A.geometry, A.volume
    x = noise((2, 3, *A.image_shape), torch.float64, 1)
    flat = projector(geometry, volume.slice).forward(x.reshape(-1, 1, *volume.shape[1:]))
    wanted = flat.reshape(2, 3, volume.shape[0], *flat.shape[2:]).transpose(2, 3)
    assert torch.allclose(A.forward(x), wanted, atol=1e-10)


def test_the_kernels_in_space_agree_with_the_stack() -> None:
    """Rows that are slices, once by the stack's kernels and once by each of those for any rays."""
    from imagereg.projectors.cone_cpu import ConeProjector

    geometry, volume = SPACE["parallel, rows are slices"]
    A, B = projector(geometry, volume), ConeProjector(geometry, volume)
    x, y = noise((1, 1, *A.image_shape), torch.float64, 1), noise((1, 1, *A.data_shape), torch.float64, 2)
    for upright in (True, False):
        B.upright = upright
        assert torch.allclose(A.forward(x), B.forward(x), atol=1e-10)
        assert torch.allclose(A.back(y), B.back(y), atol=1e-10)


@pytest.mark.parametrize("name", ["cone", "cone, everything off", "cone, fine rows", "parallel, shifted"])
def test_vectors_of_rows_agree_with_rays_one_by_one(name: str) -> None:
    from imagereg.projectors.cone_cpu import ConeProjector

    A = projector(*SPACE[name])
    assert isinstance(A, ConeProjector) and A.upright
    x, y = noise((1, 1, *A.image_shape), torch.float64, 1), noise((1, 1, *A.data_shape), torch.float64, 2)
    forward, back = A.forward(x), A.back(y)
    A.upright = False
    assert torch.allclose(forward, A.forward(x), atol=1e-10)
    assert torch.allclose(back, A.back(y), atol=1e-10)


@pytest.mark.parametrize("name", ["parallel, everything off", "fan, everything off", "cone"])
def test_views_are_independent(name: str) -> None:
    geometry, volume = (PLANE | SPACE)[name]
    A, B = projector(geometry, volume), projector(geometry[::2], volume)
    x = noise((1, 1, *A.image_shape), torch.float64, 1)
    assert torch.allclose(A.forward(x)[:, :, ::2], B.forward(x), atol=1e-12)


@pytest.mark.parametrize("name", ["parallel, everything off", "fan", "cone", "parallel, tilted"])
def test_gradients_of_both_orders(name: str) -> None:
    geometry, volume = (PLANE | SPACE)[name]
    geometry = replace(geometry[:2], columns=4, rows=min(3, geometry.rows))
    A = projector(geometry, Volume((3,) * volume.ndim, volume.edges, volume.centre))
    x = noise((1, 1, *A.image_shape), torch.float64, 1).requires_grad_()
    y = noise((1, 1, *A.data_shape), torch.float64, 2).requires_grad_()
    for apply, given in ((project, x), (back_project, y)):
        assert torch.autograd.gradcheck(lambda z, f=apply: f(A, z), given)
        assert torch.autograd.gradgradcheck(lambda z, f=apply: f(A, z) ** 2, given)


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_the_head_is_projected_with_an_error_that_falls_with_the_pixel(kind: str) -> None:
    errors = []
    for size in (64, 128, 256):
        pixel = 100 / size
        a = angles(45, math.pi if kind == "parallel" else 2 * math.pi) + 0.01
        geometry: Geometry = ParallelBeam(a, round(1.5 * size), pixel)
        if kind == "fan":
            geometry = FanBeam(a, round(1.5 * size), 2 * pixel, source_origin=200, source_detector=400)
        volume = Volume((size, size), pixel)
        scene = head().placed(volume)
        truth = scene.project(geometry)
        image = torch.from_numpy(scene.image(volume, supersampling=8))[None, None]
        found = projector(geometry, volume).forward(image)[0, 0].numpy()
        errors.append(float(np.linalg.norm(found - truth) / np.linalg.norm(truth)))
    print(errors)
    assert errors[2] < 0.02
    assert errors[1] < 0.7 * errors[0] and errors[2] < 0.7 * errors[1], errors


def test_units_are_those_of_the_world() -> None:
    """A block of 3 x 2 mm is 3 and 2 mm long, whatever the voxels."""
    for edges in ((0.25, 0.5), (0.5, 0.25)):
        volume = Volume((round(4 / edges[0]), round(6 / edges[1])), edges, (0.3, -0.2))
        x = torch.zeros(1, 1, *volume.shape)
        rows, columns = round(1 / edges[0]), round(1.5 / edges[1])
        x[..., rows:-rows, columns:-columns] = 1
        geometry = ParallelBeam([0, math.pi / 2], 1, pixel=0.01, detector_offset=0.3 / 7)
        y = projector(geometry, volume).forward(x)[0, 0, :, 0]
        assert y.tolist() == pytest.approx([2.0, 3.0], rel=1e-5)


def test_the_choice_says_why() -> None:
    geometry, volume = PLANE["parallel"]
    A = projector(geometry, volume)
    assert A.backend == "numba" and A.exact_transpose and A.reason.startswith("numba (")
    assert projector(geometry, volume, backend="numba").reason == "numba (asked for)"


@pytest.mark.parametrize(
    ("geometry", "volume", "keywords", "words"),
    [
        (*PLANE["fan"], {"backend": "nunba"}, "did you mean 'numba'"),
        (*PLANE["fan"], {"backend": "astra_cuda"}, "cannot run"),
        (PLANE["fan"][0], Volume((4, 4, 4)), {}, "needs a grid of 2 axes"),
        (SPACE["cone"][0], Volume((4, 4)), {}, "needs a grid of 3 axes"),
        (FanBeam([0], 9, source_origin=10, source_detector=20), Volume((32, 32)), {}, "behind"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    geometry: Geometry, volume: Volume, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        projector(geometry, volume, **keywords)
    assert "\n" not in str(caught.value)


def test_wrong_arrays_are_refused() -> None:
    A = projector(*PLANE["parallel"])
    with pytest.raises(UsageError, match=r"give \(B, C, 32, 32\)"):
        A.forward(torch.zeros(32, 32))
    with pytest.raises(UsageError, match="float32 or float64"):
        A.back(torch.zeros((1, 1, *A.data_shape), dtype=torch.float16))
    assert A.forward(torch.zeros(0, 1, 32, 32)).shape == (0, 1, 12, 48)


def test_a_bad_pixel_stays_where_it_is() -> None:
    A = projector(*PLANE["parallel"])
    for slices in (1, 33):
        x = torch.zeros(slices, 1, 32, 32)
        x[0, 0, 16, 16] = math.nan
        y = A.forward(x)
        assert torch.isnan(y[0]).any() and not torch.isnan(y[1:]).any()
        assert torch.isnan(y[0]).double().mean() < 0.2
