"""ASTRA's CUDA kernels on torch memory (A. van Aarle et al., Opt. Express 24 (2016) 25129,
doi:10.1364/OE.24.025129): images and data stay on the GPU and are handed over through DLPack.

Slices under a parallel beam go as one volume through the 3-D kernels, whose memory order is that of a stack;
a fan goes slice by slice through the 2-D ones; cones and tilted or shifted parallel beams as volumes.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import torch

from imagereg.errors import ResourceError, UsageError
from imagereg.geometry import Geometry, Volume
from imagereg.geometry.astra_format import to_astra
from imagereg.projectors.backends import is_stack
from imagereg.projectors.base import Projector


def why_not() -> str:
    """What keeps ASTRA's CUDA kernels from running here; empty where nothing does."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        import astra
    except ImportError as missing:
        return f"ASTRA cannot be imported ({missing})"
    return "" if astra.use_cuda() else "this ASTRA was built without CUDA or finds no driver"


class AstraProjector(Projector):
    """Line integrals by ASTRA on the GPU, float32 (see `Projector`).

    Forward, rays step through the grid and interpolate as Joseph's do; back, each voxel takes what the
    detector holds at its shadow. The two interpolate differently, and through textures whose fractions have
    8 bits: `back` is the transpose of `forward` to about 1e-3 on smooth images and to some per cent on
    noise, which `exact_transpose` says and a physics' certificate measures.
    """

    backend = "astra_cuda"
    exact_transpose = False

    def __init__(self, geometry: Geometry, volume: Volume, reason: str = "") -> None:
        super().__init__(geometry, volume, reason)
        obstacle = why_not()
        if obstacle:
            raise UsageError(f"projector(backend='astra_cuda'): ASTRA's CUDA kernels cannot run: {obstacle}.")
        height, width = volume.edges[-2:]
        self.stack = is_stack(geometry, volume)
        self.flat = geometry.kind == "fan"
        if self.flat and abs(height - width) > 1e-6 * width:
            raise UsageError(
                f"projector(backend='astra_cuda'): ASTRA's fan kernel takes square voxels and these "
                f"are {height} x {width} mm; give square ones or backend='numba' with device='cpu'."
            )
        if geometry.kind != "parallel":
            from imagereg.projectors.rays import refuse_behind_source

            refuse_behind_source(geometry, volume)
        self._handles: dict[int, int] = {}
        self._proven: set[str] = set()

    # ------------------------------------------------------------------ what ASTRA is asked
    def _handle(self, slices: int) -> int:
        """ASTRA's projector for a stack of `slices`, or for the whole volume (0)."""
        if slices not in self._handles:
            import astra

            if self.flat:
                scan, grid = to_astra(self.geometry, self.volume.slice)
                made = astra.create_projector("cuda", scan, grid)
                weakref.finalize(self, astra.projector.delete, made)
            else:
                geometry, volume = self._as_volume(slices) if self.stack else (self.geometry, self.volume)
                # Our row 0 is the top, ASTRA's 3-D row 0 the bottom: the scene is mirrored, not the data.
                scan, grid = to_astra(geometry, volume, vectors=True, flipped=True)
                made = astra.create_projector("cuda3d", scan, grid)
                weakref.finalize(self, astra.projector3d.delete, made)
            self._handles[slices] = made
        return self._handles[slices]

    def _as_volume(self, slices: int) -> tuple[Geometry, Volume]:
        edges, centre = self.volume.edges[-2:], self.volume.centre[:2]
        depth = edges[1]
        scan = replace(self.geometry, rows=slices, row_pixel=depth)
        return scan, Volume((slices, *self.volume.shape[-2:]), (depth, *edges), (*centre, 0.0))

    # ------------------------------------------------------------------ forward and back
    def _forward(self, image: torch.Tensor, out: torch.Tensor) -> None:
        self._apply("forward", image, out)

    def _back(self, data: torch.Tensor, out: torch.Tensor) -> None:
        self._apply("back", data, out)

    def _apply(self, way: str, given: torch.Tensor, out: torch.Tensor) -> None:
        """`given` and `out` are contiguous, (B, C, *shape)."""
        images, data = (given, out) if way == "forward" else (out, given)
        views, columns = self.geometry.views, self.geometry.columns
        if self.stack:
            volumes = images.view(-1, *self.volume.shape[-2:])
            # (B, C, views, columns) is a stack already; rows of (B, C, views, rows, columns) come first.
            with_rows = data.ndim == 5
            turned = data.transpose(2, 3).contiguous() if with_rows else data
            stack = turned.view(-1, views, columns)
            if self.flat:
                for slab, lines in zip(volumes, stack, strict=True):
                    self._call(way, self._handle(0), slab, lines)
            else:
                self._call(way, self._handle(len(volumes)), volumes, stack)
            if with_rows and way == "forward":
                data.copy_(turned.transpose(2, 3))
            return
        volumes = images.view(-1, *self.volume.shape)
        projections = data.view(-1, *self.data_shape)
        for volume, projection in zip(volumes, projections, strict=True):
            turned = projection.transpose(0, 1).contiguous()
            self._call(way, self._handle(0), volume, turned)
            if way == "forward":
                projection.copy_(turned.transpose(0, 1))

    def _call(self, way: str, handle: int, image: torch.Tensor, data: torch.Tensor) -> None:
        import astra

        if not astra.use_cuda():
            raise ResourceError("ASTRA has lost its CUDA device; restart the process.")
        result, source = (data, image) if way == "forward" else (image, data)
        unproven = way not in self._proven
        if unproven:
            # ASTRA can return without writing: what it leaves untouched must not pass for a result.
            result.fill_(torch.nan)
        module: Any = astra.projector if self.flat else astra.projector3d
        call = module.direct_FP if way == "forward" else module.direct_BP
        astra.set_gpu_index(image.device.index or 0)
        # ASTRA works on its own stream, of which torch knows nothing.
        torch.cuda.synchronize(image.device)
        call(handle, source, out=result)
        torch.cuda.synchronize(image.device)
        if unproven:
            if bool(torch.isnan(result).any()) and not bool(torch.isnan(source).any()):
                raise ResourceError(
                    f"ASTRA's CUDA {way} projection left its output unwritten; look at its log and use "
                    "device='cpu'."
                )
            self._proven.add(way)

    def _dtypes(self) -> tuple[torch.dtype, ...]:
        return (torch.float32,)

    def _device_type(self) -> str:
        return "cuda"
