"""What a method says of its own error, as images with a legend that says how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagereg.solvers.outcome import PixelUncertainty

CALIBRATED = "calibrated: on images with known truth it held as often as it says"
NOT_CALIBRATED = "not calibrated: read where it is large, not how large it is"
ONLY_INTERVAL = "not calibrated itself: the interval is"
UNKNOWN = "the method does not say whether it is calibrated"


@dataclass(frozen=True, eq=False)
class Offer:
    """One image beside the result.

    Attributes
    ----------
    name : 'std', 'mean', 'lower', 'upper' or 'width'.
    image : in the layout of the state's image.
    meaning : what its values are.
    trust : how far to trust them.
    calibrated : None where the method does not say.
    source : what the spread comes from, where the method says.
    """

    name: str
    image: Any
    meaning: str
    trust: str
    calibrated: bool | None = None
    source: str = ""

    @property
    def legend(self) -> str:
        """What the image means and how far to trust it, in one line."""
        source = f" ({self.source})" if self.source else ""
        return f"{self.meaning}{source}; {self.trust}"


def legend_of(shown: Sequence[Offer]) -> str:
    """What the images mean, one line each, and below them once what they have in common."""
    lines = [f"{offer.name}: {offer.meaning}." for offer in shown]
    lines += dict.fromkeys(f"From {offer.source}." for offer in shown if offer.source)
    names: dict[str, list[str]] = {}
    for offer in shown:
        names.setdefault(offer.trust, []).append(offer.name)
    for trust, those in names.items():
        of = "" if len(names) == 1 else f"{', '.join(those)}: "
        sentence = of + trust
        lines.append(f"{sentence[:1].upper()}{sentence[1:]}.")
    return "\n".join(lines)


def offers(known: PixelUncertainty | None) -> tuple[Offer, ...]:
    """The images of uncertainty of a last state, in the order in which they are shown.

    They are `std`, `mean`, and the interval `lower` to `upper` that holds the truth with probability
    `level`; `calibrated` and `meaning` tell about all of them.
    The `guarantee` of a calibration is about the interval, and its legend says it.
    """
    if known is None:
        return ()
    calibrated = known.calibrated
    trust = {True: CALIBRATED, False: NOT_CALIBRATED, None: UNKNOWN}[calibrated]
    source, guarantee = known.meaning, known.guarantee if calibrated else ""

    def offer(name: str, image: Any, what: str) -> Offer:
        of_interval = name in ("width", "lower", "upper")
        if not guarantee:
            return Offer(name, image, what, trust, calibrated, source)
        said = f"calibrated: {guarantee}" if of_interval else ONLY_INTERVAL
        return Offer(name, image, what, said, of_interval, source)

    found = []
    if known.std is not None:
        found.append(offer("std", known.std, "standard deviation of each pixel, in the image's unit"))
    if known.mean is not None:
        found.append(offer("mean", known.mean, "mean of the images that fit the data"))
    lower, upper = known.lower, known.upper
    if lower is not None and upper is not None:
        of = f"{known.level:.0%} interval" if known.level is not None else "interval"
        found.append(offer("width", upper - lower, f"width of each pixel's {of}"))
        found.append(offer("lower", lower, f"lower end of each pixel's {of}"))
        found.append(offer("upper", upper, f"upper end of each pixel's {of}"))
    return tuple(found)
