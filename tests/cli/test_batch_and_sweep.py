"""Many runs: grids and folders, faults of real processes, and results that equal a single run's."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imagereg.errors import UsageError
from imagereg.recipe import Recipe
from imagereg.running.campaign import run_all, write_sheet, write_table
from imagereg.running.jobs import Job, batch_jobs, parse_values, sweep_jobs
from imagereg.running.processes import Processes
from imagereg.running.reports import InProcess, Report

Children = Callable[[], set[int]]

STEPS = ["flatfield", {"centre": {"column": 47.5}}]


def recipe_for(scan: Path, method: str = "fbp", **parameters: object) -> Recipe:
    return Recipe.of_mapping(
        {
            "input": str(scan),
            "preprocess": STEPS,
            "method": {"name": method, **parameters},
            "output": {"formats": ["tiff"]},
            "execution": {"slab": 1, "threads": 1},
        }
    )


@pytest.fixture
def scans(scan: Path, tmp_path: Path) -> Path:
    """A folder of three scans, and things beside them that are none."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(scan, folder / f"{name}.h5")
    (folder / "notes.md").write_text("nothing")
    (folder / "recipe.yaml").write_text("input: a.h5\n")
    return folder


def image(folder: Path) -> np.ndarray:
    return tifffile.imread(folder / "image.tif")


def kinds(reports: list[Report]) -> dict[str, str]:
    return {report.job: report.kind for report in reports if report.kind in ("done", "kept", "failed")}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("log:1e-3:1e-1:3", (0.001, 0.01, 0.1)),
        ("lin:0:1:5", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("ramp,hann", ("ramp", "hann")),
        ("10,20", (10, 20)),
    ],
)
def test_values_are_read_as_they_are_written(text: str, values: tuple[object, ...]) -> None:
    assert parse_values(text) == values


@pytest.mark.parametrize("text", ["log:0:1:3", "log:1:2", "lin:2:1:3", "lin:0:1:1", "log:a:b:c", ""])
def test_values_that_make_no_sense_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"LOW|HIGH|COUNT"):
        parse_values(text)


def test_a_sweep_is_a_grid_and_a_wrong_value_is_told_before_anything_runs(scan: Path, tmp_path: Path) -> None:
    recipe = recipe_for(scan)
    jobs = sweep_jobs(recipe, {"window": ("ramp", "hann"), "cutoff": (0.5, 1.0)}, tmp_path)
    assert [job.name for job in jobs] == [
        "window=ramp,cutoff=0.5", "window=ramp,cutoff=1", "window=hann,cutoff=0.5", "window=hann,cutoff=1",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="cutoff"):
        sweep_jobs(recipe, {"cutoff": (0.5, 3.0)}, tmp_path)


def test_two_workers_give_what_one_process_gives_byte_for_byte(scans: Path, tmp_path: Path) -> None:
    recipe = recipe_for(scans / "a.h5", "tv", iterations=5)
    one, two = tmp_path / "one", tmp_path / "two"
    jobs = batch_jobs(scans, recipe, one)
    assert [job.name for job in jobs] == ["a", "b", "c"]
    assert set(kinds(list(run_all(jobs, InProcess(), one))).values()) == {"done"}
    others = batch_jobs(scans, recipe, two)
    assert set(kinds(list(run_all(others, Processes(2, threads=1), two))).values()) == {"done"}
    for job, other in zip(jobs, others, strict=True):
        np.testing.assert_array_equal(image(job.folder), image(other.folder))
    again = list(run_all(others, Processes(2), two))
    assert kinds(again) == {"a": "kept", "b": "kept", "c": "kept"}
    assert all(report.metrics["residual"] > 0 for report in again)


