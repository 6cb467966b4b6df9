"""Denoisers that need no download: classical ones, and DnCNN from a file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as functional

from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.priors.denoiser import Denoiser
from imagereg.priors.tv import TV
from imagereg.priors.wavelet import Wavelet

Name = Literal["tv", "wavelet", "median", "nlm", "dncnn"]


def denoiser(name: str, *, weights: str | Path = "") -> Denoiser:
    """denoiser(x, sigma) by name, x (B, C, H, W) in [0, 1].

    Parameters
    ----------
    name : 'tv' (total variation), 'wavelet' (soft threshold of a shifted basis), 'median' (3 x 3, whatever
        sigma is), 'nlm' (non-local means), 'dncnn' (a network).
    weights : file of the network's weights, .npz or .safetensors.

    Raises
    ------
    UsageError
        For an unknown name, or a network without weights.
    """
    if name == "dncnn":
        if not str(weights):
            raise UsageError(
                "denoiser 'dncnn' needs its weights: give the path of an .npz or .safetensors file."
            )
        return DnCNN.load(weights)
    known: dict[str, Denoiser] = {"tv": _tv, "wavelet": _wavelet, "median": _median, "nlm": _non_local_means}
    if name not in known:
        raise UsageError(f"denoiser {name!r}: no such denoiser{did_you_mean(name, get_args(Name))}")
    return known[name]


def _tv(x: torch.Tensor, sigma: Any) -> torch.Tensor:
    # lambda = sigma is close to the best factor for white noise of that level on pictures in [0, 1].
    sigma = float(sigma)
    return x if sigma == 0 else TV(sigma, accuracy=1e-4, iterations=100).prox(x, 1.0)


def _wavelet(x: torch.Tensor, sigma: Any) -> torch.Tensor:
    prior = Wavelet(1.5 * float(sigma), wavelet="sym8", levels=4)
    shifts = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (3, 2)]
    clean = [
        prior.prox(x.roll(shift, (-2, -1)), 1.0).roll((-shift[0], -shift[1]), (-2, -1)) for shift in shifts
    ]
    return torch.stack(clean).mean(0)


def _median(x: torch.Tensor, sigma: Any) -> torch.Tensor:
    padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    windows = padded.unfold(-2, 3, 1).unfold(-2, 3, 1)
    return windows.flatten(-2).median(-1).values


def _non_local_means(x: torch.Tensor, sigma: Any) -> torch.Tensor:
    import numpy as np
    from skimage.restoration import denoise_nl_means

    sigma = float(sigma)
    if sigma == 0:
        return x
    pictures = x.detach().cpu().double().flatten(0, 1).numpy()
    clean = [
        denoise_nl_means(picture, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True)
        for picture in pictures
    ]
    return torch.as_tensor(np.stack(clean), dtype=x.dtype, device=x.device).reshape(x.shape)


class DnCNN:
    """x - net(x), net a chain of 3 x 3 convolutions with ReLU between, trained at one noise level.

    Other levels are met by scaling: D(x, sigma) = r D(x / r), r = sigma / trained sigma. Images of several
    channels are denoised channel by channel where the network has one.

    Parameters
    ----------
    layers : (weight (out, in, 3, 3), bias (out,)) of each convolution.
    trained : noise level that the network was trained at, on the scale of [0, 1].

    References
    ----------
    K. Zhang et al., IEEE Trans. Image Process. 26 (2017) 3142, doi:10.1109/TIP.2017.2662206.
    """

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]], *, trained: float = 25 / 255) -> None:
        self.layers, self.trained = layers, trained

    @classmethod
    def load(cls, path: str | Path, *, trained: float = 25 / 255) -> DnCNN:
        """From arrays w0, b0, w1, b1, ... in an .npz or .safetensors file.

        Raises
        ------
        InputError
            When the file cannot be read or does not hold such arrays.
        """
        import numpy as np

        path = Path(path)
        try:
            if path.suffix == ".safetensors":
                from safetensors.numpy import load_file

                arrays = dict(load_file(path))
            else:
                with np.load(path, allow_pickle=False) as archive:
                    arrays = {key: archive[key] for key in archive.files}
        except Exception as error:  # whatever a broken archive makes its reader say
            raise InputError(f"{path}: cannot be read as network weights ({error}).") from None
        count = sum(key.startswith("w") for key in arrays)
        try:
            layers = [
                (torch.as_tensor(arrays[f"w{i}"]).float(), torch.as_tensor(arrays[f"b{i}"]).float())
                for i in range(count)
            ]
        except KeyError as error:
            raise InputError(f"{path}: array {error} is missing; DnCNN needs w0, b0, w1, b1, ...") from None
        if not layers or any(w.ndim != 4 or b.shape != w.shape[:1] for w, b in layers):
            raise InputError(f"{path}: no chain of convolutions w0 (out, in, 3, 3), b0 (out,), ...")
        return cls(layers, trained=trained)

    def __call__(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        """The image denoised at `sigma`."""
        ratio = float(sigma) / self.trained
        if ratio == 0:
            return x
        channels = self.layers[0][0].shape[1]
        scaled = x / ratio
        if x.shape[1] != channels:
            if channels != 1:
                raise UsageError(f"DnCNN: images of {x.shape[1]} channels and a network for {channels}.")
            scaled = scaled.flatten(0, 1)[:, None]
        noise = scaled.float()
        for i, (weight, bias) in enumerate(self.layers):
            noise = functional.conv2d(noise, weight.to(noise), bias.to(noise), padding="same")
            if i + 1 < len(self.layers):
                noise = noise.relu_()
        return (ratio * (scaled - noise.to(x.dtype))).reshape(x.shape)
