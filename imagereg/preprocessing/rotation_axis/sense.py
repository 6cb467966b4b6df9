"""The sense of rotation of a diverging beam: opposite rays agree only where it is the right one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imagereg.geometry import Geometry
from imagereg.preprocessing.rotation_axis.half_acquisition import widest
from imagereg.preprocessing.rotation_axis.opposite_views import opposite_views
from imagereg.preprocessing.rotation_axis.rebinning import parallel
from imagereg.preprocessing.rotation_axis.vote import Vote

_SURELY = 20.0  # of the logarithm of the likelihood
_SHARE = 0.03


def gains(values: NDArray[np.float32], geometry: Geometry) -> tuple[float, float] | None:
    """Log-likelihood that opposite rays gain by being the same, as the scan turns and the other way round.

    A fan is rebinned to parallel rays with its angles as they are and with their signs changed; where the
    sense is wrong, rays that ought to be the same are up to the fan's opening apart. A parallel beam says
    nothing of its sense, nor do arcs without opposite rays: None.

    Parameters
    ----------
    values : (rows, views, columns), line integrals.
    """
    if geometry.kind == "parallel":
        return None
    found = []
    for sign in (1.0, -1.0):
        turned = replace(geometry, angles=sign * geometry.angles)
        vote = opposite_views(parallel(values, turned, geometry.centre_of_rotation), widest(geometry.columns))
        if not isinstance(vote, Vote):
            return None
        found.append(-float(vote.scores.min()))
    return found[0], found[1]


def turns_the_other_way(gained: tuple[float, float]) -> bool:
    """Whether the other sense is surely the better one."""
    own, other = gained
    return other > own + max(_SURELY, _SHARE * own)
