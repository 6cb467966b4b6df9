"""The page of figures: what was measured by the benchmarks, beside what others printed."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from graphla import AUTHORS, FORMS, PSI
from learned_fbp import CASES, METHODS
from noise2score import PAPER
from scenes import Store, mean
from svtv import PLAIN, ROWS, best

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
NAMES = {
    "fbp": "FBP",
    "tikhonov": "Tikhonov",
    "tv": "TV",
    "psi_tv": "TV",
    "one_pass": "network, one pass",
    "learned_fbp": "network, three passes",
    "truth": "the truth (a bound)",
    "reweighted": "TV, reweighted three times",
    "space_variant_tv": "space-variant TV",
    "graph_laplacian": "graphLa+TV",
}
HEAD = """# Figures

What the benchmarks measured, as they wrote it, beside what papers or plain implementations gave, better or
worse. PSNR in dB; n is the number of images of a mean. Every table names the script that makes it again; data
that are not ours are read from the folder in `IMAGEREG_SHARED`."""


def page() -> str:
    """All tables, in Markdown."""
    images = (_space_variant, _graph, _learned, _real, _scores, _priors, _counts, _coverage)
    return "\n\n".join([HEAD, *(section() for section in (*images, _projectors, _tv))]) + "\n"


def _space_variant() -> str:
    titles = {
        "coule60closed": "fan, 60 views, 1 %",
        "coule180": "fan, 180 views, 0.3 %",
        "parallel120": "parallel, 120 views, 2 %",
        "clinical60": "clinical slices, fan, 60 views, 0.5 %",
    }
    store = _store("svtv")
    lines = []
    for case in titles:
        for name in ROWS:
            rows = store.find(kind="grid", case=case, row=name, strength=best(store, case, name))
            if rows:
                method = "TV" if name == "tv" else f"space-variant, Psi = {NAMES[name]}"
                method = NAMES[name] if name == "reweighted" else method
                plain = PLAIN.get(case, {}).get(name)
                lines.append((titles[case], method, mean(rows, "psnr"), plain, len(rows)))
    return _section(
        "Space-variant TV",
        "COULE phantoms and clinical slices; the best strength of a grid, one for all images. Beside them "
        "what a plain implementation reached.",
        "svtv",
        ("scan", "method", "PSNR", "plain", "n"),
        lines,
    )


def _graph() -> str:
    store = _store("graphla")
    lines = []
    for level in (0.02, 0.04):
        for name in PSI:
            key = {"kind": "image", "level": level, "psi": name}
            forms = [store.find(form=form, **key) for form in ("psi", *FORMS)]
            if any(forms):
                means = [mean(rows, "psnr") for rows in forms]
                count = min(len(rows) for rows in forms if rows)
                theirs = AUTHORS.get((name, level), (None, None))
                lines.append((f"{level:.0%}", NAMES[name], *means, *theirs, count))
    return _section(
        "graphLa+Psi",
        "COULE, parallel beam, 120 views, nothing tuned for an image. The authors' figures "
        "([2312.16936](https://arxiv.org/abs/2312.16936)) are of one picture.",
        "graphla",
        ("noise", "Psi", "Psi alone", "graphLa, quadratic", "graphLa, l1", "authors: Psi", "graphLa", "n"),
        lines,
    )


def _learned() -> str:
    store = _store("learned_fbp")
    lines = []
    for case, name in itertools.product(CASES, METHODS):
        rows = store.find(case=case, method=name)
        if rows:
            lines.append((case, NAMES[name], mean(rows, "psnr"), f"{mean(rows, 'ssim'):.4f}", len(rows)))
    return _section(
        "Networks on filtered back-projections",
        "COULE test images, which the networks never saw: they learned from generated scenes. TV at its "
        "default.",
        "learned_fbp",
        ("scan", "method", "PSNR", "SSIM", "n"),
        lines,
    )


def _real() -> str:
    lines = [
        (row["scan"], row["views"], NAMES[row["method"]], *(row[key] for key in ("psnr", "ssim", "mcc")))
        for row in sorted(_store("real_scans").rows, key=lambda row: row["scan"])
    ]
    return _section(
        "Real scans from few views",
        "A tooth (31 of 181 views) and a disc of the Helsinki Tomography Challenge 2022 (60 of 720), "
        "strengths chosen from the data alone by predicting views that were left out. The reference is the "
        "FBP of all views with Hann's window, whose edges are softer than those of the other images, so that "
        "sharp ones lose against it; MCC compares the segmented images.",
        "real_scans",
        ("scan", "views", "method", "PSNR", "SSIM", "MCC"),
        [(*line[:4], f"{line[4]:.4f}", f"{line[5]:.4f}") for line in lines],
    )


def _scores() -> str:
    store = _store("noise2score")
    lines = []
    for case, (_, bm3d, known, blind) in PAPER.items():
        key = {"what": "set12", "weights": "noise2score", "turned": False, "case": case}
        ours = [store.find(blind=hidden, **key) for hidden in (False, True)]
        if all(ours):
            lines.append((case, *(mean(rows, "psnr") for rows in ours), known, blind, bm3d, len(ours[0])))
    return _section(
        "Noise2Score",
        "Set12, noise known and found; beside them Table 2 of "
        "[2106.07009](https://arxiv.org/abs/2106.07009), means over all twelve images.",
        "noise2score",
        ("noise", "known", "found", "paper: known", "found", "BM3D", "n"),
        lines,
    )


def _priors() -> str:
    names = {"start": "start", "red_diff": "RED-Diff", "dps": "DPS", "tv": "TV", "pnp": "plug-and-play"}
    lines = [
        (row["task"], names.get(row["method"], row["method"]), row["psnr"], row["ssim"], row.get("seconds"))
        for row in _store("red_diff/red_diff").find(what="test")
    ]
    return _section(
        "Diffusion priors",
        "Held-out images of 128 x 128, every method at settings tuned on other images; seconds on two cores.",
        "red_diff",
        ("task", "method", "PSNR", "SSIM", "seconds"),
        [(*line[:3], f"{line[3]:.3f}", "" if line[4] is None else f"{line[4]:.1f}") for line in lines],
    )


def _counts() -> str:
    titles = {
        "emission_mlem": "MLEM, stopped at its best",
        "emission_tv": "SPIRAL, TV",
        "emission_tv_anisotropic": "SPIRAL, anisotropic TV",
        "emission_partition": "SPIRAL, dyadic partition",
        "emission_partition_invariant": "SPIRAL, dyadic partition, translation invariant",
    }
    lines = []
    for key, title in titles.items():
        rows = _store(f"spiral/{key}").rows
        stopped = [row["psnr_stopped"] for row in rows if "psnr_stopped" in row]
        end = None if key == "emission_mlem" else max(row["psnr"] for row in rows)
        lines.append((title, end, max(stopped) if stopped else max(row["psnr"] for row in rows)))
    return _section(
        "Low counts",
        "Emission tomography of the Shepp-Logan head with 1e5 counts, three draws, the best common strength; "
        "at the end of the iteration, and stopped at its best step.",
        "spiral",
        ("method", "at the end", "stopped"),
        lines,
    )


def _coverage() -> str:
    rows, lines = _store("calibration").rows, []
    largest = {(row["method"], row["source"]): row["images"] for row in rows if row["what"] == "pairs"}
    for row in sorted(rows, key=lambda row: row["what"]):
        if row["what"] == "pairs" and row["images"] == largest[row["method"], row["source"]]:
            found = (f"{row['raw']:.1%}", f"{row['crc']:.1%}", f"{row['crc_width'] / row['raw_width']:.2f}")
            lines.append((f"{row['images']} pairs", row["method"], row["source"], *found))
        elif row["what"] == "real":
            said = f"{row['coverage']['0.9']:.1%} of the values of {row['held_out_views']} views left out"
            lines.append((row["scan"], row["method"], row["source"], said, "", ""))
    return _section(
        "Error bars",
        "How many pixels of images with a known truth lie in intervals that should hold 90 %, before and "
        "after conformal risk control on half of the pairs, and what that does to their width; for real "
        "scans, the coverage of measured values that were left out.",
        "calibration",
        ("data", "method", "source", "before", "after", "width"),
        lines,
    )


def _projectors() -> str:
    lines: list[tuple[Any, ...]] = []
    for name, title in (("projectors", "AVX-512, two threads"), ("projectors_avx2", "AVX2, two threads")):
        for row in _store(name).rows:
            ratios = (f"{row[f'{way}_ratio']:.1f}" for way in ("forward", "back"))
            lines.append((title, row["scan"], row["who"], *ratios, row["note"]))
    return _section(
        "Projectors",
        "How many times as fast as the first row of the same scan, in one run on the same machine; ASTRA's "
        "projectors for processors take one thread. Our back-projection is the exact transpose.",
        "projectors",
        ("processor", "scan", "who", "forward", "back", ""),
        lines,
    )


def _tv() -> str:
    kept = json.loads((RESULTS / "solvers.json").read_text())
    first = kept["rows"][0]["seconds"]
    lines = [
        (row["who"], f"{row['seconds']:.1f}", f"{row['seconds'] / first:.1f}", "" if row["arrived"] else "no")
        for row in kept["rows"]
    ]
    return _section(
        "Total variation to a given gap",
        f"{kept['size']} x {kept['size']} pixels, {kept['views']} views, to a gap of {kept['gap']:g}.",
        "solvers",
        ("who", "seconds", "times ours", "arrived"),
        lines,
    )


def _section(title: str, said: str, script: str, head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    table += [f"| {' | '.join(map(_cell, line))} |" for line in lines]
    return f"## {title}\n\n{said} (`benchmarks/{script}.py`)\n\n" + "\n".join(table)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _store(name: str) -> Store:
    return Store(RESULTS / f"{name}.json")
