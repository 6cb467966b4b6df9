"""The selection rules on problems whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from toy_methods import Dense, Ridge, Smooth, SoftThreshold

from imagereg.choose.base import choose, iterate_choice, make_rule
from imagereg.choose.parameter_range import ParameterRange, ranges_of
from imagereg.choose.runs import Runs
from imagereg.errors import UsageError
from imagereg.measurement import Measurement
from imagereg.noise.level import estimate, noise_level
from imagereg.physics import GaussianNoise, PoissonNoise, RelativeNoise, identity


def gauss(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def ill_posed(seed: int = 0, n: int = 24, m: int = 32, sigma: float = 0.02) -> Measurement:
    """A smooth signal through a smoothing dense matrix."""
    t = torch.linspace(0, 1, n, dtype=torch.float64)
    s = torch.linspace(0, 1, m, dtype=torch.float64)
    matrix = torch.exp(-((s[:, None] - t[None, :]) ** 2) / (2 * 0.06**2)) / 4
    truth = (torch.sin(5 * t) + (t > 0.5) * 0.5)[None, None, None]
    physics = Dense(matrix)
    data = physics.A(truth) + sigma * gauss(1, 1, 1, m, seed=seed)
    return Measurement(data, physics=physics, noise=GaussianNoise(sigma), truth=truth)


def hills(sigma: float = 0.5, n: int = 64, seed: int = 0) -> Measurement:
    """A draw from the prior that `Smooth` assumes, and white noise: the best strength is near sigma^2."""
    wave = 2 - 2 * torch.cos(2 * math.pi * torch.arange(n, dtype=torch.float64) / n)
    laplacian = wave[:, None] + wave[None, :]
    laplacian[0, 0] = math.inf
    truth = torch.fft.ifft2(torch.fft.fft2(gauss(1, 1, n, n, seed=99)) / laplacian.sqrt()).real
    noisy = truth + sigma * gauss(1, 1, n, n, seed=seed)
    return Measurement(noisy, physics=identity(), noise=GaussianNoise(sigma), truth=truth)


def smooth(n: int = 96) -> torch.Tensor:
    t = torch.linspace(0, 6, n, dtype=torch.float64)
    return (torch.sin(t)[:, None] * torch.cos(t)[None, :])[None, None]


# ------------------------------------------------------------------ discrepancy
@pytest.mark.parametrize("tau", [1.0, 1.3])
def test_discrepancy_finds_the_known_root(tau: float) -> None:
    """For A = 1, x = y/(1 + s) leaves the residual s/(1 + s) ||y||, so that s is known."""
    y = gauss(1, 1, 16, 16, seed=1) + 3
    noise = GaussianNoise(0.4)
    choice = choose(
        Ridge(), Measurement(y, physics=identity(), noise=noise), vary={"strength": (1e-4, 10)}, tau=tau
    )
    share = tau * 0.4 * 16 / float(y.norm())
    assert choice.value == pytest.approx(share / (1 - share), rel=0.02)
    assert choice.evidence["at_the_end"] == []
    assert choice.method.strength == choice.value
    assert len(choice.curve) <= 12


def test_discrepancy_says_when_the_range_holds_no_root() -> None:
    measurement = Measurement(gauss(1, 1, 16, 16) + 3, physics=identity(), noise=GaussianNoise(0.4))
    choice = choose(Ridge(), measurement, vary={"strength": (1e-6, 1e-4)})
    assert choice.evidence["at_the_end"] == ["strength"]
    assert "widen" in choice.evidence["sentence"]
    assert choice.value == pytest.approx(1e-4)


@pytest.mark.parametrize("noise", [GaussianNoise(0.3), RelativeNoise(0.1), PoissonNoise(2.0)])
def test_noise_norm_is_that_of_the_model(noise: object) -> None:
    clean = gauss(1, 1, 40, 40, seed=2).abs() + 30
    noisy = noise.sample(clean, seed=3)
    level = noise_level(Measurement(noisy, physics=identity(), noise=noise))
    assert not level.estimated
    assert level.norm(noisy) == pytest.approx(float((noisy - clean).norm()), rel=0.06)
    assert level.at(clean).chi_square(noisy - clean) == pytest.approx(clean.numel(), rel=0.12)


# ------------------------------------------------------------------ noise from the data
@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_noise_is_estimated_from_the_data_of_a_smooth_image(sigma: float) -> None:
    level = noise_level(Measurement(smooth() + sigma * gauss(1, 1, 96, 96), physics=identity()))
    assert level.estimated
    assert "estimated from" in level.how
    assert float(level.std.flatten()[0]) == pytest.approx(sigma, rel=0.08)


def test_edges_do_not_pass_for_noise() -> None:
    """A picture of blocks, a quarter of its pixels next to an edge."""
    t = torch.arange(128)
    stripes = ((t % 8 < 4)[:, None] ^ (t % 12 < 5)[None, :]).double() * (t > 50)[:, None]
    noisy = stripes[None, None] + 0.05 * gauss(1, 1, 128, 128, seed=12)
    assert estimate(noisy) == pytest.approx(0.05, rel=0.12)


def test_weights_give_the_shape_of_the_noise_and_the_data_its_size() -> None:
    relative = 1 + 4 * torch.rand((1, 1, 96, 96), generator=torch.Generator().manual_seed(0)).double()
    noisy = smooth() + 0.03 * relative * gauss(1, 1, 96, 96, seed=4)
    level = noise_level(Measurement(noisy, physics=identity(), weights=7.0 / relative**2))
    assert level.chi_square(noisy - smooth()) == pytest.approx(noisy.numel(), rel=0.12)


def test_complex_noise_counts_both_parts() -> None:
    noisy = torch.complex(gauss(1, 1, 64, 64, seed=5), gauss(1, 1, 64, 64, seed=6)) * 0.2
    assert estimate(noisy) == pytest.approx(0.2 * 2**0.5, rel=0.1)


def test_data_without_noise_are_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="no noise to estimate"):
        noise_level(Measurement(torch.zeros(1, 1, 32, 32), physics=identity()))


# ------------------------------------------------------------------ GCV
def gcv_formula(measurement: Measurement, strength: float) -> float:
    A, y = measurement.physics.matrix, measurement.data[0, 0, 0]
    m, n = A.shape
    H = A @ torch.linalg.solve(A.T @ A + strength * torch.eye(n, dtype=A.dtype), A.T)
    residual = y - H @ y
    return float(m * residual.square().sum() / (m - torch.trace(H)) ** 2)


def test_gcv_equals_the_formula_and_finds_its_minimum() -> None:
    measurement = ill_posed()
    choice = choose(Ridge(), measurement, by="gcv", vary={"strength": (1e-5, 10)}, trace="exact")
    sigma = measurement.noise.sigma
    for row in choice.curve:
        assert row["score"] == pytest.approx(gcv_formula(measurement, row["strength"]) / sigma**2, rel=1e-6)
    best = minimize_scalar(lambda t: gcv_formula(measurement, 10**t), bounds=(-5, 1), method="bounded")
    assert math.log10(choice.value) == pytest.approx(best.x, abs=0.05)


def test_random_probes_estimate_the_trace_without_bias() -> None:
    measurement = ill_posed()
    exact = drain(make_rule("gcv", measurement, trace="exact").score(Ridge(strength=0.1), Runs()))
    probed = [
        drain(make_rule("gcv", measurement, probes=8, seed=s).score(Ridge(strength=0.1), Runs()))
        for s in range(40)
    ]
    df = [score.figures["degrees_of_freedom"] for score in probed]
    assert np.mean(df) == pytest.approx(exact.figures["degrees_of_freedom"], abs=4 * np.std(df) / 40**0.5)
    assert np.std(df) > 0


def test_gcv_needs_no_noise_level() -> None:
    """Multiplying the noise model by ten changes nothing."""
    measurement = ill_posed()
    other = Measurement(measurement.data, physics=measurement.physics, noise=GaussianNoise(0.2))
    values = [
        choose(Ridge(), m, by="gcv", vary={"strength": (1e-5, 10)}, trace="exact").value
        for m in (measurement, other)
    ]
    assert values[0] == pytest.approx(values[1], rel=0.01)


def test_exact_trace_of_large_data_is_refused() -> None:
    with pytest.raises(UsageError, match="one a datum"):
        make_rule("gcv", hills(n=72), trace="exact")


# ------------------------------------------------------------------ SURE
@pytest.mark.parametrize("strength", [0.05, 0.3, 0.9])
def test_sure_is_unbiased_for_a_nonlinear_method(strength: float) -> None:
    """400 noisy copies of a sparse image in one batch: their mean SURE is their mean squared error."""
    sigma, copies = 0.3, 400
    truth = (torch.rand((1, 1, 24, 24), generator=torch.Generator().manual_seed(1)) > 0.9).double()
    noisy = truth + sigma * gauss(copies, 1, 24, 24, seed=7)
    measurement = Measurement(noisy, physics=identity(), noise=GaussianNoise(sigma))
    score = drain(make_rule("sure", measurement, step=0.02).score(SoftThreshold(strength=strength), Runs()))
    error = (score.image - truth).square().flatten(1).mean(1) / sigma**2
    assert score.value == pytest.approx(float(error.mean()), rel=0.03)


def test_sure_of_predicted_data_follows_the_true_curve() -> None:
    measurement = ill_posed(sigma=0.05)
    clean = measurement.physics.A(measurement.truth)
    copies = clean + 0.05 * gauss(4000, 1, 1, clean.shape[-1], seed=8)
    many = Measurement(copies, physics=measurement.physics, noise=measurement.noise)
    for strength in (1e-3, 1e-1, 1.0):
        score = drain(make_rule("sure", many, step=0.02).score(Ridge(strength=strength), Runs()))
        predicted = many.physics.A(score.image)
        error = float((predicted - clean).square().mean()) / 0.05**2
        assert score.value == pytest.approx(error, rel=0.05, abs=0.01)


# ------------------------------------------------------------------ held out, truth, L-curve
@pytest.mark.parametrize("by", ["held_out", "gcv", "sure"])
def test_rules_come_within_five_percent_of_the_best_error(by: str) -> None:
    measurement = hills()
    vary = {"strength": (1e-2, 1e3)}
    best = choose(Smooth(), measurement, by="truth", vary=vary)
    found = choose(Smooth(), measurement, by=by, vary=vary)
    error = drain(make_rule("truth", measurement).score(found.method, Runs())).value
    assert error <= 1.05 * best.evidence["score"]
    assert best.evidence["at_the_end"] == []
    # ... and the range holds settings that are far worse.
    assert max(row["score"] for row in best.curve) > 3 * best.evidence["score"]


def test_held_out_entries_are_not_seen_by_the_run() -> None:
    measurement = hills(n=32)
    rule = make_rule("held_out", measurement, folds=4, used=4, seed=3)
    total = torch.zeros_like(measurement.data)
    for part, held in rule._parts:
        hidden = held.weights != 0
        assert not bool(part.data[hidden].any())
        assert not bool(part.physics.A(torch.ones_like(part.data))[hidden].any())
        total += hidden
    assert bool((total == 1).all())


# ------------------------------------------------------------------ the interface
def test_several_parameters_are_chosen_together() -> None:
    """The best shift of a soft threshold on noise around 0.25 is 0.25 whatever the threshold."""
    truth = torch.full((1, 1, 32, 32), 0.25).double()
    data = truth + 0.1 * gauss(1, 1, 32, 32, seed=9) - 0.25
    measurement = Measurement(data, physics=identity(), noise=GaussianNoise(0.1), truth=truth)
    choice = choose(SoftThreshold(), measurement, by="truth", vary={"shift": (-1, 1), "strength": (1e-2, 10)})
    assert choice.values["shift"] == pytest.approx(0.25, abs=0.03)
    assert choice.values["strength"] > 0.2
    with pytest.raises(UsageError, match="see `values`"):
        _ = choice.value
    with pytest.raises(UsageError, match="one condition"):
        choose(SoftThreshold(), measurement, vary={"shift": (-1, 1), "strength": (1e-2, 10)})


def test_whole_numbers_stay_whole_and_are_not_tried_twice() -> None:
    states = list(iterate_choice(SoftThreshold(), hills(n=16), by="truth", vary={"repeats": (1, 5)}))
    choice = states[-1].outcome.choice
    tried = [row["repeats"] for row in choice.curve]
    assert all(value == int(value) for value in tried)
    assert len(tried) == len(set(tried)) <= 5


def test_states_show_the_trial_and_the_last_one_holds_the_choice() -> None:
    states = list(iterate_choice(Smooth(), hills(n=16), by="gcv", vary={"strength": (0.1, 100)}))
    trials = [s for s in states if s.phase == "choosing"]
    inside = [s for s in states if s.phase.startswith("trial")]
    last = states[-1]
    assert len(trials) == last.iteration == last.outcome.choice.evidence["trials"]
    assert len(inside) == last.outcome.choice.evidence["iterations"]
    assert all("strength" in s.values for s in states)
    assert all(not s.finished for s in states[:-1])
    assert last.finished.startswith("strength = ")


def test_the_same_seed_gives_the_same_choice_and_leaves_the_callers_numbers_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    values = [
        choose(Smooth(), hills(n=24), by="held_out", vary={"strength": (1e-2, 1e3)}).value for _ in "ab"
    ]
    assert values[0] == values[1]
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"by": "discrepency"}, "did you mean 'discrepancy'"),
        ({"by": "discrepancy", "taau": 1.1}, "did you mean 'tau'"),
        ({"vary": {"strenght": (0.1, 1)}}, "did you mean 'strength'"),
        ({"vary": {"strength": (1, 0.1)}}, "low < high"),
        ({"vary": {"strength": (0, 1)}}, "start above 0"),
        ({"vary": {"strength": (-1, 1)}}, "above 0"),
        ({"by": "discrepancy", "tau": 0.0}, "positive"),
        ({"by": "held_out", "folds": 1}, "at least 2 folds"),
        ({"by": "lcurve"}, "no penalty"),
    ],
)
def test_mistakes_are_refused_in_a_sentence(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose(Ridge(), hills(n=16), **arguments)


def test_ranges_follow_the_declaration() -> None:
    (strength,) = ranges_of(Ridge(strength=0.5), None)
    assert strength.log
    assert (strength.low, strength.high) == (0.005, 50.0)
    shift = ParameterRange.of(SoftThreshold(), "shift")
    assert not shift.log
    assert shift.low > -1
    assert shift.high < 1
    repeats = ParameterRange.of(SoftThreshold(), "repeats", (1, 200))
    assert repeats.integer
    assert repeats.log
    for place in (0.0, 0.3, 1.0):
        assert strength.place(strength.value(place)) == pytest.approx(place)


def drain(steps):  # type: ignore[no-untyped-def]
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
