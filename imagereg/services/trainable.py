"""What `imagereg train` can train, by name: the task, its default data, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from imagereg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import torch

    from imagereg.training.loop import Task

GENERATED = "generated scenes"
FREE_PICTURES = "photographs packaged with scikit-image"
FREE_LICENCE = "free data: no condition on the weights beyond the project's own licence"


@dataclass(frozen=True)
class Trainable:
    """One thing that can be trained.

    Attributes
    ----------
    name : what users type.
    architecture : key of the store.
    summary : one sentence.
    default_data : what it learns from where no data are given.
    make : task from pictures (None where no data are given), the network to start from (None for a new
        one), the seed, and settings by keyword.
    method : that the weights are for; the name where not given.
    optimiser, rate : that it is trained with where the user names none.
    facts : what the method must know of the task, for the card.
    """

    name: str
    architecture: str
    summary: str
    default_data: str
    make: Callable[..., Task]
    method: str = ""
    optimiser: Literal["muon", "adam"] = "muon"
    rate: float = 0.02
    facts: Callable[[Any], Mapping[str, float]] = lambda task: {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", self.method or self.name)


def _learned_fbp(
    pictures: list[torch.Tensor] | None,
    network: Any,
    seed: int,
    *,
    size: int = 128,
    stacks: int = 64,
    passes: int = 3,
    alpha: float = 0.5,
    least_views: int = 20,
    most_views: int = 120,
    least_noise: float = 0.002,
    most_noise: float = 0.12,
    fan: float = 0.4,
) -> Task:
    from imagereg.training.learned_fbp import LearnedFBP, Scans

    scans = Scans(size, (least_views, most_views), (least_noise, most_noise), fan, tuple(pictures or ()))
    return LearnedFBP(network, scans=scans, stacks=stacks, passes=passes, alpha=alpha, seed=seed)


def _noise2score(
    pictures: list[torch.Tensor] | None,
    network: Any,
    seed: int,
    *,
    noisy: bool = False,
    free: bool = False,
    crop: int = 96,
    held: int = 12,
) -> Task:
    from imagereg.training.noise2score import OwnScores, PictureScores
    from imagereg.training.pictures import free_pictures

    if not noisy:
        if pictures is None or free:  # the user's own last: of these some are held
            pictures = free_pictures(held=held) + (pictures or [])
        return PictureScores(pictures, network, crop=crop, held=held)
    if pictures is None:
        raise UsageError("noisy=true is for noisy images of your own: give them with --data.")
    import torch

    if len({tuple(picture.shape) for picture in pictures}) > 1:
        raise UsageError("--set noisy=true: the images must have one size; train on a stack of equal ones.")
    return OwnScores(torch.stack(pictures)[:, None], network, crop=crop)


def _diffusion(
    pictures: list[torch.Tensor] | None, network: Any, seed: int, *, crop: int = 64, held: int = 12
) -> Task:
    from imagereg.training.diffusion import Denoising
    from imagereg.training.pictures import free_pictures

    return Denoising(pictures or free_pictures(held=held), network, crop=crop, held=held)


def _diffusion_ct(
    pictures: list[torch.Tensor] | None,
    network: Any,
    seed: int,
    *,
    scenes: int = 2000,
    size: int = 128,
    crop: int = 64,
    held: int = 12,
) -> Task:
    from imagereg.training.diffusion import Denoising, generated_pictures

    return Denoising(pictures or generated_pictures(scenes, size, seed), network, crop=crop, held=held)


def _hyperprior(
    pictures: list[torch.Tensor] | None,
    network: Any,
    seed: int,
    *,
    rate: float = 0.05,
    width: int = 48,
    latent: int = 96,
    crop: int = 64,
    held: int = 12,
    contrast: float = 0.3,
    scenes: int = 60,
) -> Task:
    from imagereg.networks.hyperprior import Hyperprior
    from imagereg.training.hyperprior import Hyperpriors
    from imagereg.training.painted import generated_scenes
    from imagereg.training.pictures import free_pictures, held_last, tiled

    if pictures is None:
        tiles = free_pictures(held=held)
    else:
        tiles = [tile for one in pictures for tile in tiled(one, max(crop, min(180, *one.shape)))]
        if not tiles:
            raise UsageError(f"no picture is as large as the crop, {crop} pixels; give larger ones.")
        # Of few pictures most must be left to learn from.
        held = min(held, len(tiles) // 4)
        tiles = held_last(tiles, held)
    network = network or Hyperprior(width, latent)
    learned = generated_scenes(scenes, seed=seed) + tiles
    return Hyperpriors(learned, network, rate=rate, crop=crop, held=held, contrast=contrast)


def _lpn(
    pictures: list[torch.Tensor] | None,
    network: Any,
    seed: int,
    *,
    sigma: float = 0.05,
    patch: int = 48,
    contrast: float = 0.5,
    held: int = 6,
) -> Task:
    from imagereg.networks.icnn import ICNN
    from imagereg.training.learned_proximal import LearnedProximal
    from imagereg.training.pictures import free_pictures

    pictures = free_pictures(held=held) if pictures is None else pictures
    learned = len(pictures) - min(held, len(pictures) // 4)
    return LearnedProximal(
        network or ICNN(),
        pictures[:learned],
        pictures[learned:],
        sigma=sigma,
        patch=patch,
        contrast=contrast,
    )


TRAINABLE: dict[str, Trainable] = {
    one.name: one
    for one in (
        Trainable(
            "learned_fbp",
            "reconstructor",
            "Two U-Nets that reconstruct in passes from few views, parallel and fan.",
            GENERATED,
            _learned_fbp,
            facts=lambda task: task.facts(),
        ),
        Trainable(
            "noise2score",
            "score",
            "The score of noisy pictures, for Gaussian, Poisson and Gamma noise of any level.",
            FREE_PICTURES,
            _noise2score,
        ),
        Trainable(
            "diffusion",
            "diffusion",
            "Photographs from noise of every level: the prior of red_diff, dps, diffpir and ddrm.",
            FREE_PICTURES,
            _diffusion,
            method="red_diff",
        ),
        Trainable(
            "diffusion_ct",
            "diffusion",
            "Slices of bodies, lines and foam from noise of every level: the same prior, for scans.",
            GENERATED,
            _diffusion_ct,
            method="red_diff",
        ),
        Trainable(
            "hyperprior",
            "hyperprior",
            "A compressive autoencoder, the prior of vble; its rate sets the strength.",
            f"{FREE_PICTURES}, and generated scenes",
            _hyperprior,
            "vble",
        ),
        Trainable(
            "lpn",
            "icnn",
            "An exact proximal operator from clean pictures, for noise of one level, sigma.",
            FREE_PICTURES,
            _lpn,
            optimiser="adam",
            rate=1.5e-3,
            facts=lambda task: {"sigma": task.sigma},
        ),
    )
}
"""Name to what is trained."""


def trainable(name: str) -> Trainable:
    """What is trained under a name.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    if name not in TRAINABLE:
        raise UsageError(f"nothing that can be trained is called {name!r}{did_you_mean(name, TRAINABLE)}")
    return TRAINABLE[name]
