"""A check-up of data before anything is made of them: one line for each thing that is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.errors import InputError, ResourceError, UsageError
from imagereg.preprocessing.background import Background
from imagereg.preprocessing.bad_views import find_bad_views
from imagereg.preprocessing.edges import Edges, mass_scatter
from imagereg.preprocessing.flatfield import FlatField, air_level, odd_in
from imagereg.preprocessing.layout import Frames, as_frames, stack

if TYPE_CHECKING:
    from imagereg.geometry import Geometry
    from imagereg.measurement import Measurement


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or unusual.

    Parameters
    ----------
    sentence : what it is, and where.
    step : the preprocessing step that mends it; empty where none does.
    advice : what else to do, where no step mends it.
    """

    sentence: str
    step: str = ""
    advice: str = ""

    def __str__(self) -> str:
        cure = f"step {self.step} mends it" if self.step else self.advice
        return f"{self.sentence}{'; ' + cure if cure else ''}"

    def in_view_of(self, steps: Collection[str]) -> str:
        """The finding in one sentence for a run that takes these steps."""
        if not self.step:
            return str(self)
        if self.step in steps:
            return f"{self.sentence}; the step {self.step} of this run mends it"
        return f"{self.sentence}; the step {self.step} would mend it and is not in this run: ask for it"


SAFE = ("bad_views", "outliers")
"""Steps that only take away what cannot be right, and say so: a run takes them by itself, in this order."""


def with_safe_cures(steps: Sequence[str], findings: Sequence[Finding]) -> list[str]:
    """The steps, with those before them that findings ask for and that do no harm."""
    asked = {finding.step for finding in findings}
    return [step for step in SAFE if step in asked and step not in steps] + list(steps)


def default_steps(measurement: Measurement) -> list[str]:
    """Names of the steps that bring a scan to line integrals with a known axis; none for images.

    The centre is looked for where the geometry has the axis on the central ray, which is what readers
    give when a file does not say, and where the views cover 80 degrees, below which no estimator can tell.
    """
    geometry = measurement.geometry
    if geometry is None:
        return []
    steps = [] if measurement.quantity == "line_integrals" else ["flatfield"]
    findable = geometry.views >= 6 and math.degrees(float(np.ptp(geometry.angles))) >= 80
    return steps + (["centre"] if geometry.axis_offset == 0.0 and findable else [])


def health(measurement: Measurement) -> list[Finding]:
    """What is wrong with a measurement, from a few rows spread over it.

    Looked for: values that are not finite, saturated, negative or struck by zingers, bad views, dead
    pixels, missing, exchanged or odd flats and darks, stripes, air that drifts or is not at zero, objects
    that leave the view, data that are no line integrals, gaps and repetitions of angles, a wrong sense of
    rotation, arcs of less than half a turn. A check that fails is a finding too: its subject could not be
    checked, and why.
    """
    from imagereg.preprocessing.pipeline import LOOK_ROWS, Look

    measurement = as_frames(measurement)
    if "C" in measurement.axes:
        return _told("values", _values, np.asarray(measurement.data[...], dtype=np.float32), measurement)
    look = Look.at(measurement, [], LOOK_ROWS).measurement
    values = stack(look)
    findings = _told("values", _values, values, look)
    if look.geometry is not None:
        findings += _told("angles", _angles, look.geometry)
        bad: dict[int, str] = {}
        findings += _told("views", _views, look, bad)
        if look.quantity == "counts":
            findings += _told("counts, flats and darks", _counts, look, values)
        else:
            findings += _told("values and their quantity", _scale, look, values)
        findings += _told("edges, the sense of rotation and stripes", _sums, look, values, bad)
    return findings


def _told(what: str, check: Callable[..., Iterator[Finding]], *given: Any) -> list[Finding]:
    """What a check finds; where it fails, that it could not be made, and why, instead of nothing."""
    found = []
    try:
        for one in check(*given):
            found.append(one)
    except (MemoryError, ResourceError, InputError, Warning):
        raise  # no room, a damaged file, or a warning that somebody wants as an error: not the check's
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        found.append(Finding(f"{what} could not be checked: {reason}", advice="look at them yourself"))
    return found


