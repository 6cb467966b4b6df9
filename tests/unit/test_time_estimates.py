"""How long a run will take, and how much of it is to go, on a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from imagereg.engine import Recorder
from imagereg.running import events, plan
from imagereg.running.events import Clock
from imagereg.running.plan import Plan, Slab, pilot


class Hands:
    """A clock that shows what it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    clock = Hands()
    monkeypatch.setattr(events, "time", clock)
    monkeypatch.setattr(plan, "time", clock)
    return clock


class State(SimpleNamespace):
    """What a clock and a recorder look at of a state."""

    phase = ""

    def __init__(self, iteration: int, total: int, *, finished: str = "", gap: float | None = None) -> None:
        super().__init__(iteration=iteration, total=total, finished=finished, seconds=0.0, gap=gap)
        self.objective = self.residual = None
        self.values: dict[str, float] = {}
        self.progress = iteration / total


def remaining(clock: Clock, state: Any, slab: Slab, whole: Plan, expected: int | None = None) -> float | None:
    return clock.of_state(state, slab, whole, expected).remaining


def test_the_time_to_go_does_not_count_the_preparation(hands: Hands) -> None:
    slab = Slab(0, 0, 4)
    whole = Plan((slab,), (4, 8, 8), 0, 1, 0)
    clock = Clock()
    hands.now = 60.0  # compiling, norms
    assert remaining(clock, State(1, 101), slab, whole) is None
    for iteration in (2, 11, 51, 101):
        hands.now = 60.0 + 0.5 * (iteration - 1)
        left = remaining(clock, State(iteration, 101), slab, whole)
        assert left == pytest.approx(0.5 * (101 - iteration), abs=1e-6)


def test_an_early_end_is_foreseen(hands: Hands) -> None:
    slabs = (Slab(0, 0, 4), Slab(1, 4, 8))
    whole = Plan(slabs, (8, 8, 8), 0, 1, 0)
    clock = Clock()
    remaining(clock, State(1, 1000), slabs[0], whole)
    hands.now = 9.0
    # Ten steps in nine seconds, fifty in each of two slabs.
    left = remaining(clock, State(10, 1000), slabs[0], whole, 50)
    assert left == pytest.approx(90.0, rel=0.1)


def test_gaps_that_fall_by_a_power_tell_when_a_tolerance_is_reached() -> None:
    for power in (1.0, 2.0):
        recorder = Recorder()
        for iteration in range(1, 60):
            recorder.look(State(iteration, 1000, gap=iteration**-power))  # type: ignore[arg-type]
        assert recorder.expected(1e-3**power) == pytest.approx(1000, rel=0.02)
        assert recorder.expected(None) is None
    stuck = Recorder()
    for iteration in range(1, 60):
        stuck.look(State(iteration, 1000, gap=0.5))  # type: ignore[arg-type]
    assert stuck.expected(1e-3) is None


def test_a_pilot_tells_the_time_of_the_whole(hands: Hands) -> None:
    def steps(first: float, each: float, total: int) -> Iterator[Any]:
        for iteration in range(1, total + 1):
            hands.now += first if iteration == 1 else each
            yield State(iteration, total, finished="done" if iteration == total else "")

    # Kernels that were compiled on the way are not compiled again.
    assert pilot(steps(17.0, 0.1, 300), 1e-3, None) == pytest.approx(0.04 + 0.1 + 299 * 0.1)
    assert pilot(steps(0.02, 0.0, 1), 1e-3, None) == pytest.approx(0.02)
    began = hands.now
    pilot(steps(0.1, 1.0, 10_000), 1e-3, None)
    assert hands.now - began < 4


def test_a_plan_says_where_the_end_may_come_early() -> None:
    whole = Plan((Slab(0, 0, 1),), (1, 8, 8), 1000, 2000, 10, seconds=30.0)
    assert str(whole).endswith("about 30 s") and "most" not in str(whole)
    early = Plan((Slab(0, 0, 1),), (1, 8, 8), 1000, 2000, 10, seconds=30.0, early=True)
    assert str(early).endswith("at most about 30 s") and early.brief.startswith("at most about 30 s")


def test_a_tolerance_that_is_never_met_is_no_overflow() -> None:
    from types import SimpleNamespace

    from imagereg.engine import Recorder

    recorder = Recorder()
    for step in range(1, 65):
        figures = {"objective": None, "residual": None, "gap": 1.0 / step, "values": {}, "seconds": 0.0}
        recorder.look(SimpleNamespace(iteration=step, phase="", **figures))  # type: ignore[arg-type]
    assert recorder.expected(1e-300) is None
    assert recorder.expected(1e-3) == pytest.approx(1000, rel=0.05)
