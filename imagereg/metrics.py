"""How good an image is: against a truth, a mask, the data, or by the rings in it.

Arrays may be NumPy's or torch's, of any number of axes; figures are plain floats.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError


def rmse(image: Any, truth: Any) -> float:
    """Root-mean-square error ||x - x*|| / sqrt(N), in the unit of the images."""
    x, t = _pair(image, truth, "rmse")
    return float(np.sqrt(np.mean((x - t) ** 2)))


def relative_error(image: Any, truth: Any) -> float:
    """||x - x*|| / ||x*||.

    Raises
    ------
    UsageError
        When the truth is zero everywhere, or shapes differ.
    """
    x, t = _pair(image, truth, "relative_error")
    size = np.linalg.norm(t)
    if size == 0:
        raise UsageError("relative_error: the truth is zero everywhere, so that nothing is relative to it.")
    return float(np.linalg.norm(x - t) / size)


def psnr(image: Any, truth: Any, *, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio 20 log10(data_range / rmse) in dB; infinite for equal images.

    Parameters
    ----------
    image, truth : of the same shape; the error is taken over all values together.
    data_range : distance from black to white: 1 for images in [0, 1]; max - min of the truth where not
        given.
    """
    x, t = _pair(image, truth, "psnr")
    error = float(np.sqrt(np.mean((x - t) ** 2)))
    span = _range(t, data_range, "psnr")
    return float("inf") if error == 0 else float(20 * np.log10(span / error))


def ssim(
    image: Any, truth: Any, *, data_range: float | None = None, channel_axis: int | None = None
) -> float:
    """Structural similarity of each slice (last two axes), averaged: 7 x 7 windows, smaller in small images.

    Parameters
    ----------
    image, truth : (..., H, W) of the same shape.
    data_range : distance from black to white: 1 for images in [0, 1]; max - min of the truth where not
        given.
    channel_axis : the axis of colours where it is one of the last two.

    Raises
    ------
    UsageError
        When shapes differ or slices are smaller than 3 x 3.

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, IEEE Trans. Image Process. 13 (2004) 600,
    doi:10.1109/TIP.2003.819861.
    """
    from skimage.metrics import structural_similarity

    x, t = _pair(image, truth, "ssim")
    if channel_axis is not None:
        x, t = np.moveaxis(x, channel_axis, 0), np.moveaxis(t, channel_axis, 0)
    if t.ndim < 2 or min(t.shape[-2:]) < 3:
        raise UsageError(f"ssim: images of shape {t.shape}; slices of at least 3 x 3 pixels are needed.")
    span = _range(t, data_range, "ssim")
    smaller = min(t.shape[-2:])
    window = min(7, smaller if smaller % 2 else smaller - 1)
    slices = zip(x.reshape(-1, *x.shape[-2:]), t.reshape(-1, *t.shape[-2:]), strict=True)
    return float(np.mean([structural_similarity(a, b, win_size=window, data_range=span) for a, b in slices]))


def matthews_correlation(image: Any, mask: Any, *, threshold: float | None = None) -> float:
    """Correlation of two masks, (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)): 1 equal, 0 unrelated.

    Parameters
    ----------
    image : a mask, or an image that a threshold makes one.
    mask : the true mask, of the same shape; anything but 0 counts.
    threshold : image > threshold is inside; `otsu_threshold` where not given.

    Returns
    -------
    In [-1, 1]; 0 where one of the masks is the same everywhere.

    References
    ----------
    B. W. Matthews, Biochim. Biophys. Acta 405 (1975) 442, doi:10.1016/0005-2795(75)90109-9.
    """
    found, true = _array(image), _array(mask) != 0
    if found.shape != true.shape:
        raise UsageError(f"matthews_correlation: an image of {found.shape} and a mask of {true.shape}.")
    if found.dtype != bool:
        if threshold is None:
            threshold = otsu_threshold(found)
        found = found > threshold
    n = float(found.size)
    a, b, both = found.mean(), true.mean(), (found & true).sum() / n
    spread = a * (1 - a) * b * (1 - b)
    return float((both - a * b) / np.sqrt(spread)) if spread > 0 else 0.0


def otsu_threshold(image: Any) -> float:
    """The grey value that parts an image into two classes of least variance, on a histogram of 256 bins.

    Where a gap in the histogram makes many values equally good, it is the middle of the gap: pixels at the
    edge of a class are then not lost to the width of a bin.

    References
    ----------
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62, doi:10.1109/TSMC.1979.4310076.
    """
    counts, edges = np.histogram(_array(image).astype(np.float64), bins=256)
    below, middles = np.cumsum(counts)[:-1].astype(float), (edges[1:] + edges[:-1]) / 2
    sums, n = np.cumsum(counts * middles), float(counts.sum())
    above = n - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    apart = np.nan_to_num(apart, nan=-1.0)
    best = np.flatnonzero(apart >= apart.max() * (1 - 1e-12))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # two values leave a class empty
        return float(edges[1:-1][best].mean())


