"""Methods on a denoiser take one of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr

from imagereg.methods.base import Method

if TYPE_CHECKING:
    from imagereg.priors.denoiser import Denoiser


class DenoiserMethod(Method):
    """Base of the methods whose prior is a denoiser(x, sigma); `_custom` is the user's own, or None."""

    _custom: Any = PrivateAttr(default=None)

    def using(self, denoiser: Denoiser) -> Self:
        """The same method with a denoiser of one's own: denoiser(x, sigma), x (B, C, H, W) in [0, 1]."""
        copy = self.model_copy()
        copy._custom = denoiser
        return copy
