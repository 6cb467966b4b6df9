"""A calibration: what it was made for, how often raw intervals missed, and the factor that mends them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.uncertainty.conformal import FACTORS, RULES
from imagereg.uncertainty.covariate_shift import ShiftedThreshold, features_of

if TYPE_CHECKING:
    import torch

    from imagereg.fidelities.base import Step
    from imagereg.measurement import Measurement

VERSION = 1

SHIFTED = "lr_qr"
"""The rule whose factor follows the measurement."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Losses of n images on a grid of factors, with all that must be the same where they are used.

    Attributes
    ----------
    rule : 'crc', 'rcps' or 'image' (see `imagereg.uncertainty.conformal`), or 'lr_qr'.
    level : nominal level of the raw intervals, and of the calibrated ones.
    delta : probability with which 'rcps' and 'image' may fail.
    losses : (n, factors) fraction of pixels missed by each image with each of `FACTORS`.
    names : of the n images.
    truth : where the true images came from: 'measured' pairs, or 'generated' phantoms.
    method : its `name` and `parameters`.
    source : `source` and `runs` of the spread.
    physics : what was measured how (see `fingerprint`).
    figures : of each image before calibration: coverage, mean width, correlation of |error| and spread.
    threshold, shifted : of 'lr_qr': what gives the factor of a measurement, and the factors of those
        measurements without a truth that it was drawn to.
    """

    rule: str
    level: float
    delta: float
    losses: np.ndarray[Any, Any] = field(repr=False)
    names: tuple[str, ...]
    truth: str
    method: Mapping[str, Any]
    source: Mapping[str, Any]
    physics: Mapping[str, Any]
    figures: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    threshold: ShiftedThreshold | None = field(default=None, repr=False)
    shifted: tuple[float, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.rule == SHIFTED and self.threshold is not None and self.shifted:
            return
        if self.rule not in RULES:
            raise UsageError(f"no calibration rule is called {self.rule!r}{did_you_mean(self.rule, RULES)}")

    @cached_property
    def factor(self) -> float:
        """What raw half-widths are multiplied by; the middle one where it follows the measurement.

        Raises
        ------
        UsageError
            When the images are too few for the level, or no factor is large enough.
        """
        return self.factor_at(self.level)

    def factor_at(self, level: float) -> float:
        """The factor for raw intervals of `self.level` that makes them cover `level`."""
        if self.threshold is not None:
            if level != self.level:
                raise UsageError(
                    f"a calibration that follows the measurement is for its own level, {self.level:g}; "
                    f"calibrate again with uncertainty.level = {level:g}."
                )
            return float(np.median(self.shifted))
        return RULES[self.rule].factor(self.losses, 1 - level, self.delta)

    def factor_for(self, data: torch.Tensor) -> Step:
        """The factor for measurements (B, C, ...): a number, or one an item where it follows them."""
        if self.threshold is None:
            return self.factor
        found = data.new_tensor(self.threshold(features_of(data)))
        return found.reshape(-1, *[1] * (data.ndim - 1))

    @property
    def guarantee(self) -> str:
        """One sentence."""
        return self.guarantee_at(self.level)

    def guarantee_at(self, level: float) -> str:
        """The sentence for another level."""
        if self.threshold is None:
            said = RULES[self.rule].sentence(1 - level, self.delta, len(self.losses))
        else:
            said = (
                f"about {1 - self.delta:.4g} of new images have at least {level:.4g} of their pixels "
                f"covered, for measurements like the {len(self.shifted)} without a truth (the factor follows "
                "the measurement by LR-QR, which brings the coverage closer and guarantees nothing)"
            )
        return f"{said} (generated phantoms)" if self.truth == "generated" else said

    @property
    def raw_coverage(self) -> float:
        """Mean coverage of the calibration images before calibration."""
        return 1 - float(self.losses[:, int(np.argmin(abs(FACTORS - 1)))].mean())

    def mismatch(
        self, method: Mapping[str, Any], source: Mapping[str, Any], physics: Mapping[str, Any], level: float
    ) -> str:
        """Why this calibration is not for a run, in one sentence; empty where it is."""
        mine = {"method": self.method["name"], **_flat(self.method["parameters"], self.method["name"])}
        theirs = {"method": method["name"], **_flat(method["parameters"], method["name"])}
        mine |= {**_flat(self.source, "uncertainty"), **_flat(self.physics, "")}
        theirs |= {**_flat(source, "uncertainty"), **_flat(physics, "")}
        mine["uncertainty.level"], theirs["uncertainty.level"] = self.level, level
        key = difference(mine, theirs)
        if key is None:
            return ""
        return (
            f"the calibration was made for {key} = {mine.get(key)} and this run has {theirs.get(key)}; "
            "calibrate again with `imagereg calibrate`, or run as calibrated"
        )

    def left_out(self, level: float | None = None) -> float | None:
        """Mean coverage of each image with the factor that all others give; None where those are too few, or
        the factor follows the measurement."""
        if self.threshold is not None:
            return None
        alpha, covered = 1 - (level or self.level), []
        for j, row in enumerate(self.losses):
            try:
                factor = RULES[self.rule].factor(np.delete(self.losses, j, axis=0), alpha, self.delta)
            except UsageError:
                return None
            covered.append(1 - float(row[int(np.argmin(abs(FACTORS - factor)))]))
        return float(np.mean(covered))

    def as_dict(self) -> dict[str, Any]:
        """Plain values; losses are rounded up, which errs on the safe side."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plain["threshold"] = None if self.threshold is None else self.threshold.as_dict()
        plain["losses"] = [[math.ceil(v * 1e5 - 1e-9) / 1e5 for v in row] for row in self.losses]
        first = {
            "version": VERSION,
            "factor": self.factor,
            "guarantee": self.guarantee,
            "n": len(self.losses),
        }
        first |= {"raw_coverage": round(self.raw_coverage, 5)}
        return {**first, **plain, "factors": [float(f"{value:.8g}") for value in FACTORS]}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a calibration file.

        Raises
        ------
        InputError
            When it cannot be read or is none.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
            if plain["version"] != VERSION or not np.allclose(plain["factors"], FACTORS, rtol=1e-6):
                raise InputError(f"{path}: a calibration of another version; make it again.")
            names = ("rule", "level", "delta", "truth", "method", "source", "physics")
            return cls(
                **{name: plain[name] for name in names},
                losses=np.array(plain["losses"], dtype=np.float64),
                names=tuple(plain["names"]),
                figures=tuple(plain.get("figures", ())),
                threshold=ShiftedThreshold.of(plain["threshold"]) if plain.get("threshold") else None,
                shifted=tuple(plain.get("shifted", ())),
            )
        except InputError:
            raise
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot read the calibration {path}: {reason}.") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: no calibration file; make one with `imagereg calibrate`.") from None


