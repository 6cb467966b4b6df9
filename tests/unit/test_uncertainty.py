"""Spread of any method: bootstrap, ensembles, Langevin; intervals of results, and what is refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import InputError, UsageError
from imagereg.intervals import states_with_intervals
from imagereg.methods.base import Method
from imagereg.parameters import parameter
from imagereg.phantoms import simulate
from imagereg.recipe import Recipe
from imagereg.schema import schema
from imagereg.solvers.state import State
from imagereg.uncertainty.band import FLOOR, Band
from imagereg.uncertainty.calibration import Calibration, fingerprint
from imagereg.uncertainty.conformal import FACTORS, loss_curve
from imagereg.uncertainty.coverage import coverage_curve, figures
from imagereg.uncertainty.held_out import held_out_views
from imagereg.uncertainty.samples import Moments, quantiles, ranks


class Itself(Method):
    """x = gain y, plus noise of the method's own."""

    name: ClassVar[str] = "toy_itself"
    title: ClassVar[str] = "Itself"
    summary: ClassVar[str] = "closed form"
    reference: ClassVar[str] = ""
    random: ClassVar[bool] = True
    gain: float = parameter(1.0, "factor")
    jitter: float = parameter(0.0, "standard deviation of the method's own noise", ge=0)

    def iterate(self, measurement: Any) -> Iterator[State]:
        for k in (1, 2):
            noise = self.jitter * torch.randn_like(measurement.data)
            yield State(self.gain * measurement.data + noise, k, 2, finished="done" if k == 2 else "")


def picture(sigma: float = 0.1, size: int = 64) -> ir.Measurement:
    clean = torch.linspace(0, 1, size).repeat(size, 1)[None, None]
    noise = ir.GaussianNoise(sigma)
    return ir.Measurement(noise.sample(clean, seed=1), noise=noise, truth=clean)


def last_of(states: Iterator[State]) -> State:
    return deque(states, maxlen=1)[0]


def test_running_moments_and_order_statistics_are_those_of_all_samples_together() -> None:
    samples = 1e4 + torch.randn(40, 1, 1, 9, 7, dtype=torch.float64)
    moments = Moments()
    for sample in samples:
        moments.add(sample)
    assert torch.allclose(moments.mean, samples.mean(0))
    assert torch.allclose(moments.std, samples.std(0), rtol=1e-9)
    assert ranks(19, 0.9) == (1, 19)
    assert ranks(18, 0.9) is None
    low, high = quantiles(samples, 0.9)
    ordered = samples.sort(0).values
    assert torch.equal(low, ordered[1])  # floor(41 * 0.05) = 2nd
    assert torch.equal(high, ordered[38])  # ceil(41 * 0.95) = 39th
    with pytest.raises(UsageError, match="take at least 39"):
        quantiles(samples[:30], 0.95)


def test_an_interval_holds_a_new_draw_as_often_as_its_level_says() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(40, 1, 1, 100, 100, generator=generator) ** 3
    new = torch.randn(1, 1, 100, 100, generator=generator) ** 3
    mean = samples.mean(0)
    covered = coverage_curve({"samples": samples}, mean, new, (0.5, 0.8, 0.9))
    for level, fraction in covered.items():
        assert fraction == pytest.approx(level, abs=0.04)
    band = Band.of(mean, 0.9, samples=samples)
    told = figures(band, new)
    assert told["coverage"] == covered[0.9]
    assert len(told["coverage_by_width"]) == 4


