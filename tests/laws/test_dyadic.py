"""Recursive dyadic partitions: the proximal operator against every partition there is, and cycle spinning."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch

from imagereg.errors import UsageError
from imagereg.priors.dyadic import DyadicPartition, TranslationInvariantPartition

Cell = tuple[int, ...]


def partitions(side: int, corner: tuple[int, ...]) -> Iterator[list[Cell]]:
    """Every recursive dyadic partition of a square or cube, as cells (*corner, side)."""
    yield [(*corner, side)]
    if side > 1:
        half = side // 2
        steps = itertools.product((0, half), repeat=len(corner))
        below = [list(partitions(half, tuple(c + d for c, d in zip(corner, s, strict=True)))) for s in steps]
        for choice in itertools.product(*below):
            yield list(itertools.chain.from_iterable(choice))


def by_hand(x: torch.Tensor, t: float, bounds: tuple, side: int) -> tuple[float, torch.Tensor]:
    """Least 1/2 ||v - x||² + t cells over all partitions, and its v."""
    best, image = float("inf"), x
    for cells in partitions(side, (0,) * x.ndim):
        v, count = torch.zeros_like(x), 0
        for *corner, size in cells:
            place = tuple(slice(c, c + size) for c in corner)
            if x[place].numel():
                mean = x[place].mean()
                v[place] = mean if bounds == (None, None) else mean.clamp(*bounds)
                count += 1
        value = float(0.5 * (v - x).square().sum()) + t * count
        if value < best:
            best, image = value, v
    return best, image


def noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return 0.3 + torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bounds", [(None, None), (0.0, None), (0.0, 0.6)])
@pytest.mark.parametrize(
    ("shape", "side"), [((4, 4), 4), ((3, 4), 4), ((4, 1), 4), ((2, 2, 2), 2), ((1, 2, 2), 2)]
)
def test_prox_is_the_best_of_all_partitions(shape: tuple[int, ...], side: int, bounds: tuple) -> None:
    for seed, t in enumerate((0.01, 0.1, 0.3, 1.0)):
        x = noise(shape, seed)
        prior = DyadicPartition(t / 0.5, dimensions=len(shape))
        v, dual = prior.prox_within(x[None, None], 0.5, bounds)
        best, image = by_hand(x, t, bounds, side)
        torch.testing.assert_close(v[0, 0], image, rtol=1e-12, atol=1e-12)
        reached = 0.5 * (v - x).square().sum() + 0.5 * prior.fn(v)[0]
        assert float(reached) == pytest.approx(best, rel=1e-12)
        torch.testing.assert_close(dual, (x - v) / 0.5)


def test_cells_are_counted() -> None:
    x = torch.zeros(3, 1, 8, 8)
    x[1, 0, :4, :4] = 1
    x[2, 0, 0, 0] = 1
    assert DyadicPartition(2.0).fn(x).tolist() == [2.0, 8.0, 2.0 * (1 + 3 * 3)]


def test_items_have_their_own_steps() -> None:
    x = noise((2, 1, 8, 8), 5)
    steps = torch.tensor([0.1, 2.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    prior = DyadicPartition(1.0)
    together = prior.prox(x, steps)
    for k in range(2):
        assert torch.equal(together[k], prior.prox(x[k : k + 1], float(steps[k]))[0])
    with pytest.raises(UsageError, match="one step size"):
        prior.prox(x, torch.ones_like(x))


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 1, 4, 4), (1, 1, 4, 4, 4)])
def test_cycle_spinning_is_the_mean_over_all_shifts(shape: tuple[int, ...]) -> None:
    x, dimensions = noise(shape, 6), len(shape) - 2
    axes = tuple(range(-dimensions, 0))
    prior = DyadicPartition(0.2, dimensions=dimensions)
    shifts = list(itertools.product(*(range(n) for n in shape[2:])))
    total = torch.zeros_like(x)
    for shift in shifts:
        moved = prior.prox_within(torch.roll(x, shift, axes), 1.0, (0.0, None))[0]
        total += torch.roll(moved, tuple(-s for s in shift), axes)
    spun = TranslationInvariantPartition(0.2, dimensions=dimensions)
    torch.testing.assert_close(
        spun.prox_within(x, 1.0, (0.0, None))[0], total / len(shifts), rtol=0, atol=1e-12
    )
    assert spun.fn(x) is None


def test_cycle_spinning_commutes_with_shifts_and_ignores_the_padding() -> None:
    x = noise((1, 1, 16, 16), 7)
    spun = TranslationInvariantPartition(0.5)
    moved = spun.prox(torch.roll(x, (3, 5), (-2, -1)), 1.0)
    torch.testing.assert_close(moved, torch.roll(spun.prox(x, 1.0), (3, 5), (-2, -1)), rtol=0, atol=1e-12)
    constant = torch.full((1, 1, 5, 11), 2.0, dtype=torch.float64)
    torch.testing.assert_close(spun.prox(constant, 1.0), constant)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="strength = -1"):
        DyadicPartition(-1.0)
    with pytest.raises(UsageError, match="dimensions = 1"):
        DyadicPartition(1.0, dimensions=1)
