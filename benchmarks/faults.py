"""Faults of a run of many slabs: what each loses, and the seconds until the run is where it would have been.

    python benchmarks/faults.py [--folder DIR] [--out FILE] [--only NAME ...]

`imagereg run` with two worker processes, or on a Dask scheduler with two workers (processes of their own),
reconstructs a scan by TV, one row a slab. When two slabs are on disk something is killed, the disk fills up
or a finished slab is damaged; where the run does not go on by itself, the same command is given again. Lost
is a finished slab that is done again. The seconds are those of all commands less those of a run that nothing
disturbs: starting Python anew, importing, and the slabs that were being worked on (of another recipe: until
the refusal). In the end the image is compared with the undisturbed one, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from kept import Kept
from rich.console import Console
from rich.table import Table

from imagereg.io import read
from imagereg.simulation import write_raw_scan

ROWS, AFTER = 8, 2
DASK = "from distributed.cli.dask_{0} import main; main()"


@dataclass
class Bench:
    """A scan and a recipe in a folder, and the times of undisturbed runs."""

    folder: Path
    plain: dict[str, float] = field(default_factory=dict)
    cluster: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def words(self, out: Path, where: str, **changes: Any) -> list[str]:
        """The command line of a run on two processes, or on the Dask cluster."""
        recipe = {
            "input": {"path": str(self.folder / "scan.h5")},
            "preprocess": ["flatfield", {"centre": {"column": 63.4}}],
            "method": {"name": "tv", "iterations": 300, "tolerance": 1e-300, **changes},
            "execution": {"slab": 1, "threads": 1},
            "output": {"history": False},
        }
        path = self.folder / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        words = [sys.executable, "-m", "imagereg", "run", str(path), "-o", str(out), "--json"]
        if where == "dask":
            address = json.loads((self.folder / "scheduler.json").read_text())["address"]
            return [*words, "--scheduler", address]
        return [*words, "--workers", "2"]

    def start_cluster(self) -> None:
        """A scheduler and two workers with one thread each."""
        self.end_cluster()
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self._start("scheduler", "--scheduler-file", str(file), "--port", "0", "--host", "127.0.0.1")
        while not file.exists():
            time.sleep(0.1)
        for _ in range(2):
            self._start("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny")
        from distributed import Client

        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2)
            client.run(_warm)

    def _start(self, kind: str, *words: str) -> None:
        command = [sys.executable, "-c", DASK.format(kind), *words, "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.cluster.append(subprocess.Popen(command, **quiet))

    def end_cluster(self) -> None:
        """Kill what is left of it."""
        for process in self.cluster:
            process.kill()
            process.wait()
        self.cluster.clear()


def _warm() -> None:
    import imagereg.running.local
    import imagereg.solvers.pdhg  # noqa: F401


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, seconds, finished slabs at the fault and after it, events."""

    code: int
    seconds: float
    before: int
    kept: int
    events: list[dict[str, Any]]

    @property
    def resumed(self) -> int:
        """Finished slabs that the command found."""
        return next((event["resumed"] for event in self.events if event["event"] == "plan"), 0)


def go(words: list[str], out: Path, fault: Callable[[psutil.Popen], None] | None = None) -> Ended:
    """Run a command, with a fault as soon as some slabs are on disk."""
    began = time.perf_counter()
    process = psutil.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    before = 0
    if fault is not None:
        while (before := _finished(out)) < AFTER:
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(words)} was over before the fault")
            time.sleep(0.01)
        fault(process)
    text, _ = process.communicate()
    seconds = time.perf_counter() - began
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return Ended(process.returncode, seconds, before, _finished(out), events)


def _finished(out: Path) -> int:
    return len(list((out / ".partial").glob("slab-*.json")))


def image(out: Path) -> np.ndarray:
    return np.asarray(read(out / "image.ome.zarr").data[...])


# ---------------------------------------------------------------------- the faults
def kill_worker(process: psutil.Popen) -> None:
    workers = [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]
    workers[-1].kill()


def say(number: signal.Signals) -> Callable[[psutil.Popen], None]:
    return lambda process: process.send_signal(number)


def disturbed(bench: Bench, where: str, fault: Callable[[psutil.Popen], None]) -> dict[str, Any]:
    """A run with a fault; the same command again where it ended."""
    out = _fresh(bench)
    words = bench.words(out, where)
    first = go(words, out, fault)
    row: dict[str, Any] = {"finished": first.before, "ends": first.code}
    seconds, lost = first.seconds, 0
    if first.code:
        if where == "dask" and bench.cluster[0].poll() is not None:
            bench.start_cluster()
            words = bench.words(out, where)
        again = go(words, out)
        if again.code:
            raise SystemExit(f"the second call ended with {again.code}: {again.events[-1:]}")
        seconds, lost = seconds + again.seconds, max(0, first.before - again.resumed)
    return {**row, "lost": lost, "seconds": seconds - bench.plain[where], "same_bytes": _same(bench, out)}


