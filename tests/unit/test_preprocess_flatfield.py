"""Flat field: values, weights, dead pixels, floors, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from preprocess_scans import parallel_scan

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.preprocessing import preprocess

VIEWS, ROWS, COLUMNS = 40, 3, 64
GEOMETRY = ir.ParallelBeam(angles=np.linspace(0, np.pi, VIEWS, endpoint=False), columns=COLUMNS, rows=ROWS)


def truth(seed: int = 0) -> np.ndarray:
    rows = [parallel_scan(seed + k, columns=COLUMNS, views=VIEWS, photons=1e12)[0] for k in range(ROWS)]
    return np.stack(rows, axis=1).astype(np.float64)


def counts_of(
    sums: np.ndarray, *, gain: float, photons: float, seed: int, frames: int = 20
) -> ir.Measurement:
    """Counts, flats and darks of a detector with a gain, a response and an offset."""
    rng = np.random.default_rng(seed)
    response = photons * np.random.default_rng(99).uniform(0.7, 1.3, (ROWS, COLUMNS))
    read = lambda mean: gain * rng.poisson(mean) + 50 + rng.normal(0, 2, mean.shape)  # noqa: E731
    return ir.Measurement(
        read(response * np.exp(-sums)).astype(np.float32),
        geometry=GEOMETRY,
        quantity="counts",
        flats=read(np.broadcast_to(response, (frames, ROWS, COLUMNS))),
        darks=read(np.zeros((frames, ROWS, COLUMNS))),
    )


def test_line_integrals_are_recovered() -> None:
    sums = truth()
    done = preprocess(counts_of(sums, gain=1.0, photons=1e7, seed=0), ["flatfield"])
    assert done.quantity == "line_integrals" and done.flats is None and done.darks is None
    np.testing.assert_allclose(done.data, sums, atol=5e-3)


@pytest.mark.parametrize("gain", [0.6, 4.0])
def test_weights_are_the_inverse_variance_and_the_gain_is_measured(gain: float) -> None:
    sums = truth()
    runs = [preprocess(counts_of(sums, gain=gain, photons=400, seed=k), ["flatfield"]) for k in range(60)]
    found = np.array([run.history[0]["gain"] for run in runs])
    assert found.mean() == pytest.approx(gain, rel=0.03)
    variance = np.var([run.data for run in runs], axis=0)
    told = np.mean([1 / run.weights for run in runs], axis=0)
    # Each variance of 60 runs is known to 18 per cent; their mean ratio to well below one.
    light, dense = sums < 0.5, sums > 1.2
    for part in (light, dense):
        assert (variance / told)[part].mean() == pytest.approx(1.0, abs=0.08)


def test_flicker_of_the_beam_does_not_count_as_noise() -> None:
    scan = counts_of(truth(), gain=2.0, photons=1000, seed=1)
    flicker = np.linspace(0.8, 1.2, 20)[:, None, None]
    brighter = preprocess(
        ir.Measurement(
            scan.data,
            geometry=GEOMETRY,
            quantity="counts",
            flats=(scan.flats - 50) * flicker + 50,
            darks=scan.darks,
        ),
        ["flatfield"],
    )
    assert brighter.history[0]["gain"] == pytest.approx(2.0, rel=0.1)


def test_dead_pixels_are_interpolated_counted_and_weigh_nothing() -> None:
    scan = counts_of(truth(), gain=1.0, photons=1e6, seed=2)
    scan.flats[:, 1, 20] = 50
    scan.flats[:, 1, 21] = 40
    scan.flats[:, 2, 0] = np.nan
    done = preprocess(scan, ["flatfield"])
    assert done.history[0]["found"]["dead_pixels"] == 3
    assert any("3 dead pixels of 192" in note for note in done.notes)
    assert (done.weights[:, 1, 20:22] == 0).all() and (done.weights[:, 2, 0] == 0).all()
    assert (done.weights > 0).sum() == done.weights.size - 3 * VIEWS
    np.testing.assert_allclose(
        np.exp(-done.data[:, 1, 20]),
        (2 * np.exp(-done.data[:, 1, 19]) + np.exp(-done.data[:, 1, 22])) / 3,
        rtol=1e-5,
    )
    assert np.isfinite(done.data).all()


def test_the_floor_guards_the_logarithm_and_values_above_one_stay() -> None:
    sums = truth()
    scan = counts_of(sums, gain=1.0, photons=1e4, seed=3)
    scan.data[5, 1, 30] = 12.0
    scan.data[6, 1, 30] = np.nan
    scan.data[7, 0, 2] = 2e5
    done = preprocess(scan, [{"flatfield": {"floor": 3.0}}])
    flat = np.median(scan.flats, axis=0) - np.median(scan.darks, axis=0)
    assert done.data[5, 1, 30] == pytest.approx(-np.log(3.0 / flat[1, 30]), rel=1e-4)
    assert done.history[0]["found"]["at_floor"] == 1
    assert done.weights[6, 1, 30] == 0 and np.isfinite(done.data[6, 1, 30])
    assert done.data[7, 0, 2] < -2
    assert any("floor of 3 counts" in note for note in done.notes)


def test_counts_without_flats_say_what_to_give() -> None:
    bare = ir.Measurement(
        counts_of(truth(), gain=1.0, photons=1e4, seed=0).data, geometry=GEOMETRY, quantity="counts"
    )
    with pytest.raises(UsageError, match=r"give the frames taken without object as flats.*air=99"):
        preprocess(bare, ["flatfield"])


def test_air_of_each_row_of_each_view_replaces_flats() -> None:
    sums = truth()
    beam = np.random.default_rng(0).uniform(500, 2000, (VIEWS, ROWS, 1))
    scan = ir.Measurement((beam * np.exp(-sums)).astype(np.float32), geometry=GEOMETRY, quantity="counts")
    done = preprocess(scan, [{"flatfield": {"air": 99}}])
    np.testing.assert_allclose(done.data, sums, atol=1e-3)
    # The noise of a photon count does not depend on what air level is divided out.
    np.testing.assert_allclose(done.weights, scan.data, rtol=1e-5)
    assert any("gain" in note for note in done.notes) and any("no darks" in note for note in done.notes)


def test_exchanged_flats_and_darks_are_noticed() -> None:
    scan = counts_of(truth(), gain=1.0, photons=1e4, seed=0)
    swapped = ir.Measurement(
        scan.data, geometry=GEOMETRY, quantity="counts", flats=scan.darks, darks=scan.flats
    )
    with pytest.raises(UsageError, match="look exchanged"):
        preprocess(swapped, ["flatfield"])


def test_a_drifting_beam_is_followed_in_the_air() -> None:
    sums = truth()
    scan = counts_of(sums, gain=1.0, photons=1e7, seed=4)
    drift = np.linspace(1, 0.7, VIEWS)[:, None, None] * np.linspace(1, 1.1, COLUMNS)
    drifted = ir.Measurement(
        ((scan.data - 50) * drift + 50).astype(np.float32),
        geometry=GEOMETRY,
        quantity="counts",
        flats=scan.flats,
        darks=scan.darks,
    )
    plain, followed = (preprocess(drifted, [{"flatfield": {"air_columns": n}}]).data for n in (0, 3))
    assert np.abs(plain - sums).max() > 0.3
    np.testing.assert_allclose(followed, sums, atol=8e-3)
    with pytest.raises(UsageError, match="32 columns at either edge"):
        preprocess(drifted, [{"flatfield": {"air_columns": 32}}])


def test_flats_before_and_after_are_interpolated() -> None:
    sums = truth()
    response = np.full((ROWS, COLUMNS), 1e4)
    fade = np.linspace(1, 0.5, VIEWS)[:, None, None]
    flats = np.concatenate([np.repeat(response[None], 4, 0), np.repeat(0.5 * response[None], 6, 0)])
    scan = ir.Measurement(
        (response * fade * np.exp(-sums)).astype(np.float32),
        geometry=GEOMETRY,
        quantity="counts",
        flats=flats,
    )
    done = preprocess(scan, [{"flatfield": {"flats_before": 4, "gain": 1.0}}])
    np.testing.assert_allclose(done.data, sums, atol=1e-3)
    with pytest.raises(UsageError, match=r"flatfield\.flats_before = 10"):
        preprocess(scan, [{"flatfield": {"flats_before": 10}}])


def test_transmission_only_needs_the_logarithm() -> None:
    sums = truth()
    passed = np.exp(-sums).astype(np.float32)
    passed[0, 0, 0] = 0
    done = preprocess(ir.Measurement(passed, geometry=GEOMETRY, quantity="transmission"), ["flatfield"])
    np.testing.assert_allclose(done.data[1:], sums[1:], atol=1e-5)
    assert done.data[0, 0, 0] == pytest.approx(-np.log(1e-4), rel=1e-5)
    np.testing.assert_allclose(done.weights[1:], passed[1:], rtol=1e-6)


def test_background_puts_air_at_zero() -> None:
    sums = truth()
    level = 0.3 + 0.1 * np.linspace(0, 1, COLUMNS) + 0.01 * np.arange(VIEWS)[:, None, None]
    scan = ir.Measurement((sums + level).astype(np.float32), geometry=GEOMETRY)
    done = preprocess(scan, [{"background": {"columns": 2}}])
    np.testing.assert_allclose(done.data, sums, atol=2e-5)
