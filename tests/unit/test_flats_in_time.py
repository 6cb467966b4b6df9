"""Flats that were taken at several times, and single flats and darks that cannot be right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_preprocess_flatfield import COLUMNS, GEOMETRY, ROWS, VIEWS, counts_of, truth

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.preprocessing import health, preprocess

BEFORE = tuple(range(-10, 0))
AFTER = tuple(range(VIEWS, VIEWS + 10))


def decaying(loss: float, photons: float = 1e7) -> ir.Measurement:
    """A scan of a beam that decays in a straight line, with ten flats before it and ten after."""
    rng = np.random.default_rng(3)
    response = photons * np.random.default_rng(99).uniform(0.7, 1.3, (ROWS, COLUMNS))

    def beam(position: np.ndarray) -> Any:
        return (1 - loss * (position + 10) / (VIEWS + 19))[:, None, None]

    read = lambda mean: rng.poisson(mean) + 50.0 + rng.normal(0, 2, mean.shape)  # noqa: E731
    positions = np.array(BEFORE + AFTER, dtype=float)
    return ir.Measurement(
        read(response * np.exp(-truth()) * beam(np.arange(VIEWS))).astype(np.float32),
        geometry=GEOMETRY,
        quantity="counts",
        flats=read(response * beam(positions)),
        darks=50 + rng.normal(0, 2, (20, ROWS, COLUMNS)),
        flat_times=tuple(positions),
    )


def test_the_flat_of_each_view_lies_between_those_before_and_after() -> None:
    scan = decaying(0.2)
    done = preprocess(scan, ["flatfield"])
    # A group's median of ten is its middle, so that the straight line of the beam is met.
    np.testing.assert_allclose(done.data, truth(), atol=5e-3)
    pooled = preprocess(replace(scan, flat_times=None), ["flatfield"])
    assert np.abs(pooled.data - truth()).max() > 0.04
    said = [str(finding) for finding in health(replace(scan, flat_times=None))]
    assert any("the air at the edges goes from -0.0" in finding for finding in said)
    assert not any("air" in str(finding) for finding in health(scan))


def test_flats_amid_the_scan_are_a_group_of_their_own() -> None:
    scan = decaying(0.3)
    assert scan.flats is not None
    middle = scan.flats[:4] * 0 + 50 + (scan.flats[:4] - 50) * 0.5
    amid = replace(
        scan,
        flats=np.concatenate([scan.flats, middle]),
        flat_times=(*BEFORE, *AFTER, *[19.5] * 4),
    )
    image = preprocess(amid, ["flatfield"]).data
    flat = preprocess(scan, ["flatfield"]).data
    # Half as bright flats amid the scan make the views there look half as dense, in a wedge from end to end.
    fall = (flat - image).mean(axis=(1, 2))
    assert fall[[19, 20]].mean() == pytest.approx(np.log(0.85 / 0.5), abs=0.02)
    assert (np.diff(fall[:19]) > 0).all() and (np.diff(fall[21:]) < 0).all()


@pytest.mark.parametrize("picked", [slice(10, 30), slice(0, VIEWS, 3), slice(None, None, -1)])
def test_times_follow_the_views_that_are_taken(picked: slice) -> None:
    scan = decaying(0.3)
    whole = preprocess(scan, ["flatfield"])
    part = preprocess(scan.select(views=picked), ["flatfield"])
    np.testing.assert_allclose(part.data, whole.data[picked], atol=2e-3)
    if picked.step != -1:
        steps: list[Any] = [
            {"views": {"first": picked.start, "end": picked.stop, "every": picked.step or 1}},
            "flatfield",
        ]
        np.testing.assert_allclose(preprocess(scan, steps).data, whole.data[picked], atol=2e-3)
    dropped = preprocess(scan, [{"bad_views": {"views": [3, 17, 18]}}, "flatfield"])
    kept = np.delete(np.arange(VIEWS), [3, 17, 18])
    np.testing.assert_allclose(dropped.data, whole.data[kept], atol=2e-3)


@pytest.mark.parametrize("fault", ["shutter", "brighter", "object"])
def test_odd_flats_are_left_out_and_said(fault: str) -> None:
    scan = counts_of(truth(), gain=1.0, photons=1e5, seed=0, frames=9)
    clean = preprocess(scan, [{"flatfield": {"combine": "mean", "flats_out": [4]}}])
    flats = np.array(scan.flats)
    if fault == "shutter":
        flats[4] = scan.darks[0]
    elif fault == "brighter":
        flats[4] *= 1.3
    else:
        flats[4, :, 20:40] *= 0.7
        flats[4, :, 40:60] *= 1.3
    odd = replace(scan, flats=flats)
    done = preprocess(odd, [{"flatfield": {"combine": "mean"}}])
    assert done.history[0]["flats_out"] == (4,) or done.history[0]["flats_out"] == [4]
    assert any("flats 4 (" in note and "of 9 left out" in note for note in done.notes)
    np.testing.assert_allclose(done.data, clean.data, atol=1e-5)
    findings = [finding for finding in health(odd) if "flats 4" in finding.sentence]
    assert [finding.step for finding in findings] == ["flatfield"]


def test_an_odd_dark_is_left_out_and_good_frames_are_not() -> None:
    scan = counts_of(truth(), gain=1.0, photons=1e4, seed=0, frames=9)
    darks = np.array(scan.darks)
    darks[2] = scan.flats[0]
    done = preprocess(replace(scan, darks=darks), [{"flatfield": {"combine": "mean"}}])
    assert tuple(done.history[0]["darks_out"]) == (2,)
    for seed in range(20):
        good = counts_of(truth(), gain=1.0, photons=10 ** (1 + seed / 4), seed=seed, frames=5 + seed % 6)
        flicker = np.random.default_rng(seed).normal(1, 0.01, good.flats.shape[0])[:, None, None]
        good = replace(good, flats=50 + (good.flats - 50) * flicker)
        history = preprocess(good, ["flatfield"]).history[0]
        assert not history["flats_out"] and not history["darks_out"]


def test_beam_decay_makes_no_flat_odd() -> None:
    scan = decaying(0.3)
    for positions in (scan.flat_times, None):
        history = preprocess(replace(scan, flat_times=positions), ["flatfield"]).history[0]
        assert not history["flats_out"]


def test_a_single_flat_needs_no_first_axis_and_times_must_fit() -> None:
    scan = counts_of(truth(), gain=1.0, photons=1e5, seed=0)
    flat, dark = np.median(scan.flats, axis=0), np.median(scan.darks, axis=0)
    one = replace(scan, flats=flat, darks=dark)
    assert one.flats.shape == (1, ROWS, COLUMNS)
    np.testing.assert_allclose(
        preprocess(one, ["flatfield"]).data, preprocess(scan, ["flatfield"]).data, atol=1e-5
    )
    with pytest.raises(UsageError, match="flat_times: 3 for 20 frames"):
        replace(scan, flat_times=(0.0, 1.0, 2.0))
    with pytest.raises(UsageError, match="leave out fewer"):
        preprocess(one, [{"flatfield": {"flats_out": [0]}}])
