"""What calibration promises, on synthetic images whose errors are known, and what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom

from imagereg.errors import UsageError
from imagereg.uncertainty.calibration import Calibration
from imagereg.uncertainty.conformal import (
    FACTORS,
    RULES,
    image_quantile,
    least_images,
    loss_curve,
    risk_controlled_mean,
    risk_controlling,
    split_quantile,
    upper_bound,
)
from imagereg.uncertainty.covariate_shift import (
    default_strength,
    features_of,
    lr_qr,
    measurement_features,
    objective,
)

ALPHA = DELTA = 0.1
PIXELS = 200


def losses_of(random: np.random.Generator, images: int) -> np.ndarray:
    """Images whose spread is 40 % too narrow and off by a factor of their own (dependent pixels)."""
    scale = np.exp(0.3 * random.standard_normal((images, 1)))
    errors = np.abs(random.standard_normal((images, PIXELS))) * scale
    scores = errors / (0.6 * 1.645)
    return np.stack([loss_curve(row) for row in scores])


def at(losses: np.ndarray, factor: float) -> np.ndarray:
    return losses[:, int(np.flatnonzero(np.isclose(FACTORS, factor))[0])]


def test_the_guarantees_hold_over_two_hundred_splits() -> None:
    random = np.random.default_rng(0)
    pool = losses_of(random, 4000)
    true_risk = pool.mean(0)
    splits, above = 200, 0
    mean_losses: list[float] = []
    covered: list[float] = []
    for _ in range(splits):
        order = random.permutation(len(pool))
        calibration, test = pool[order[:100]], pool[order[100:150]]
        factor = risk_controlling(calibration, ALPHA, DELTA)
        above += float(true_risk[np.isclose(FACTORS, factor)][0]) > ALPHA
        mean_losses.append(at(test, risk_controlled_mean(calibration, ALPHA)).mean())
        covered.append((at(test, image_quantile(calibration, ALPHA, DELTA)) <= ALPHA + 1e-12).mean())
    # RCPS may fail in a tenth of the calibrations; conformal risk control holds in the mean, and tightly.
    assert above <= binom.ppf(0.999, splits, DELTA)
    error = np.std(mean_losses) / math.sqrt(splits)
    assert np.mean(mean_losses) <= ALPHA + 3 * error
    assert np.mean(mean_losses) >= ALPHA - 2 / 101 - 3 * error
    error = np.std(covered) / math.sqrt(splits)
    assert 1 - DELTA - 3 * error <= np.mean(covered) <= 1 - DELTA + 1 / 101 + 3 * error + 0.02
    assert true_risk[np.argmin(abs(FACTORS - 1))] > 0.3  # what calibration started from


def test_losses_never_rise_and_count_ties_as_covered() -> None:
    random = np.random.default_rng(1)
    losses = losses_of(random, 20)
    assert (np.diff(losses, axis=1) <= 0).all()
    quantised = np.repeat([0.5, 1.0, 2.0], [6, 3, 1])  # a tenth of the pixels above 1, three exactly on it
    factors = np.array([0.4, 0.5, 0.99, 1.0, 2.0])
    assert loss_curve(quantised, factors) == pytest.approx([1.0, 0.4, 0.4, 0.1, 0.0])


def test_many_images_make_the_rules_agree() -> None:
    losses = losses_of(np.random.default_rng(2), 20000)
    strict, mean = risk_controlling(losses, ALPHA, DELTA), risk_controlled_mean(losses, ALPHA)
    assert mean <= strict <= 1.06 * mean
    exact = FACTORS[np.flatnonzero(losses.mean(0) <= ALPHA)[0]]
    assert mean == pytest.approx(exact, rel=0.03)


def test_the_upper_bound_is_a_confidence_bound() -> None:
    assert upper_bound(1.0, 10, 0.1) == 1.0
    # Without a loss it is that of Hoeffding, 1 - delta^(1/n), and finite where 0 log 0 appears.
    assert upper_bound(0.0, 22, 0.1) == pytest.approx(1 - 0.1 ** (1 / 22), abs=1e-6)
    random = np.random.default_rng(3)
    for risk in (0.02, 0.1, 0.5):
        means = random.binomial(30, risk, 300) / 30
        bounds = {mean: upper_bound(float(mean), 30, 0.1) for mean in np.unique(means)}
        failures = sum(bounds[mean] < risk for mean in means)
        assert failures <= binom.ppf(0.999, 300, 0.1)
        assert all(bound > mean for mean, bound in bounds.items())
    # The count of losses is rounded up: 2.5 losses of 30 are three, not two.
    assert upper_bound(2.5 / 30, 30, 0.1) > upper_bound(2.0 / 30, 30, 0.1)


@pytest.mark.parametrize(("rule", "least"), [("rcps", 22), ("crc", 9), ("image", 9)])
def test_too_few_images_are_refused_with_the_number_needed(rule: str, least: int) -> None:
    assert least_images(rule, ALPHA, DELTA) == least
    assert least_images("rcps", 0.05, 0.05) == 59
    perfect = np.zeros((least, len(FACTORS)))
    assert RULES[rule].factor(perfect, ALPHA, DELTA) == FACTORS[0]
    with pytest.raises(UsageError, match=f"{least - 1} calibration images .* at least {least} are needed"):
        RULES[rule].factor(perfect[1:], ALPHA, DELTA)
    hopeless = np.ones((least + 10, len(FACTORS)))
    with pytest.raises(UsageError, match="no factor makes the intervals wide enough"):
        RULES[rule].factor(hopeless, ALPHA, DELTA)


def test_the_split_quantile_is_an_order_statistic() -> None:
    scores = np.arange(1.0, 10.0)
    assert split_quantile(scores, 0.1) == 9.0
    assert split_quantile(scores[:8], 0.1) == math.inf
    assert split_quantile(scores, 0.5) == 5.0


def test_each_rule_says_its_guarantee() -> None:
    for rule in RULES.values():
        sentence = rule.sentence(0.1, 0.05, 40)
        assert "0.9" in sentence
        assert "40" in sentence
    assert "0.95" in RULES["rcps"].sentence(0.1, 0.05, 40)


def shifted(random: np.random.Generator, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Features about `shift` in the first direction, and scores whose scale grows along it."""
    features = random.standard_normal((n, 5))
    features[:, 0] += shift
    scores = np.abs(random.standard_normal(n)) * np.exp(0.5 * features[:, 0])
    return features, scores