def ring_energy(image: Any, *, centre: tuple[float, float] | None = None, width: float = 9.0) -> float:
    """Mean square of the sharp part of the angular-mean profile about the centre: what ring artefacts add.

    m(r) is the mean of the image on the circle of radius r (bilinear, for every half pixel of r); its sharp
    part is m minus its running median over `width` pixels, which holds rings narrower than half of that and
    leaves edges of the object out. The mean is weighted by r, as the pixels are.

    Parameters
    ----------
    image : (H, W), or (N, H, W) whose slices are averaged.
    centre : row and column of the rotation axis; the middle of the image where not given.
    width : extent of the running median in pixels.

    Returns
    -------
    In the square of the image's unit.

    Raises
    ------
    UsageError
        When the centre leaves no circle within the image, or the image has not two or three axes.
    """
    from scipy.ndimage import map_coordinates, median_filter

    stack = _array(image).astype(np.float64)
    if stack.ndim not in (2, 3):
        raise UsageError(f"ring_energy: an image of shape {stack.shape}; give (H, W) or (N, H, W).")
    height, wide = stack.shape[-2:]
    row, column = ((height - 1) / 2, (wide - 1) / 2) if centre is None else centre
    reach = min(row, column, height - 1 - row, wide - 1 - column)
    if not reach > width:
        raise UsageError(f"ring_energy(centre=({row}, {column})): no circle wider than {width} pixels fits.")
    radii = np.arange(0.5, reach, 0.5)
    angles = np.linspace(0, 2 * np.pi, int(np.ceil(2 * np.pi * reach)), endpoint=False)
    places = np.stack([row + radii[:, None] * np.sin(angles), column + radii[:, None] * np.cos(angles)])
    energies = []
    for picture in stack.reshape(-1, height, wide):
        profile = map_coordinates(picture, places, order=1).mean(1)
        sharp = profile - median_filter(profile, size=2 * int(width) + 1, mode="nearest")
        energies.append(np.average(sharp**2, weights=radii))
    return float(np.mean(energies))


def residual(image: Any, data: Any, physics: Any) -> float:
    """||A x - y|| / ||y|| for tensors in deepinv's shapes and any deepinv physics."""
    import torch

    with torch.no_grad():
        size = float(torch.linalg.vector_norm(data))
        if size == 0:
            raise UsageError("residual: the data are zero everywhere, so that nothing is relative to them.")
        return float(torch.linalg.vector_norm(physics.A(image) - data)) / size


def all_metrics(image: Any, truth: Any, *, data_range: float | None = None) -> dict[str, float]:
    """PSNR (dB), SSIM, relative error and RMSE against the truth, and the data range that PSNR and SSIM took.

    Parameters
    ----------
    image, truth : (..., H, W) of the same shape.
    data_range : distance from black to white; max - min of the truth where not given.

    Returns
    -------
    Figures by name; those that are not defined (a truth of zeros, tiny images) are left out.
    """
    x, t = _pair(image, truth, "all_metrics")
    span = data_range if data_range is not None else float(np.ptp(t))
    figures = {"rmse": rmse(x, t)}
    if np.any(t):
        figures["relative_error"] = relative_error(x, t)
    if span > 0:
        figures["psnr"] = psnr(x, t, data_range=span)
        if t.ndim >= 2 and min(t.shape[-2:]) >= 3:
            figures["ssim"] = ssim(x, t, data_range=span)
        figures["data_range"] = span
    return figures


def _array(values: Any) -> NDArray[Any]:
    """NumPy's view of an array or a tensor."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _pair(image: Any, truth: Any, who: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, t = _array(image).astype(np.float64), _array(truth).astype(np.float64)
    if x.shape != t.shape or x.size == 0:
        raise UsageError(f"{who}: an image of shape {x.shape} and a truth of shape {t.shape}; give the same.")
    return x, t


def _range(truth: NDArray[np.float64], given: float | None, who: str) -> float:
    span = float(np.ptp(truth)) if given is None else float(given)
    if not 0 < span < float("inf"):
        raise UsageError(
            f"{who}(data_range={given}): "
            + (
                "the truth is the same everywhere; give data_range."
                if given is None
                else "give a positive number."
            )
        )
    return span
