"""Filtered back-projection: parallel and fan beams, and Feldkamp, Davis and Kress for the cone.

    f(x) = sum over views of  w(view, s)  (so / U(x))^2  (h * cos-weighted p)(s(x))

with the band-limited ramp h, quadrature and redundancy weights w, and U the distance of x from the source
along the central ray (parallel beams: without the cosine and the distance). In 1/mm for any pixel.

A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, 1988, ch. 3;
L. A. Feldkamp, L. C. Davis, J. W. Kress, J. Opt. Soc. Am. A 1 (1984) 612, doi:10.1364/JOSAA.1.000612.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from imagereg.errors import UsageError, did_you_mean
from imagereg.projectors.base import Projector
from imagereg.projectors.pixel_driven import back_project_pixels
from imagereg.projectors.redundancy import view_weights, widened

WINDOWS = ("ramp", "shepp-logan", "cosine", "hamming", "hann")
_CACHED = 1 << 17  # padded samples that a core filters before they leave its cache, three times as fast
_AT_ONCE = 1 << 23  # padded samples filtered together on a GPU


def ramp_kernel(columns: int, pixel: float, length: int) -> NDArray[np.float64]:
    """The ramp |f| up to Nyquist's frequency, sampled in space on a ring of `length` pixels, in 1/mm^2.

    h(0) = 1 / (4 pixel^2), h(n) = -1 / (pi n pixel)^2 for odd n, else 0. Sampled in space rather than as
    |f|, which would set the mean to zero and sink the image (Kak and Slaney, ch. 3.3).
    """
    if length < 2 * columns - 1:
        raise UsageError(f"ramp_kernel(length={length}): {columns} columns wrap around; give {2 * columns}.")
    ring = np.arange(length)
    place = np.minimum(ring, length - ring)
    odd = place % 2 == 1
    kernel = np.zeros(length)
    kernel[odd] = -1 / (math.pi * place[odd] * pixel) ** 2
    kernel[0] = 1 / (4 * pixel**2)
    return kernel


def window_response(window: str, length: int, cutoff: float = 1.0) -> NDArray[np.float64]:
    """What an apodisation passes at the `length // 2 + 1` frequencies from 0 to Nyquist's.

    Parameters
    ----------
    window : one of `WINDOWS`; 'ramp' passes all of it.
    length : number of samples that the filter is applied to.
    cutoff : where the window ends, as a part of Nyquist's frequency, in (0, 1].

    Raises
    ------
    UsageError
        When the window is unknown or the cutoff outside (0, 1].
    """
    if window not in WINDOWS:
        raise UsageError(f"window={window!r}: no such window{did_you_mean(window, WINDOWS)}.")
    if not 0 < cutoff <= 1:
        raise UsageError(f"cutoff={cutoff}: give a part of Nyquist's frequency in (0, 1].")
    x = np.arange(length // 2 + 1) / (length / 2) / cutoff
    if window == "shepp-logan":
        passed = np.sinc(x / 2)
    elif window == "cosine":
        passed = np.cos(math.pi / 2 * x)
    elif window == "hamming":
        passed = 0.54 + 0.46 * np.cos(math.pi * x)
    elif window == "hann":
        passed = 0.5 + 0.5 * np.cos(math.pi * x)
    else:
        passed = np.ones_like(x)
    return np.where(x <= 1 + 1e-12, passed, 0.0)


def ramp_filter(
    data: torch.Tensor, pixel: float, *, window: str = "ramp", cutoff: float = 1.0
) -> torch.Tensor:
    """Projections convolved with the ramp along their last axis, in units of `data` per mm.

    Parameters
    ----------
    data : (..., columns).
    pixel : distance of columns in mm, where the object is.
    window, cutoff : see `window_response`.
    """
    columns = data.shape[-1]
    length = 1 << max(6, (2 * columns - 1).bit_length())
    response = np.fft.rfft(ramp_kernel(columns, pixel, length)).real * pixel
    response *= window_response(window, length, cutoff)
    gain = torch.as_tensor(response, dtype=data.dtype, device=data.device)
    lines = data.reshape(-1, columns)
    out = torch.empty_like(lines)
    together = _CACHED * torch.get_num_threads() if lines.device.type == "cpu" else _AT_ONCE
    for first in range(0, len(lines), step := max(1, together // length)):
        spectrum = torch.fft.rfft(lines[first : first + step], n=length)
        out[first : first + step] = torch.fft.irfft(spectrum * gain, n=length)[:, :columns]
    return out.reshape(data.shape)


def filtered_back_projection(
    projector: Projector, data: torch.Tensor, *, window: str = "ramp", cutoff: float = 1.0
) -> torch.Tensor:
    """The image whose line integrals `data` are, by filtered back-projection (cone: FDK), in 1/mm.

    Arcs of any length are taken: redundant rays share their weight (Parker's for short scans of a fan,
    Wang's for an axis that is off the detector's middle), uneven angles count by their distance, and
    what a missing wedge hides stays missing rather than being made up by the views next to it.

    Parameters
    ----------
    projector : gives the scan and the grid.
    data : line integrals, (B, C, *projector.data_shape).
    window, cutoff : see `window_response`.

    Returns
    -------
    (B, C, *projector.image_shape). No gradient passes.

    Raises
    ------
    UsageError
        When the shape does not fit, the window is unknown or the cutoff outside (0, 1].
    """
    wanted = tuple(projector.data_shape)
    if data.ndim != len(wanted) + 2 or tuple(data.shape[2:]) != wanted:
        sizes = ", ".join(map(str, wanted))
        raise UsageError(
            f"filtered_back_projection: data of shape {tuple(data.shape)}; give (B, C, {sizes})."
        )
    geometry = projector.geometry
    weights = torch.as_tensor(view_weights(geometry), dtype=data.dtype, device=data.device)
    if len(wanted) == 3:
        weights = weights[:, None, :] * _rise(projector, data)
    pixel = geometry.pixel / geometry.magnification
    weighted = data.detach() * weights
    scan, before, after = widened(geometry)
    if before or after:
        weighted = torch.nn.functional.pad(weighted, (before, after))
    filtered = ramp_filter(weighted, pixel, window=window, cutoff=cutoff)
    return back_project_pixels(scan, projector.volume, filtered)


def _rise(projector: Projector, data: torch.Tensor) -> torch.Tensor:
    """Cosine of the cone's angle, (views or 1, rows, columns), over that of the fan's, which `w` holds."""
    geometry = projector.geometry
    distance = getattr(geometry, "source_detector", None)
    if distance is None:
        return torch.ones(1, 1, 1, dtype=data.dtype, device=data.device)
    across = (np.arange(geometry.columns) - (geometry.columns - 1) / 2) * geometry.pixel
    along = (np.arange(geometry.rows) - (geometry.rows - 1) / 2) * geometry.row_edge
    s = geometry.offsets[:, 0, None, None] + across[None, None, :]
    z = geometry.offsets[:, 1, None, None] + along[None, :, None]
    flat = distance**2 + s**2
    return torch.as_tensor(np.sqrt(flat / (flat + z**2)), dtype=data.dtype, device=data.device)