def _values(values: Frames, measurement: Measurement) -> Iterator[Finding]:
    missing = int((~np.isfinite(values)).sum())
    if missing:
        yield Finding(f"{_share(missing, values.size)} of the values are NaN or infinite", "outliers")
    if np.isfinite(values).any() and not np.ptp(values[np.isfinite(values)]) > 0:
        yield Finding(
            f"all values are {float(values[np.isfinite(values)][0]):g}",
            advice="look whether the right data were read",
        )


def _views(measurement: Measurement, bad: dict[int, str]) -> Iterator[Finding]:
    """Bad views, which are put into `bad`."""
    bad.update(find_bad_views(measurement))
    if bad:
        listed = ", ".join(f"{view} ({reason})" for view, reason in list(bad.items())[:6])
        more = f" and {len(bad) - 6} more" if len(bad) > 6 else ""
        yield Finding(f"{len(bad)} of {measurement.data.shape[0]} views are bad: {listed}{more}", "bad_views")


def _counts(measurement: Measurement, values: Frames) -> Iterator[Finding]:
    from imagereg.preprocessing.detector import response
    from imagereg.preprocessing.saturation import saturation_level

    if measurement.darks is None:
        yield Finding(
            "there are no darks", advice="the detector's offset is taken as zero: give darks if it has one"
        )
    negative = int((values < 0).sum())
    if negative:
        yield Finding(
            f"{_share(negative, values.size)} of the counts are negative",
            advice="say whether darks were subtracted already, or give the quantity that they are",
        )
    level = saturation_level(measurement)
    if level is not None:
        share = int((values >= level).sum())
        wide = share > 0.02 * values.size
        yield Finding(
            f"{_share(share, values.size)} of the counts lie at the highest value {level:g}, as if saturated",
            "" if wide else "outliers",
            "measure with a shorter exposure, as this is too much to mend" if wide else "",
        )
    yield from _zingers(measurement)
    if measurement.flats is None:
        yield Finding(
            "these are counts without flats",
            advice="give flats, or flatfield with air=99 where every row of every view sees air",
        )
        return
    out: dict[str, tuple[int, ...]] = {}
    for name in ("flats", "darks"):
        odd = odd_in(measurement, name, 0)
        out[f"{name}_out"] = tuple(odd)
        if odd:
            listed = ", ".join(f"{number} ({why})" for number, why in odd.items())
            yield Finding(
                f"{name} {listed} of {getattr(measurement, name).shape[0]} are unlike the others", "flatfield"
            )
    try:
        detector = response(measurement, values.shape, "median", 0, **out)
    except UsageError as error:
        yield Finding(str(error).rstrip("."))
        return
    dead = int(detector.dead.sum())
    if dead:
        yield Finding(
            f"{_share(dead, detector.dead.size)} of the pixels are dead (flat not above dark)", "flatfield"
        )
    above = values - detector.dark
    brightest = float(np.nanpercentile(above, 99.5) / np.median(detector.flat[0][~detector.dead]))
    if brightest > 1.5:
        yield Finding(
            f"the brightest counts are {brightest:.3g} times the flats",
            advice="flats and data seem to have different exposures, or flats and darks are exchanged",
        )


def _zingers(measurement: Measurement) -> Iterator[Finding]:
    from imagereg.preprocessing.outliers import Outliers

    found = Outliers(which="bright", pixels=False).work(measurement).found["outliers"]
    if found:
        total = int(np.prod(measurement.data.shape))
        yield Finding(
            f"{_share(found, total)} of the counts stand out as zingers do and will make lines", "outliers"
        )


