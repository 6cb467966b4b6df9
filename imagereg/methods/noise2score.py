"""Denoising from the score of noisy images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from imagereg.methods.support.self_supervised import KnownNoise, SelfSupervised, one_by_one
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.priors.stabilised import Stabilised
    from imagereg.solvers.state import State

OWN_STEPS = 800
DITHER = 0.6
DRAWS = 8
VARIANCE_ROUNDS = 4  # rounds in which the ratio of variances and the mean image converge together
SPAN = 1.3  # of the sweep: the rough level is right to about a tenth, and criteria have other minima far off


class Noise2Score(SelfSupervised):
    """The clean image by Tweedie's formula from a network's score s(y) = grad log p(y) of noisy images.

    T^-1(v + sigma^2 s(v)), v = T(y), after which noise is even: y itself for Gaussian noise, a square root of
    counts, the logarithm of speckle. The network learns from noisy images alone: it has shipped weights, or
    is trained on the user's own noisy image or stack.
    """

    name: ClassVar[str] = "noise2score"
    title: ClassVar[str] = "Noise2Score"
    summary: ClassVar[str] = (
        "denoising of Gaussian, Poisson or speckle noise, of known or unknown level, by a learned score"
    )
    reference: ClassVar[str] = (
        "K. Kim, J. Ye, NeurIPS (2021), arXiv:2106.07009; K. Kim, T. Kwon, J. Ye, CVPR (2022), "
        "arXiv:2112.03696 (unknown noise)"
    )
    main: ClassVar[str] = "level"

    weights: str = parameter(
        "noise2score",
        "Name of shipped weights (`imagereg models`), a .safetensors file, or empty: train on these images",
    )
    steps: int | None = parameter(
        None,
        f"Steps of training on these images: {OWN_STEPS} where there are no weights and none where there are",
        ge=0,
        le=1_000_000,
    )

    dither: float | None = parameter(
        None,
        "White noise that the score is asked at, over that of the data; without value: none with shipped "
        "weights, unless the data have few levels, and 0.6 after training on these images",
        ge=0,
        le=2,
        level="advanced",
    )

    self_ensemble: bool = parameter(
        False,
        "The mean over the eight turned and mirrored images: a little better at eight times the cost; with "
        "dither it is part of it",
        level="advanced",
        formerly="turned",
    )

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """States of the training, where there is one, then the image."""
        from imagereg.networks.score import Turned
        from imagereg.priors.stabilised import coarse, for_noise, stable_level
        from imagereg.solvers.state import State

        began = time.perf_counter()
        data = measurement.data
        network, said = self._start()
        known = self._looked_again(self.known_noise(measurement), data, network)
        domain, lifted = for_noise(known.kind, data, level=known.level, offset=known.offset)
        stable = domain.to(lifted)
        sigma = stable_level(known.kind, known.level)
        notes: tuple[str, ...] = (known.how,)
        steps = (OWN_STEPS if network is None else 0) if self.steps is None else self.steps
        dither = self.dither
        if dither is None:
            dither = DITHER if steps or coarse(stable, sigma) else 0.0
        values: dict[str, float] = {}
        if steps:

            def so_far(trained: Any) -> torch.Tensor:
                return Tweedie(known, domain, trained, dither, seed=self.seed, draws=2).image(lifted)

            for last in self._train(stable, sigma, network, steps, so_far, data, notes):
                yield last
            network, chosen, values = self._better(network, last, stable, sigma)
            said = chosen or said
        notes = (*notes, *said)
        network = Turned(network) if self.self_ensemble and not dither else network
        tweedie = Tweedie(known, domain, network, dither, seed=self.seed)
        if not known.certain:
            tweedie = tweedie.swept(lifted)
            level = tweedie.known.level
            notes = (*notes, f"Noise level {level:.4g}, by a sweep over the criterion of the denoised image.")
        image = tweedie.image(lifted)
        model = self.noise_model(known.kind, tweedie.known.level)
        values |= {"noise_level": tweedie.known.level, **self.risk(tweedie.image, lifted, image, model)}
        yield State(
            image + known.offset,
            steps + 1,
            steps + 1,
            time.perf_counter() - began,
            finished="1 step",
            notes=notes,
            values=values,
        )

    def _start(self) -> tuple[Any, tuple[str, ...]]:
        from imagereg.networks.store import load_network

        if not self.weights:
            return None, ()
        network, card = load_network(self.weights, method=self.name)
        return network, (f"Weights {card.name}, trained on {card.data}. Licence: {card.licence}",)

    def _looked_again(self, known: KnownNoise, data: torch.Tensor, network: Any) -> KnownNoise:
        """The noise whose kind was told from flat tiles, told from what the network takes away for it."""
        from imagereg.noise.kind import noise_kind
        from imagereg.priors.stabilised import for_noise

        if network is None or not known.told or known.certain:
            return known
        domain, lifted = for_noise(known.kind, data, level=known.level, offset=known.offset)
        first = Tweedie(known, domain, network).image(lifted) + known.offset
        again = noise_kind(data, clean=first)
        if again.kind == known.kind:
            return known
        found = noise_kind(data, kind=again.kind)
        how = f"Noise: {again.kind}, told from a first denoising (variance grows as grey^{again.power:.2f})."
        return KnownNoise(again.kind, found.level, False, how, found.offset, told=True)

    def _train(
        self,
        stable: torch.Tensor,
        sigma: float,
        start: Any,
        steps: int,
        denoise: Any,
        data: torch.Tensor,
        notes: tuple[str, ...],
    ) -> Iterator[State]:
        """States of the training on the data, which start as noisy images."""
        from copy import deepcopy

        import torch

        from imagereg.networks.score import ScoreNetwork
        from imagereg.training.loop import Schedule, train
        from imagereg.training.noise2score import OwnScores

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = deepcopy(start) or ScoreNetwork(
                widths=(24, 48, 96), blocks=1, unit=sigma, centre=float(stable.mean())
            )
        task = OwnScores(stable, network.requires_grad_(True).to(data.device), crop=self.crop, level=sigma)
        every = max(1, min(100, steps // 4))
        rate = 0.02 if start is None else 0.005
        schedule = Schedule(
            steps=steps, batch=self.batch, rate=rate, validate=every, seed=self.seed, average=0.99
        )
        with torch.enable_grad():
            states = train(task, schedule)
            yield from self.watched(states, denoise, data, every, notes)

    def _better(
        self, start: Any, last: State, stable: torch.Tensor, sigma: float
    ) -> tuple[Any, tuple[str, ...], dict[str, float]]:
        """The trained network, unless the one that it started from has the lower score loss on the data."""
        from imagereg.training.noise2score import OwnScores

        trained = last.outcome.network
        loss = last.values["score_loss"]
        values = {"score_loss": loss}
        if start is None:
            return trained, ("Trained on these images alone.",), values
        task = OwnScores(stable, start, crop=self.crop, level=sigma)
        before = task.validate(start)[0]["score_loss"]
        if before <= loss:
            return start, (), {"score_loss": before}
        return trained, (f"Weights {self.weights}, trained on with these images.",), values


@dataclass(frozen=True)
class Tweedie:
    """From noisy images to clean ones by a network's score: T^-1(v + (r sigma^2 + d^2) E_u s(v + d u)).

    v = T(y) is the stabilised image, u white noise, and r the part of its variance that noise has where there
    are few photons. With dither the score is asked where the network was trained and where few levels of grey
    do no harm. Tweedie's formulas in y itself (see `imagereg.priors.tweedie`) need the score more exactly:
    with that of a network they lose 0.05 to 1.2 dB, most for few photons.

    Attributes
    ----------
    known : kind and level of the noise.
    domain : change of variable after which the noise is even.
    network : score of stabilised images.
    dither : d over the noise's standard deviation.
    seed : of u.
    draws : of u, even; each is asked at another turn or mirroring of the plane.
    """

    known: KnownNoise
    domain: Stabilised
    network: Any
    dither: float = 0.0
    seed: int = 0
    draws: int = DRAWS

    def image(self, y: torch.Tensor) -> torch.Tensor:
        """The clean image of y (B, C, H, W), offset taken off."""
        from imagereg.priors.stabilised import stable_level

        v, sigma = self.domain.to(y), stable_level(self.known.kind, self.known.level)
        return self.domain.back(self._mean(v, self._score(v), sigma))

    def swept(self, y: torch.Tensor) -> Tweedie:
        """The same with the noise level whose clean image has the least total variation.

        The published criterion of Poisson noise takes the least gain on images of few edges; this does not.
        The variation of the image still stabilised, where dark texture is large, takes too much noise.
        """
        from imagereg.noise.blind import sweep
        from imagereg.priors.stabilised import level_of, stable_level

        sigma = stable_level(self.known.kind, self.known.level)
        v = self.domain.to(y)

        def clean(_: torch.Tensor, score: torch.Tensor, level: float) -> torch.Tensor:
            return self.domain.back(self._mean(v, score, level))

        found = sweep(y, self._score(v), "gaussian", sigma, factor=SPAN, head=clean).level
        return replace(
            self,
            known=replace(self.known, level=level_of(self.known.kind, found)),
            dither=self.dither * sigma / found,  # so that the added noise stays the same
        )

    def _score(self, v: torch.Tensor) -> torch.Tensor:
        """d log p / dv; with dither its mean over draws."""
        import torch

        from imagereg.networks.score import turned
        from imagereg.priors.stabilised import stable_level

        def at(v: torch.Tensor) -> torch.Tensor:
            return one_by_one(self.network, v)

        if not self.dither:
            return at(v)
        added = self.dither * stable_level(self.known.kind, self.known.level)
        generator = torch.Generator().manual_seed(self.seed)
        total = torch.zeros_like(v)
        for number in range(0, self.draws, 2):
            u = added * torch.randn(v.shape, generator=generator).to(v)
            for sign in (1, -1):  # so that E u = 0
                total += turned(at, v + sign * u, number + (sign < 0))
        return total / self.draws

    def _mean(self, v: torch.Tensor, score: torch.Tensor, sigma: float) -> torch.Tensor:
        """v + (r sigma^2 + d^2) s, r the ratio of the noise's variances at that very mean."""
        from imagereg.priors.stabilised import stable_level

        added = (self.dither * stable_level(self.known.kind, self.known.level)) ** 2
        mean = v + (sigma**2 + added) * score
        for _ in range(VARIANCE_ROUNDS if self.known.kind == "poisson" else 0):
            mean = v + (self.domain.variance_ratio(mean) * sigma**2 + added) * score
        return mean
