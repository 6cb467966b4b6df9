"""Blur kernels, and what physics say to bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.physics import disc_kernel, gaussian_kernel, motion_kernel

DOUBLE = torch.float64


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="did you mean 'reflect'"):
        ir.blur(gaussian_kernel(1.0), border="relfect")  # type: ignore[arg-type]
    for kernel in (torch.zeros(3), torch.zeros(0, 3), torch.full((3, 3), float("nan"))):
        with pytest.raises(UsageError, match="kernel"):
            ir.blur(kernel)
    with pytest.raises(UsageError, match="takes images"):
        ir.blur(gaussian_kernel(1.0)).A(torch.zeros(1, 1, 4, 4, 4))
    with pytest.raises(UsageError, match="smaller than the kernel"):
        ir.blur(gaussian_kernel(1.0), border="valid").A(torch.zeros(1, 1, 4, 4))
    with pytest.raises(UsageError, match="met none yet"):
        ir.blur(gaussian_kernel(1.0)).certificate()
    for shape, factor in (((8, 9), 2), ((8,), 2), ((8, 8), 0), ((8, 8), 1.5), ((2, 8), 4)):
        with pytest.raises(UsageError, match="downsampling"):
            ir.downsampling(shape, factor)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="blocks"):
        ir.downsampling((8, 8), 2, kernel=torch.ones(3, 3))
    with pytest.raises(UsageError, match="did you mean 'gaussian'"):
        ir.downsampling((8, 8), 2, kernel="gausian")
    with pytest.raises(UsageError, match="did you mean 'nearest'"):
        ir.downsampling((8, 8), 2, border="nearst")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="wanted"):
        ir.downsampling((8, 8), 2).A(torch.zeros(1, 1, 8, 6))
    for mask in (np.full((4, 4), 0.5), np.zeros((4, 4)), np.ones(4)):
        with pytest.raises(UsageError, match="inpainting"):
            ir.inpainting(mask)
    for make in (lambda: gaussian_kernel(-1.0), lambda: disc_kernel(0.0), lambda: motion_kernel(-2.0)):
        with pytest.raises(UsageError, match="give"):
            make()
    physics = ir.tomography(ir.ParallelBeam(np.linspace(0, 3, 9), 15), ir.Volume((10, 12)))
    for image in (torch.zeros(1, 1, 10, 13), torch.zeros(10, 12), torch.zeros(1, 1, 1, 10, 12)):
        with pytest.raises(UsageError, match=r"give \(B, C, 10, 12\)"):
            physics.A(image)
    for method in (physics.A_adjoint, physics.fbp, physics.A_dagger):
        with pytest.raises(UsageError, match=r"give \(B, C, 9, 15\)"):
            method(torch.zeros(1, 1, 9, 14))


# ---------------------------------------------------------------------- kernels
def test_kernels_are_point_spread_functions() -> None:
    for kernel in (
        gaussian_kernel(1.5),
        gaussian_kernel((1.0, 2.0)),
        disc_kernel(3.3),
        motion_kernel(6.5, 0.4),
    ):
        assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-12)
        assert bool((kernel >= 0).all())
        assert all(n % 2 for n in kernel.shape)
        torch.testing.assert_close(kernel, kernel.flip(0, 1))
    rows = torch.arange(13, dtype=DOUBLE) - 6
    wide = gaussian_kernel(1.5)
    assert wide.shape == (13, 13)
    # A pixel's integral adds its own variance 1/12 to that of the density.
    assert float((wide.sum(1) * rows**2).sum()) == pytest.approx(1.5**2 + 1 / 12, rel=2e-3)
    assert float((disc_kernel(3.3) > 0).sum()) == pytest.approx(math.pi * 3.3**2, rel=0.35)
    assert gaussian_kernel(1.0, ndim=3).shape == (9, 9, 9)
    assert disc_kernel(0.4).shape == (1, 1)


def test_motion_goes_the_way_of_its_angle() -> None:
    assert motion_kernel(9.0).shape[0] == 1
    assert motion_kernel(9.0, math.pi / 2).shape[1] == 1
    assert motion_kernel(0.0).shape == (1, 1)
    slanted = motion_kernel(8.0, math.pi / 4)  # up and to the right
    assert float(slanted.diagonal().sum()) < float(slanted.flip(0).diagonal().sum())
    columns = torch.arange(slanted.shape[1], dtype=DOUBLE) - slanted.shape[1] // 2
    across = float((slanted.sum(0) * columns**2).sum())
    assert across == pytest.approx((8 * math.cos(math.pi / 4)) ** 2 / 12, rel=0.15)
