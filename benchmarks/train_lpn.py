"""Train the learned proximal networks that ship with the package.

    python benchmarks/train_lpn.py NAME [--steps 5500] [--start NAME] [--out data/weights] [--work FOLDER]

lpn_natural_05, lpn_natural_10   photographs inside scikit-image's package; noise 0.05 and 0.10 of the range.
lpn_ct_05                        the same, generated phantoms and eight clinical slices (IMAGEREG_SHARED);
                                 noise 0.05.

With `--work` what is done is kept there and gone on from.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import ROOT, shared

from imagereg.networks.icnn import ICNN
from imagereg.networks.store import Card, load_network, save_network
from imagereg.phantoms import ellipses_and_lines, foam
from imagereg.training.learned_proximal import LearnedProximal, stages, train_learned_proximal
from imagereg.training.painted import painted
from imagereg.training.pictures import free_pictures

TRAINED = (0, 1, 2, 3, 4, 8, 9, 10)
"""Clinical slices that are trained on, each of another patient; the other six are for tests."""

HELD = 6


def clinical_slices(numbers: tuple[int, ...]) -> list[torch.Tensor]:
    """Slices of 512 x 512 and the same halved: attenuation over twice that of water."""
    with np.load(shared() / "ct_tcia" / "tcga_luad_subset.npz") as file:
        hounsfield = torch.from_numpy(file["images"][list(numbers)].astype(np.float32))
    grey = (1 + hounsfield / 1000).clamp(0, 2) / 2
    return [*grey, *torch.nn.functional.avg_pool2d(grey[:, None], 2)[:, 0]]


def bodies() -> list[torch.Tensor]:
    """Generated pictures: opaque bodies, bodies that add up, and foam."""
    random = np.random.default_rng(1)
    pictures = [painted(192, random) for _ in range(48)]
    pictures += [ellipses_and_lines(192, seed=seed, supersampling=2) for seed in range(12)]
    pictures += [foam(192, seed=seed, supersampling=2) for seed in range(4)]
    return [torch.from_numpy(np.asarray(picture, np.float32)) for picture in pictures]


def material(name: str) -> tuple[list[torch.Tensor], list[torch.Tensor], str, str]:
    """Pictures to train on and to validate with, what they are, and their licence."""
    tiles = free_pictures(held=HELD)
    photographs = "photographs packaged with scikit-image"
    if name.startswith("lpn_natural"):
        return (
            tiles[:-HELD],
            tiles[-HELD:],
            photographs,
            "photographs free to use; weights BSD-3-Clause",
        )
    slices = clinical_slices(TRAINED)
    phantoms = bodies()
    return (
        tiles[:-HELD] + slices + phantoms[HELD:],
        tiles[-HELD:] + phantoms[:HELD],
        f"{photographs}, generated phantoms, and slices {', '.join(map(str, TRAINED))} of 14 of TCGA-LUAD",
        "CT slices: The Cancer Imaging Archive, TCGA-LUAD, CC BY 3.0 (attribution); weights BSD-3-Clause",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=["lpn_natural_05", "lpn_natural_10", "lpn_ct_05"])
    parser.add_argument("--steps", type=int, default=5500)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--start", help="weights to begin from; random ones where not given")
    parser.add_argument("--contrast", type=float, default=0.5, help="how much contrast is varied")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "weights")
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sigma = int(given.name[-2:]) / 100
    pictures, held, data, licence = material(given.name)
    torch.manual_seed(0)
    network: Any = ICNN()
    history = ""
    if given.start:
        network, begun = load_network(given.start, method="lpn")
        network.requires_grad_(True)
        history = f"{begun.command} && "
        if begun.data != data:
            data = f"{data}; before that on {begun.data}"
    task = LearnedProximal(network, pictures, held, sigma=sigma, contrast=given.contrast)
    # Weights that are near already must not be thrown off by large steps.
    plan = stages(given.steps, batch=given.batch, **({"rate": 5e-4} if given.start else {}))
    began = time.perf_counter()
    for state in train_learned_proximal(task, plan, folder=given.work and given.work / given.name):
        if state.iteration % 100 == 0 or state.finished:
            said = " ".join(f"{name} {value:.4g}" for name, value in state.values.items())
            print(f"{state.iteration}/{state.total} {state.seconds:.0f} s {state.phase}: {said}", flush=True)
    figures, _ = task.validate(task.network)
    card = Card(
        name=given.name,
        method="lpn",
        architecture="icnn",
        settings={},
        summary=f"learned proximal network for noise {sigma:g} of the range of grey values",
        data=data,
        licence=licence,
        command=history + " ".join(["python", "benchmarks/train_lpn.py", *sys.argv[1:]]),
        metrics={
            "sigma": sigma,
            "psnr on pictures not trained on": round(figures["psnr"], 3),
            "psnr of their noise": round(figures["psnr_noisy"], 3),
            "minutes of the last command, one thread": round((time.perf_counter() - began) / 60, 1),
        },
    )
    save_network(given.out / f"{given.name}.safetensors", task.network.cpu(), card)


if __name__ == "__main__":
    main()