def _scale(measurement: Measurement, values: Frames) -> Iterator[Finding]:
    high = float(np.nanpercentile(np.where(np.isfinite(values), values, np.nan), 99.5))
    if measurement.quantity == "transmission":
        if high > 2:
            yield Finding(
                f"transmission goes up to {high:.4g}, and should end near 1",
                advice="these look like counts: give quantity='counts' and flats",
            )
        return
    if high > 50 and not measurement.intensities:
        yield Finding(
            f"line integrals go up to {high:.4g}",
            advice="right for electron intensities; if these are X-ray counts, give quantity='counts'",
        )


def _sums(measurement: Measurement, values: Frames, bad: Collection[int]) -> Iterator[Finding]:
    """What shows in line integrals alone: edges, the sense of rotation, stripes."""
    geometry = measurement.geometry
    assert geometry is not None
    if measurement.quantity == "line_integrals":
        integrals = values
    elif measurement.quantity == "counts" and measurement.flats is None:
        return  # told with the counts
    else:
        integrals = stack(FlatField().resolve(measurement).apply(measurement))
    # By angle, whatever order they were taken in: neighbours share the object.
    around = np.argsort(np.mod(geometry.angles, 2 * math.pi), kind="stable")
    good = np.array([view for view in around if view not in bad])
    if good.size:
        yield from _edges(geometry[good], integrals[good])
        yield from _sense(geometry[good], integrals[good])
        yield from _stripes(integrals[good])


def _edges(geometry: Geometry, integrals: Frames) -> Iterator[Finding]:
    """Air that is not at zero, data that are no line integrals, and objects that leave the view."""
    if integrals.shape[2] < 16 or integrals.shape[0] < 4:
        return
    edges = Edges(np.where(np.isfinite(integrals), integrals, 0))
    if edges.air:
        yield from _air(edges)
    else:
        yield from _truncation(geometry, edges)


def _air(edges: Edges) -> Iterator[Finding]:
    level, height = edges.level, edges.height
    if edges.darker > 0.8 and height > 0.05 * abs(level):
        if level > 0.2 * height and float(np.percentile(edges.values, 1)) > -0.05 * height:
            what = "transmission" if level < 2 else "counts"
            yield Finding(
                f"values are highest in the air at the edges ({level:.4g}), where line integrals are lowest",
                advice=f"they look like {what}: give quantity='{what}'"
                + ("" if what == "transmission" else " and flats"),
            )
        else:
            yield Finding(
                f"the object lies below the air at the edges ({level:.4g}), as if the sign were reversed",
                advice="look whether the logarithm lacks its minus sign, or give the data times -1",
            )
        return
    high = float(np.percentile(edges.values, 99.5))
    low, top = edges.drift
    if high > 0 and abs(level) > 0.05 * high:
        sentence = f"the air at the edges is at {level:.4g} instead of 0"
    elif high > 0 and top - low > 0.04 * high:
        sentence = f"the air at the edges goes from {low:.3g} to {top:.3g} in the course of the scan"
    else:
        return
    if edges.noisy:
        yield Finding(sentence, advice="noise hides whether it is air: look before you take background")
    elif _levels_well(edges):
        yield Finding(sentence, "background")
    else:
        yield Finding(sentence, advice="background would not make the views consistent: look at the flats")


def _levels_well(edges: Edges) -> bool:
    """Whether the step background leaves nothing far below zero, and masses as constant as they were."""
    step = Background()
    if 2 * step.columns >= edges.values.shape[2]:
        return False
    levelled = edges.values - air_level(edges.values, step.columns, step.name)
    if float(np.percentile(levelled, 0.5)) < -0.25 * edges.height:
        return False
    allowed = 0.01 * edges.height * edges.values.shape[2]
    return mass_scatter(levelled) < 1.1 * mass_scatter(edges.values) + allowed


def _truncation(geometry: Geometry, edges: Edges) -> Iterator[Finding]:
    left, right = edges.object_seen
    sides = "both edges" if left and right else f"the {'left' if left else 'right'} edge"
    one = left != right
    if one and geometry.half_acquired:
        beyond = left == (geometry.centre_of_rotation < (geometry.columns - 1) / 2)
        if beyond:
            return  # a half acquisition as it is meant: the opposite views see the rest
    sentence = f"the object leaves the view at {sides} of the detector"
    if one and geometry.closed:
        yield Finding(
            f"{sentence} in a scan of a whole turn, as in a half acquisition with the axis near that edge",
            "centre",
        )
        return
    yield Finding(
        sentence,
        advice="fbp is right inside the view up to a smooth offset; iterative methods need a grid as wide as "
        "the object (physics.volume); the step background would harm",
    )


