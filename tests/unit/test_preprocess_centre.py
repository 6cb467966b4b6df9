"""The centre of rotation on scans whose axis is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from preprocess_scans import ellipses, noisy, parallel_scan, project

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.preprocessing import centre_sweep, find_centre, preprocess

ALL = {"opposite_views", "double_wedge", "moments", "sharpness"}


def scan(sums: np.ndarray, geometry: Any) -> ir.Measurement:
    return ir.Measurement(sums, geometry=geometry)


@pytest.mark.parametrize(
    "case",
    [
        {"centre": 70.3},
        {"centre": 55.8, "endpoint": True},
        {"centre": 49.1, "arc": 2 * np.pi, "views": 181, "endpoint": True},
        {"centre": 72.6, "arc": 2 * np.pi, "views": 60, "photons": 1e3},
        {"centre": 61.4, "views": 45},
        {"centre": 66.2, "photons": 500},
        {"centre": 60.9, "zoom": 1.5},
        {"centre": 67.7, "zoom": 1.6, "arc": 2 * np.pi, "views": 160},
        {"centre": 60.4, "arc": np.deg2rad(270), "views": 200},
        {"centre": 140.7, "columns": 256, "views": 220},
    ],
    ids=lambda case: " ".join(f"{key}={value:.4g}" for key, value in case.items()),
)
def test_the_axis_of_a_parallel_scan(case: dict[str, Any]) -> None:
    sums, geometry, truth = parallel_scan(1, **case)
    found = find_centre(scan(sums, geometry))
    assert abs(found.column - truth) < 0.35
    assert found.interval[0] <= truth <= found.interval[1]
    assert found.agreed and set(found.votes) == ALL
    assert found.interval[1] - found.interval[0] < 4


def test_each_estimator_by_itself() -> None:
    """The vote must not hide an estimator that does not work."""
    errors: dict[str, list[float]] = {name: [] for name in ALL}
    for seed in range(4):
        place = 63.5 + (seed - 1.5) * 6.3
        sums, geometry, truth = parallel_scan(seed + 10, centre=place, photons=2e4)
        for name, vote in find_centre(scan(sums, geometry)).votes.items():
            errors[name].append(abs(vote - truth))
    for name, found in errors.items():
        assert len(found) == 4 and np.median(found) < 0.15 and max(found) < 0.6, (name, found)


def test_views_in_any_order_and_sense() -> None:
    sums, geometry, truth = parallel_scan(3, centre=69.4, arc=2 * np.pi, views=150)
    order = np.random.default_rng(0).permutation(150)
    for angles in (geometry.angles, geometry.angles - 5.0):
        shuffled = ir.ParallelBeam(angles=angles[order], columns=128)
        assert abs(find_centre(scan(sums[order], shuffled)).column - truth) < 0.3
    backwards = ir.ParallelBeam(angles=-geometry.angles, columns=128)
    assert abs(find_centre(scan(sums, backwards)).column - truth) < 0.3


@pytest.mark.parametrize(("arc", "room"), [(150, 0.6), (130, 1.0)])
def test_a_missing_wedge_leaves_two_votes(arc: float, room: float) -> None:
    for seed in (4, 5):
        sums, geometry, truth = parallel_scan(seed, centre=67.3, arc=np.deg2rad(arc), views=90)
        found = find_centre(scan(sums, geometry))
        assert set(found.votes) == {"moments", "sharpness"}
        assert abs(found.column - truth) < room
        assert any("opposite_views has no vote, because no two views" in said for said in found.remarks)
        assert any("double_wedge has no vote" in said for said in found.remarks)


@pytest.mark.parametrize("kind", ["whole turn", "short scan"])
def test_the_axis_of_a_fan(kind: str) -> None:
    shape: dict[str, Any] = {"columns": 160, "source_origin": 300.0, "source_detector": 500.0}
    opening = ir.FanBeam(angles=[0.0], **shape).fan_angle
    arc = 2 * np.pi if kind == "whole turn" else np.pi + 2.2 * opening
    given = ir.FanBeam(angles=np.linspace(0, arc, 190, endpoint=False), **shape)
    truth = 87.6
    sums = project(ellipses(6), given.with_centre(truth), 40.0)
    found = find_centre(scan(noisy(sums, 1e5, np.random.default_rng(0)), given))
    assert abs(found.column - truth) < 0.2
    assert found.agreed
    assert found.interval[0] <= truth <= found.interval[1]


def test_the_middle_plane_of_a_cone_is_a_fan() -> None:
    shape: dict[str, Any] = {"columns": 96, "source_origin": 300.0, "source_detector": 450.0}
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    truth = 52.3
    sums = project(ellipses(7), ir.FanBeam(angles=angles, **shape).with_centre(truth), 26.0)
    rows = np.repeat(sums[:, None], 7, axis=1)
    rows[:, [0, 6]] = 0.0
    cone = ir.ConeBeam(angles=angles, rows=7, **shape)
    found = find_centre(scan(noisy(rows, 1e5, np.random.default_rng(0)), cone), rows=3)
    assert abs(found.column - truth) < 0.2


def test_rows_without_an_object_are_passed_over() -> None:
    sums, geometry, truth = parallel_scan(8, centre=58.2)
    rng = np.random.default_rng(0)
    rows = [rng.normal(0, 0.01, sums.shape).astype(np.float32) for _ in range(20)]
    rows[7] = rows[13] = sums
    stack = scan(np.stack(rows, axis=1), ir.ParallelBeam(angles=geometry.angles, columns=128, rows=20))
    found = find_centre(stack, rows=2)
    assert abs(found.column - truth) < 0.3 and found.agreed
    assert len(found.by_row) == 2


def test_stripes_and_zingers_do_not_mislead_the_vote() -> None:
    for seed in (9, 10, 11):
        sums, geometry, truth = parallel_scan(seed, centre=68.4)
        rng = np.random.default_rng(seed)
        sums = sums + rng.normal(0, 0.03, 128).astype(np.float32)
        sums[rng.integers(0, 120, 30), rng.integers(0, 128, 30)] -= 2
        assert abs(find_centre(scan(sums, geometry)).column - truth) < 0.4


def test_counts_are_flat_fielded_first_and_the_step_sets_the_geometry() -> None:
    sums, geometry, truth = parallel_scan(12, centre=71.9)
    counts = 1000 * np.exp(-sums)
    raw = ir.Measurement(counts, geometry=geometry, quantity="counts", flats=np.full((3, 128), 1000.0))
    assert abs(find_centre(raw).column - truth) < 0.3
    done = preprocess(raw, ["flatfield", "centre"])
    assert done.geometry is not None
    assert abs(done.geometry.centre_of_rotation - truth) < 0.3
    record = done.history[1]
    assert record["column"] == pytest.approx(done.geometry.centre_of_rotation, abs=1e-4)
    assert record["found"]["agreed"] and set(record["found"]["votes"]) == ALL
    assert any(f"rotation axis moved to column {record['column']:.2f}" in note for note in done.notes)


def test_disagreement_is_said() -> None:
    """Two halves of the detector with different axes: no column is right."""
    one, geometry, _ = parallel_scan(13, centre=40.0, photons=1e6)
    other = parallel_scan(14, columns=128, centre=88.0, photons=1e6)[0]
    found = find_centre(scan(one + other, geometry), search=0.45)
    assert not found.agreed
    assert any("look at a sweep" in said for said in found.remarks)
    votes = list(found.votes.values())
    assert max(votes) - min(votes) > 1
    done = preprocess(scan(one + other, geometry), [{"centre": {"search": 0.45}}])
    assert any("look at a sweep" in note for note in done.notes)


def test_too_little_to_tell_is_refused_in_a_sentence() -> None:
    sums, geometry, _ = parallel_scan(15, arc=np.deg2rad(30), views=40)
    with pytest.raises(UsageError, match=r"no estimator can find the axis .*give centre\.column"):
        find_centre(scan(sums, geometry))
    with pytest.raises(UsageError, match="are constant"):
        find_centre(scan(np.zeros_like(sums), geometry))
    with pytest.raises(UsageError, match="no scan geometry"):
        find_centre(ir.Measurement(np.zeros((8, 8), np.float32)))


def test_curves_have_their_lowest_score_at_the_vote() -> None:
    sums, geometry, _ = parallel_scan(16, centre=60.6)
    found = find_centre(scan(sums, geometry))
    assert set(found.curves) == ALL - {"moments"}
    for name, (columns, scores) in found.curves.items():
        assert scores.min() == 0 and scores.max() == pytest.approx(1)
        assert abs(columns[np.argmin(scores)] - found.votes[name]) < 1
    assert len(found.by_row) == 1


def test_a_sweep_is_sharpest_at_the_axis() -> None:
    sums, geometry, truth = parallel_scan(17, centre=66.0, photons=1e7)
    columns = truth + np.array([-6.0, -3.0, 0.0, 3.0, 6.0])
    pictures = centre_sweep(scan(sums, geometry), columns, size=128)
    assert pictures.shape == (5, 128, 128)
    negative = -np.minimum(pictures, 0).sum(axis=(1, 2))
    assert np.argmin(negative) == 2
    # The body has unit density per radius of the object.
    radius = min(truth, 127 - truth) - 3
    assert np.median(pictures[2][44:84, 44:84]) * radius == pytest.approx(1.0, rel=0.1)
    with pytest.raises(UsageError, match="rows 0 to 1"):
        stack = np.repeat(sums[:, None], 2, axis=1)
        centre_sweep(
            scan(stack, ir.ParallelBeam(angles=geometry.angles, columns=128, rows=2)), columns, row=2
        )


@pytest.mark.parametrize("arc", [30, 60, 80, 90])
@pytest.mark.parametrize("kind", ["fan", "parallel"])
def test_an_estimate_that_did_not_agree_moves_nothing(kind: str, arc: float) -> None:
    """Arcs too short for two estimators leave the axis where the geometry has it, and say why."""
    shape: dict[str, Any] = {"columns": 160, "angles": np.deg2rad(np.linspace(0, arc, 150))}
    beam = {"source_origin": 300.0, "source_detector": 500.0}
    given = ir.FanBeam(**shape, **beam) if kind == "fan" else ir.ParallelBeam(**shape)
    for seed in (6, 7):
        sums = project(ellipses(seed), given, 40.0)
        done = preprocess(scan(noisy(sums, 1e5, np.random.default_rng(0)), given), ["centre"])
        assert done.geometry is not None
        assert done.geometry.centre_of_rotation == pytest.approx(79.5, abs=1e-6)
        assert done.history[0]["found"]["took"] == "geometry" and done.history[0]["found"]["why"]
        assert any("axis kept on column 79.50, the detector's middle" in note for note in done.notes)
    moved = preprocess(scan(sums, given.with_centre(83.25)), ["centre"])
    assert moved.geometry is not None
    assert moved.geometry.centre_of_rotation == pytest.approx(83.25, abs=1e-4)
    assert any("kept on column 83.25, where the geometry has it" in note for note in moved.notes)


def test_an_arc_is_told_as_the_scan_has_it() -> None:
    """A fan rebinned to parallel rays loses its opening; that is no reason to call the scan's arc shorter."""
    given = ir.FanBeam(
        angles=np.deg2rad(np.linspace(0, 40, 81)), columns=160, source_origin=300.0, source_detector=500.0
    )
    with pytest.raises(UsageError, match=r"views cover 40 degrees, 2\d\.\d+ of which hold all rays"):
        find_centre(scan(project(ellipses(6), given, 40.0), given))
    flat = ir.ParallelBeam(angles=given.angles, columns=160)
    with pytest.raises(UsageError, match="views cover 40 degrees, less than 60"):
        find_centre(scan(project(ellipses(6), flat, 40.0), flat))
