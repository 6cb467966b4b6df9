"""What helpers of the dock need of it, so that they know no panel."""

from __future__ import annotations

from typing import Any, Protocol

from napari_imagereg.session import Session
from napari_imagereg.settings import Settings


class Desk(Protocol):
    """The viewer, what is set, and where progress and complaints go; results leave helpers as signals.

    Attributes
    ----------
    viewer : napari's.
    session : the open data and everything that the panels say of them.
    settings : of the machine.
    """

    viewer: Any
    session: Session
    settings: Settings

    def source(self) -> Any:
        """The layer of the open data; None where there is none."""

    def progress(self, fraction: float | None, text: str) -> None:
        """Say how far the work is; None where nobody knows."""

    def fail(self, sentence: str, resources: bool = False) -> None:
        """Say what went wrong, with ways out where memory did not suffice."""
