"""Acoustic waves: arrival times, the gradient, and a small inversion that finds its way back."""

from __future__ import annotations

import sys

import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError

pytest.importorskip("deepwave", reason="the extra [seismic] is not installed")

from imagereg.physics.wave import AcousticWave, surface_survey

SHAPE = (24, 40)


def survey(**options: object) -> AcousticWave:
    settings = {"spacing": 20.0, "seconds": 0.7, "frequency": 8.0, "fastest": 3000.0, "shots": 2}
    return surface_survey(SHAPE, **{**settings, **options})  # type: ignore[arg-type]


def layered(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    model = torch.full((1, 1, *SHAPE), 2000.0, dtype=dtype)
    model[..., 12:, :] = 2400.0
    return model


def test_the_direct_wave_arrives_when_it_should() -> None:
    physics = survey(shots=1, seconds=0.9)
    traces = physics.A(torch.full((1, 1, *SHAPE), 2000.0))[0, 0, 0]
    source = int(physics.sources[0, 1])
    peaks = traces.abs().argmax(-1).double() * physics.interval
    distances = (physics.receivers[:, 1] - source).abs().double() * physics.spacing
    far = distances > 300
    slope = torch.linalg.lstsq(
        torch.stack((distances[far], torch.ones(int(far.sum()), dtype=torch.float64)), 1), peaks[far, None]
    ).solution[0, 0]
    assert float(1 / slope) == pytest.approx(2000.0, rel=0.03)


@pytest.mark.parametrize("stride", [1, 3])
def test_the_gradient_is_the_transpose_of_the_derivative(stride: int) -> None:
    physics = survey(stride=stride, together=1, interval=1 / 401)
    generator = torch.Generator().manual_seed(0)
    model = layered(torch.float64) + 50 * torch.rand((1, 1, *SHAPE), dtype=torch.float64, generator=generator)
    direction = torch.randn(model.shape, dtype=torch.float64, generator=generator)
    traces = physics.A(model)
    # A smooth cotangent: a stride of samples sees frequencies of the wavelet only.
    cotangent = traces.cumsum(-1)
    slope = (physics.A(model + 0.1 * direction) - physics.A(model - 0.1 * direction)) / 0.2
    expected = float((slope * cotangent).sum())
    assert float((physics.A_vjp(model, cotangent) * direction).sum()) == pytest.approx(
        expected, rel=1e-5 if stride == 1 else 2e-2
    )


@pytest.mark.parametrize("s", [-1.0, 0.0, 1.0])
def test_an_inversion_from_a_smooth_start_comes_nearer_and_keeps_what_is_known(s: float) -> None:
    truth = layered()
    start = truth.clone()
    start[..., 8:, :] = torch.linspace(2000, 2400, SHAPE[0] - 8)[:, None]
    physics = survey(reference=start)
    scan = ir.Measurement(physics.A(truth), physics=physics, truth=truth)
    states = list(
        ir.iterate(
            scan, "waveform_inversion", s=s, iterations=6, known_rows=4, first_change=30.0, device="cpu"
        )
    )
    objectives = [state.objective for state in states]
    assert objectives == sorted(objectives, reverse=True)
    assert states[-1].residual < 0.5 * float(  # type: ignore[operator]
        (physics.A(start) - scan.data).norm() / scan.data.norm()
    )
    assert float((states[-1].image - truth).norm()) < float((start - truth).norm())
    assert torch.equal(states[-1].image[..., :4, :], start[..., :4, :])


def test_a_start_by_depth_and_its_refusals() -> None:
    physics = survey()
    scan = ir.Measurement(physics.A(layered()), physics=physics)
    state = next(ir.iterate(scan, "waveform_inversion", surface=1800.0, bottom=2600.0, first_change=5.0))
    assert state.image.shape == (1, 1, *SHAPE)
    assert float(state.image[..., 0, :].mean()) == pytest.approx(1800, abs=6)
    with pytest.raises(UsageError, match="no reference velocities"):
        next(ir.iterate(scan, "waveform_inversion", start="reference"))
    with pytest.raises(UsageError, match="seismic surveys"):
        next(ir.iterate(ir.Measurement(torch.zeros(1, 1, 8, 8)), "waveform_inversion"))


def test_what_makes_no_sense_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    physics = survey()
    with pytest.raises(UsageError, match="fixes the time step"):
        physics.A(torch.full((1, 1, *SHAPE), 3500.0))
    with pytest.raises(UsageError, match=r"give \(B, 1, 24, 40\)"):
        physics.A(torch.ones(1, 1, 8, 8))
    with pytest.raises(UsageError, match="lies outside the model"):
        survey(depth=30)
    with pytest.raises(UsageError, match="spacing=0"):
        survey(spacing=0.0, interval=0.002)
    monkeypatch.setitem(sys.modules, "deepwave", None)
    with pytest.raises(UsageError, match=r"imagereg\[seismic\]"):
        survey()
