"""What becomes of a run when a Dask worker, the scheduler or the client is killed: nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagereg.errors import ImageregError
from imagereg.io import read
from imagereg.recipe import Recipe
from imagereg.running.local import run
from imagereg.running.run_on_workers import run_spread
from imagereg.simulation import write_raw_scan

pytestmark = pytest.mark.alone

pytest.importorskip("distributed")
START = "from distributed.cli.dask_{0} import main; main()"


class Cluster:
    """A scheduler and two workers, each a process of its own that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.log = (folder / "cluster.log").open("w")
        address = folder / "scheduler.json"
        quiet = ["--no-dashboard", "--host", "127.0.0.1"]
        self.scheduler = self._start("scheduler", "--scheduler-file", str(address), "--port", "0", *quiet)
        deadline = time.monotonic() + 60
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        words = ["--scheduler-file", str(address), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        words += ["--death-timeout", "30"]
        self.workers = [self._start("worker", *words) for _ in range(2)]
        self.address = json.loads(address.read_text())["address"]

    def _start(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", START.format(kind), *words]
        return subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.end()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_raw_scan(tmp_path / "scan.h5", columns=48, rows=8, views=30, seed=2)
    return Recipe.of_mapping(
        {
            "input": str(tmp_path / "scan.h5"),
            "preprocess": ["flatfield", {"centre": {"column": 23.4}}],
            "method": {"name": "tv", "iterations": 400, "tolerance": 1e-300},
            "execution": {"slab": 1, "threads": 1},
            "output": {"folder": str(tmp_path / "out")},
        }
    )


def kill_after_first_slab(process: Any, folder: Path) -> threading.Thread:
    """Kill a process as soon as one slab is on disk."""

    def watch() -> None:
        while not list((folder / ".partial").glob("slab-*.json")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def slabs(folder: Path) -> dict[Path, int]:
    """The finished slabs on disk, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in (folder / ".partial").glob("slab-*.json")}


def image(folder: Path) -> np.ndarray[Any, Any]:
    return np.asarray(read(folder / "image.ome.zarr").data[...])


def test_the_slabs_of_a_killed_worker_go_to_the_other(
    cluster: Cluster, recipe: Recipe, tmp_path: Path
) -> None:
    from imagereg.running.cluster import DaskCluster

    watch = kill_after_first_slab(cluster.workers[0], tmp_path / "out")
    *_, last = run_spread(recipe, DaskCluster(cluster.address))
    watch.join(10)
    assert cluster.workers[0].poll() is not None
    assert last.result is not None
    list(run(recipe.with_values({"output.folder": str(tmp_path / "one")})))
    np.testing.assert_array_equal(image(tmp_path / "out"), image(tmp_path / "one"))


def test_a_killed_scheduler_is_one_sentence_and_the_rest_is_done_later(
    cluster: Cluster, recipe: Recipe, tmp_path: Path
) -> None:
    from imagereg.running.cluster import DaskCluster

    kill_after_first_slab(cluster.scheduler, tmp_path / "out")
    with pytest.raises(ImageregError, match=r"Dask scheduler at .* went away"):
        list(run_spread(recipe, DaskCluster(cluster.address)))
    kept = len(list((tmp_path / "out" / ".partial").glob("slab-*.json")))
    assert kept >= 1
    events = list(run(recipe))
    assert next(event for event in events if event.stage == "plan").values["resumed"] >= kept
    assert events[-1].result is not None


def test_a_killed_client_leaves_its_slabs_to_the_same_command(
    cluster: Cluster, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    words = [sys.executable, "-m", "imagereg", "run", str(tmp_path / "recipe.yaml"), "--json"]
    words += ["-o", str(tmp_path / "out"), "--scheduler", cluster.address]
    client = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    watch = kill_after_first_slab(client, tmp_path / "out")
    client.communicate(timeout=300)
    watch.join(10)
    assert client.returncode == -signal.SIGKILL
    kept = slabs(tmp_path / "out")
    assert kept
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    # The workers may have finished what they were at after the client was gone.
    assert next(e for e in events if e["event"] == "plan")["resumed"] >= len(kept)
    list(run(recipe.with_values({"output.folder": str(tmp_path / "one")})))
    np.testing.assert_array_equal(image(tmp_path / "out"), image(tmp_path / "one"))