def test_bands_are_nested_floored_and_scored_by_the_factor_that_covers() -> None:
    std = torch.rand(2, 1, 8, 8)
    std[0, 0, :2] = 0.0
    image = torch.randn(2, 1, 8, 8)
    band = Band.of(image, 0.9, std=std)
    half = (band.width / 2)[0]
    assert half.min() >= 0.999 * FLOOR * half.square().mean().sqrt() / 1.1
    truth = image + torch.randn_like(image)
    scores = band.scores(truth)
    for factor in (0.3, 1.0, 2.5):
        scaled = band.scaled(factor)
        inside = (truth >= scaled.lower) & (truth <= scaled.upper)
        assert torch.equal(inside, scores <= factor) or (inside != (scores <= factor)).sum() <= 1
    with pytest.raises(UsageError, match="all samples are the same"):
        Band.of(image, 0.9, std=torch.zeros_like(image))
    with pytest.raises(UsageError, match="neither two samples nor a standard deviation"):
        Band.of(image, 0.9)


def test_the_noise_bootstrap_of_a_linear_method_has_the_noise_it_passes() -> None:
    scan = picture()
    result = ir.reconstruct(scan, Itself(gain=0.5), uncertainty={"source": "noise", "runs": 60})
    assert float(result.std.mean()) == pytest.approx(0.05, rel=0.03)
    assert result.samples.shape == (60, 1, 1, 64, 64)
    interval = result.interval()
    assert (interval.level, interval.calibrated, interval.guarantee) == (0.9, False, "")
    assert float(interval.width.mean()) == pytest.approx(2 * 1.645 * 0.05, rel=0.08)
    assert float(result.interval(0.5).width.mean()) == pytest.approx(2 * 0.6745 * 0.05, rel=0.08)
    assert result.provenance["uncertainty"]["meaning"] == "bootstrap over the noise, 60 runs"
    # The image is that of the plain run, and the caller's random numbers are as they were.
    assert torch.equal(result.image, ir.reconstruct(scan, Itself(gain=0.5)).image)
    again = ir.reconstruct(scan, Itself(gain=0.5), uncertainty={"source": "noise", "runs": 60})
    assert torch.equal(result.std, again.std)


def test_an_ensemble_shows_the_methods_own_randomness_and_needs_some() -> None:
    scan = picture()
    result = ir.reconstruct(scan, Itself(jitter=0.2), uncertainty={"source": "seeds", "runs": 50})
    assert float(result.std.mean()) == pytest.approx(0.2, rel=0.05)
    with pytest.raises(UsageError, match="needs the source 'bootstrap' or 'noise'"):
        ir.reconstruct(scan, Itself(), uncertainty="seeds")


def test_runs_of_a_method_with_a_seed_start_from_other_seeds() -> None:
    class Seeded(Itself):
        name: ClassVar[str] = "toy_seeded"
        seed: int = parameter(0, "seed", ge=0)

        def iterate(self, measurement: Any) -> Iterator[State]:
            drawn = torch.Generator().manual_seed(self.seed)
            yield State(measurement.data + torch.randn(64, generator=drawn), 1, 1, finished="done")

    result = ir.reconstruct(picture(), Seeded(), uncertainty={"source": "seeds", "runs": 50})
    assert float(result.std.mean()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(
    ("source", "named"), [("seeds", "no randomness"), ("method", "no samples of its own")]
)
def test_a_source_that_a_method_does_not_have_is_refused_before_the_work(source: str, named: str) -> None:
    class Working(Itself):
        random: ClassVar[bool] = False

        def iterate(self, measurement: Any) -> Iterator[State]:
            raise AssertionError("worked all the same")

    with pytest.raises(UsageError, match=named):
        ir.reconstruct(picture(), Working(), uncertainty=source)


def test_states_of_further_runs_can_be_asked_for_their_figures() -> None:
    """They hold the image found first, and not what a solver needs to go on from it."""
    asked = {"source": "noise", "runs": 2}
    states = list(ir.iterate(picture(size=16), "tv", iterations=3, uncertainty=asked))
    further = [state for state in states if state.phase.startswith("run")]
    assert len(further) == 6
    assert all((s.gap, s.objective, s.residual) == (None, None, None) for s in further)
    assert states[-1].gap is not None


def test_states_count_on_through_the_runs_and_progress_never_falls() -> None:
    scan = picture(size=8).ready()
    states = list(ir.iterate(scan, Itself(), uncertainty={"source": "noise", "runs": 3}))
    progress = [state.progress for state in states]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert [state.phase for state in states].count("run 2 of 3,") == 2
    assert [bool(state.finished) for state in states] == [False] * (len(states) - 1) + [True]
    # Whoever stops early has the spread so far.
    assert float(states[-2].outcome.uncertainty.std.mean()) > 0


def scan_of(views: int = 40, columns: int = 32, **changes: Any) -> ir.Measurement:
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), columns, pixel=0.5)
    noise = changes.pop("noise", ir.GaussianNoise(0.05))
    return simulate("ellipses_and_lines", geometry, noise=noise, seed=3, attenuation=0.2)