def test_another_recipe_over_finished_results_is_refused(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = batch_jobs(scans, recipe_for(scans / "a.h5"), out, pattern="a.*")
    list(run_all(jobs, InProcess(), out))
    before = image(out / "a")
    others = batch_jobs(scans, recipe_for(scans / "a.h5", window="hann"), out, pattern="a.*")
    with pytest.raises(UsageError, match="another recipe or input; nothing was changed"):
        next(run_all(others, InProcess(), out))
    np.testing.assert_array_equal(image(out / "a"), before)
    assert kinds(list(run_all(others, InProcess(), out, overwrite=True))) == {"a": "done"}


def test_a_bad_scan_fails_alone(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (scans / "b.h5").write_bytes((scans / "b.h5").read_bytes()[:20000])
    jobs = batch_jobs(scans, recipe_for(scans / "a.h5"), out)
    reports = list(run_all(jobs, InProcess(), out))
    assert kinds(reports) == {"a": "done", "b": "failed", "c": "done"}
    assert "cut short or damaged" in next(report.message for report in reports if report.kind == "failed")
    rows = write_table(jobs, out, truth=image(out / "a"))
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert rows[0]["psnr"] > 100
    with (out / "table.csv").open() as stream:
        assert [row["job"] for row in csv.DictReader(stream)] == ["a", "b", "c"]
    sheet = write_sheet(jobs, out)
    assert sheet is not None
    assert sheet.stat().st_size > 5000


def slow_jobs(scan: Path, folder: Path) -> tuple[Job, ...]:
    return sweep_jobs(recipe_for(scan, "sirt"), {"iterations": (3000, 3001)}, folder)


def first_slab(folder: Path) -> bool:
    return any(folder.rglob("slab-00000.npy"))


def until(reports: Iterator[Report], folder: Path) -> None:
    """Watch until some slab is on disk."""
    for _ in reports:
        if first_slab(folder):
            return
    raise AssertionError("the jobs were over before a slab was seen")


def test_a_killed_worker_costs_no_job(scan: Path, tmp_path: Path, children: Children) -> None:
    out = tmp_path / "out"
    jobs = slow_jobs(scan, out)
    before = children()
    reports = run_all(jobs, Processes(2, threads=1), out)
    until(reports, out)
    victims = children() - before
    os.kill(max(victims), signal.SIGKILL)
    rest = list(reports)
    assert kinds(rest) == {job.name: "done" for job in jobs} or set(kinds(rest).values()) == {"done"}
    assert any("its process ended (-9)" in report.message for report in rest)
    alone = sweep_jobs(recipe_for(scan, "sirt"), {"iterations": (3000,)}, tmp_path / "alone")
    list(run_all(alone, InProcess(), tmp_path / "alone"))
    np.testing.assert_array_equal(image(jobs[0].folder), image(alone[0].folder))
    assert not list(out.rglob(".partial"))


def test_cancelling_leaves_no_process_and_the_next_call_goes_on(
    scan: Path, tmp_path: Path, children: Children
) -> None:
    out = tmp_path / "out"
    before = children()
    reports = run_all(slow_jobs(scan, out), Processes(2, threads=1), out)
    until(reports, out)
    reports.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not children() - before
    assert first_slab(out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("slab-00000.npy")}
    second = run_all(slow_jobs(scan, out), InProcess(), out)
    until(second, out)
    assert any(path.exists() and path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    second.close()  # type: ignore[attr-defined]


def test_the_command_line_killed_and_called_again_finishes(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipe = tmp_path / "r.yaml"
    recipe.write_text(recipe_for(scans / "a.h5", "sirt", iterations=400).to_yaml())
    words = [sys.executable, "-m", "imagereg", "batch", str(scans), str(recipe), "-o", str(out), "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "done":
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(event["event"] == "kept" for event in events) >= 1
    last = events[-1]
    assert last["event"] == "end"
    assert [row["status"] for row in last["rows"]] == ["done", "done", "done"]


@pytest.fixture
def environment() -> Iterator[None]:
    """Dask's nanny sets numbers of threads in its parent's environment; here they end with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
def test_a_dask_cluster_carries_out_jobs(scans: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    from imagereg.running.cluster import DaskCluster

    recipe = recipe_for(scans / "a.h5")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
    ) as cluster:
        out = tmp_path / "out"
        jobs = batch_jobs(scans, recipe, out)
        reports = list(run_all(jobs, DaskCluster(cluster.scheduler_address), out))
    assert set(kinds(reports).values()) == {"done"}
    alone = batch_jobs(scans, recipe, tmp_path / "alone", pattern="a.h5")
    list(run_all(alone, InProcess(), tmp_path / "alone"))
    np.testing.assert_array_equal(image(jobs[0].folder), image(alone[0].folder))
