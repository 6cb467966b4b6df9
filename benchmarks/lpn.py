"""Learned proximal networks beside total variation and plug-and-play denoisers.

    python benchmarks/lpn.py [--quick | --full] [--part denoise deblur tomography sensing prior]

Pictures are squares out of Set12 and COULE, slices the clinical ones that the shipped weights were not
trained on (IMAGEREG_SHARED). Grey values are in [0, 1]. Rows go to results/lpn/lpn.json and are not measured
twice.

denoise      noise 0.05 and 0.10.
deblur       Gaussian blur of 1 and 2 pixels, noise 0.02 and 0.04.
tomography   60 parallel views, 1 % noise, 256 x 256.
sensing      every fourth or sixteenth value of a random convolution with random signs, noise 0.001.
prior        phi under noise, blur and mixing of two pictures, by inversion with its residual; and a picture.

Total variation has the best of several strengths for each image, chosen by the truth, as has 'lpn best';
'lpn' has its default. DnCNN and FFDNet are in half-quadratic splitting with the noise of the data as their
last level and eight steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from scenes import ROOT, Store, clinical, coule, mean, scan, shared, solve
from train_lpn import TRAINED

import imagereg as ir
from imagereg.methods.registry import method
from imagereg.networks.store import load_network
from imagereg.physics import blur, gaussian_kernel
from imagereg.priors.denoisers import DnCNN
from imagereg.priors.learned_proximal import LearnedProximal

RESULTS = ROOT / "benchmarks" / "results" / "lpn"
TESTS = tuple(number for number in range(14) if number not in TRAINED)
PARTS = ("denoise", "deblur", "tomography", "sensing", "prior")


class FFDNet:
    """The clean image from its four sub-images and the noise level, by a chain of convolutions."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            count = sum(key.startswith("w") for key in file.files)
            self.layers = [
                (torch.from_numpy(file[f"w{i}"]), torch.from_numpy(file[f"b{i}"])) for i in range(count)
            ]

    def __call__(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        """(B, 1, H, W) with even edges to the same."""
        parts = [x[..., 0::2, 0::2], x[..., 1::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 1::2]]
        z = torch.cat((*parts, torch.full_like(parts[0], float(sigma))), 1)
        for i, (weight, bias) in enumerate(self.layers):
            z = F.conv2d(z, weight, bias, padding=1)
            z = z.relu_() if i + 1 < len(self.layers) else z
        clean = torch.empty_like(x)
        clean[..., 0::2, 0::2], clean[..., 1::2, 0::2] = z[:, 0:1], z[:, 1:2]
        clean[..., 0::2, 1::2], clean[..., 1::2, 1::2] = z[:, 2:3], z[:, 3:4]
        return clean


def natural(number: int, edge: int) -> torch.Tensor:
    """The middle of picture `number` of Set12, (1, 1, edge, edge)."""
    from skimage.io import imread

    picture = torch.from_numpy(imread(shared() / "set12" / f"{number:02d}.png") / 255.0).float()
    top, left = (picture.shape[0] - edge) // 2, (picture.shape[1] - edge) // 2
    return picture[None, None, top : top + edge, left : left + edge].contiguous()


def pictures(count: int, edge: int) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Set, name and truth."""
    for number in range(1, count + 1):
        yield "set12", str(number), natural(number, edge)
    for number in range(max(1, count // 2)):
        yield "coule", str(number), F.avg_pool2d(coule(number), 2)[..., :edge, :edge].contiguous()


def random_convolution(edge: int, every: int) -> Any:
    """y = every n-th value of a * (s x): a white noise, s random signs, an orthonormal Fourier transform."""
    from deepinv.physics import LinearPhysics

    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (edge, edge), generator=generator) * 2.0 - 1
    kernel = torch.fft.rfft2(torch.randn(edge, edge, generator=generator), norm="ortho")

    def forward(x: torch.Tensor, **_: Any) -> torch.Tensor:
        mixed = torch.fft.irfft2(kernel * torch.fft.rfft2(signs * x), s=(edge, edge))
        return mixed.flatten(2)[..., ::every][:, :, None]

    def adjoint(y: torch.Tensor, **_: Any) -> torch.Tensor:
        full = torch.zeros(*y.shape[:2], edge * edge)
        full[..., ::every] = y[:, :, 0]
        spectrum = kernel.conj() * torch.fft.rfft2(full.reshape(*y.shape[:2], edge, edge))
        return signs * torch.fft.irfft2(spectrum, s=(edge, edge))

    return LinearPhysics(A=forward, A_adjoint=adjoint)


class Bench:
    """Contenders on one measurement, each to a row."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.dncnn = DnCNN.load(shared() / "weights" / "dncnn_gray_sigma25.npz")
        self.ffdnet = FFDNet(shared() / "weights" / "ffdnet_gray.npz")

    def add(self, key: dict[str, Any], run: Callable[[], dict[str, Any]]) -> None:
        """One row, unless it is there."""
        if not self.store.find(**key):
            self.store.add(key, run())

    def best(self, measurement: ir.Measurement, name: str, strengths: tuple[float, ...], **more: Any) -> dict:
        """The figures of the strength with the highest PSNR."""
        rows = [(strength, solve(measurement, name, strength=strength, **more)[1]) for strength in strengths]
        strength, row = max(rows, key=lambda pair: pair[1]["psnr"])
        return {**row, "strength": strength, "seconds": rows[0][1]["seconds"]}

    def inverse(
        self,
        key: dict[str, Any],
        measurement: ir.Measurement,
        *,
        noise: float,
        strengths: tuple[float, ...] = (0.3, 3.0),
        tv: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2),
        scale: float = 1.0,
        networks: bool = True,
        balance: float = 0.25,
        **lpn: Any,
    ) -> None:
        """Total variation, plug and play, and lpn."""
        self.add(
            {**key, "method": "tv"}, lambda: self.best(measurement, "tv", tv, iterations=200, scale=scale)
        )
        for name, denoiser in (("dncnn", self.dncnn), ("ffdnet", self.ffdnet)) if networks else ():
            chosen = method("pnp", sigma=noise, iterations=8, balance=balance).using(denoiser)
            self.add({**key, "method": f"pnp {name}"}, lambda chosen=chosen: solve(measurement, chosen)[1])
        self.add({**key, "method": "lpn"}, lambda: solve(measurement, "lpn", scale=scale, **lpn)[1])

        def tuned() -> dict[str, Any]:
            found = self.best(measurement, "lpn", strengths, scale=scale, **lpn)
            default = {**self.store.find(**key, method="lpn")[0], "strength": 1.0}
            return max(found, {name: default[name] for name in found}, key=lambda row: row["psnr"])

        self.add({**key, "method": "lpn best"}, tuned)