def test_the_bootstrap_of_a_scan_draws_views_and_its_intervals_hold_left_out_data() -> None:
    scan = scan_of()
    result = ir.reconstruct(scan, "fbp", window="hann", uncertainty="bootstrap")
    assert result.provenance["uncertainty"]["meaning"] == "bootstrap over views, 20 runs"
    assert isinstance(result.std, np.ndarray)
    assert result.std.shape == result.image.shape
    assert (result.interval().lower < result.image).all()
    with pytest.raises(UsageError, match="over 3 views says nothing"):
        ir.reconstruct(scan.select(views=slice(0, 3)), "fbp", uncertainty="bootstrap")

    ready = scan.ready()
    method = ir.method("cgls", iterations=6)
    from imagereg.intervals import request_of

    def states(part: Any) -> Iterator[State]:
        return states_with_intervals(method, part, request_of("bootstrap"), 0)

    found = last_of(held_out_views(states, ready, folds=4)).outcome.coverage
    assert found.views == 10
    assert abs(found.coverage[0.9] - 0.9) < 0.1
    assert found.without_spread[0.9] < found.coverage[0.9]
    with pytest.raises(UsageError, match="the data are no scan"):
        list(held_out_views(states, picture(size=8).ready()))


def test_langevin_samples_a_gaussian_posterior() -> None:
    sigma, tau, mean = 0.2, 0.3, 0.5
    noise = ir.GaussianNoise(sigma)
    generator = torch.Generator().manual_seed(2)
    truth = mean + tau * torch.randn(1, 1, 24, 24, generator=generator)
    scan = ir.Measurement(noise.sample(truth, seed=3), noise=noise, truth=truth)
    ready = scan.ready()
    from imagereg.fidelities.least_squares import LeastSquares
    from imagereg.methods.support.scaling import measure
    from imagereg.solvers.problem import Problem

    weights = torch.full_like(ready.data, sigma**-2)
    scaling = measure(Problem(LeastSquares(ready.data, weights), ready.physics))
    low, span, s = scaling.darkest, scaling.span, 0.05

    def gaussian(u: torch.Tensor, level: float) -> torch.Tensor:
        centre, spread = (mean - low) / span, tau / span
        return (spread**2 * u + level**2 * centre) / (spread**2 + level**2)

    variance = 1 / (sigma**-2 + 1 / (tau**2 + float(s * span) ** 2))
    expected = variance * (ready.data / sigma**2 + mean / (tau**2 + float(s * span) ** 2))
    for algorithm, step, thinning in (("ula", 0.3, 40), ("skrock", 0.05, 10)):
        method = ir.method(
            "langevin", sigma=s, algorithm=algorithm, step=step, samples=100, thinning=thinning
        ).using(gaussian)
        result = ir.reconstruct(scan, method)
        assert result.samples.shape[0] == 100
        assert float(result.std.mean()) == pytest.approx(variance**0.5, rel=0.1)
        assert float((result.image - expected).abs().mean()) < 0.15 * variance**0.5
        assert result.interval().level == 0.9
        covered = ((truth >= result.interval().lower) & (truth <= result.interval().upper)).float().mean()
        assert float(covered) == pytest.approx(0.9, abs=0.05)