def test_a_threshold_that_follows_the_measurement_mends_a_shift() -> None:
    split, plain, fitted = [], [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        features, scores = shifted(random, 150, 0.0)
        target, held = shifted(random, 600, 0.8)
        split.append((held <= split_quantile(scores, 0.1)).mean())
        plain.append((held <= lr_qr(features, scores, target, strength=0.0)(target)).mean())
        fitted.append((held <= lr_qr(features, scores, target, strength=0.1)(target)).mean())
    assert np.mean(split) < 0.82  # nominal 0.9
    assert np.mean(plain) > np.mean(split) + 0.03
    assert np.mean(fitted) > np.mean(split) + 0.04
    assert abs(np.mean(fitted) - 0.9) < 0.05


def test_the_gradient_of_the_objective_is_that_of_finite_differences() -> None:
    random = np.random.default_rng(4)
    phi, scores = random.standard_normal((40, 4)), random.random(40)
    second, first = phi.T @ phi / 40, random.standard_normal(4)
    gamma, beta, step = random.standard_normal(4), 0.7, 1e-6

    def value(g: np.ndarray, b: float) -> float:
        return objective(g, b, phi, scores, second, first, 0.1, 0.3)[0]

    _, gradient, slope = objective(gamma, beta, phi, scores, second, first, 0.1, 0.3)
    for k, unit in enumerate(np.eye(4)):
        difference = value(gamma + step * unit, beta) - value(gamma - step * unit, beta)
        assert gradient[k] == pytest.approx(difference / (2 * step), abs=1e-7)
    assert slope == pytest.approx(
        (value(gamma, beta + step) - value(gamma, beta - step)) / (2 * step), abs=1e-7
    )


def test_the_strength_is_chosen_from_the_best_order_down_and_data_are_checked() -> None:
    random = np.random.default_rng(5)
    features, scores = shifted(random, 60, 0.0)
    target, _ = shifted(random, 90, 0.5)
    threshold = lr_qr(features, scores, target)
    largest = default_strength(60, 90, 60)
    assert largest / 10 <= threshold.strength <= largest
    assert (threshold(target) >= 0).all()
    with pytest.raises(UsageError, match="too few for 5 features"):
        lr_qr(features[:10], scores[:10], target)
    with pytest.raises(UsageError, match=r"give \(n1, k\)"):
        lr_qr(features, scores[:3], target)


def test_features_tell_noise_and_size_of_a_measurement() -> None:
    random = np.random.default_rng(6)
    smooth = np.sin(np.linspace(0, np.pi, 128))[None].repeat(40, 0)
    quiet, loud = (
        measurement_features(smooth + level * random.standard_normal(smooth.shape)) for level in (0.01, 0.1)
    )
    assert quiet.shape == (6,)
    assert math.exp(quiet[0]) == pytest.approx(0.01, rel=0.1)
    assert math.exp(loud[0]) == pytest.approx(0.1, rel=0.1)
    assert loud[-1] > quiet[-1] + 3  # energy of the finest band


def test_a_calibration_that_follows_the_measurement_gives_each_item_its_factor(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    sizes = torch.as_tensor(np.exp(random.standard_normal(40)))
    data = sizes[:, None, None, None] * torch.as_tensor(random.standard_normal((40, 1, 12, 32)))
    scores = sizes.numpy()
    target = 2 * data[:10]
    threshold = lr_qr(features_of(data), scores, features_of(target), strength=0.05)
    made = Calibration(
        rule="lr_qr",
        level=0.9,
        delta=0.1,
        losses=losses_of(random, 40),
        names=tuple(str(k) for k in range(40)),
        truth="measured",
        method={"name": "fbp", "parameters": {}},
        source={"source": "bootstrap", "runs": 4},
        physics={"views": 12},
        threshold=threshold,
        shifted=tuple(threshold(features_of(target)).tolist()),
    )
    path = tmp_path / "follows.json"
    path.write_text(json.dumps(made.as_dict()))
    found = Calibration.load(path)
    factors = found.factor_for(target)
    assert factors.shape == (10, 1, 1, 1)
    assert factors.flatten().tolist() == pytest.approx(made.shifted)
    assert len(set(made.shifted)) > 1
    assert min(made.shifted) <= found.factor <= max(made.shifted)
    assert "the 10 without a truth" in found.guarantee
    assert found.left_out() is None
    with pytest.raises(UsageError, match=r"for its own level, 0.9; calibrate again"):
        found.factor_at(0.8)
