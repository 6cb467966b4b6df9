"""What a check-up finds, and what it must not find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from preprocess_scans import parallel_scan

import imagereg as ir
from imagereg.preprocessing import health, steps


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
