"""How fast the projectors are, beside others and beside what the processor can load.

    python benchmarks/projectors.py [--repeat N] [--out FILE]

All times are the best of N runs of one process, compilation and a warm-up apart. ASTRA's CPU kernels run
on one thread, as they always do. The load-port limit is the time that the multiply-adds of the projection
would take if each cost the processor one vector load from its first cache and nothing else; the rate of
loads is measured in the same run. The adjoint error is |<Ax, y> - <x, A'y>| / (|Ax| |y|) on signed noise.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from rich.console import Console
from rich.table import Table

from imagereg.geometry import ConeBeam, FanBeam, Geometry, ParallelBeam, Volume
from imagereg.geometry.astra_format import to_astra
from imagereg.projectors import projector, simd
from imagereg.projectors.layout import OPTIONS, aligned

SIZE, VIEWS, COLUMNS, STACK = 512, 360, 768, 32
SCANS = ("parallel", "fan", "cone")


@dataclass
class Row:
    """One line of the table."""

    scan: str
    who: str
    forward_ms: float
    back_ms: float
    adjoint_error: float
    forward_limit: float | None = None
    back_limit: float | None = None
    forward_ratio: float = 1.0
    back_ratio: float = 1.0
    note: str = ""


# ---------------------------------------------------------------------- measuring
def best(work: Callable[[], Any], repeat: int) -> float:
    """Milliseconds of the fastest of `repeat` runs after one that does not count."""
    work()
    fastest = math.inf
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest * 1e3


def adjoint_error(forward: Callable[[Any], Any], back: Callable[[Any], Any], x: Any, y: Any) -> float:
    Ax, Aty = np.asarray(forward(x), np.float64), np.asarray(back(y), np.float64)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return abs(float((Ax * y).sum() - (x * Aty).sum())) / float(np.linalg.norm(Ax) * np.linalg.norm(y))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


UNCACHED = {**OPTIONS, "cache": False}


@njit(**UNCACHED)
def _load(rounds: int, memory: Any) -> None:
    """Read a piece of the first cache over and over, with eight sums so that none waits for another."""
    v = simd.lanes_of(memory)
    half, nothing = memory.dtype.type(0.5), simd.splat(memory, 0, v)
    a, b, c, d, e, f, g, h = nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
    for _ in range(rounds):
        for k in range(0, memory.size, 8 * v):
            a = simd.fma(half, simd.load(memory, k, v), a)
            b = simd.fma(half, simd.load(memory, k + v, v), b)
            c = simd.fma(half, simd.load(memory, k + 2 * v, v), c)
            d = simd.fma(half, simd.load(memory, k + 3 * v, v), d)
            e = simd.fma(half, simd.load(memory, k + 4 * v, v), e)
            f = simd.fma(half, simd.load(memory, k + 5 * v, v), f)
            g = simd.fma(half, simd.load(memory, k + 6 * v, v), g)
            h = simd.fma(half, simd.load(memory, k + 7 * v, v), h)
    total = simd.add(simd.add(simd.add(a, b), simd.add(c, d)), simd.add(simd.add(e, f), simd.add(g, h)))
    simd.store(memory, 0, total)


@njit(parallel=True, **UNCACHED)
def _load_everywhere(threads: int, rounds: int, size: int, like: Any) -> None:
    for _ in prange(threads):
        memory = aligned(size, like)
        memory[:] = 1
        _load(rounds, memory)


def loads_per_ms() -> float:
    """Vector loads, each with its multiply-add, that all cores do in a millisecond."""
    rounds, size, threads = 20_000, 4096, numba.get_num_threads()
    like = np.zeros(1, np.float32)
    loads = threads * rounds * size * like.itemsize / simd.VECTOR_BYTES
    return loads / best(lambda: _load_everywhere(threads, rounds, size, like), 5)


@cache
def multiply_adds(geometry: Geometry, volume: Volume) -> int:
    """Voxels with a weight, summed over all rays of a plane: two for each step of a ray inside."""
    from imagereg.projectors.rays import plane_rays

    rays = plane_rays(geometry, volume)
    total = 0
    for view, major, first, count, _ in rays.runs:
        place, step, last = rays.views[view].reshape(3, 2)
        at = place + np.arange(first, first + count)[:, None] * step
        way = at - last if rays.point else np.broadcast_to(last, at.shape)
        along, across = (1, 0) if major == 0 else (0, 1)
        slope = way[:, across] / way[:, along]
        start = at[:, across] - at[:, along] * slope
        steps = np.arange(rays.shape[major])
        where = start[:, None] + steps * slope[:, None]
        total += 2 * int(((where > -1) & (where < rays.shape[1 - major])).sum())
    return total


# ---------------------------------------------------------------------- who is measured
def ours(scan: str, geometry: Geometry, volume: Volume, slices: int, repeat: int, rate: float | None) -> Row:
    A = projector(geometry, volume)
    x, y = noise(slices, 1, *A.image_shape), noise(slices, 1, *A.data_shape)
    forward = best(lambda: A.forward(x), repeat) / slices
    back = best(lambda: A.back(y), repeat) / slices
    error = adjoint_error(A.forward, A.back, x, y)
    row = Row(scan, f"imagereg ({A.reason})", forward, back, error)
    if rate is not None:
        least = multiply_adds(geometry, volume) / (simd.VECTOR_BYTES // 4) / rate
        row.forward_limit, row.back_limit = least / forward, least / back
    return row


def astra_cpu(scan: str, kernel: str, geometry: Geometry, volume: Volume, repeat: int) -> Row:
    import astra

    description = to_astra(geometry, volume)
    W = astra.optomo.OpTomo(astra.create_projector(kernel, *description))
    x, y = noise(*volume.shape).numpy(), noise(geometry.views, geometry.columns).numpy()
    # The plain entry points, without the copies that the operator's products make.
    forward, back = best(lambda: W.FP(x), repeat), best(lambda: W.BP(y), repeat)
    return Row(scan, f"ASTRA CPU {kernel}", forward, back, adjoint_error(W.FP, W.BP, x, y), note="one thread")


def deepinv_tomography(scan: str, angles: np.ndarray, repeat: int) -> Row:
    from deepinv.physics import Tomography

    A = Tomography(
        angles=torch.from_numpy(np.rad2deg(angles)).float(), img_width=SIZE, circle=False, normalize=False
    )
    x = noise(1, 1, SIZE, SIZE)
    y = noise(*A.A(x).shape)
    forward, back = best(lambda: A.A(x), repeat), best(lambda: A.A_adjoint(y), repeat)
    return Row(scan, "deepinv Tomography", forward, back, adjoint_error(A.A, A.A_adjoint, x, y),
               note=f"{y.shape[-2]} columns")  # fmt: skip


def skimage_radon(scan: str, angles: np.ndarray) -> Row:
    from skimage.transform import iradon, radon

    theta = np.rad2deg(angles)
    rows, columns = np.ogrid[:SIZE, :SIZE]
    inside = (rows - SIZE // 2) ** 2 + (columns - SIZE // 2) ** 2 < (SIZE // 2) ** 2
    x = noise(SIZE, SIZE).numpy() * inside

    def forward(image: Any) -> Any:
        return radon(image, theta, circle=True)

    def back(data: Any) -> Any:
        # Unfiltered, and without the quadrature weight pi / (2 views) that it puts in.
        return iradon(data, theta, filter_name=None, circle=True) * (2 * len(theta) / math.pi)

    y = noise(*forward(x).shape).numpy()
    return Row(scan, "scikit-image radon", best(lambda: forward(x), 1), best(lambda: back(y), 1),
               adjoint_error(forward, back, x, y), note=f"{SIZE} columns")  # fmt: skip


def torch_gather(scan: str, geometry: Geometry, volume: Volume, repeat: int, views: int) -> Row:
    """Points along every ray read by grid_sample; some views, and the time of all by their number."""
    some = geometry[:: max(1, geometry.views // views)]
    source, middle, column, row = (torch.from_numpy(part).float() for part in some.vectors())
    across = torch.arange(geometry.columns) - (geometry.columns - 1) / 2
    down = torch.arange(geometry.rows) - (geometry.rows - 1) / 2
    half = torch.tensor(list(reversed(volume.size))) / 2
    flip = torch.tensor([1.0, -1.0, 1.0])[: volume.ndim]
    edge = volume.edges[-1]
    steps = math.ceil(float(2 * half.norm()) / edge)
    along = (torch.arange(steps) - (steps - 1) / 2) * edge

    def forward(image: torch.Tensor) -> torch.Tensor:
        lines = []
        for view in range(some.views):
            pixels = middle[view] + down[:, None, None] * row[view] + across[None, :, None] * column[view]
            way, begin = source[view].expand_as(pixels), pixels
            if geometry.kind != "parallel":
                way = pixels - source[view]
                begin = source[view] + way / way.norm(dim=-1, keepdim=True) * source[view].norm()
            way = way / way.norm(dim=-1, keepdim=True)
            points = begin[..., None, :] + along[:, None] * way[..., None, :]
            grid = (points[..., : volume.ndim] * flip / half)[None]
            grid = grid[:, 0] if volume.ndim == 2 else grid
            values = torch.nn.functional.grid_sample(image, grid, align_corners=False)
            lines.append(values.sum(-1) * edge)
        return torch.stack(lines, 2)

    x = noise(1, 1, *volume.shape)
    y = noise(*forward(x).shape)

    def back(data: torch.Tensor) -> torch.Tensor:
        image = torch.zeros_like(x, requires_grad=True)
        return torch.autograd.grad(forward(image), image, data)[0]

    scale = geometry.views / some.views
    return Row(scan, "torch grid_sample", best(lambda: forward(x), repeat) * scale,
               best(lambda: back(y), repeat) * scale, adjoint_error(forward, back, x, y),
               note=f"from {some.views} views; back with its forward")  # fmt: skip


# ---------------------------------------------------------------------- all of it
def measure(repeat: int, others: bool, scans: list[str]) -> tuple[list[Row], dict[str, Any]]:
    angles = np.linspace(0, math.pi, VIEWS, endpoint=False)
    plane = Volume((SIZE, SIZE))
    parallel = ParallelBeam(angles, COLUMNS)
    fan = FanBeam(2 * angles, COLUMNS, pixel=2.0, source_origin=1000.0, source_detector=2000.0)
    cone = ConeBeam(2 * angles[::2], 192, pixel=2.0, rows=192, source_origin=400.0, source_detector=800.0)
    rate = loads_per_ms()
    one, stack = "parallel, one slice", f"parallel, stack of {STACK}"
    # The first of each scan is what the others are compared with; those after the second are optional.
    works: dict[str, list[Callable[[], Row]]] = {
        "parallel": [
            lambda: astra_cpu(one, "linear", parallel, plane, repeat),
            lambda: ours(one, parallel, plane, 1, 3 * repeat, rate),
            lambda: ours(stack, parallel, plane, STACK, repeat, rate),
            lambda: deepinv_tomography(one, angles, 1),
            lambda: skimage_radon(one, angles),
            lambda: torch_gather(one, parallel, plane, 1, 12),
        ],
        "fan": [
            lambda: astra_cpu("fan, one slice", "line_fanflat", fan, plane, repeat),
            lambda: ours("fan, one slice", fan, plane, 1, 3 * repeat, rate),
            lambda: ours(f"fan, stack of {STACK}", fan, plane, STACK, repeat, rate),
            lambda: torch_gather("fan, one slice", fan, plane, 1, 12),
        ],
        "cone": [
            lambda: torch_gather("cone 128^3", cone, Volume((128, 128, 128)), 1, 3),
            lambda: ours("cone 128^3", cone, Volume((128, 128, 128)), 1, repeat, None),
        ],
    }
    rows: list[Row] = []
    for scan in scans:
        found = [work() for work in (works[scan] if others else works[scan][:3])]
        for row in found:
            row.forward_ratio = found[0].forward_ms / row.forward_ms
            row.back_ratio = found[0].back_ms / row.back_ms
        rows += found
    setting = {
        "threads": {"imagereg": numba.get_num_threads(), "torch": torch.get_num_threads(), "ASTRA CPU": 1},
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "vector_bytes": simd.VECTOR_BYTES,
        "avx512": simd.AVX512,
        "vector_loads_per_ns": rate / 1e6,
        "repeat": repeat,
        "parallel": f"{parallel}; {plane}",
        "fan": str(fan),
        "cone": f"{cone}; 128^3 voxels",
    }
    return rows, setting


def show(rows: list[Row], setting: dict[str, Any]) -> None:
    threads = ", ".join(f"{name} {count}" for name, count in setting["threads"].items())
    title = f"Projectors: ms per slice (cone: per volume). Threads: {threads}"
    table = Table(title=title, caption=f"{setting['vector_loads_per_ns']:.2f} vector loads per ns in all")
    for name in ("scan", "who", "forward", "x", "of limit", "back", "x", "of limit", "adjoint error", "note"):
        table.add_column(name, justify="left" if name in ("scan", "who", "note") else "right")
    previous = ""

    def part(value: float | None) -> str:
        return "" if value is None else f"{value:.0%}"

    for row in rows:
        if row.scan != previous and previous:
            table.add_section()
        table.add_row(
            row.scan if row.scan != previous else "", row.who,
            f"{row.forward_ms:.2f}", f"{row.forward_ratio:.1f}", part(row.forward_limit),
            f"{row.back_ms:.2f}", f"{row.back_ratio:.1f}", part(row.back_limit),
            f"{row.adjoint_error:.1e}", row.note,
        )  # fmt: skip
        previous = row.scan
    Console(width=None if Console().is_terminal else 170).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of which the best counts")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "projectors.json")
    parser.add_argument("--only-astra", action="store_true", help="leave deepinv, scikit-image and torch out")
    parser.add_argument(
        "--scan", choices=SCANS, nargs="+", default=list(SCANS), help="which scans to measure"
    )
    given = parser.parse_args()
    rows, setting = measure(given.repeat, not given.only_astra, given.scan)
    show(rows, setting)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(
        json.dumps({"setting": setting, "rows": [asdict(row) for row in rows]}, indent=2) + "\n"
    )
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
