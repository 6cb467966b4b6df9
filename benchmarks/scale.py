"""Whole scans from file to OME-Zarr: slices a second, memory, bytes, workers.

    python benchmarks/scale.py [--rows 512] [--tv-rows 64] [--folder DIR] [--out FILE] [--only PART ...]

A raw scan of `rows` x 512^2 voxels, 360 views and 768 columns (uint16 counts, flats, darks) is made once: a
foam of 16 slices, repeated and mirrored, noise anew in each row. `imagereg run` takes it from counts to
OME-Zarr in a process of its own, which is watched: time on the clock from start to end with Python's own
start and the compiled kernels read from disk, processor time (which depends less on what else the machine
does), largest memory of the process and its children together, bytes that they read and wrote.

Beside it a plain loop over ASTRA's CPU kernels in two processes (flat field and logarithm by NumPy, FBP by
ASTRA, no file written), on fewer slices: two numbers of them, since what a further slice takes does not
depend on how many there are.

Weak scaling: a Dask LocalCluster of 1, 2 and 4 workers with one thread each gets slabs in proportion; the
overhead of a task is the time of an empty one, and what each slab costs beside its rows (the file opened, the
steps resolved) is the difference between four small slabs and one large one in one process.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kept import Kept, cores
from rich.console import Console
from rich.table import Table

SIZE, VIEWS, COLUMNS, PIXEL = 512, 360, 768, 0.005
PARTS = ("fbp", "memory", "workers", "astra", "weak", "tv")


# ---------------------------------------------------------------------- the scan
def make_scan(path: Path, rows: int, seed: int = 0) -> None:
    """Write the raw scan, 32 rows at a time."""
    import h5py

    from imagereg.geometry import ParallelBeam, Volume
    from imagereg.phantoms import foam

    random = np.random.default_rng(seed)
    angles = np.linspace(0, np.pi, VIEWS, endpoint=False)
    geometry = ParallelBeam(angles, COLUMNS, pixel=PIXEL)
    grid = Volume((SIZE, SIZE), PIXEL)
    radius = 0.44 * SIZE * PIXEL
    slices = [
        foam.bodies(grid, attenuation=1.0 / radius, radius=radius, seed=seed + k).project(geometry)
        for k in range(16)
    ]
    made = np.stack(slices, axis=1)
    made = np.concatenate([made, made[:, ::-1]], axis=1)
    with h5py.File(path, "x") as file:
        exchange = file.create_group("exchange")
        data = exchange.create_dataset("data", (VIEWS, rows, COLUMNS), "uint16")
        for start in range(0, rows, 32):
            part = made[:, : min(32, rows - start)]
            data[:, start : start + part.shape[1]] = random.poisson(3e4 * np.exp(-part)) + 100
        exchange["data_white"] = (random.poisson(3e4, (10, rows, COLUMNS)) + 100).astype("uint16")
        exchange["data_dark"] = np.full((5, rows, COLUMNS), 100, "uint16")
        exchange["theta"] = np.rad2deg(angles)
        exchange["theta"].attrs["units"] = "deg"
        size = file.create_dataset("measurement/instrument/detector/pixel_size_x", data=PIXEL * 1000)
        size.attrs["units"] = "um"


def recipe(scan: Path, out: Path, rows: int, method: dict[str, Any], **execution: Any) -> dict[str, Any]:
    """From counts to an OME-Zarr on the grid of the phantom."""
    return {
        "input": {"path": str(scan), "rows": f"0:{rows}"},
        "preprocess": ["flatfield", {"centre": {"column": (COLUMNS - 1) / 2}}],
        "physics": {"volume": {"shape": [SIZE, SIZE], "voxel": [PIXEL, PIXEL]}},
        "method": method,
        "output": {"folder": str(out), "formats": ["ome-zarr"], "history": False},
        "execution": execution,
    }


# ---------------------------------------------------------------------- watching
def watched(words: list[str]) -> dict[str, float]:
    """Run a command; seconds, largest memory and bytes moved of it and its children."""
    import psutil

    began, used = time.perf_counter(), processor_time()
    process = psutil.Popen(words, stdout=subprocess.DEVNULL)
    peak, moved = 0, {}
    while process.poll() is None:
        memory = 0
        for one in [process, *_children(process)]:
            try:
                memory += one.memory_info().rss
                counters = one.io_counters()
                moved[one.pid] = (counters.read_chars, counters.write_chars)
            except psutil.Error:
                continue
        peak = max(peak, memory)
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    read, written = (sum(pair[k] for pair in moved.values()) for k in (0, 1))
    return {
        "seconds": seconds,
        "processor_s": processor_time() - used,
        "peak_mb": peak / 2**20,
        "read_mb": read / 1e6,
        "written_mb": written / 1e6,
    }


def processor_time() -> float:
    """Seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _children(process: Any) -> list[Any]:
    import psutil

    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def run_ours(folder: Path, plain: dict[str, Any], rows: int, workers: int = 1) -> dict[str, float]:
    """`imagereg run` of a recipe; the output is looked at and removed."""
    import yaml
    import zarr

    out = Path(plain["output"]["folder"])
    shutil.rmtree(out, ignore_errors=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(plain))
    row = watched([sys.executable, "-m", "imagereg", "run", str(path), "--quiet", "--workers", str(workers)])
    array: Any = zarr.open_group(out / "image.ome.zarr", mode="r")["0"]
    if array.shape != (rows, SIZE, SIZE) or not np.isfinite(array[rows // 2]).all():
        raise SystemExit(f"{out} holds {array.shape}")
    row["levels"] = len(list((out / "image.ome.zarr").glob("[0-9]")))
    account = json.loads((out / "provenance.json").read_text())
    row.update({f"{name}_s": value for name, value in account["seconds"].items() if name != "total"})
    shutil.rmtree(out)
    return {**row, "rows": rows, "slices_per_second": rows / row["seconds"]}


# ---------------------------------------------------------------------- the others
def astra_loop(scan: str, start: int, stop: int, iterations: int) -> None:
    """What a user writes: a loop over slices, FBP by ASTRA, or as many pairs of its projectors."""
    import astra
    import h5py

    with h5py.File(scan) as file:
        exchange = file["exchange"]
        dark = exchange["data_dark"][:, start:stop].mean(0)
        flat = exchange["data_white"][:, start:stop].mean(0) - dark
        data = exchange["data"][:, start:stop].astype(np.float32)
    lines = -np.log(np.clip((data - dark) / flat, 1e-4, None)) / PIXEL
    angles = np.linspace(0, np.pi, VIEWS, endpoint=False)
    volume = astra.create_vol_geom(SIZE, SIZE)
    projector = astra.create_projector(
        "linear", astra.create_proj_geom("parallel", 1.0, COLUMNS, angles), volume
    )
    operator = astra.OpTomo(projector)
    for k in range(stop - start):
        sinogram = np.ascontiguousarray(lines[:, k])
        if not iterations:
            operator.reconstruct("FBP", sinogram)
        image = np.zeros((SIZE, SIZE), np.float32)
        for _ in range(iterations):
            image -= operator.BP(operator.FP(image) - sinogram) * 1e-7


def run_astra(scan: Path, slices: int, iterations: int) -> dict[str, float]:
    """The loop in two processes of one thread each."""
    half, used = slices // 2, processor_time()
    code = "import sys; sys.path.insert(0, sys.argv[1]); from scale import astra_loop; "
    code += "astra_loop(sys.argv[2], *map(int, sys.argv[3:]))"
    began = time.perf_counter()
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(scan)]
            + [str(n) for n in (start, start + half, iterations)]
        )
        for start in (0, half)
    ]
    if any(process.wait() for process in pair):
        raise SystemExit("the loop over ASTRA failed")
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "processor_s": processor_time() - used,
        "rows": 2 * half,
        "slices_per_second": 2 * half / seconds,
    }


