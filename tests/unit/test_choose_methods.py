"""The rules on methods of the package: warm starts, pre-estimates made once, and what a rule loses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from imagereg.choose.base import choose, iterate_choice
from imagereg.choose.runs import Runs
from imagereg.measurement import Measurement
from imagereg.methods.registry import method
from imagereg.physics import GaussianNoise, blur, gaussian_kernel, identity
from imagereg.solvers.base import iterate


def blocks(n: int = 64) -> torch.Tensor:
    random = np.random.default_rng(3)
    image = np.zeros((n, n))
    for _ in range(8):
        top, left = random.integers(0, n - 12, 2)
        image[top : top + 10, left : left + 12] += 0.25
    return torch.from_numpy(image)[None, None].float()


def spoilt(physics: object, sigma: float) -> Measurement:
    truth, noise = blocks(), GaussianNoise(sigma)
    return Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(float((image - truth).square().mean()))


@pytest.mark.parametrize("by", ["sure", "gcv"])
def test_tv_denoising_loses_at_most_half_a_decibel(by: str) -> None:
    measurement = spoilt(identity(), 0.1)
    vary = {"strength": (1e-3, 1.0)}
    images = {}
    for rule in ("truth", by):
        *_, last = iterate_choice(method("tv", iterations=150), measurement, rule, vary)
        images[rule] = last.image
        assert last.outcome.choice.evidence["at_the_end"] == []
    assert psnr(images[by], measurement.truth) > psnr(images["truth"], measurement.truth) - 0.5


@pytest.mark.parametrize("by", ["lcurve", "held_out"])
def test_deblurring_by_curves_that_need_no_noise_level(by: str) -> None:
    measurement = spoilt(blur(gaussian_kernel(1.2)), 0.02)
    unknown = Measurement(measurement.data, physics=measurement.physics)
    vary = {"strength": (1e-3, 1e3)}
    best = choose(method("tikhonov"), measurement, "truth", vary)
    found = choose(method("tikhonov"), unknown, by, vary)
    *_, ours = found.method.iterate(measurement)
    *_, theirs = best.method.iterate(measurement)
    assert psnr(ours.image, measurement.truth) > psnr(theirs.image, measurement.truth) - 1.5
    assert found.evidence["at_the_end"] == []


def test_a_curve_without_a_corner_is_said_to_have_none() -> None:
    """Denoising has no L: the penalty of a flat image falls without end."""
    choice = choose(method("tv"), spoilt(identity(), 0.1), "lcurve", {"strength": (1e-3, 10.0)})
    assert choice.evidence["at_the_end"] == ["strength"]
    assert "no corner" in choice.evidence["sentence"]


def test_trials_start_from_the_nearest_image_and_end_where_cold_ones_do() -> None:
    measurement = spoilt(blur(gaussian_kernel(1.2)), 0.02)
    tikhonov = method("tikhonov", tolerance=1e-6, iterations=300)
    runs = Runs()
    images, counts = [], []
    for strength in (0.05, 0.055, 0.05):
        before = runs.iterations
        outcome = drain(runs.run(tikhonov.model_copy(update={"strength": strength}), measurement))
        images.append(outcome.image)
        counts.append(runs.iterations - before)
    assert counts[2] < counts[0] / 2, "a start at the answer must end soon"
    assert float((images[2] - images[0]).norm()) < 2e-3 * float(images[0].norm())
    # Another measurement is none of its business.
    other = spoilt(blur(gaussian_kernel(1.2)), 0.02)
    before = runs.iterations
    drain(runs.run(tikhonov.model_copy(update={"strength": 0.05}), other))
    assert runs.iterations - before == counts[0]


def test_trials_of_pdhg_go_on_with_the_dual_variables() -> None:
    measurement = spoilt(blur(gaussian_kernel(1.2)), 0.02)
    tv = method("tv", tolerance=1e-4, iterations=2000)
    runs, counts, images = Runs(), [], []
    for strength in (0.05, 0.5, 0.053):
        before = runs.iterations
        images.append(drain(runs.run(tv.with_values({"strength": strength}), measurement)).image)
        counts.append(runs.iterations - before)
    alone = tv.with_values({"strength": 0.053})
    first, *_, cold = alone.iterate(measurement)
    stop = alone.rule(first.solver)
    *_, near = iterate(first.solver, first.problem, total=2000, start=images[0], stop=stop)
    assert counts[2] < near.iteration, "the image alone is no better a start"
    assert counts[2] < cold.iteration
    # All are within the gap of 1e-4 of the minimum, and so of each other within about its square root.
    assert float((images[2] - cold.image).norm()) < 5e-3 * float(cold.image.norm())


def test_methods_whose_iterations_regularise_start_anew() -> None:
    measurement = spoilt(blur(gaussian_kernel(1.2)), 0.02)
    runs = Runs()
    images = [drain(runs.run(method("cgls", iterations=k), measurement)).image for k in (4, 8, 4)]
    assert torch.equal(images[0], images[2])
    assert not torch.allclose(images[0], images[1])


def test_a_pre_estimate_is_made_once() -> None:
    measurement = spoilt(identity(), 0.1)
    adaptive = method("space_variant_tv", iterations=300)
    vary = {"strength": (1e-2, 1.0)}
    states = list(iterate_choice(adaptive, measurement, "truth", vary))
    trials = {s.phase.split(":")[0] for s in states if "pre-estimate" in s.phase and s.iteration > 0}
    assert trials == {"trial 1"}
    choice = states[-1].outcome.choice
    assert choice.method.psi == "tv"
    *_, alone = choice.method.iterate(measurement)
    assert float((alone.image - states[-1].image).norm()) < 0.02 * float(alone.image.norm())


def drain(steps):  # type: ignore[no-untyped-def]
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_strength_that_is_varied_is_the_one_that_counts() -> None:
    """graphLa finds its strength by a rule of its own, unless it is given one."""
    measurement = spoilt(blur(gaussian_kernel(1.2)), 0.05)
    unknown = Measurement(measurement.data, physics=measurement.physics)
    graph = method("graph_laplacian", psi={"name": "tikhonov", "strength": 0.1}, iterations=20)
    found = choose(graph, unknown, "held_out", {"strength": (1e-1, 1e5)})
    assert (graph.rule, found.method.rule) == ("auto", "fixed")
    scores = [row["score"] for row in found.curve]
    assert max(scores) > 1.02 * min(scores)
