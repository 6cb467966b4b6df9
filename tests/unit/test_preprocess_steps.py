"""How steps are named, declared, resolved, applied to bands, and recorded."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from preprocess_scans import parallel_scan

import imagereg as ir
from imagereg import discovery
from imagereg.errors import UsageError
from imagereg.preprocessing import (
    Step,
    apply_rows,
    apply_steps,
    default_steps,
    make_step,
    preprocess,
    registry,
    resolve_steps,
    rows_after,
    step_name,
    steps,
)


@pytest.fixture
def stack() -> ir.Measurement:
    """Nine rows with flats, darks and a dead pixel."""
    rng = np.random.default_rng(3)
    rows = [parallel_scan(seed, columns=96, views=60, centre=50.0)[0] for seed in range(9)]
    flat = rng.uniform(900, 1100, (9, 96))
    counts = 100 + flat * np.exp(-np.stack(rows, axis=1))
    flats = rng.poisson(np.broadcast_to(flat, (6, 9, 96))) + 100.0
    darks = np.full((5, 9, 96), 100.0) + rng.normal(0, 1, (5, 9, 96))
    flats[:, 4, 30] = 100.0
    geometry = ir.ParallelBeam(
        angles=np.linspace(0, np.pi, 60, endpoint=False), columns=96, rows=9, pixel=0.01
    )
    return ir.Measurement(
        counts.astype(np.float32), geometry=geometry, quantity="counts", flats=flats, darks=darks
    )


def test_every_step_has_a_card_and_described_parameters() -> None:
    assert {"flatfield", "outliers", "rings", "centre", "paganin", "crop", "bin", "views"} <= set(steps())
    for name, step in steps().items():
        assert step.name == name
        assert step.title and step.summary
        assert step.__doc__
        assert all(field.description for field in step.model_fields.values()), name
        json.dumps(step.model_json_schema())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("flatfeild", "did you mean 'flatfield'"),
        ({"rings": {"siz": 31}}, "did you mean 'size'"),
        ({"bin": {"columns": 0}}, "greater than or equal to 1"),
        ({"rings": 31}, "{parameter: value}"),
        ({"rings": None, "centre": None}, "is no preprocessing step"),
        (3, "is no preprocessing step"),
    ],
)
def test_wrong_steps_are_refused_in_one_sentence(spec: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_step(spec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_forms_of_a_step_are_the_same() -> None:
    by_name = make_step({"rings": {"size": 31}})
    assert make_step(by_name) is by_name
    assert step_name(by_name) == step_name("rings") == step_name({"rings": {"size": 31}}) == "rings"
    assert make_step({"rings": None}) == make_step("rings")


def test_a_second_step_of_the_same_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Step):
        name: ClassVar[str] = "rings"

    class Point:
        value = "elsewhere:Other"

        @staticmethod
        def load() -> type[Step]:
            return Other

    monkeypatch.setattr(discovery, "entry_points", lambda group: [Point()] if group == registry.GROUP else [])
    with pytest.raises(discovery.NameClash, match="two preprocessing steps are called 'rings'"):
        steps.__wrapped__()


def test_history_says_what_was_done_and_the_input_is_left_alone(stack: ir.Measurement) -> None:
    before = stack.data.copy()
    done = preprocess(stack, ["outliers", "flatfield", {"rings": {"size": 5}}, {"centre": {"column": 50.5}}])
    assert [step["step"] for step in done.history] == ["outliers", "flatfield", "rings", "centre"]
    assert done.history[3]["column"] == 50.5
    assert json.loads(json.dumps(done.history)) == list(done.history)
    assert done.data.dtype == np.float32 and done.data.shape == stack.data.shape
    assert done.geometry is not None and done.geometry.centre_of_rotation == pytest.approx(50.5)
    np.testing.assert_array_equal(stack.data, before)
    assert stack.history == () and stack.notes == ()


def test_resolved_steps_give_the_same_bytes_again(stack: ir.Measurement) -> None:
    """A recipe that is written with its resolved steps must reproduce the run."""
    first = resolve_steps(stack, ["flatfield", "rings", "centre"])
    again = [make_step({step.name: step.model_dump(mode="json")}) for step in first]
    one, two = apply_steps(stack, first), apply_steps(stack, again)
    np.testing.assert_array_equal(one.data, two.data)
    assert one.geometry == two.geometry
    assert pickle.loads(pickle.dumps(first)) == first


@pytest.mark.parametrize(
    "specs",
    [
        ["outliers", "flatfield", "rings", "centre"],
        [{"crop": {"rows": [1, 8], "columns": [4, 92]}}, "flatfield", {"bin": {"columns": 2, "rows": 2}}],
        ["flatfield", {"bin": {"rows": 3}}, {"crop": {"rows": [1, 3]}}, {"views": {"every": 2}}, "centre"],
    ],
)
def test_bands_equal_the_whole(stack: ir.Measurement, specs: list[Any]) -> None:
    resolved = resolve_steps(stack, specs)
    whole = apply_steps(stack, resolved)
    total = rows_after(resolved, 9)
    assert whole.data.shape[1] == total
    for start, stop in ((0, 1), (total - 1, total), (0, total)):
        band = apply_rows(stack, resolved, start, stop)
        np.testing.assert_array_equal(band.data, whole.data[:, start:stop])
        assert band.geometry == whole.select(rows=slice(start, stop)).geometry
        if whole.weights is not None:
            np.testing.assert_array_equal(band.weights, whole.weights[:, start:stop])


def test_only_the_rows_that_are_needed_are_read(stack: ir.Measurement) -> None:
    class Watched:
        shape, dtype = stack.data.shape, stack.data.dtype
        asked: ClassVar[list[Any]] = []

        def __getitem__(self, key: Any) -> Any:
            self.asked.append(key)
            return stack.data[key]

    lazy = replace(stack, data=Watched())
    resolved = resolve_steps(stack, ["flatfield"])
    apply_rows(lazy, resolved, 2, 4)
    assert [key[1] for key in Watched.asked] == [slice(2, 4)]


def test_tensors_come_back_as_frames() -> None:
    import torch

    geometry = ir.ParallelBeam(angles=np.linspace(0, np.pi, 20, endpoint=False), columns=32)
    data = torch.rand(3, 1, 20, 32)
    done = preprocess(ir.Measurement(data, geometry=geometry), [{"centre": {"column": 15.0}}])
    assert done.data.shape == (20, 3, 32) and done.framed
    np.testing.assert_array_equal(done.data[:, 1], data[1, 0].numpy())
    np.testing.assert_array_equal(done.to_tensor(done.data).numpy(), data.numpy())
    cone = ir.ConeBeam(
        angles=np.linspace(0, 6, 20), columns=32, rows=4, pixel=1.0, source_origin=100, source_detector=200
    )
    volume = torch.rand(1, 1, 20, 4, 32)
    done = preprocess(ir.Measurement(volume, geometry=cone), [{"views": {"every": 2}}])
    np.testing.assert_array_equal(done.data, volume[0, 0, ::2].numpy())
    with pytest.raises(UsageError, match="one channel"):
        preprocess(ir.Measurement(torch.rand(1, 2, 20, 32), geometry=geometry), ["views"])


def test_steps_refuse_what_they_are_not_for(stack: ir.Measurement) -> None:
    image = ir.Measurement(np.zeros((16, 16), np.float32))
    with pytest.raises(UsageError, match="no scan geometry"):
        preprocess(image, ["flatfield"])
    with pytest.raises(UsageError, match="put flatfield before it"):
        preprocess(stack, ["rings"])
    with pytest.raises(UsageError, match="leave it out"):
        preprocess(stack, ["flatfield", "flatfield"])
    assert default_steps(image) == []
    assert default_steps(stack) == ["flatfield", "centre"]
    assert default_steps(preprocess(stack, ["flatfield", {"centre": {"column": 50.0}}])) == []
