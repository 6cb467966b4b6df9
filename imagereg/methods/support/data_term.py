"""Which data term fits a measurement: chosen by the user, or by what is known of the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from imagereg.errors import UsageError

if TYPE_CHECKING:
    import torch

    from imagereg.fidelities.base import Fidelity
    from imagereg.measurement import Measurement

Choice = Literal["auto", "least_squares", "weighted", "poisson"]


def data_term(measurement: Measurement, choice: Choice = "auto") -> tuple[Fidelity, str]:
    """The data term of a measurement that is ready, and a sentence where it was chosen for the user.

    'auto' is weighted least squares where the data carry weights or the noise implies them, the Poisson
    likelihood for images of counts, and least squares otherwise.

    Raises
    ------
    UsageError
        When the choice needs weights or counts that the measurement does not have.
    """
    from imagereg.fidelities.least_squares import LeastSquares

    if choice == "auto":
        chosen, why = _automatic(measurement)
        return data_term(measurement, chosen)[0], why
    if choice == "least_squares":
        return LeastSquares(measurement.data), ""
    if choice == "weighted":
        return LeastSquares(measurement.data, _weights(measurement)), ""
    return _poisson(measurement), ""


def sobolev_term(measurement: Measurement, s: float, scale: float) -> Fidelity:
    """The H^s data term of a measurement that is ready: along the detector of scans, in all axes of images.

    Parameters
    ----------
    s : order: 0 for white noise, above 0 for noise at low frequencies, below 0 for noise at high ones.
    scale : in detector pixels or pixels of the image (see `imagereg.fidelities.sobolev.Sobolev`).
    """
    from imagereg.fidelities.sobolev import Sobolev

    axes = (-1,) if measurement.geometry is not None else tuple(range(2 - measurement.data.ndim, 0))
    return Sobolev(measurement.data, s, scale=scale, axes=axes, boundary="neumann")


def _automatic(measurement: Measurement) -> tuple[Choice, str]:
    name = getattr(measurement.noise, "name", "")
    if name == "poisson":
        return "poisson", "The data term is the Poisson likelihood, for the noise is that of counted photons."
    if measurement.weights is not None:
        return "weighted", "The data term is weighted least squares, for the data carry weights."
    if name == "transmission":
        return (
            "weighted",
            "The data term is weighted least squares, for the noise is that of transmitted photons.",
        )
    return "least_squares", ""


def _weights(measurement: Measurement) -> torch.Tensor:
    if measurement.weights is not None:
        return measurement.weights
    noise = measurement.noise
    if noise is None or not hasattr(noise, "weights"):
        raise UsageError(
            "fidelity = 'weighted': the data carry no weights and no noise model implies any; state it, "
            "preprocess from counts, or take 'least_squares'."
        )
    return noise.weights(measurement.data)


def _poisson(measurement: Measurement) -> Fidelity:
    from imagereg.fidelities.poisson import KullbackLeibler, TransmissionPoisson

    noise, data = measurement.noise, measurement.data
    name = getattr(noise, "name", "")
    if name == "poisson":
        return KullbackLeibler(data, strength=1.0 / noise.gain)
    if name == "transmission":
        return TransmissionPoisson(noise.I0 * (-data).exp(), blank=noise.I0)
    if measurement.quantity == "line_integrals" and measurement.weights is not None:
        # The inverse variance of -log(N / I0) is N, so that the weights are the counts up to a factor.
        counts = measurement.weights
        blank = counts * data.exp()
        return TransmissionPoisson(counts, blank=blank.clamp_min(1e-6 * float(blank.max())))
    raise UsageError(
        "fidelity = 'poisson': there are no counts to go by; state the noise (TransmissionNoise(I0) for "
        "scans, PoissonNoise(gain) for images), preprocess from counts, or take 'least_squares'."
    )
