"""The Shepp-Logan head: ten ellipses (ellipsoids) that everyone knows."""

from __future__ import annotations

from imagereg.errors import UsageError
from imagereg.phantoms.ellipsoids import Ellipsoids, from_table

# value in the original and in the modified head, half-axes x, y, z, centre x, y, z, turn in degrees
_HEAD = (
    (2.00, 1.0, 0.6900, 0.920, 0.81, 0.00, 0.0000, 0.00, 0),
    (-0.98, -0.8, 0.6624, 0.874, 0.78, 0.00, -0.0184, 0.00, 0),
    (-0.02, -0.2, 0.1100, 0.310, 0.22, 0.22, 0.0000, 0.00, -18),
    (-0.02, -0.2, 0.1600, 0.410, 0.28, -0.22, 0.0000, 0.00, 18),
    (0.01, 0.1, 0.2100, 0.250, 0.41, 0.00, 0.3500, -0.15, 0),
    (0.01, 0.1, 0.0460, 0.046, 0.05, 0.00, 0.1000, 0.25, 0),
    (0.01, 0.1, 0.0460, 0.046, 0.05, 0.00, -0.1000, 0.25, 0),
    (0.01, 0.1, 0.0460, 0.023, 0.05, -0.08, -0.6050, 0.00, 0),
    (0.01, 0.1, 0.0230, 0.023, 0.02, 0.00, -0.6060, 0.00, 0),
    (0.01, 0.1, 0.0230, 0.046, 0.02, 0.06, -0.6050, 0.00, 0),
)
_CONTRASTS = ("modified", "original")


def head(contrast: str = "modified") -> Ellipsoids:
    """The slice, in coordinates from -1 to 1.

    Parameters
    ----------
    contrast : 'modified' (Toft: skull 1, brain 0.2, tumours 0.3), which one sees; or 'original' (skull 2,
        brain 1.02, tumours 1 % above it), which is hard.

    References
    ----------
    L. A. Shepp and B. F. Logan, IEEE Trans. Nucl. Sci. 21 (1974) 21, doi:10.1109/TNS.1974.6499235; P. Toft,
    The Radon Transform, PhD thesis, Technical University of Denmark (1996).
    """
    which = _which(contrast)
    return from_table([(*row[which : which + 1], *row[2:4], *row[5:7], row[8]) for row in _HEAD])


def head_3d(contrast: str = "modified") -> Ellipsoids:
    """The whole head, in coordinates from -1 to 1; the slice is its cut at z = 0 but for the parts above it.

    References
    ----------
    A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging (1988), table 3.2;
    doi:10.1137/1.9780898719277.
    """
    which = _which(contrast)
    return from_table([(row[which], *row[2:9]) for row in _HEAD])


def _which(contrast: str) -> int:
    if contrast not in _CONTRASTS:
        raise UsageError(f"shepp_logan(contrast={contrast!r}): give 'modified' or 'original'.")
    return 1 if contrast == "modified" else 0
