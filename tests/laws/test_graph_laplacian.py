"""The graph Laplacian keeps the laws of one, for images, stacks, volumes and windows of any shape."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from imagereg.errors import UsageError
from imagereg.priors.graph_laplacian import GraphLaplacian

CASES = [
    ((1, 1, 9, 13), 2),
    ((2, 1, 12, 8), 4),
    ((1, 3, 7, 5), 3),
    ((1, 1, 3, 20), 6),
    ((2, 1, 4, 6, 5), 1),
    ((1, 1, 5, 6, 4), (0, 2, 1)),
]


def guide(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_definition(z: np.ndarray, radii: tuple[int, ...], s: float) -> np.ndarray:
    """L of one item (C, ...) as a dense matrix, pair by pair."""
    places = list(itertools.product(*map(range, z.shape[1:])))
    W = np.zeros((len(places), len(places)))
    for a, p in enumerate(places):
        for b, q in enumerate(places):
            if p != q and all(abs(i - j) <= r for i, j, r in zip(p, q, radii, strict=True)):
                W[a, b] = np.exp(-np.mean((z[(slice(None), *p)] - z[(slice(None), *q)]) ** 2) / s)
    W /= np.linalg.norm(W)
    return np.diag(W.sum(1)) - W


@pytest.mark.parametrize(("shape", "radius"), CASES)
def test_it_is_the_definition(shape: tuple[int, ...], radius: int | tuple[int, ...]) -> None:
    z = guide(shape)
    L = GraphLaplacian(z, radius=radius, scale=0.05, value_range=0.7)
    radii = (radius,) * (len(shape) - 2) if isinstance(radius, int) else radius
    x = guide(shape, seed=1)
    seen = L.A(x)
    for item in range(shape[0]):
        M = by_definition(z[item].numpy(), radii, 0.05 * 0.7**2)
        np.testing.assert_allclose(L.matrix(item).toarray(), M, atol=1e-14)
        for channel in range(shape[1]):
            expected = M @ x[item, channel].flatten().numpy()
            np.testing.assert_allclose(seen[item, channel].flatten().numpy(), expected, atol=1e-13)
        np.testing.assert_allclose(L.degrees[item].flatten().numpy(), np.diag(M), atol=1e-13)
        np.testing.assert_allclose(L.gram_diagonal[item].flatten().numpy(), np.diag(M @ M), atol=1e-13)


@pytest.mark.parametrize(("shape", "radius"), CASES)
def test_symmetric_semidefinite_blind_to_constants_and_bounded(
    shape: tuple[int, ...], radius: int | tuple[int, ...]
) -> None:
    L = GraphLaplacian(guide(shape), radius=radius, scale=0.05)
    x, y = guide(shape, seed=1) - 0.5, guide(shape, seed=2) - 0.5
    left, right = float((L.A(x) * y).sum()), float((x * L.A_adjoint(y)).sum())
    assert abs(left - right) <= 1e-13 * float(L.A(x).norm() * y.norm())
    assert float(L.A(torch.full(shape, 3.0, dtype=torch.float64)).abs().max()) <= 1e-14
    for item in range(shape[0]):
        values = np.linalg.eigvalsh(L.matrix(item).toarray())
        assert values[0] >= -1e-12
        assert values[-1] <= 2 * float(L.degrees[item].max()) * (1 + 1e-12)
        assert values[-1] <= L.norm * (1 + 1e-12)


def test_regions_apart_in_grey_are_the_near_null_space() -> None:
    z = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    z[..., 3:8, 4:12] = 0.4
    z[..., 10:14, 2:9] = 1.0
    values = np.linalg.eigvalsh(GraphLaplacian(z, radius=4, scale=1e-3).matrix().toarray())
    # One vector for each of the three regions; the next eigenvalue is of another size.
    assert abs(values[:3]).max() < 1e-10 < 1e-4 < values[3]


@pytest.mark.parametrize(("shape", "radius"), CASES)
def test_groups_are_of_one_block_and_one_grey_and_know_what_the_graph_makes_of_them(
    shape: tuple[int, ...], radius: int | tuple[int, ...]
) -> None:
    z = guide(shape)
    L = GraphLaplacian(z, radius=radius, scale=0.05)
    assert len(L.groups) == shape[0]
    for item, groups in enumerate(L.groups):
        count = len(groups.sizes)
        Z = np.eye(count)[groups.labels]
        np.testing.assert_allclose(groups.sizes, Z.sum(0))
        seen = L.matrix(item).toarray() @ Z
        np.testing.assert_allclose(groups.gram.toarray(), seen.T @ seen, atol=1e-6 * float(L.norm) ** 2)
        rng = np.random.default_rng(0)
        fine, coarse = rng.standard_normal(len(Z)), rng.standard_normal(count)
        np.testing.assert_allclose(groups.spread(coarse), Z @ coarse)
        np.testing.assert_allclose(groups.gather(fine), Z.T @ fine)
        held, eta = 0.3, 4.0
        inverse = np.linalg.inv(held * np.diag(groups.sizes) + eta * groups.gram.toarray())
        np.testing.assert_allclose(groups.factor(held, eta).solve(coarse), inverse @ coarse, rtol=1e-9)
        places = np.stack(np.meshgrid(*map(np.arange, shape[2:]), indexing="ij"), -1).reshape(len(Z), -1)
        for group in range(count):
            inside = places[groups.labels == group]
            for axis, extent in enumerate(np.ptp(inside, axis=0)):
                apart = isinstance(radius, tuple) and radius[axis] == 0
                assert extent == 0 if apart else extent < 2 * (radius if isinstance(radius, int) else 2)


def test_regions_of_one_grey_are_sums_of_groups_and_noise_does_not_part_them() -> None:
    z = torch.zeros(1, 1, 48, 48, dtype=torch.float64)
    z[..., 13:28, 7:33] = 0.4
    z[..., 30:41, 12:39] = 1.0
    noise = 0.005 * torch.randn(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (groups,) = GraphLaplacian(z + noise, radius=4, scale=1e-3).groups
    region = z.flatten().numpy()
    means = groups.spread(groups.gather(region) / groups.sizes)
    np.testing.assert_allclose(means, region, atol=1e-12)
    assert len(groups.sizes) < 3 * 36


def test_a_guide_of_noise_does_not_make_more_groups_than_can_be_solved_for() -> None:
    from imagereg.priors.graph_groups import BLOCKS, MOST

    (groups,) = GraphLaplacian(guide((1, 1, 300, 280)), radius=1, scale=1e-5).groups
    assert BLOCKS < len(groups.sizes) <= MOST * BLOCKS


def test_float32_agrees_with_float64() -> None:
    z, x = guide((1, 1, 40, 33)), guide((1, 1, 40, 33), seed=1)
    double = GraphLaplacian(z, radius=4, scale=0.01)
    single = GraphLaplacian(z.float(), radius=4, scale=0.01)
    assert float((single.A(x.float()) - double.A(x)).norm() / double.A(x).norm()) < 3e-5


def test_shifted_tensors_agree_with_the_compiled_kernel() -> None:
    """What runs on other devices gives what the kernel gives; `matrix` is made of the same shifts."""
    shape = (2, 2, 6, 9)
    L = GraphLaplacian(guide(shape), radius=3, scale=0.05)
    x = L._volumes(guide(shape, seed=1))
    out = torch.zeros_like(x)
    L._apply_shifts(x, out)
    assert torch.allclose(out[:, :, 0] / L._divisor, L.A(x[:, :, 0]), atol=1e-14)
    degrees, squares = torch.zeros_like(L._guide[:, 0]), torch.zeros_like(L._guide[:, 0])
    L._weigh_shifts(degrees, squares)
    assert torch.allclose(degrees[:, None, 0] / L._divisor, L.degrees, atol=1e-14)


def test_each_slice_of_a_stack_has_a_graph_of_its_own() -> None:
    z, x = guide((3, 1, 8, 9)), guide((3, 1, 8, 9), seed=1)
    together = GraphLaplacian(z, radius=2, scale=0.05).A(x)
    for item in range(3):
        alone = GraphLaplacian(z[item : item + 1], radius=2, scale=0.05).A(x[item : item + 1])
        assert torch.equal(together[item : item + 1], alone)


def test_it_does_not_depend_on_the_unit_of_grey() -> None:
    z, x = guide((1, 1, 10, 11)), guide((1, 1, 10, 11), seed=1)
    a, b = GraphLaplacian(z, scale=0.01), GraphLaplacian(250 * z - 30, scale=0.01)
    assert torch.allclose(a.A(x), b.A(x), rtol=1e-9)


def test_a_constant_guide_joins_all_neighbours_alike() -> None:
    L = GraphLaplacian(torch.ones(1, 1, 6, 7, dtype=torch.float64), radius=1)
    weights = -L.matrix().toarray()
    np.fill_diagonal(weights, 0)
    assert np.unique(np.round(weights[weights > 0], 12)).size == 1


def test_the_laplacian_of_a_constant_guide_is_a_convolution() -> None:
    """Away from the borders: 80 x - the sum of the 80 neighbours, over the norm of all weights."""
    L = GraphLaplacian(torch.full((1, 1, 20, 21), 0.7, dtype=torch.float64), radius=4)
    x = guide((1, 1, 20, 21))
    window = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    neighbours = torch.nn.functional.conv2d(torch.ones_like(x), window, padding=4) - 1
    expected = (81 * x[..., 4:-4, 4:-4] - torch.nn.functional.conv2d(x, window)) / neighbours.sum().sqrt()
    assert torch.allclose(L.A(x)[..., 4:-4, 4:-4], expected, atol=1e-13)


@pytest.mark.parametrize(
    ("shape", "given", "sentence"),
    [
        ((4, 5), {}, "give \\(B, C, H, W\\)"),
        ((1, 1, 4, 5), {"radius": 0}, "radius = 0"),
        ((1, 1, 4, 5), {"radius": (1, 1, 1)}, "2 of at least 0"),
        ((1, 1, 4, 5), {"scale": 0.0}, "scale = 0.0"),
        ((1, 1, 1, 1), {}, "no window holds two pixels"),
    ],
)
def test_refusals(shape: tuple[int, ...], given: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        GraphLaplacian(torch.rand(shape), **given)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit a graph"):
        GraphLaplacian(torch.rand(1, 1, 6, 7)).A(torch.rand(1, 1, 7, 6))