def denoise(bench: Bench, count: int, edge: int) -> None:
    """One application of the network; TV; DnCNN scaled to the level; FFDNet."""
    wide, _ = load_network("lpn_ct_05")
    for sigma in (0.05, 0.10):
        network, _ = load_network(f"lpn_natural_{round(100 * sigma):02d}")
        factor = sigma / 0.05
        for group, name, truth in pictures(count, edge):
            noise = ir.GaussianNoise(sigma)
            y = noise.sample(truth, seed=int(name))
            measurement = ir.Measurement(y, noise=noise, truth=truth).ready()
            key = {"part": "denoise", "noise": sigma, "set": group, "image": name}
            for label, run in {
                "noisy": lambda y=y: y,
                "lpn natural": lambda y=y, network=network: network(y),
                # r f(v / r) is the proximal operator of r^2 phi(x / r), which is for r times the noise.
                "lpn ct": lambda y=y, factor=factor: factor * wide(y / factor),
                "dncnn": lambda y=y, sigma=sigma: bench.dncnn(y, sigma),
                "ffdnet": lambda y=y, sigma=sigma: bench.ffdnet(y, sigma),
            }.items():
                bench.add({**key, "method": label}, lambda run=run, truth=truth: _plain(run, truth))
            tv = (0.5 * sigma, 0.8 * sigma, 1.2 * sigma)
            bench.add(
                {**key, "method": "tv"},
                lambda m=measurement, tv=tv: bench.best(m, "tv", tv, iterations=200, scale=1.0),
            )


