"""What methods say of their memory holds: the peak over a slab is at most what the plan reckons with."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from imagereg.methods.registry import method
from imagereg.recipe import Recipe
from imagereg.running.prepared_run import Work, prepared
from imagereg.simulation import write_raw_scan

pytestmark = [
    pytest.mark.alone,  # other work beside would be slow, and peaks are of the whole process
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc"),
]
ROWS, COLUMNS = 8, 192


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Raw scans by number of views: with few, images take the memory, with many, data do."""
    folder = tmp_path_factory.mktemp("memory")
    made = {views: folder / f"{views}.h5" for views in (40, 300)}
    for views, path in made.items():
        write_raw_scan(path, columns=COLUMNS, rows=ROWS, views=views, seed=1)
    return made


def work_on(path: Path, rows: int, name: str, **parameters: Any) -> Work:
    plain = {
        "input": str(path),
        "preprocess": ["flatfield", {"centre": {"column": COLUMNS / 2}}],
        "method": {"name": name, **parameters},
        "execution": {"slab": rows, "threads": 1},
        "output": {"folder": str(path.parent / "out")},
    }
    return prepared(Recipe.of_mapping(plain))


def resident(what: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024


def peak(work: Work) -> int:
    """Bytes that preprocessing and some steps of the method take beyond what was there."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    deque(islice(work.states(work.slab(work.plan.slabs[0])), 6), maxlen=1)
    return resident("VmHWM") - before


QUICK = (
    "cgls", "fbp", "graph_laplacian", "sirt", "space_variant_tv", "spiral_tap", "tikhonov", "tv", "wavelet",
)  # fmt: skip
LEARNED = ("diffpir", "learned_fbp", "lpn", "red_diff", "vble")  # minutes together
CASES = [
    *(pytest.param(views, name) for name in QUICK for views in (40, 300)),
    *(pytest.param(views, name, marks=pytest.mark.slow) for name in LEARNED for views in (40, 300)),
]


@pytest.mark.parametrize(("views", "name"), CASES)
def test_the_peak_is_what_the_plan_says(scans: dict[int, Path], views: int, name: str) -> None:
    known = type(method(name)).model_fields
    parameters: dict[str, Any] = {"psi": "fbp"} if "psi" in known else {}
    if "iterations" in known:
        parameters["iterations"] = 6
    work = work_on(scans[views], ROWS, name, **parameters)
    peak(work)  # what is loaded and compiled once
    taken = peak(work)
    assert taken <= 1.1 * work.plan.memory + 8e6, f"{taken / 1e6:.0f} of {work.plan.memory / 1e6:.0f} MB"
