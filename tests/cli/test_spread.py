"""One run on many workers, with real processes: the same bytes, and nothing lost whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagereg.errors import ImageregError, OutOfMemory, UsageError
from imagereg.io import read
from imagereg.recipe import Recipe
from imagereg.running.events import Event
from imagereg.running.halves import states_or_halves
from imagereg.running.local import run
from imagereg.running.prefetch import ahead, behind
from imagereg.running.prepared_run import prepared
from imagereg.running.processes import Processes
from imagereg.running.run_on_workers import run_spread
from imagereg.simulation import write_raw_scan

pytestmark = pytest.mark.alone


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    write_raw_scan(path, columns=48, rows=8, views=30, seed=2)
    return path


def recipe_of(scan: Path, folder: Path, iterations: int = 4, **method: Any) -> Recipe:
    return Recipe.of_mapping(
        {
            "input": str(scan),
            "preprocess": ["flatfield", {"centre": {"column": 23.4}}],
            "method": {"name": "tv", "iterations": iterations, **method},
            "execution": {"slab": 2, "threads": 1},
            "output": {"folder": str(folder)},
        }
    )


def image(folder: Path) -> np.ndarray[Any, Any]:
    return np.asarray(read(folder / "image.ome.zarr").data[...])


def files(folder: Path) -> dict[str, bytes]:
    """The image's files by name, and what they hold."""
    root = folder / "image.ome.zarr"
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    # The recipe inside names the folder, in which alone two such runs differ.
    return {str(p.relative_to(root)): p.read_bytes().replace(str(folder).encode(), b"@") for p in paths}


def until_slabs(events: Iterator[Event], folder: Path, count: int) -> None:
    for _ in events:
        if len(list((folder / ".partial").glob("slab-*.json"))) >= count:
            return
    raise AssertionError("the run ended first")


def test_workers_give_the_bytes_of_a_single_process(scan: Path, tmp_path: Path) -> None:
    *_, one = run(recipe_of(scan, tmp_path / "one"))
    *_, two = run_spread(recipe_of(scan, tmp_path / "two"), Processes(2, threads=1))
    assert one.result is not None
    assert two.result is not None
    assert files(tmp_path / "one") == files(tmp_path / "two")
    accounts = [json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("one", "two")]
    for key in ("certificate", "metrics", "iterations", "finished", "slabs", "recipe_sha256"):
        assert accounts[0][key] == accounts[1][key]
    assert accounts[0]["slabs"] == 4


def test_a_killed_worker_loses_nothing(scan: Path, tmp_path: Path, children: Callable[[], set[int]]) -> None:
    out = tmp_path / "out"
    before = children()
    events = run_spread(recipe_of(scan, out, iterations=600, tolerance=1e-300), Processes(2, threads=1))
    until_slabs(events, out, 1)
    os.kill(max(children() - before), signal.SIGKILL)
    *_, last = events
    assert last.result is not None
    list(run(recipe_of(scan, tmp_path / "one", iterations=600, tolerance=1e-300)))
    np.testing.assert_array_equal(image(out), image(tmp_path / "one"))