def _sense(geometry: Geometry, integrals: Frames) -> Iterator[Finding]:
    from imagereg.preprocessing.rotation_axis.sense import gains, turns_the_other_way

    if geometry.kind == "parallel" or geometry.views < 12 or integrals.shape[2] < 16:
        return
    middle = integrals.shape[1] // 2
    gained = gains(np.nan_to_num(integrals[:, middle : middle + 1]).transpose(1, 0, 2), geometry)
    if gained is not None and turns_the_other_way(gained):
        yield Finding(
            "opposite rays agree better if the scan turns the other way (log-likelihood "
            f"{gained[1]:.0f} against {gained[0]:.0f})",
            advice="the sense of rotation seems wrong: give the angles with the other sign",
        )


def _stripes(values: Frames) -> Iterator[Finding]:
    from imagereg.preprocessing.stripes import stripe_strength, stripes_are_fixed

    finite = np.where(np.isfinite(values), values, 0)
    strength = stripe_strength(finite)
    height = float(np.percentile(finite, 99) - np.percentile(finite, 1))
    if height > 0 and strength > 0.01 * height and (strength > 0.025 * height or stripes_are_fixed(finite)):
        yield Finding(
            f"stripes of {strength:.3g} (rms) are fixed to the detector's columns and will make rings",
            "rings",
        )


def _angles(geometry: Geometry) -> Iterator[Finding]:
    if geometry.views < 2:
        yield Finding("there is a single view", advice="a slice needs views from many angles")
        return
    turn = 2 * math.pi
    gaps = np.diff(np.sort(np.mod(geometry.angles, turn)))
    usual = float(np.median(gaps[gaps > 1e-9])) if (gaps > 1e-9).any() else 0.0
    # A scan that ends where it began, a whole turn later, repeats its first view on purpose.
    same = int((np.diff(np.sort(geometry.angles)) < 1e-9).sum())
    if same:
        yield Finding(
            f"{same} of {geometry.views} views repeat the angle of another", advice="check the list of angles"
        )
    if usual == 0:
        return
    arc = float(np.ptp(geometry.angles))
    inner = np.sort(np.diff(np.sort(geometry.angles)))
    wide = int((inner > 2.5 * usual).sum())
    if wide and arc < turn:
        yield Finding(
            f"the angles have {wide} gap{'' if wide == 1 else 's'} of more than twice the usual step, up to "
            f"{math.degrees(float(inner[-1])):.3g} degrees",
            advice="frames may have been dropped",
        )
    covered = arc + usual
    opening = 2 * float(getattr(geometry, "fan_angle", 0.0))
    if covered < math.pi - 0.5 * usual:
        yield Finding(
            f"the views cover {math.degrees(arc):.4g} degrees, less than half a turn",
            advice="edges along the missing directions cannot be seen: choose a method with a prior",
        )
    elif opening and covered < math.pi + opening - usual and covered < turn - usual:
        yield Finding(
            f"the views cover {math.degrees(arc):.4g} degrees, less than half a turn and the fan of "
            f"{math.degrees(opening):.3g}",
            advice="some directions are missing: choose an iterative method",
        )
    needed = math.pi / 2 * geometry.columns
    distinct = geometry.views * min(1.0, math.pi / covered)
    if distinct < needed / 8:
        yield Finding(
            f"{geometry.views} views are few for {geometry.columns} columns ({needed:.0f} fill half a turn)",
            advice="expect streaks from fbp: choose an iterative method with a prior",
        )


def _share(number: int, total: int) -> str:
    share = number / total
    return f"{number} ({share:.2g})" if share < 0.001 else f"{share:.2%}"