def _plain(run: Callable[[], torch.Tensor], truth: torch.Tensor) -> dict[str, Any]:
    began = time.perf_counter()
    with torch.no_grad():
        image = run()
    seconds = time.perf_counter() - began
    return {
        "psnr": float(-10 * (image - truth).square().mean().log10()),
        "ssim": float(ir.metrics.ssim(image[0, 0].numpy(), truth[0, 0].numpy(), data_range=1.0)),
        "seconds": round(seconds, 3),
    }


def deblur(bench: Bench, count: int, edge: int) -> None:
    """Gaussian blur, circular."""
    for std in (1.0, 2.0):
        physics = blur(gaussian_kernel(std))
        # 0.23 at the last level, as published, is in units of ||A||^2 = 1 and not of the mean curvature.
        balance = 0.23 / float((gaussian_kernel(std) ** 2).sum())
        for sigma in (0.02, 0.04):
            for group, name, truth in pictures(count, edge):
                noise = ir.GaussianNoise(sigma)
                data = noise.sample(physics.A(truth), seed=int(name))
                measurement = ir.Measurement(data, physics=physics, noise=noise, truth=truth)
                key = {"part": "deblur", "blur": std, "noise": sigma, "set": group, "image": name}
                bench.add({**key, "method": "blurred"}, lambda d=data, t=truth: _plain(lambda: d, t))
                tv = (0.01, 0.03, 0.1) if std > 1 else (0.03, 0.06, 0.12)
                bench.inverse(key, measurement, noise=sigma, tv=tv, balance=balance)


def tomography(bench: Bench, count: int) -> None:
    """Sparse views of clinical slices that were not trained on."""
    angles = np.linspace(0, np.pi, 60, endpoint=False)
    physics = ir.tomography(ir.ParallelBeam(angles, 362, pixel=1.0), ir.Volume((256, 256)))
    for number in TESTS[:count]:
        measurement = scan(physics, clinical(number), 0.01, seed=number)
        key = {"part": "tomography", "views": 60, "noise": 0.01, "set": "ct_tcia", "image": str(number)}
        bench.add({**key, "method": "fbp"}, lambda m=measurement: solve(m, "fbp")[1])
        bench.inverse(
            key, measurement, noise=0.02, tv=(0.003, 0.01, 0.03), strengths=(0.3, 3.0, 10.0), iterations=30
        )


def sensing(bench: Bench, count: int) -> None:
    """Compressed sensing of clinical slices that were not trained on."""
    for every in (4, 16):
        physics = random_convolution(256, every)
        for number in TESTS[:count]:
            truth, noise = clinical(number), ir.GaussianNoise(0.001)
            data = noise.sample(physics.A(truth), seed=number)
            measurement = ir.Measurement(data, physics=physics, noise=noise, truth=truth)
            key = {"part": "sensing", "one in": every, "noise": 0.001, "set": "ct_tcia", "image": str(number)}
            bench.inverse(
                key,
                measurement,
                noise=0.01,
                tv=(0.003, 0.01, 0.03),
                strengths=(30.0, 100.0, 300.0),
                networks=False,
                weights="lpn_ct_05",
                iterations=80,
            )


