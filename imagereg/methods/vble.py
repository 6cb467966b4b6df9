"""Variational Bayes in the latents of a compressive autoencoder: an image with its uncertainty."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.errors import UsageError
from imagereg.methods.base import Method, Needs
from imagereg.methods.support.declared import white_level
from imagereg.methods.support.gaussian_data import Seen, look
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.networks.hyperprior import Hyperprior
    from imagereg.networks.store import Card
    from imagereg.solvers.state import State

SHIPPED = ((0.0, "vble_rate_060"), (0.08, "vble_rate_015"), (0.3, "vble_rate_003"))
"""Shipped weights, and the least noise of the image over its range that each is taken for."""

PICKLES = (".tar", ".pth", ".pt")


class VBLE(Method):
    """q(z, h) uniform, of least KL divergence from p(z, h | y) for y = A D(z) + noise, D a trained decoder.

    Variant xz: y = A x + noise, x = D(z) + gamma g; x given z and y is Gaussian and exact.
    The last state's memory holds `uncertainty`: mean and std (B, C, ...) and samples (S, B, C, ...).
    """

    name: ClassVar[str] = "vble"
    title: ClassVar[str] = "Variational Bayes in latents (VBLE)"
    summary: ClassVar[str] = "posterior mean, samples and intervals with a compressive autoencoder as prior"
    reference: ClassVar[str] = (
        "M. Biquard, M. Chabert, F. Genin, C. Latry, T. Oberlin, 2023, arXiv:2311.17744; 2024, "
        "arXiv:2412.04130 (variant xz)"
    )
    needs: ClassVar[Needs] = Needs(linear=False)
    main: ClassVar[str] = "strength"
    copies: ClassVar[tuple[float, float]] = (8.0, 202.0)
    passes: ClassVar[float] = 12.0

    variant: Literal["auto", "xz", "z"] = parameter(
        "auto",
        "xz: the image differs from what is decoded by noise; z: it is what is decoded; auto: xz where the "
        "physics is linear",
    )
    inference: Literal["variational", "map", "dirac"] = parameter(
        "variational",
        "variational: widths of latents too; dirac: their most probable values; map: the same with h by the "
        "encoder",
    )
    strength: float = parameter(
        1.0, "Weight of the prior, 1 being Bayes' rule at the noise of the data", gt=0, le=1e4, log=True
    )
    iterations: int = parameter(150, "Steps", ge=1, le=100_000)
    weights: str = parameter(
        "auto",
        "Name of shipped weights (`imagereg models`), or a file: .safetensors with its card, or one of "
        "compressai; auto: by the noise",
    )
    samples: int = parameter(32, "Images drawn at the end, for mean and uncertainty", ge=2, le=10_000)
    output: Literal["mmse_x", "mmse_z"] = parameter(
        "mmse_x", "mmse_x: the mean of the samples; mmse_z: the image of the mean latents"
    )
    noise: float = parameter(
        0.0,
        "Standard deviation of the noise in the unit of the data; 0: of the noise model, else estimated",
        ge=0,
    )
    decoder_noise: float = parameter(
        0.0,
        "gamma of variant xz over the range of grey values, to begin with; 0: from the card of the weights",
        ge=0,
        le=1,
        level="advanced",
    )
    adapt: bool = parameter(True, "Fit gamma to the data from there on; no: keep it", level="advanced")
    rate: float = parameter(
        0.1, "Step of Adam, in units of the latents", gt=0, le=10, log=True, level="advanced"
    )
    scale: float = white_level()
    pickled: bool = parameter(
        False, "Allow weights of compressai in a pickle (.pth.tar), read as tensors alone", level="advanced"
    )
    seed: int = parameter(0, "Seed of everything random", ge=0, level="advanced")

    def without_samples(self, measurement: Measurement) -> str:
        """Empty where latents or image are drawn, not only their most probable value found."""
        if self._noisy(measurement) or self.inference == "variational":
            return ""
        return f"{self.name} gives no samples of its own with inference = {self.inference!r} and this variant"

    def _noisy(self, measurement: Measurement) -> bool:
        """Whether the image has noise of its own around what the decoder gives."""
        linear = measurement.physics is None or hasattr(measurement.physics, "A_adjoint")
        return self.variant == "xz" or (self.variant == "auto" and linear)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a step, then one a sample; from the second on, the memory holds the uncertainty."""
        from imagereg.priors.latent import HyperpriorPrior
        from imagereg.solvers.base import iterate
        from imagereg.solvers.data_misfit import Misfit
        from imagereg.solvers.latent import LatentInference
        from imagereg.solvers.problem import Problem

        seen = look(measurement, noise=self.noise, scale=self.scale)
        noisy = self._noisy(measurement)
        network, gamma, said = self._network(seen, noisy)
        image = seen.start
        shape = tuple(image.shape[1:])
        prior = HyperpriorPrior(network.to(image), shape, low=seen.low, high=seen.low + seen.span)
        problem = Problem(seen.fidelity, measurement.physics, (prior,))
        solver = LatentInference(
            Misfit(seen.precision, gamma * seen.span if noisy else None),
            strength=self.strength,
            inference=self.inference,
            steps=self.iterations,
            rate=self.rate,
            seed=self.seed,
            adapt=self.adapt,
        )
        notes = (seen.note, *said)
        if prior.planes > 1:
            notes = (*notes, "Each slice and channel has its own prior; nothing joins them.")
        spread = noisy or self.inference == "variational"
        total = self.iterations + (self.samples if spread else 0)
        last: State | None = None
        for last in iterate(solver, problem, total=self.iterations, start=image, notes=notes):
            loss = float(last.memory["loss"].double().sum())
            last = replace(last, total=total, values={"objective": loss}, finished="")
            if last.iteration < self.iterations:
                yield last
        assert last is not None
        estimate = solver.estimate(problem, last.memory)
        if not spread:
            yield replace(last, image=estimate, finished=f"{self.iterations} iterations")
            return
        yield last
        yield from self._sampled(last, estimate, solver.samples(problem, last.memory, self.samples))

    def _sampled(
        self, last: State, estimate: torch.Tensor, samples: Iterator[torch.Tensor]
    ) -> Iterator[State]:
        """States of the sampling, each with the mean so far."""
        from imagereg.solvers.outcome import Outcome, PixelUncertainty

        began = time.perf_counter()
        drawn = estimate.new_empty((self.samples, *estimate.shape))
        total = estimate.new_zeros(estimate.shape)
        for number, sample in enumerate(samples, 1):
            drawn[number - 1] = sample
            total += sample
            done = number == self.samples
            state = replace(
                last,
                iteration=last.iteration + number,
                seconds=last.seconds + time.perf_counter() - began,
                phase="" if done else "samples",
                finished=f"{self.iterations} iterations and {number} samples" if done else "",
            )
            image = total / number if self.output == "mmse_x" else estimate
            if done:
                known = PixelUncertainty(total / number, drawn.std(0), drawn)
                state = replace(state, memory={**last.memory, "image": image}, outcome=Outcome(known))
            yield replace(state, image=image)

    def _network(self, seen: Seen, noisy: bool) -> tuple[Hyperprior, float, tuple[str, ...]]:
        """The autoencoder, gamma over the range of grey values, and what to say of them."""
        from imagereg.networks.compressai_weights import load_compressai
        from imagereg.networks.hyperprior import Hyperprior
        from imagereg.networks.store import load_network

        name = self._shipped(seen) if self.weights == "auto" else self.weights
        path = Path(name)
        foreign = path.suffix in PICKLES or (
            path.suffix == ".safetensors" and path.is_file() and not path.with_suffix(".json").exists()
        )
        if foreign:
            network, gamma = load_compressai(path, pickled=self.pickled), self.decoder_noise
            said = f"Weights {path.name} of compressai, {network.kind.replace('_', ' ')}."
        else:
            found, card = load_network(name, method=self.name)
            assert isinstance(found, Hyperprior)
            network, gamma = found, self.decoder_noise or _stated(card)
            said = f"Weights {card.name}, trained on {card.data}."
        if noisy and not gamma:
            raise UsageError(
                f"{self.name}: nothing says how exact the decoder of {name!r} is; give decoder_noise (about "
                "0.02), or take variant = 'z'."
            )
        return network, gamma, (said,)

    def _shipped(self, seen: Seen) -> str:
        """Weights of a rate that fits the noise: a faithful decoder for good data, a strong prior else."""
        fits = [name for least, name in SHIPPED if seen.relative >= least]
        return fits[-1]


def _stated(card: Card) -> float:
    """gamma by the card: the noise that the training implies, or the error that was measured, if larger."""
    from imagereg.training.hyperprior import decoder_std

    metrics = card.metrics
    implied = decoder_std(metrics["alpha"], card.settings["channels"]) if "alpha" in metrics else 0.0
    return max(implied, float(metrics.get("rmse", 0.0)))