def calibration_for(scan: ir.Measurement, method: Method, images: int = 30, **changes: Any) -> Calibration:
    random = np.random.default_rng(0)
    losses = np.stack([loss_curve(np.abs(random.standard_normal(500)) / 0.8) for _ in range(images)])
    values = {
        "rule": "crc",
        "level": 0.9,
        "delta": 0.1,
        "names": tuple(map(str, range(images))),
        "truth": "measured",
        "method": {"name": method.name, "parameters": method.model_dump(mode="json")},
        "source": {"source": "noise", "runs": 20},
        "physics": fingerprint(scan.ready()),
    }
    return Calibration(losses=losses, **{**values, **changes})


def write(calibration: Calibration, path: Path) -> Path:
    from imagereg.services.calibrating import write_calibration

    write_calibration(calibration, path)
    return path


def test_a_calibration_widens_intervals_and_survives_its_file(tmp_path: Path) -> None:
    scan, method = picture(), Itself(gain=0.5)
    made = calibration_for(scan, method)
    path = write(made, tmp_path / "calibration.json")
    read = Calibration.load(path)
    assert read.factor == made.factor
    assert read.guarantee == made.guarantee
    assert (read.losses >= made.losses - 1e-12).all()
    assert abs(read.losses - made.losses).max() < 1.1e-5
    asked = {"source": "noise", "runs": 20, "calibration": path}
    plain = ir.reconstruct(scan, method, uncertainty={**asked, "calibration": None}).interval()
    result = ir.reconstruct(scan, method, uncertainty=asked)
    interval = result.interval()
    assert interval.calibrated
    assert "at least 0.9 of the pixels" in interval.guarantee
    assert torch.allclose(interval.width, made.factor * plain.width, rtol=1e-4)
    # Another level is another factor of the same intervals, and has its own sentence.
    wider = result.interval(0.95)
    assert torch.allclose(wider.width, made.factor_at(0.95) * plain.width, rtol=1e-4)
    assert "0.95" in wider.guarantee
    # 29 images leave room for (30 * 0.1 - 1) / 29 = 0.069 of the pixels.
    assert made.left_out() == pytest.approx(0.931, abs=0.01)
    with pytest.raises(UsageError, match="too few for crc"):
        result.interval(0.99)


def test_a_calibration_for_something_else_is_refused_with_what_differs(tmp_path: Path) -> None:
    scan, method = picture(), Itself(gain=0.5)
    path = write(calibration_for(scan, method), tmp_path / "calibration.json")
    asked = {"source": "noise", "runs": 20, "calibration": path}
    with pytest.raises(UsageError, match=r"toy_itself.gain = 0.5 and this run has 0.7"):
        ir.reconstruct(scan, Itself(gain=0.7), uncertainty=asked)
    with pytest.raises(UsageError, match=r"uncertainty.runs = 20 and this run has 25"):
        ir.reconstruct(scan, method, uncertainty={**asked, "runs": 25})
    with pytest.raises(UsageError, match=r"noise = .*0\.1.* and this run has .*0\.3"):
        ir.reconstruct(picture(sigma=0.3), method, uncertainty=asked)
    blurred = ir.Measurement(
        scan.data, physics=ir.blur(np.ones((3, 3)) / 9), noise=scan.noise, quantity="image"
    )
    with pytest.raises(UsageError, match="the calibration was made for physics"):
        ir.reconstruct(blurred, method, uncertainty=asked)
    few = calibration_for(scan, method, images=8)
    with pytest.raises(UsageError, match=r"8 calibration images are too few for crc .* at least 9"):
        _ = few.factor
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="no calibration file"):
        Calibration.load(tmp_path / "other.json")
    with pytest.raises(InputError, match="cannot read the calibration"):
        Calibration.load(tmp_path / "none.json")