def fingerprint(measurement: Measurement) -> dict[str, Any]:
    """What must be the same for a calibration to hold: scan, grid or physics of the image, and noise model.

    The centre of rotation and the rows of a detector, which differ from file to file, do not count.
    """
    found: dict[str, Any] = {}
    geometry, volume = measurement.geometry, measurement.volume
    if geometry is not None:
        found |= {
            "beam": geometry.kind,
            "views": geometry.views,
            "arc in degrees": round(float(np.degrees(np.ptp(geometry.angles))), 1),
            "detector columns": geometry.columns,
            "detector pixel in mm": geometry.pixel,
        }
        if volume is not None:
            found |= {"grid": list(volume.shape[-2:]), "voxel in mm": [float(e) for e in volume.edges[-2:]]}
    elif measurement.physics is not None:
        found["physics"] = type(measurement.physics).__name__
        buffers = getattr(measurement.physics, "named_buffers", dict)
        for name, value in dict(buffers()).items():
            if value.numel() > 1:
                digest = hashlib.sha256(value.detach().cpu().double().numpy().tobytes())
                found[f"physics {name}"] = digest.hexdigest()[:12]
    if measurement.noise is not None and hasattr(measurement.noise, "as_dict"):
        found["noise"] = measurement.noise.as_dict()
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """The first key with which two accounts differ by more than rounding; None where they agree."""
    return next((key for key in dict.fromkeys([*a, *b]) if not _same(a.get(key), b.get(key))), None)


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}.{key}" if prefix else key: value for key, value in values.items()}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, float | int) and isinstance(b, float | int):
        return math.isclose(a, b, rel_tol=1e-4)
    return bool(a == b)