def prior(bench: Bench, count: int, edge: int) -> None:
    """phi of the pictures under three changes, relative to that of the pictures themselves."""
    from scipy.ndimage import gaussian_filter

    for weights in ("lpn_natural_05", "lpn_natural_10", "lpn_ct_05"):
        network, card = load_network(weights)
        denoiser = LearnedProximal(network, card.metrics["sigma"])  # type: ignore[arg-type]
        if weights.startswith("lpn_ct"):
            truths = torch.cat([clinical(number)[..., 64:-64, 64:-64] for number in TESTS[:count]])
            truths = truths[..., :edge, :edge].contiguous()
        else:
            truths = torch.cat([natural(number, edge) for number in range(1, count + 1)])
        noise = torch.randn(truths.shape, generator=torch.Generator().manual_seed(0))
        changes: list[tuple[str, float, torch.Tensor]] = []
        changes += [("noise", s, (truths + s * noise).clamp(0, 1)) for s in (0.0, 0.05, 0.1, 0.2, 0.3)]
        for s in (0.0, 0.5, 1.0, 2.0, 4.0):
            smooth = gaussian_filter(truths.numpy(), (0, 0, s, s), mode="reflect")
            changes.append(("blur", s, torch.from_numpy(smooth)))
        changes += [
            ("mixing", s, (1 - s) * truths + s * truths.roll(1, 0)) for s in (0.0, 0.25, 0.5, 0.75, 1.0)
        ]
        for change, amount, images in changes:
            key = {"part": "prior", "weights": weights, "change": change, "amount": amount}

            def value(images: torch.Tensor = images, denoiser: LearnedProximal = denoiser) -> dict[str, Any]:
                began = time.perf_counter()
                found = denoiser.prior(images, tolerance=1e-3, iterations=80)
                return {
                    "phi": float(found.value.mean()),
                    "each": [round(float(v), 4) for v in found.value],
                    "residual": float(found.residual.max()),
                    "iterations": found.iterations,
                    "seconds": round(time.perf_counter() - began, 2),
                }

            bench.add(key, value)
    draw(bench.store)


def draw(store: Store) -> None:
    """The prior under noise, blur and mixing, one panel each; the residual of the inversion below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 6), sharex="col", constrained_layout=True)
    for column, (change, label) in enumerate(
        {
            "noise": "standard deviation of noise",
            "blur": "blur, standard deviation in pixels",
            "mixing": "share of another picture",
        }.items()
    ):
        for weights in ("lpn_natural_05", "lpn_natural_10", "lpn_ct_05"):
            rows = sorted(
                store.find(part="prior", weights=weights, change=change), key=lambda row: row["amount"]
            )
            amounts = [row["amount"] for row in rows]
            sigma = int(weights[-2:]) / 100
            phi = [(row["phi"] - rows[0]["phi"]) / sigma**2 for row in rows]
            axes[0, column].plot(amounts, phi, "o-", label=weights)
            axes[1, column].semilogy(amounts, [row["residual"] for row in rows], "o-")
        axes[1, column].set_xlabel(label)
    axes[0, 0].set_ylabel("(phi - phi at 0) / sigma²")
    axes[1, 0].set_ylabel("residual |f(v) - x| / |x|")
    axes[0, 0].legend()
    figure.savefig(RESULTS / "prior.png", dpi=110)
    plt.close(figure)


def table(store: Store) -> None:
    """Mean PSNR of each task and method."""
    keys = ("part", "set", "blur", "views", "one in", "noise")
    tasks: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for row in store.rows:
        if row["part"] != "prior":
            task = tuple(row.get(key, "") for key in keys)
            tasks.setdefault(task, {}).setdefault(row["method"], []).append(row)
    for task, methods in tasks.items():
        name = " ".join(f"{key}={value}" for key, value in zip(keys, task, strict=True) if value != "")
        print(
            name + " :",
            "  ".join(
                f"{label} {mean(rows, 'psnr'):.2f} dB ({len(rows)}, {mean(rows, 'seconds'):.1f} s)"
                for label, rows in methods.items()
            ),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few small pictures (the default)")
    size.add_argument("--full", action="store_true", help="all of Set12 at 256 x 256 and six slices")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    count, edge, slices = (12, 256, len(TESTS)) if given.full else (3, 96, 1)
    store = Store(RESULTS / ("lpn_full.json" if given.full else "lpn.json"))
    bench = Bench(store)
    for part in given.part:
        if part == "denoise":
            denoise(bench, count, edge)
        elif part == "deblur":
            deblur(bench, count, edge)
        elif part == "tomography":
            tomography(bench, slices)
        elif part == "sensing":
            sensing(bench, slices)
        else:
            prior(bench, 6 if given.full else 3, 64)
    table(store)


if __name__ == "__main__":
    main()
