"""Sections of a recipe: what may stand in each, with defaults, bounds and descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from imagereg.errors import did_you_mean
from imagereg.parameters import Parameters
from imagereg.physics.registry import PhysicsKind, kind_of, kinds
from imagereg.presets import load_preset


def _slice_text(text: str) -> str:
    parse_slice(text)
    return text


SliceText = Annotated[str, AfterValidator(_slice_text)]


def parse_slice(text: str) -> slice:
    """`slice(2, 8)` from '2:8', `slice(None, None, 6)` from '::6', one row from '5'.

    Raises
    ------
    ValueError
        When the text is none of these.
    """
    parts = text.strip().split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or (len(numbers) == 1 and numbers[0] is None) or 0 in numbers[2:]:
        raise ValueError(f"{text!r} is no range; write start:stop, start:stop:step or one number")
    if len(numbers) == 1:
        start = numbers[0]
        assert start is not None
        return slice(start, start + 1 or None)
    return slice(*numbers)


class Input(Parameters):
    """Where the measurement is and which part of it to take."""

    path: Path = Field(description="file or folder to read")
    format: str | None = Field(None, description="reader by name; found from the file where not given")
    views: SliceText | None = Field(None, description="views to take, as start:stop:step")
    rows: SliceText | None = Field(None, description="detector rows (slices) to take, as start:stop")
    hints: dict[str, Any] = Field(
        default_factory=dict,
        description="what the file does not say: angles, pixel, geometry, source_origin, flats, ...",
    )


class Grid(Parameters):
    """The grid to reconstruct on."""

    shape: tuple[int, ...] = Field(description="(rows, columns) or (slices, rows, columns)")
    voxel: float | tuple[float, ...] = Field(description="edge of a voxel in mm, one or one an axis")
    centre: tuple[float, ...] = Field((), description="middle of the grid in mm, (x, y) or (x, y, z)")


class Physics(Parameters):
    """How the image gives the data: a kind by name, with the parameters that it declares beside the name.

    Kinds are declared in `imagereg.physics.kinds`; what all of them have is declared here.
    """

    model_config = ConfigDict(extra="allow")

    kind: str = Field("auto", description="auto: tomography for scans, identity (denoising) for images")
    volume: Grid | None = Field(None, description="grid of a scan; what the detector sees where not given")
    cover: bool = Field(
        True, description="where the object reaches beyond `volume`, work on all of it and cut that out"
    )
    coupled: bool = Field(
        False, description="treat the rows of a parallel scan as one volume (3-D priors), not as slices"
    )
    noise: dict[str, Any] | None = Field(None, description="noise model by name with its parameters")

    @model_validator(mode="after")
    def _as_declared(self) -> Self:
        """Parameters are those of the kind: checked, converted, defaults written out."""
        given = dict(self.model_extra or {})
        declared = kind_of(self.kind)
        for name in [name for name in given if name not in declared.model_fields]:
            owners = [k for k in kinds().values() if name in k.model_fields]
            if not owners:
                known = {*type(self).model_fields, *declared.model_fields}
                raise ValueError(f"{name}: no such parameter{did_you_mean(name, known)}")
            if given.pop(name) not in (None, *(k.model_fields[name].default for k in owners)):
                raise ValueError(
                    f"{name} belongs to kind {' and '.join(k.name for k in owners)}, and this is {self.kind}"
                )
        made = declared.of(given, where="")
        values = {name: getattr(made, name) for name in declared.model_fields}
        stated = {name: value for name, value in values.items() if value is not None}
        object.__setattr__(self, "__pydantic_extra__", stated)
        return self

    @property
    def declared(self) -> PhysicsKind:
        """The kind with its parameters."""
        return kind_of(self.kind).of(dict(self.model_extra or {}), where="physics")

    def relative_to(self, folder: Path) -> Self:
        """The same section with relative paths taken from `folder`."""
        extra = {
            name: (folder / value).resolve() if isinstance(value, Path) and not value.is_absolute() else value
            for name, value in (self.model_extra or {}).items()
        }
        return self.model_copy(update=extra)


class Output(Parameters):
    """What is written and where."""

    folder: Path = Field(Path("out"), description="folder for image, preview, recipe and provenance")
    formats: tuple[Literal["ome-zarr", "tiff", "hdf5", "npy"], ...] = Field(
        ("ome-zarr", "tiff"), description="formats of the image"
    )
    history: bool = Field(True, description="write history.csv: iteration, seconds, objective, residual")


class Execution(Parameters):
    """On what and how the work is done. Nothing here changes what is computed beyond rounding."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    precision: Literal["float32", "float64"] = Field("float32", description="floating-point precision")
    backend: Literal["auto", "numba", "astra_cuda"] = Field("auto", description="projectors")
    threads: int | None = Field(
        None, ge=1, description="CPU threads; all cores where not given; a result's recipe says how many"
    )
    seed: int = Field(0, ge=0, description="seed of everything random")
    slab: int | None = Field(
        None, ge=1, description="rows reconstructed at a time; from the memory if not given"
    )
    memory: float = Field(0.5, gt=0, le=1, description="share of the machine's memory to use")


class Uncertainty(Parameters):
    """How sure the image is: where its spread comes from, and how wide its intervals are."""

    source: Literal["bootstrap", "noise", "seeds", "method"] = Field(
        "bootstrap",
        description="bootstrap: over the views of scans, noise for images; noise: the fit with new noise; "
        "seeds: the method's own randomness; method: what the method itself says",
    )
    runs: int = Field(20, ge=2, le=10_000, description="runs of the method, each on resampled data")
    level: float = Field(0.9, gt=0, lt=1, description="part of the pixels that intervals are to cover")
    calibration: Path | None = Field(None, description="file of `imagereg calibrate`")


class ChosenMethod(BaseModel):
    """A method by name with its parameters beside the name, and perhaps a preset below them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field("fbp", description="method (see `imagereg list methods`)")
    preset: str | None = Field(None, description="learned parameters: a .yaml file, or a shipped name")

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters given, without defaults; what the recipe says goes before the preset."""
        given = dict(self.model_extra or {})
        if self.preset is None:
            return given
        return {**load_preset(self.preset, method=self.name).parameters, **given}
