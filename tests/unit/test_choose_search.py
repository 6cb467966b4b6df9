"""The searches: known roots, minima and corners, and how many evaluations they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import pytest

from imagereg.choose.search import corner, menger, minimum, root


def drive(search: Generator[float, Any, float], f: Callable[[float], Any]) -> tuple[float, int]:
    place, count = next(search), 1
    while True:
        try:
            place = search.send(f(place))
            count += 1
        except StopIteration as end:
            return end.value, count


@pytest.mark.parametrize("zero", [0.013, 0.3, 0.5, 0.977])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "shape", [lambda t: t, lambda t: math.expm1(5 * t), lambda t: math.atan(20 * t), lambda t: t + 9 * t**3]
)
def test_root_of_monotone_functions(zero: float, sign: int, shape: Callable[[float], float]) -> None:
    found, count = drive(root(1e-3, close=0.0), lambda t: sign * shape(t - zero))
    assert abs(found - zero) <= 1e-3
    assert count <= 20


def test_root_stops_when_the_value_is_close_and_names_the_nearer_end_without_a_root() -> None:
    found, count = drive(root(1e-9, close=0.02), lambda t: t - 0.4)
    assert abs(found - 0.4) <= 0.02
    assert count <= 8
    assert drive(root(1e-3, close=0.0), lambda t: 1 + t) == (0.0, 7)
    assert drive(root(1e-3, close=0.0), lambda t: -2 + t) == (1.0, 7)


@pytest.mark.parametrize("place", [0.0, 0.07, 0.33, 0.6, 0.95, 1.0])
@pytest.mark.parametrize(
    "shape",
    [
        lambda t: t * t,
        lambda t: math.expm1(4 * t) - 4 * t,
        lambda t: abs(t),
        lambda t: -math.exp(-50 * t * t),
    ],
)
def test_minimum_of_functions_with_one_valley(place: float, shape: Callable[[float], float]) -> None:
    found, count = drive(minimum(0.01), lambda t: shape(t - place))
    assert abs(found - place) <= 0.025
    assert count <= 18


def test_minimum_picks_the_deeper_of_two_valleys_and_can_start_near_one() -> None:
    def valleys(t: float) -> float:
        return -math.exp(-80 * (t - 0.2) ** 2) - 1.3 * math.exp(-80 * (t - 0.8) ** 2)

    assert abs(drive(minimum(0.01), valleys)[0] - 0.8) < 0.02
    assert abs(drive(minimum(0.01, around=0.25), valleys)[0] - 0.2) < 0.02


def test_minimum_of_a_constant_ends() -> None:
    assert 0 <= drive(minimum(0.01), lambda t: 1.0)[0] <= 1


def test_menger_curvature_is_that_of_the_circle() -> None:
    points = [(2 * math.cos(a), 2 * math.sin(a)) for a in (0.1, 0.9, 1.3)]
    assert menger(*points) == pytest.approx(0.5)
    assert menger(*points[::-1]) == pytest.approx(-0.5)
    assert menger((0, 0), (1, 1), (2, 2)) == 0


def test_corner_of_a_hyperbola_in_the_logarithm() -> None:
    """x + y of constant steepness on both sides bends at t = 0.35."""

    def curve(t: float) -> tuple[float, float]:
        s = 12 * (t - 0.35)
        return math.log1p(math.exp(s)), math.log1p(math.exp(-s))

    found, _ = drive(corner(0.005), curve)
    assert abs(found - 0.35) < 0.05
