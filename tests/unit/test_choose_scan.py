"""Held-out views of a scan: what is held out, and what it loses to the best strength."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from imagereg.choose.base import choose, make_rule
from imagereg.choose.runs import Runs
from imagereg.errors import UsageError
from imagereg.geometry import ParallelBeam, Volume
from imagereg.measurement import Measurement
from imagereg.methods.registry import method
from imagereg.physics import GaussianNoise, tomography


@pytest.fixture(scope="module")
def scan() -> Measurement:
    """A disc with holes of 64 x 64 pixels, 40 parallel views, noise of 0.3; ready."""
    place = np.arange(64) - 31.5
    x, y = np.meshgrid(place, place)
    image = (np.hypot(x, y) < 28) * 0.6
    for a in np.arange(6):
        image[np.hypot(x - 15 * np.cos(a), y - 15 * np.sin(a)) < 3 + a / 2] = 0.1 * a
    truth = torch.from_numpy(image)[None, None].float()
    geometry = ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), 91, pixel=1.0)
    physics, noise = tomography(geometry, Volume((64, 64), 1.0)), GaussianNoise(0.3)
    return Measurement(
        noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth
    ).ready()


def test_every_view_is_held_out_once_and_never_seen_by_its_run(scan: Measurement) -> None:
    rule = make_rule("held_out", scan, folds=4, used=4)
    seen = []
    for fold, (part, held) in enumerate(rule._parts):
        assert part.geometry.views == part.data.shape[2] == 30
        assert held.data.shape[2] == 10
        assert torch.equal(held.data, scan.data[:, :, fold::4])
        assert np.array_equal(held.physics.geometry.angles, scan.geometry.angles[fold::4])
        kept = set(part.geometry.angles)
        assert kept.isdisjoint(held.physics.geometry.angles)
        assert part.physics.A(scan.truth).shape == part.data.shape
        seen.extend(held.physics.geometry.angles)
    assert sorted(seen) == sorted(scan.geometry.angles)


def test_the_error_of_the_truth_is_the_noise(scan: Measurement) -> None:
    rule = make_rule("held_out", scan)
    for _, held in rule._parts:
        assert held.error(scan.truth) == pytest.approx(0.3**2, rel=0.15)


def test_held_out_views_and_the_noise_left_over_find_a_strength_near_the_best(scan: Measurement) -> None:
    vary = {"strength": (1e-3, 1.0)}
    errors = {}
    for by in ("truth", "held_out", "equivalent_freedom", "discrepancy"):
        found = choose(method("tv", iterations=120), scan, by, vary)
        *_, last = found.method.iterate(scan)
        errors[by] = 10 * math.log10(float((last.image - scan.truth).square().mean()))
        assert found.evidence["at_the_end"] == []
    assert errors["held_out"] < errors["truth"] + 0.7
    assert errors["held_out"] <= errors["discrepancy"]
    assert errors["equivalent_freedom"] < errors["truth"] + 0.5
    assert errors["equivalent_freedom"] < errors["discrepancy"]


def test_the_noise_left_over_is_that_of_the_projection_onto_what_the_fit_cannot_reach() -> None:
    """For least squares in k unknowns the rule is the unbiased estimate of the variance: df = k."""
    from imagereg.physics import identity

    noise = GaussianNoise(0.5)
    data = noise.sample(torch.zeros(1, 1, 32, 32), seed=1)
    flat = Measurement(data, physics=identity(), noise=noise).ready()
    rule = make_rule("equivalent_freedom", flat, probes=2)
    states = rule.score(method("tikhonov", strength=1e6, iterations=300), Runs(seed=0))
    score = None
    while score is None:
        try:
            next(states)
        except StopIteration as end:
            score = end.value
    # So strong a penalty leaves the mean alone: one unknown.
    assert score.figures["degrees_of_freedom"] == pytest.approx(1.0, abs=1.5)
    left = float((data - data.mean()).square().sum()) / (1024 - score.figures["degrees_of_freedom"])
    assert score.value == pytest.approx(0.5 * math.log(left / 0.25), abs=1e-3)
    with pytest.raises(UsageError, match="tau = 0"):
        make_rule("equivalent_freedom", flat, tau=0)


def test_too_few_views_are_refused(scan: Measurement) -> None:
    with pytest.raises(UsageError, match="40 views are too few for 25 folds"):
        make_rule("held_out", scan, folds=25)


def test_noise_that_is_known_does_not_lead_to_the_end_of_the_range(scan: Measurement) -> None:
    """The residual over what noise is left rises at strengths at which 60 steps do not come to an end."""
    found = choose(method("tv", iterations=60), scan, "equivalent_freedom")
    best = choose(method("tv", iterations=60), scan, "truth")
    assert found.evidence["at_the_end"] == []
    assert found.value == pytest.approx(best.value, rel=2.0)


def test_a_range_that_nobody_gave_is_moved_on_where_its_end_is_best() -> None:
    """Noise a hundred times that of a usual scan asks for a strength above 5, where the usual one is 0.05."""
    geometry = ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), 48, pixel=1.0)
    physics, noise = tomography(geometry, Volume((32, 32), 1.0)), GaussianNoise(500.0)
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:24, 8:24] = 1.0
    data = noise.sample(physics.A(truth), seed=0)
    loud = Measurement(data, physics=physics, noise=noise, truth=truth).ready()
    given = {"scale": 1.0, "iterations": 100}
    wide = choose(method("tv", **given), loud, "truth")
    held = choose(method("tv", **given), loud, "truth", {"strength": (5e-4, 5.0)})
    assert wide.value > 5.0
    assert held.value <= 5.0
    assert held.evidence["at_the_end"] == ["strength"]


def test_choosing_holds_no_states_of_earlier_steps(scan: Measurement) -> None:
    import weakref
    from collections.abc import Iterator
    from typing import Any

    from imagereg.choose import base
    from imagereg.solvers.state import State

    alive: weakref.WeakSet[State] = weakref.WeakSet()
    most = 0

    def watched(*args: Any, **kwargs: Any) -> Iterator[State]:
        nonlocal most
        for state in iterate_choice(*args, **kwargs):
            alive.add(state)
            most = max(most, len(alive))
            yield state

    iterate_choice = base.iterate_choice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "iterate_choice", watched)
        choose(method("tv", iterations=5), scan, "held_out", {"strength": (1e-3, 1.0)})
    assert most <= 8
