"""What was measured: the data, how they came about, and what is known of their errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from imagereg.errors import UsageError
from imagereg.geometry import Geometry, Volume

if TYPE_CHECKING:
    import torch

Quantity = Literal["counts", "transmission", "line_integrals", "image"]


@dataclass(frozen=True)
class Source:
    """Where data came from: file, format, and the place inside the file."""

    path: Path
    format: str
    entry: str = ""

    def __str__(self) -> str:
        return f"{self.path}{':' + self.entry if self.entry else ''} ({self.format})"


@dataclass(frozen=True, eq=False)
class Measurement:
    """Data with their physics, noise, units and history.

    Parameters
    ----------
    data : what was measured, in one of two layouts.
        Frames, as files hold them (NumPy, or lazy: anything with `shape`, `dtype` and slicing):
        (views, columns) or (views, rows, columns) for scans, (H, W) or (N, H, W) for images.
        Tensors in deepinv's shapes: images (B, C, H, W), volumes (B, C, D, H, W), projections
        (B, C, views, columns) or (B, C, views, rows, columns).
    physics : a deepinv physics with y = A(x); tomography where a geometry is given, identity where
        neither is.
    noise : the noise model (see `imagereg.physics.noise`), where known.
    geometry : scan geometry in mm and radians, for scans.
    volume : the grid to reconstruct on; what the detector sees where not given. A 3-D grid for a
        parallel beam makes its rows one coupled volume instead of independent slices.
    quantity : what `data` holds: detector 'counts', 'transmission' (counts over flat), 'line_integrals'
        (-log of the transmission, no unit), or an 'image'. 'line_integrals' where a geometry or physics
        is given and 'image' otherwise.
    flats, darks : (frames, rows, columns) or (frames, columns), counts without object, without beam; a
        single frame may come without the first axis.
    flat_times : (frames,) when each flat was taken, in the unit of `view_times`; the flats are one
        group where not given.
    view_times : (views,) when each view was taken, in any unit; its number where not given, so that a flat
        at -1 was taken just before the first view, and one at N just after the last of N.
    weights : the inverse variance of each datum, up to a factor, in the layout of `data`.
    truth : the image that a phantom or a better scan gives, in the layout of results.
    axes : letters of the axes of an image in frames: 'YX', 'ZYX', 'YXC' or 'ZYXC'.
    pixel : edge of an image's pixel in `unit`, in the order of its axes (images only).
    unit : unit of `pixel` (images only).
    source : the file that the data came from.
    notes : one sentence for each thing that a reader or a step found, guessed or missed.
    history : the preprocessing steps already taken, as plain dictionaries.
    window : rows and columns of the grid that results are cut to; all where not given.
    pixel_assumed : nobody knows the size of a pixel: what the geometry calls mm are widths of a column.
    intensities : line integrals are intensities, as of electrons, and no logarithms of transmissions.

    Raises
    ------
    UsageError
        When layout, geometry, flats or darks do not fit together.
    """

    data: Any
    physics: Any = None
    noise: Any = None
    geometry: Geometry | None = None
    volume: Volume | None = None
    quantity: Quantity | None = None
    flats: Any = None
    darks: Any = None
    weights: Any = None
    truth: Any = None
    axes: str = ""
    pixel: tuple[float, ...] = ()
    unit: str = ""
    source: Source | None = None
    notes: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = field(default=())
    window: tuple[slice, slice] | None = None
    pixel_assumed: bool = False
    intensities: bool = False
    flat_times: tuple[float, ...] | None = None
    view_times: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.data.shape)
        if self.geometry is None and self.physics is not None:
            object.__setattr__(self, "geometry", getattr(self.physics, "geometry", None))
            object.__setattr__(self, "volume", getattr(self.physics, "volume", None))
        if self.quantity is None:
            bare = self.geometry is None and self.physics is None
            object.__setattr__(self, "quantity", "image" if bare else "line_integrals")
        for name in ("data", "flats", "darks"):
            if self.framed and getattr(getattr(getattr(self, name), "dtype", None), "kind", "") == "c":
                raise UsageError(
                    f"{name} are complex numbers, which no method takes: give their magnitude or phase."
                )
        if self.geometry is not None and self.framed:
            geometry = self.geometry
            wanted: list[tuple[int, ...]] = [(geometry.views, geometry.rows, geometry.columns)]
            if geometry.rows == 1:
                wanted.append((geometry.views, geometry.columns))
            if shape not in wanted:
                hint = " (two axes look exchanged)" if sorted(shape) == sorted(wanted[0]) else ""
                raise UsageError(
                    f"data of shape {shape} do not fit {geometry}: expected (views, rows, columns) = "
                    f"{wanted[0]}{hint}; give the data with views first."
                )
        for name in ("flats", "darks"):
            frames = getattr(self, name)
            if frames is not None and self.framed and tuple(frames.shape) == shape[1:]:
                frames = np.asarray(frames[...])[None]
                object.__setattr__(self, name, frames)
            if frames is not None and self.framed and tuple(frames.shape[1:]) != shape[1:]:
                raise UsageError(
                    f"{name} of shape {tuple(frames.shape)} do not fit projections of shape {shape}: "
                    "their frames must have as many rows and columns."
                )
        if self.flat_times is not None and self.flats is not None:
            views = shape[0] if self.geometry is not None and self.framed else None
            for name, count in (("flat_times", self.flats.shape[0]), ("view_times", views)):
                given = getattr(self, name)
                if given is None or count is None:
                    continue
                times = tuple(float(time) for time in given)
                if len(times) != count or not np.isfinite(times).all():
                    raise UsageError(f"{name}: {len(times)} for {count} frames; give one finite number each.")
                object.__setattr__(self, name, times)
        if self.weights is not None and tuple(self.weights.shape) != shape:
            raise UsageError(f"weights of shape {tuple(self.weights.shape)} do not fit data of {shape}.")

    # ------------------------------------------------------------------ layout
    @property
    def framed(self) -> bool:
        """True where the data lie as files hold them, False for tensors in deepinv's shapes.

        A tensor of fewer axes that comes with a physics holds measurements of deepinv, (B, M).
        """
        if self.axes.endswith("C"):
            return True
        if len(self.data.shape) >= 4:
            return False
        measured = self.physics is not None and self.geometry is None
        return not (measured and type(self.data).__module__.partition(".")[0] == "torch")

    @property
    def coupled(self) -> bool:
        """True where rows or slices belong to one volume, False where they are independent."""
        if self.geometry is not None and self.geometry.ndim == 3:
            return True
        return self.volume is not None and self.volume.ndim == 3

    @property
    def rows(self) -> int:
        """Number of independent slices (1 for one slice and for a coupled volume)."""
        shape = self.data.shape
        if self.coupled:
            return 1
        if not self.framed:
            return int(shape[0])
        if self.geometry is not None:
            return int(shape[1]) if len(shape) == 3 else 1
        return int(shape[0]) if (self.axes or "ZYX"[-len(shape) :]).startswith("Z") else 1

    def select(self, *, views: slice | None = None, rows: slice | None = None, lazy: bool = False) -> Self:
        """The part of the scan in some views and some rows.

        For images in frames, `rows` picks slices of the stack. With `lazy` lazy data are not read yet.
        """

        def part(array: Any, *key: slice) -> Any:
            return array.window(*key) if lazy and hasattr(array, "window") else array[key]

        views, rows = views or slice(None), rows or slice(None)
        shape = self.data.shape
        if self.geometry is None or not self.framed:
            take: Any = (lambda a: part(a, rows)) if self.rows > 1 or not self.framed else (lambda a: a)
            return replace(
                self, data=take(self.data), weights=_map(take, self.weights), truth=_map(take, self.truth)
            )
        geometry = self.geometry[views]
        times = self.times_of(views)
        if len(shape) == 2:
            return replace(
                self,
                data=part(self.data, views),
                geometry=geometry,
                view_times=times,
                weights=_map(lambda a: a[views], self.weights),
            )
        picked = range(*rows.indices(shape[1]))
        if len(picked) == 0:
            raise UsageError(f"rows {rows.start}:{rows.stop} select nothing of {shape[1]} detector rows.")
        if self.coupled and len(picked) != shape[1]:
            # A band of a cone-beam detector is the same scan on a detector moved along its rows.
            middle = (picked[0] + picked[-1]) / 2 - (shape[1] - 1) / 2
            given = np.atleast_1d(np.asarray(geometry.detector_offset, dtype=float))
            along = (given[1] if given.size > 1 else 0.0) + middle * geometry.row_edge
            geometry = replace(geometry, detector_offset=(float(given[0]), float(along)))
        geometry = replace(geometry, rows=len(picked))
        return replace(
            self,
            data=part(self.data, views, rows),
            geometry=geometry,
            view_times=times,
            flats=_map(lambda a: a[:, rows], self.flats),
            darks=_map(lambda a: a[:, rows], self.darks),
            weights=_map(lambda a: a[views, rows], self.weights),
            truth=_map(lambda a: a[rows] if len(a.shape) == 3 else a, self.truth),
        )

    def times_of(self, views: Any) -> tuple[float, ...] | None:
        """Times of some of the views, to be `view_times` of these alone; None without `flat_times`."""
        if self.flat_times is None or self.geometry is None:
            return self.view_times
        times = np.arange(self.geometry.views) if self.view_times is None else np.asarray(self.view_times)
        return tuple(times[views].tolist())

    def to_tensor(self, array: Any, *, dtype: torch.dtype | None = None, device: Any = "cpu") -> torch.Tensor:
        """`array` in the layout of this measurement's data as a tensor in deepinv's shapes."""
        import torch

        dtype = dtype or torch.float32
        if isinstance(array, torch.Tensor) and not (self.framed and array.ndim < 4):
            return array.to(device=device, dtype=dtype)
        tensor = torch.as_tensor(
            np.asarray(array[...] if hasattr(array, "shape") else array, dtype=_numpy(dtype))
        )
        if self.geometry is not None and tensor.ndim < 4:
            frames = tensor[:, None] if tensor.ndim == 2 else tensor
            tensor = frames[None, None] if self.coupled else frames.permute(1, 0, 2)[:, None]
        elif tensor.ndim < 4 or self.axes.endswith("C"):
            axes = self.axes or "ZYX"[-tensor.ndim :]
            tensor = tensor.movedim(axes.index("C"), -3) if "C" in axes else tensor.unsqueeze(-3)
            tensor = tensor if tensor.ndim == 4 else tensor[None]
        return tensor.to(device).contiguous()

    def from_tensor(self, image: torch.Tensor) -> Any:
        """A result in deepinv's shape as this measurement's owner expects it (inverse of `to_tensor`).

        Frames give NumPy arrays: (H, W) for one slice, (N, H, W) for a stack or volume. Tensors stay.
        """
        if self.window is not None:
            image = image[..., self.window[0], self.window[1]]
        if not self.framed:
            return image
        array = image.detach().cpu()
        if self.geometry is not None:
            array = array[0, 0] if self.coupled else array[:, 0]
            single = len(self.data.shape) == 2 and not self.coupled
            return (array[0] if single else array).numpy()
        axes = self.axes or "ZYX"[-len(self.data.shape) :]
        if "C" in axes:
            array = array.movedim(1, axes.index("C") + (0 if axes.startswith("Z") else 1))
        else:
            array = array[:, 0]
        array = array if axes.startswith("Z") else array[0]
        import torch

        return array if isinstance(self.data, torch.Tensor) else array.numpy()

    def ready(self, *, device: Any = "cpu", dtype: torch.dtype | None = None) -> Self:
        """The same measurement as tensors on a device, with its physics built: what methods work on.

        Raises
        ------
        UsageError
            When the data are still counts or transmission and the geometry asks for line integrals.
        """
        import torch

        from imagereg.physics import identity, tomography

        dtype = dtype or torch.float32
        data = self.to_tensor(self.data, dtype=dtype, device=device)
        physics, volume = self.physics, self.volume
        if physics is None and self.geometry is not None:
            if volume is None:
                volume = Volume.fit(self.geometry)
            physics = tomography(self.geometry, volume, device=device, dtype=dtype)
        elif physics is None:
            physics = identity(device=device)
        truth = self.truth
        if truth is not None:
            truth = torch.as_tensor(np.asarray(truth) if not isinstance(truth, torch.Tensor) else truth)
            truth = truth.to(device=device, dtype=dtype)
            while truth.ndim < (5 if self.coupled else 4):
                truth = truth[:, None] if truth.ndim == 3 and not self.coupled else truth[None]
        weights = None if self.weights is None else self.to_tensor(self.weights, dtype=dtype, device=device)
        return replace(
            self,
            data=data,
            physics=physics,
            volume=volume,
            weights=weights,
            truth=truth,
            flats=None,
            darks=None,
        )

    # ------------------------------------------------------------------ small conveniences
    @property
    def grey(self) -> str:
        """What the grey values of a reconstruction are, with their unit; empty for images."""
        if self.geometry is None:
            return ""
        what = "intensity" if self.intensities else "attenuation"
        return f"{what} in 1/{'px' if self.pixel_assumed else 'mm'}"

    def note(self, *sentences: str) -> Self:
        """The same measurement with more notes."""
        return replace(self, notes=(*self.notes, *sentences))

    def __str__(self) -> str:
        what = f"{self.quantity} {tuple(self.data.shape)}"
        if self.geometry is not None:
            what += f", {self.geometry}"
        if self.source is not None:
            what += f", from {self.source}"
        return f"Measurement of {what}"

    __repr__ = __str__


def _map(take: Any, array: Any) -> Any:
    return None if array is None else take(array)


def _numpy(dtype: torch.dtype) -> Any:
    return np.float64 if str(dtype).endswith("float64") else np.float32