def damaged(bench: Bench) -> dict[str, Any]:
    """One bit of a finished slab turns while nothing runs."""
    out = _fresh(bench)
    words = bench.words(out, "processes")
    first = go(words, out, say(signal.SIGINT))
    victim = sorted((out / ".partial").glob("slab-*.json"))[0].with_suffix(".npy")
    content = bytearray(victim.read_bytes())
    content[-5] ^= 0x10
    victim.write_bytes(bytes(content))
    again = go(words, out)
    found = again.resumed == first.kept - 1
    return {
        "finished": first.kept,
        "ends": again.code,
        "lost": first.kept - 1 - again.resumed,
        "seconds": first.seconds + again.seconds - bench.plain["processes"],
        "same_bytes": found and _same(bench, out),
    }


def another_recipe(bench: Bench) -> dict[str, Any]:
    """Another strength over an unfinished run, and over a finished one."""
    out = _fresh(bench)
    words = bench.words(out, "processes")
    first = go(words, out, say(signal.SIGINT))
    other = go(bench.words(out, "processes", strength=0.7), out)
    again = go(bench.words(out, "processes"), out)
    late = go(bench.words(out, "processes", strength=0.7), out)
    if (other.code, again.code, late.code) != (2, 0, 2):
        raise SystemExit(f"other recipes ended with {other.code} and {late.code}, 2 was expected")
    return {
        "finished": first.kept,
        "ends": other.code,
        "lost": first.kept - again.resumed,
        "seconds": other.seconds,
        "same_bytes": _same(bench, out),
    }


def full_disk(bench: Bench) -> dict[str, Any]:
    """A file system of half the size that the run needs, which is made larger afterwards."""
    small = bench.folder / "small"
    small.mkdir(exist_ok=True)
    need = ROWS * 128 * 128 * 4
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={need // 2}", "tmpfs", str(small)], check=True)
    try:
        out = small / "out"
        words = bench.words(out, "processes")
        first = go(words, out)
        subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
        again = go(words, out)
        return {
            "finished": first.kept,
            "ends": first.code,
            "lost": first.kept - again.resumed,
            "seconds": first.seconds + again.seconds - bench.plain["processes"],
            "same_bytes": _same(bench, out),
        }
    finally:
        subprocess.run(["umount", str(small)], check=True)


def _fresh(bench: Bench) -> Path:
    out = bench.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    return out


def _same(bench: Bench, out: Path) -> bool:
    return bool(np.array_equal(image(out), image(bench.folder / "plain")))


FAULTS: dict[str, tuple[str, Callable[[Bench], dict[str, Any]]]] = {
    "Ctrl-C (SIGINT)": ("processes", lambda b: disturbed(b, "processes", say(signal.SIGINT))),
    "SIGTERM": ("processes", lambda b: disturbed(b, "processes", say(signal.SIGTERM))),
    "SIGKILL of the command": ("processes", lambda b: disturbed(b, "processes", say(signal.SIGKILL))),
    "SIGKILL of a worker process": ("processes", lambda b: disturbed(b, "processes", kill_worker)),
    "a finished slab damaged": ("processes", damaged),
    "disk full": ("processes", full_disk),
    "another recipe, same folder": ("processes", another_recipe),
    "SIGKILL of a Dask worker": (
        "dask",
        lambda b: disturbed(b, "dask", lambda process: b.cluster[1].kill()),
    ),
    "SIGKILL of the Dask scheduler": (
        "dask",
        lambda b: disturbed(b, "dask", lambda process: b.cluster[0].kill()),
    ),
    "SIGKILL of the Dask client": ("dask", lambda b: disturbed(b, "dask", say(signal.SIGKILL))),
}


def measure(bench: Bench, names: list[str], keep: Callable[[dict[str, Any]], None]) -> None:
    """Undisturbed runs first, then each fault."""
    scan = bench.folder / "scan.h5"
    if not scan.exists():
        write_raw_scan(scan, columns=128, rows=ROWS, views=90, seed=2)
    for where in dict.fromkeys(FAULTS[name][0] for name in names):
        if where == "dask":
            bench.start_cluster()
        out = bench.folder / ("plain" if where == "processes" else "plain-dask")
        shutil.rmtree(out, ignore_errors=True)
        ended = go(bench.words(out, where), out)
        if ended.code:
            raise SystemExit(f"the undisturbed run ended with {ended.code}: {ended.events[-1:]}")
        bench.plain[where] = ended.seconds
        keep({"fault": f"none ({where})", "seconds": ended.seconds, "lost": 0})
        for name in names:
            if FAULTS[name][0] == where:
                if where == "dask" and any(process.poll() is not None for process in bench.cluster):
                    bench.start_cluster()
                keep({"fault": name, **FAULTS[name][1](bench)})


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="What faults of a run cost")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "imagereg-faults")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "faults.json")
    parser.add_argument("--only", nargs="+", default=[], help="words of the faults' names")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    kept = Kept(arguments.out, "fault")
    names = [n for n in FAULTS if not arguments.only or any(word in n for word in arguments.only)]
    bench = Bench(arguments.folder)
    try:
        measure(bench, names, kept.add)
    finally:
        bench.end_cluster()
    columns = ("finished", "ends", "lost", "seconds", "same_bytes", "load_before")
    table = Table("fault", *columns, title=f"{ROWS} slabs of TV, two workers, a fault after {AFTER} slabs")
    for row in kept.rows:
        table.add_row(row["fault"], *(str(row.get(name, "")) for name in columns))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
