"""Real scans from few views: five methods beside the reconstruction from all views, nothing chosen by hand.

    python benchmarks/real_scans.py run [--scans tooth htc] [--out FOLDER]    goes on where it stopped
    python benchmarks/real_scans.py table

tooth  raw counts of 181 views, every 6th of them: 31. Row 0, flat field and centre as found by the steps of
       that name.
htc    disc `ta` of the Helsinki Tomography Challenge 2022, 720 views over 360 degrees, every 12th: 60.

The reference is the FBP of all views, with Hann's window against its noise, so that no method comes near a
perfect PSNR. The mask is the challenge's own for `htc`, and Otsu's of the reference for `tooth`; images are
compared with it at their own Otsu threshold. Strengths are chosen by `--rule` in runs of 100 steps; Psi of
graphLa and of space-variant TV is the TV image at its chosen strength; `learned_fbp` learned from generated
scenes alone.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import ROOT, Store, shared

import imagereg as ir
from imagereg.choose.base import choose
from imagereg.metrics import matthews_correlation, otsu_threshold, psnr, ssim

# Weights of at most 1 leave less of the same strength; that of graphLa is in units of its own.
RANGES = {"tv": (5e-3, 1.0), "space_variant_tv": (5e-3, 5.0), "graph_laplacian": (1.0, 1e6)}
SETTINGS = {"fbp": {"window": "hann"}, "graph_laplacian": {"rule": "fixed"}}
METHODS = ("fbp", "tv", "space_variant_tv", "graph_laplacian", "learned_fbp")


def tooth() -> tuple[ir.Measurement, ir.Measurement, Any]:
    """All views, every 6th, and no mask."""
    raw = ir.read(shared() / "tooth" / "tooth.h5").select(rows=slice(0, 1))
    whole = ir.preprocess(raw, ["flatfield", "centre"])
    return whole.ready(), whole.select(views=slice(0, None, 6)).ready(), None


def htc() -> tuple[ir.Measurement, ir.Measurement, Any]:
    """All views of one turn, every 12th, and the challenge's mask."""
    from skimage.io import imread

    whole = ir.read(shared() / "htc2022" / "ta_full_a_1.mat").select(views=slice(0, 720))
    whole = replace(whole, volume=ir.Volume((512, 512), 0.14832))  # the grid of the challenge's masks
    mask = imread(shared() / "htc2022" / "gt" / "ta_category7.png")
    return whole.ready(), whole.select(views=slice(0, None, 12)).ready(), mask > 0


SCANS = {"tooth": tooth, "htc": htc}


def oriented(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask in the orientation of the image, of the eight there are."""
    turns = [np.rot90(m, k) for m in (mask, np.flipud(mask)) for k in range(4)]
    return max(turns, key=lambda m: float(np.corrcoef(m.ravel(), image.ravel())[0, 1]))


def run(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.scans:
        whole, few, mask = SCANS[name]()
        reference = ir.reconstruct(whole, "fbp", window="hann").image
        target = np.asarray(reference, dtype=np.float64).squeeze()
        mask = target > otsu_threshold(target) if mask is None else oriented(target, mask)
        images, tv = {"all views": target}, None
        for method in arguments.methods:
            began = time.perf_counter()
            key = {"scan": name, "method": method, "views": few.geometry.views, "rule": arguments.rule}
            earlier = store.find(**key)
            kept = arguments.out / f"{name}_{method}.npy"
            if earlier and kept.exists():
                found, values = torch.from_numpy(np.load(kept)), earlier[0]
            else:
                found, values = reconstruct(few, method, arguments.rule, tv, earlier[0] if earlier else {})
                np.save(kept, found.numpy())
            tv = (found, values["strength"]) if method == "tv" else tv
            image = found.squeeze().double().numpy()
            images[method] = image
            draw(images, arguments.out / f"{name}.png")
            if earlier:
                continue
            store.add(
                key,
                {
                    "psnr": psnr(image, target),
                    "ssim": ssim(image, target),
                    "mcc": matthews_correlation(image, mask),
                    "mcc_all_views": matthews_correlation(target, mask),
                    **values,
                    "seconds": round(time.perf_counter() - began, 1),
                },
            )


def reconstruct(
    few: ir.Measurement,
    name: str,
    rule: str,
    tv: tuple[torch.Tensor, float] | None,
    earlier: dict[str, Any],
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The image of a method, its strength chosen from the data, or as in the row of an earlier choice.

    `tv` is the TV image and its strength. Where views are held out, Psi of a trial is TV of the others: its
    edges must not know what is to be predicted.
    """
    method = ir.method(name, **SETTINGS.get(name, {}))
    values: dict[str, Any] = {}
    if "strength" in earlier:
        values = {"strength": earlier["strength"]}
    elif name in RANGES:
        settings = {"used": 1} if rule == "held_out" else {}
        psi = {} if tv is None else {"psi": {"name": "tv", "strength": tv[1]}}
        trial = method.with_values({"iterations": 100, **psi})
        choice = choose(trial, few, rule, {"strength": RANGES[name]}, **settings)
        values = {"strength": choice.value, "trials": len(choice.curve), "why": choice.evidence["sentence"]}
    if tv is not None and "psi" in type(method).model_fields:
        method = method.with_values({"psi": tv[0]})
    if "strength" in values:
        method = method.with_values({"strength": values["strength"]})
    last = deque(ir.iterate(few, method), maxlen=1)[0]
    return last.image, {**values, "iterations": last.iteration}


def draw(images: dict[str, np.ndarray], path: Path) -> None:
    """All images side by side on the grey scale of the first, and a part of each enlarged."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    first = next(iter(images.values()))
    low, high = np.quantile(first, (0.01, 0.999))
    figure, axes = plt.subplots(2, len(images), figsize=(3.6 * len(images), 7.4))
    rows, columns = first.shape
    part = (slice(rows // 3, rows // 3 + rows // 4), slice(columns // 3, columns // 3 + columns // 4))
    for column, (name, image) in enumerate(images.items()):
        for axis, shown in zip(axes[:, column], (image, image[part]), strict=True):
            axis.imshow(shown, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axis.axis("off")
        axes[0, column].set_title(name)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def table(arguments: argparse.Namespace) -> None:
    for row in Store(arguments.output).rows:
        strength = f"strength {row['strength']:.4g}" if "strength" in row else ""
        print(
            f"{row['scan']:6s} {row['views']:3d} views {row['method']:18s} {row['psnr']:6.2f} dB  SSIM "
            f"{row['ssim']:.4f}  MCC {row['mcc']:.4f} (all views {row['mcc_all_views']:.4f})  "
            f"{row['seconds']:.0f} s  {strength}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--scans", nargs="+", default=list(SCANS), choices=SCANS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="tv goes first")
    parser.add_argument("--rule", default="held_out", help="rule of `choose`")
    parser.add_argument("--out", type=Path, default=Path("real_scans"), help="folder of pictures and images")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "real_scans.json")
    arguments = parser.parse_args()
    with torch.no_grad():
        {"run": run, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