def weak_scaling(folder: Path, scan: Path, each: int = 4) -> dict[str, dict[str, float]]:
    """Slabs in proportion to the workers of a Dask cluster, and the time of empty tasks."""
    from distributed import Client, LocalCluster

    from imagereg.recipe import Recipe
    from imagereg.running.cluster import DaskCluster
    from imagereg.running.run_on_workers import run_spread

    rows = {}
    for workers in (1, 2, 4):
        with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
            with Client(cluster) as client:
                client.run(_warm)
                began = time.perf_counter()
                client.gather(client.map(_nothing, range(500)))
                empty = (time.perf_counter() - began) / 500
            out = folder / "weak"
            shutil.rmtree(out, ignore_errors=True)
            count = each * workers * 8
            plain = recipe(scan, out, count, {"name": "fbp"}, slab=8, threads=1)
            began = time.perf_counter()
            for event in run_spread(Recipe.of_mapping(plain), DaskCluster(cluster.scheduler_address)):
                if event.stage == "write":
                    break
            seconds = time.perf_counter() - began
            rows[str(workers)] = {
                "workers": workers,
                "rows": count,
                "seconds": seconds,
                "slices_per_second": count / seconds,
                "empty_task_ms": empty * 1e3,
            }
    return rows


def beside_rows(folder: Path, scan: Path, rows: int = 32) -> float:
    """Seconds that a slab costs a worker beside its rows: a third of what four slabs take longer than one."""
    from imagereg.recipe import Recipe
    from imagereg.running.reports import InProcess
    from imagereg.running.run_on_workers import run_spread

    def seconds(slab: int) -> float:
        out = folder / "beside"
        shutil.rmtree(out, ignore_errors=True)
        plain = recipe(scan, out, rows, {"name": "fbp"}, slab=slab, threads=1)
        began = 0.0
        for event in run_spread(Recipe.of_mapping(plain), InProcess()):
            if event.stage == "plan":
                began = time.perf_counter()
            if event.stage == "write":
                break
        return time.perf_counter() - began

    seconds(rows)  # imports and compiles
    pairs = [seconds(rows // 4) - seconds(rows) for _ in range(3)]
    return float(np.median(pairs)) / 3


def _warm() -> None:
    import deepinv  # noqa: F401

    import imagereg.running.local  # noqa: F401


def _nothing(number: int) -> int:
    return number


# ---------------------------------------------------------------------- the table
def measure(
    folder: Path, rows: int, tv_rows: int, parts: tuple[str, ...], keep: Callable[[dict], None]
) -> None:
    """Every part that was asked for; each figure is kept as soon as it is there."""
    scan = folder / f"scan-{rows}.h5"
    if not scan.exists():
        made = scan.with_suffix(".making.h5")
        made.unlink(missing_ok=True)
        make_scan(made, rows)
        made.rename(scan)
    out = folder / "out"
    fbp = {"name": "fbp"}
    tv = {"name": "tv", "iterations": 50, "tolerance": 1e-12, "strength": 0.05}
    if "fbp" in parts:
        run_ours(folder, recipe(scan, out, 8, fbp), 8)  # reads and compiles what is needed, once
        keep(
            {
                "what": f"FBP, one process, {cores()} threads",
                **run_ours(folder, recipe(scan, out, rows, fbp), rows),
            }
        )
    if "memory" in parts:
        for count in (rows // 4, rows // 2, rows):
            row = run_ours(folder, recipe(scan, out, count, fbp, threads=1), count)
            keep({"what": f"FBP, one thread, {count} rows", **row})
    if "workers" in parts:
        for workers in (1, 2):
            row = run_ours(folder, recipe(scan, out, rows, fbp, threads=1), rows, workers)
            keep({"what": f"FBP, workers of one thread: {workers}", **row})
            # Slabs of half the rows, so that two workers have one each.
            plain = recipe(scan, out, tv_rows, tv, threads=1, slab=tv_rows // 2)
            row = run_ours(folder, plain, tv_rows, workers)
            keep({"what": f"TV, 50 steps, workers of one thread: {workers}", **row})
    if "astra" in parts:
        for count in (32, 128):  # their difference is free of the time of starting Python
            row = run_astra(scan, count, 0)
            keep({"what": f"ASTRA FBP, loop in two processes, {count} rows", **row})
        keep({"what": "ASTRA, 50 pairs of projections, two processes", **run_astra(scan, 2, 50)})
    if "weak" in parts:
        keep({"what": "beside a slab's rows", "seconds": beside_rows(folder, scan)})
        for row in weak_scaling(folder, scan).values():
            keep({"what": f"FBP on Dask, workers: {int(row['workers'])}", **row})
    if "tv" in parts:
        row = run_ours(folder, recipe(scan, out, tv_rows, tv), tv_rows)
        keep({"what": f"TV, 50 steps, {cores()} threads", **row})


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Whole scans from file to OME-Zarr")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--tv-rows", type=int, default=64)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "imagereg-scale")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scale.json")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    scan = f"{VIEWS} views x {arguments.rows} rows x {COLUMNS} columns, uint16"
    kept = Kept(arguments.out, "what", scan=scan)
    measure(arguments.folder, arguments.rows, arguments.tv_rows, tuple(arguments.only), kept.add)
    names = (
        "rows",
        "seconds",
        "processor_s",
        "slices_per_second",
        "peak_mb",
        "read_mb",
        "written_mb",
        "load_before",
    )
    table = Table("what", *names, title=scan)
    for row in kept.rows:
        table.add_row(row["what"], *(f"{row[name]:.5g}" if name in row else "" for name in names))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
