"""What a check-up finds, and what it must not find."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from preprocess_scans import ellipses, noisy, parallel_scan, project

import imagereg as ir
from imagereg.errors import ImageregError, InputError
from imagereg.methods.support.constant import refuse_constant
from imagereg.preprocessing import health, preprocess, steps


def good(rows: int = 2) -> ir.Measurement:
    """Raw counts with nothing wrong."""
    rng = np.random.default_rng(0)
    sums = np.stack([parallel_scan(k, columns=96, views=100, photons=1e12)[0] for k in range(rows)], axis=1)
    return ir.Measurement(
        rng.poisson(20000 * np.exp(-sums)).astype(np.float32) + 100,
        geometry=ir.ParallelBeam(angles=np.linspace(0, np.pi, 100, endpoint=False), columns=96, rows=rows),
        quantity="counts",
        flats=rng.poisson(np.full((9, rows, 96), 20000.0)) + 100.0,
        darks=rng.normal(100, 2, (9, rows, 96)),
    )


def found(measurement: ir.Measurement) -> dict[str, str]:
    """Sentence and step of each finding."""
    findings = health(measurement)
    for finding in findings:
        assert "\n" not in str(finding)
        assert finding.step or finding.advice or "exchanged" in finding.sentence, finding
        assert not finding.step or finding.step in steps()
    return {finding.sentence: finding.step for finding in findings}


def only(measurement: ir.Measurement, words: str) -> str:
    """The step of the one finding, which has these words."""
    sentences = found(measurement)
    assert len(sentences) == 1, sentences
    sentence, step = next(iter(sentences.items()))
    assert words in sentence
    return step


def test_nothing_is_wrong_with_good_data() -> None:
    assert found(good()) == {}
    assert found(ir.Measurement(np.random.default_rng(0).uniform(size=(16, 16)).astype(np.float32))) == {}
    turn = ir.ParallelBeam(angles=np.linspace(0, 2 * np.pi, 181), columns=64)
    sums = parallel_scan(0, columns=64, views=181, arc=2 * np.pi, endpoint=True)[0]
    assert found(ir.Measurement(sums, geometry=turn)) == {}


@pytest.mark.parametrize(
    ("broken", "subject"),
    [
        ("_values", "values"),
        ("_angles", "angles"),
        ("find_bad_views", "views"),
        ("_zingers", "counts, flats and darks"),
        ("_stripes", "edges, the sense of rotation and stripes"),
    ],
)
def test_a_check_that_fails_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, broken: str, subject: str
) -> None:
    def fail(*_: object) -> None:
        raise IndexError("too few\nrows.")

    scan = good()
    scan.data[3, 0, 5:9] = np.nan
    scan = replace(scan, darks=None)
    whole = found(scan)
    assert len(whole) == 2
    monkeypatch.setattr(sys.modules[health.__module__], broken, fail)
    told = found(scan)
    assert told.pop(f"{subject} could not be checked: too few rows") == ""
    assert told == {said: step for said, step in whole.items() if broken != "_values" or "NaN" not in said}


@pytest.mark.parametrize("error", [MemoryError(), InputError("the file ends early."), RuntimeWarning("x")])
def test_what_is_not_a_fault_of_the_check_is_raised(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules[health.__module__], "_angles", fail)
    with pytest.raises(type(error)):
        health(good())


def test_values() -> None:
    scan = good()
    scan.data[3, 0, 5:9] = np.nan
    assert only(scan, "NaN or infinite") == "outliers"
    scan = good()
    scan.data[50, 1, 40:52] = scan.data[51, 1, 40:52] = 65535
    assert only(scan, "lie at the highest value 65535") == "outliers"
    scan = good()
    scan.data[7, 0, 3] = -50
    assert only(scan, "counts are negative") == ""
    assert only(ir.Measurement(np.ones((8, 8), np.float32)), "all values are 1") == ""


def test_views() -> None:
    scan = good()
    scan.data[20] = 100.0
    scan.data[60] *= 0.5
    assert (
        only(scan, "2 of 100 views are bad: 20 (one value only), 60 (unlike its neighbours)") == "bad_views"
    )


def test_flats_and_darks() -> None:
    scan = good()
    assert only(replace(scan, darks=None, flats=scan.flats - 100, data=scan.data - 100), "no darks") == ""
    bare = replace(scan, flats=None)
    assert only(bare, "counts without flats") == ""
    assert any(
        "look exchanged" in sentence for sentence in found(replace(scan, flats=scan.darks, darks=scan.flats))
    )
    dim = replace(scan, flats=(scan.flats - 100) / 3 + 100)
    assert any("times the flats" in sentence for sentence in found(dim))
    dead = good()
    dead.flats[:, 1, 30] = 100
    dead.data[:, 1, 30] = 100
    assert "flatfield" in found(dead).values()


@pytest.mark.parametrize(
    ("angles", "words"),
    [
        (np.linspace(0, np.deg2rad(120), 100), "less than half a turn"),
        (np.concatenate([np.linspace(0, 1, 50), np.linspace(1.5, np.pi, 50)]), "gap"),
        (np.repeat(np.linspace(0, np.pi, 50), 2), "50 of 100 views repeat"),
    ],
)
def test_angles(angles: np.ndarray, words: str) -> None:
    geometry = ir.ParallelBeam(angles=angles, columns=64)
    sums = parallel_scan(1, columns=64, views=100)[0]
    assert any(words in sentence for sentence in found(ir.Measurement(sums, geometry=geometry)))


def test_few_views_and_short_fans() -> None:
    sums, geometry, _ = parallel_scan(1, columns=128, views=20)
    assert only(ir.Measurement(sums, geometry=geometry), "20 views are few") == ""
    fan = ir.FanBeam(
        angles=np.linspace(0, np.deg2rad(185), 200), columns=64, source_origin=80.0, source_detector=120.0
    )
    sums = parallel_scan(1, columns=64, views=200)[0]
    assert only(ir.Measurement(sums, geometry=fan), "less than half a turn and the fan") == ""


def test_wrong_quantities() -> None:
    scan = good()
    claimed = ir.Measurement(scan.data, geometry=scan.geometry)
    assert any("line integrals go up to" in sentence for sentence in found(claimed))
    claimed = ir.Measurement(scan.data, geometry=scan.geometry, quantity="transmission")
    assert any("should end near 1" in sentence for sentence in found(claimed))


def test_background_and_stripes() -> None:
    sums, geometry, _ = parallel_scan(1, columns=96, views=100)
    assert (
        only(ir.Measurement(sums + np.float32(0.4), geometry=geometry), "air at the edges is at 0.4")
        == "background"
    )
    striped = sums + np.random.default_rng(0).normal(0, 0.06, 96).astype(np.float32)
    assert only(ir.Measurement(striped, geometry=geometry), "fixed to the detector's columns") == "rings"


def test_zingers_are_told() -> None:
    scan = good()
    scan.data[[10, 30, 70], [0, 1, 0], [20, 50, 77]] += 30000
    assert only(scan, "3 (") == "outliers"


def wide(zoom: float, seed: int = 1, photons: float = 1e5) -> ir.Measurement:
    """A scan whose object is so many times as wide as the view."""
    sums, geometry, _ = parallel_scan(seed, columns=96, views=120, zoom=zoom, photons=photons)
    return ir.Measurement(sums, geometry=geometry)


@pytest.mark.parametrize("zoom", [1.4, 2.0, 3.0])
@pytest.mark.parametrize("photons", [1e3, 1e6])
def test_an_object_wider_than_the_view_is_not_told_to_level_its_air(zoom: float, photons: float) -> None:
    for seed in range(4):
        findings = found(wide(zoom, seed, photons))
        assert "background" not in findings.values()
        if photons > 1e5:
            assert any("the object leaves the view" in sentence for sentence in findings)
    # A disc about the axis looks alike in all views.
    geometry = ir.ParallelBeam(angles=np.linspace(0, np.pi, 90, endpoint=False), columns=96)
    disc = project(np.array([[0, 0, 1.0, 1.0, 0, 1.0]]), geometry, 48 * zoom)
    sums = noisy(disc, 1e6, np.random.default_rng(0))
    assert only(ir.Measurement(sums, geometry=geometry), "leaves the view at both edges") == ""


def test_the_advice_for_a_wide_object_is_right() -> None:
    """Inside the view fbp comes near the truth as it is; `background` would spoil it."""
    shapes = ellipses(1) * np.array([(48 - 3) * 1.6] * 4 + [1, 1])
    truth = _mean_of(shapes, 20) / ((48 - 3) * 1.6)
    errors = []
    for steps_taken in ([], ["background"]):
        image = ir.reconstruct(preprocess(wide(1.6), steps_taken), "fbp").image
        errors.append(abs(float(image[28:68, 28:68].mean()) - truth) / truth)
    assert errors[0] < 0.05 < 0.15 < errors[1]


def _mean_of(shapes: np.ndarray, half: int) -> float:
    """Mean density of ellipses on a square about the axis."""
    y, x = np.mgrid[-half:half, -half:half] + 0.5
    total = np.zeros(x.shape)
    for cx, cy, a, b, tilt, density in shapes:
        along = (x - cx) * np.cos(tilt) + (-y - cy) * np.sin(tilt)
        across = -(x - cx) * np.sin(tilt) + (-y - cy) * np.cos(tilt)
        total[(along / a) ** 2 + (across / b) ** 2 < 1] += density
    return float(total.mean())


@pytest.mark.parametrize("photons", [1e3, 1e5])
def test_what_is_brightest_in_the_air_is_no_line_integral(photons: float) -> None:
    for seed in range(4):
        sums, geometry, _ = parallel_scan(seed, columns=96, views=100, photons=photons)
        for scale, words in ((1.0, "highest in the air"), (5.0, "highest in the air"), (-1.0, "sign")):
            values = scale * np.exp(-sums) if scale > 0 else -sums
            findings = [str(finding) for finding in health(ir.Measurement(values, geometry=geometry))]
            assert any(words in finding for finding in findings), findings
            assert not any("background" in finding for finding in findings)
            if scale == 1.0:
                assert any("give quantity='transmission'" in finding for finding in findings)


def test_a_drifting_beam_is_still_air() -> None:
    sums, geometry, _ = parallel_scan(2, columns=96, views=100)
    drifting = sums + np.linspace(0, 0.4, 100, dtype=np.float32)[:, None]
    assert only(ir.Measurement(drifting, geometry=geometry), "air at the edges is at") == "background"
    assert found(preprocess(ir.Measurement(drifting, geometry=geometry), ["background"])) == {}


def test_half_acquired_scans_are_not_told_to_level_their_air() -> None:
    turn = ir.ParallelBeam(angles=np.linspace(0, 2 * np.pi, 240, endpoint=False), columns=96)
    placed = turn.with_centre(20.0)
    sums = noisy(project(ellipses(3), placed, 72.0), 1e5, np.random.default_rng(0))
    assert only(ir.Measurement(sums, geometry=turn), "left edge") == "centre"
    assert found(ir.Measurement(sums, geometry=placed)) == {}


def test_a_constant_image_is_refused_with_the_reason() -> None:
    sums, geometry, _ = parallel_scan(1, columns=48, views=60)
    inverted = ir.Measurement(np.exp(-sums) - 1, geometry=geometry)
    with pytest.raises(ImageregError, match=r"tv gave an image that is 0 everywhere; .* below zero"):
        ir.reconstruct(inverted, "tv", iterations=20)
    with pytest.raises(ImageregError, match="tv gave an image that is 2 everywhere; its strength outweighs"):
        refuse_constant("tv", np.full((4, 4), 2.0), sums)
    nothing = ir.Measurement(np.zeros_like(sums), geometry=geometry)
    assert not ir.reconstruct(nothing, "tv", iterations=5).image.any()


@pytest.mark.parametrize("kind", ["fan", "cone"])
@pytest.mark.parametrize("arc", [360, 225])
def test_the_wrong_sense_of_rotation_is_told(kind: str, arc: float) -> None:
    shape = {"columns": 96, "source_origin": 300.0, "source_detector": 450.0}
    angles = np.deg2rad(np.linspace(0, arc, 180, endpoint=False))
    for seed, aside in ((1, 0.0), (2, 6.0), (3, -4.0)):
        fan = ir.FanBeam(angles=angles, **shape)
        sums = noisy(
            project(ellipses(seed), fan.with_centre(47.5 + aside), 26.0), 1e4, np.random.default_rng(0)
        )
        if kind == "cone":
            sums = np.repeat(sums[:, None], 3, axis=1)
        for sign in (1, -1):
            given = ir.FanBeam(angles=sign * angles, **shape)
            if kind == "cone":
                given = ir.ConeBeam(angles=sign * angles, rows=3, **shape)
            told = [str(finding) for finding in health(ir.Measurement(sums, geometry=given))]
            assert any("turns the other way" in finding for finding in told) == (sign < 0), told