def test_what_counts_of_a_scan_for_a_calibration() -> None:
    known = fingerprint(scan_of().ready())
    moved = scan_of()
    from dataclasses import replace

    assert moved.geometry is not None
    moved = replace(moved, geometry=replace(moved.geometry, axis_offset=0.7), volume=None)
    again = fingerprint(moved.ready())
    assert {key for key in known if known[key] != again[key]} <= {"grid"}
    assert fingerprint(scan_of(views=41).ready())["views"] == 41
    assert fingerprint(scan_of(noise=ir.TransmissionNoise(1e4)).ready())["noise"]["name"] == "transmission"


def test_recipes_hold_the_section_and_the_schema_tells_it(tmp_path: Path) -> None:
    recipe = Recipe.parse("input: a.npy\nuncertainty: bootstrap\n")
    assert recipe.uncertainty is not None
    assert recipe.uncertainty.runs == 20
    text = "input: a.npy\nuncertainty: {source: noise, level: 0.8, calibration: cal.json}\n"
    recipe = Recipe.parse(text, folder=tmp_path)
    assert recipe.uncertainty is not None
    assert recipe.uncertainty.calibration == tmp_path / "cal.json"
    again = Recipe.parse(recipe.to_yaml())
    assert again == recipe
    assert again.sha256 == recipe.sha256
    assert "uncertainty" not in Recipe.parse("input: a.npy").to_yaml()
    changed = recipe.with_values({"uncertainty.runs": 7})
    assert changed.uncertainty is not None
    assert changed.uncertainty.runs == 7
    assert changed.sha256 != recipe.sha256
    for wrong, said in (("soource: noise", "did you mean 'source'"), ("level: 1.5", "level = 1.5")):
        with pytest.raises(UsageError, match=said):
            Recipe.parse(f"input: a.npy\nuncertainty: {{{wrong}}}\n")
    section = schema()["properties"]["uncertainty"]["anyOf"]
    assert section[0]["enum"] == ["bootstrap", "noise", "seeds", "method"]


def test_a_result_without_uncertainty_says_how_to_get_it() -> None:
    result = ir.reconstruct(picture(size=8), Itself())
    assert result.std is None
    assert result.samples is None
    assert result.mean is None
    with pytest.raises(UsageError, match="reconstruct with uncertainty='bootstrap'"):
        result.interval()
    with pytest.raises(UsageError, match="no samples of its own"):
        ir.reconstruct(picture(size=8), Itself(), uncertainty="method")


def test_runs_in_several_slabs_write_intervals_of_all_rows(tmp_path: Path) -> None:
    from imagereg.io import read
    from imagereg.running.local import run

    scan = scan_of(views=16, columns=16)
    stack = np.repeat(np.asarray(scan.data)[:, None], 3, 1)
    np.savez(tmp_path / "scan.npz", projections=stack, angles_rad=scan.geometry.angles, pixel_mm=0.5)
    values = {
        "input": {"path": str(tmp_path / "scan.npz"), "hints": {"quantity": "line_integrals"}},
        "method": "fbp",
        "uncertainty": {"runs": 20},
        "output": {"folder": str(tmp_path / "out"), "formats": ["tiff", "npy"]},
        "execution": {"slab": 2},
    }
    recipe = Recipe.of_mapping(values)
    result = last_of(run(recipe)).result  # type: ignore[arg-type, attr-defined]
    upper = np.load(tmp_path / "out" / "upper.npy")
    assert upper.shape == np.asarray(result.image).shape == (3, 16, 16)
    assert np.allclose(np.asarray(read(tmp_path / "out" / "upper.tif").data[...]), upper)
    interval = result.interval()
    assert np.array_equal(np.asarray(interval.upper), upper)
    assert (interval.width > 0).all()
    assert (result.interval(0.5).width <= interval.width).mean() > 0.9
    # Without the section, a run into the same folder leaves no interval of another image behind.
    plain = Recipe.of_mapping({key: value for key, value in values.items() if key != "uncertainty"})
    last_of(run(plain, overwrite=True))  # type: ignore[arg-type]
    assert not (tmp_path / "out" / "upper.npy").exists()


def test_all_factors_hold_one() -> None:
    assert 1.0 in FACTORS