def test_the_command_line_killed_goes_on(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipe = tmp_path / "r.yaml"
    recipe.write_text(recipe_of(scan, out, iterations=600, tolerance=1e-300).to_yaml())
    words = [sys.executable, "-m", "imagereg", "run", str(recipe), "--workers", "2", "--json"]
    words += ["-o", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for _ in process.stdout:
        if list((out / ".partial").glob("slab-*.json")):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in (out / ".partial").glob("slab-*.json")}
    assert kept
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert next(e for e in events if e["event"] == "plan")["resumed"] >= len(kept)
    assert events[-1]["event"] == "done"


def test_a_damaged_slab_is_done_again(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    events = run(recipe_of(scan, out))
    until_slabs(events, out, 2)
    events.close()  # type: ignore[attr-defined]
    kept = len(list((out / ".partial").glob("slab-*.json")))
    damaged = out / ".partial" / "slab-00000.npy"
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 0x10
    damaged.write_bytes(bytes(content))
    *rest, last = run(recipe_of(scan, out))
    plan = next(event for event in rest if event.stage == "plan")
    assert plan.values["resumed"] == kept - 1
    *_, whole = run(recipe_of(scan, tmp_path / "whole"))
    assert last.result is not None
    assert files(out) == files(tmp_path / "whole")
    assert len(last.result.history) == len(whole.result.history)  # type: ignore[union-attr]


def test_another_recipe_does_not_join(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    events = run(recipe_of(scan, out))
    until_slabs(events, out, 1)
    events.close()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="another recipe or input"):
        list(run_spread(recipe_of(scan, out, strength=0.3), Processes(2)))


def test_slabs_that_fail_are_named_and_the_others_kept(scan: Path, tmp_path: Path) -> None:
    class Broken:
        threads = 1
        memory = None

        def run(self, jobs: Any, *, overwrite: bool = False) -> Any:
            from imagereg.running.reports import Report, perform

            for job in jobs:
                if job.slabs == (2,):
                    yield Report(job.name, "failed", "the node went away")
                else:
                    yield from perform(job.name, job.recipe.plain(), job.slabs)

    out = tmp_path / "out"
    with pytest.raises(ImageregError, match=r"1 of 4 slabs .*slab-00002: the node went away"):
        list(run_spread(recipe_of(scan, out), Broken()))
    assert len(list((out / ".partial").glob("slab-*.json"))) == 3
    *_, last = run(recipe_of(scan, out))
    assert last.result is not None


def test_what_does_not_fit_is_done_in_halves(scan: Path, tmp_path: Path, monkeypatch: Any) -> None:
    work = prepared(recipe_of(scan, tmp_path / "out").with_values({"execution.slab": 8}))
    part = work.slab(work.plan.slabs[0])
    *_, whole = work.states(part)
    seen = []

    def states(self: Any, rows: Any) -> Any:
        seen.append(rows.rows)
        if rows.rows > 2:
            raise OutOfMemory("tv ran out of memory")
        return real(self, rows)

    real = type(work).states
    monkeypatch.setattr(type(work), "states", states)
    *_, halved = states_or_halves(work, part)
    assert seen == [8, 4, 2, 2, 4, 2, 2]
    assert halved.image.shape == whole.image.shape
    np.testing.assert_allclose(halved.image, whole.image, atol=2e-3)
    assert any("halves" in note for note in halved.notes)
    with pytest.raises(OutOfMemory):
        list(states_or_halves(replace_states(work, monkeypatch), part.select(rows=slice(0, 1))))


def replace_states(work: Any, monkeypatch: Any) -> Any:
    def never(self: Any, rows: Any) -> Any:
        raise OutOfMemory("tv ran out of memory")

    monkeypatch.setattr(type(work), "states", never)
    return replace(work)


def test_the_next_piece_is_made_ready_meanwhile_and_errors_come_in_turn() -> None:
    made: list[int] = []
    waiting = threading.Event()

    def prepare(item: int) -> int:
        if item == 3:
            raise ValueError("3 is bad")
        made.append(item)
        if item == 1:
            waiting.set()
        return 10 * item

    pieces = ahead([0, 1, 2, 3, 4], prepare)
    assert next(pieces) == (0, 0)
    assert waiting.wait(5)
    time.sleep(0.05)
    assert made == [0, 1]
    assert next(pieces) == (1, 10)
    assert next(pieces) == (2, 20)
    with pytest.raises(ValueError, match="3 is bad"):
        next(pieces)
    assert list(ahead([], prepare)) == []


def test_the_last_piece_is_put_away_meanwhile_and_its_error_comes_with_the_next() -> None:
    going, kept = threading.Event(), []

    def keep(item: int) -> None:
        assert going.wait(5)
        if item == 2:
            raise OSError("the disk is full")
        kept.append(item)

    with behind() as later:
        later(keep, 0)
        assert kept == []
        going.set()
        later(keep, 1)
        assert kept[:1] == [0]
    assert kept == [0, 1]
    with pytest.raises(OSError, match="the disk is full"), behind() as later:
        later(keep, 2)
        later(keep, 3)
    assert kept == [0, 1]
