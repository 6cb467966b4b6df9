"""MM-GKS against direct solvers, L-BFGS and CVXPY on problems small enough for them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.physics import LinearPhysics

from imagereg.errors import UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.priors.gradient import Gradient
from imagereg.priors.graph_laplacian import GraphLaplacian
from imagereg.priors.power import PowerPrior
from imagereg.priors.tv import TV
from imagereg.solvers.base import iterate
from imagereg.solvers.columns import Columns
from imagereg.solvers.linear import mean_curvature
from imagereg.solvers.mmgks import MMGKS
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.projected import ProjectedProblem, discrepancy_root
from imagereg.solvers.state import Memory, State
from imagereg.solvers.two_levels import TwoLevels

SIDE, DATA = 12, 90


class Dense(LinearPhysics):
    """A random matrix with fewer rows than pixels."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.matrix = torch.randn(DATA, SIDE * SIDE, dtype=torch.float64, generator=generator)

    def A(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        return (x.flatten(1) @ self.matrix.to(x).T)[:, None, None]

    def A_adjoint(self, y: torch.Tensor, **_: object) -> torch.Tensor:
        return (y.flatten(1) @ self.matrix.to(y)).reshape(-1, 1, SIDE, SIDE)


def phantoms() -> torch.Tensor:
    x = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.float64)
    x[0, 0, 3:8, 2:9] = 1.0
    x[0, 0, 9:11, 4:8] = 0.5
    x[1, 0, 1:5, 1:5] = 0.4
    x[1, 0, 6:, 7:] = 0.9
    return x


def scene(level: float = 0.02) -> tuple[torch.Tensor, Dense, torch.Tensor, torch.Tensor, GraphLaplacian]:
    """Truth, physics, noisy data, the noise's norms and a graph drawn by a noisy guide."""
    x, physics = phantoms(), Dense()
    clean = physics.A(x)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(clean.shape, dtype=torch.float64, generator=generator)
    noise *= level * clean.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
    guide = x + 0.05 * torch.randn(x.shape, dtype=torch.float64, generator=generator)
    graph = GraphLaplacian(guide, radius=2, scale=1e-2)
    return x, physics, clean + noise, noise.flatten(1).norm(dim=1), graph


def solve(solver: MMGKS, problem: Problem, total: int = 600) -> State:
    return deque(iterate(solver, problem, total=total), maxlen=1)[0]


def direct(
    physics: Dense, data: torch.Tensor, graph: GraphLaplacian, item: int, alpha: float
) -> torch.Tensor:
    """The minimiser of the quadratic form by its normal equations."""
    A, L = physics.matrix, torch.from_numpy(graph.matrix(item).toarray())
    return torch.linalg.solve(A.T @ A + alpha * L.T @ L, A.T @ data[item].flatten()).reshape(SIDE, SIDE)


@pytest.mark.parametrize("restart", [10, 30, 200])
def test_the_quadratic_form_is_the_normal_equations(restart: int) -> None:
    _, physics, data, _, graph = scene()
    problem = Problem(LeastSquares(data), physics, (PowerPrior(graph, 2e3, power=2),))
    found = solve(MMGKS(restart=restart, tolerance=1e-10), problem)
    for item in range(2):
        expected = direct(physics, data, graph, item, 2e3)
        assert float((found.image[item, 0] - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize(("power", "smoothing"), [(1.0, 0.1), (1.0, 0.02), (1.5, 0.02), (0.7, 0.1)])
def test_other_powers_reach_what_lbfgs_reaches_and_go_down_all_the_way(
    power: float, smoothing: float
) -> None:
    import scipy.optimize

    _, physics, data, _, graph = scene()
    prior = PowerPrior(graph, 30.0, power=power, smoothing=smoothing)
    problem = Problem(LeastSquares(data), physics, (prior,))
    objectives = []
    for state in iterate(MMGKS(tolerance=1e-9), problem, total=1500):
        objectives.append(problem.objective(state.image))
        assert state.objective == pytest.approx(objectives[-1], rel=1e-9)
    assert np.all(np.diff(objectives) <= 1e-9 * np.abs(objectives[1:]))
    A, L = physics.matrix.numpy(), [graph.matrix(item).toarray() for item in range(2)]
    total = 0.0
    for item in range(2):
        y = data[item].flatten().numpy()

        def value(x: np.ndarray, item: int = item, y: np.ndarray = y) -> tuple[float, np.ndarray]:
            r, u = A @ x - y, L[item] @ x
            root = u**2 + smoothing**2
            penalty = (root ** (power / 2) - smoothing**power).sum() / power
            slope = u * root ** (power / 2 - 1)
            return 0.5 * r @ r + 30 * penalty, A.T @ r + 30 * L[item].T @ slope

        start = state.image[item].flatten().numpy() if power < 1 else np.zeros(SIDE * SIDE)
        found = scipy.optimize.minimize(
            value,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-9},
        )
        total += found.fun
    assert objectives[-1] == pytest.approx(total, rel=1e-8)


def test_the_l1_form_tends_to_the_l1_norm() -> None:
    cvxpy = pytest.importorskip("cvxpy")
    _, physics, data, _, graph = scene()
    alpha = 3.0
    A, L = physics.matrix.numpy(), graph.matrix(0).toarray()
    y, x = data[0].flatten().numpy(), cvxpy.Variable(SIDE * SIDE)
    exact = cvxpy.Problem(
        cvxpy.Minimize(0.5 * cvxpy.sum_squares(A @ x - y) + alpha * cvxpy.norm1(L @ x))
    ).solve(solver=cvxpy.CLARABEL)
    start, before = None, np.inf
    for eps in (2e-3, 2e-4, 2e-5):
        prior = PowerPrior(graph, alpha, power=1, smoothing=eps)
        problem = Problem(LeastSquares(data), physics, (prior,))
        # The curvature of the parabolas is 1 / eps: each eps starts from the image of the one before.
        start = deque(iterate(MMGKS(tolerance=1e-6), problem, total=3000, start=start), maxlen=1)[0].image
        ours = start[0].flatten().numpy()
        value = 0.5 * np.sum((A @ ours - y) ** 2) + alpha * np.abs(L @ ours).sum()
        # |t| - eps <= phi(t) <= |t|, so that the smoothed minimiser is at most alpha n eps above.
        assert exact * (1 - 1e-6) <= value <= exact + alpha * SIDE**2 * eps
        assert value < before
        before = value
    assert value <= 1.01 * exact


@pytest.mark.parametrize(("power", "smoothing"), [(2.0, 1.0), (1.0, 0.05)])
def test_the_discrepancy_principle_ends_at_the_noise(power: float, smoothing: float) -> None:
    x, physics, data, norms, graph = scene()
    prior = PowerPrior(graph, 1.0, power=power, smoothing=smoothing)
    problem = Problem(LeastSquares(data), physics, (prior,))
    # The graph is so good here that a residual of the whole noise is out of reach: see the next test.
    solver = MMGKS(rule="discrepancy", noise_norm=norms.tolist(), safety=0.8, tolerance=1e-6)
    found = solve(solver, problem, total=300)
    residual = (physics.A(found.image) - data).flatten(1).norm(dim=1)
    assert torch.allclose(residual, 0.8 * norms, rtol=1e-6)
    if power == 2:
        # The alpha that it reports is the one whose minimiser the image is.
        for item in range(2):
            expected = direct(physics, data, graph, item, float(found.memory["strength"][item]))
            assert float((found.image[item, 0] - expected).norm() / expected.norm()) < 2e-2
    assert float((found.image - x).norm() / x.norm()) < 0.1


def test_a_noise_far_below_the_data_is_met_in_single_precision() -> None:
    """||y||^2 - ||Q^T y||^2 would be rounding here: ||y||^2 is a million times the noise's square."""
    _, physics, data, norms, graph = scene(level=1e-3)
    single = GraphLaplacian(graph._guide[:, :, 0].float(), radius=2, scale=1.0, value_range=1.0)
    problem = Problem(LeastSquares(data.float()), physics, (PowerPrior(single, 1.0, power=2),))
    solver = MMGKS(rule="discrepancy", noise_norm=norms.tolist(), safety=0.8, tolerance=1e-6)
    found = solve(solver, problem, total=300).image.double()
    residual = (physics.A(found) - data).flatten(1).norm(dim=1)
    assert torch.allclose(residual, 0.8 * norms, rtol=1e-3)


def test_where_the_noise_is_out_of_reach_the_strength_is_as_large_as_it_goes() -> None:
    """Beyond the residual of the graph's near-null space no strength leads: the image is the better."""
    x, physics, data, norms, graph = scene()
    problem = Problem(LeastSquares(data), physics, (PowerPrior(graph, 1.0, power=2),))
    solver = MMGKS(rule="discrepancy", noise_norm=norms.tolist(), tolerance=1e-6)
    found = solve(solver, problem, total=120)
    residual = (physics.A(found.image) - data).flatten(1).norm(dim=1)
    assert bool((residual < 1.01 * norms).all())
    assert float((found.image - x).norm() / x.norm()) < 0.02


def test_the_graph_of_the_truth_beats_that_of_a_constant_by_far() -> None:
    x, physics, data, norms, _ = scene()
    errors = []
    for guide in (x, torch.ones_like(x)):
        graph = GraphLaplacian(guide, radius=2, scale=1e-2)
        problem = Problem(LeastSquares(data), physics, (PowerPrior(graph, 1.0, power=2),))
        solver = MMGKS(rule="discrepancy", noise_norm=norms.tolist(), tolerance=1e-6)
        errors.append(float((solve(solver, problem, total=300).image - x).norm() / x.norm()))
    assert errors[0] < 0.02
    assert errors[1] > 10 * errors[0]


def test_gcv_is_that_of_the_whole_problem() -> None:
    """In a space as large as the problem, it is the minimum of GCV with the probe's trace."""
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(60, 40, dtype=torch.float64, generator=generator)
    L = torch.randn(40, 40, dtype=torch.float64, generator=generator)
    y = A @ torch.linspace(0, 1, 40, dtype=torch.float64)
    y = y + torch.randn(60, dtype=torch.float64, generator=generator)
    signs = torch.sign(torch.randn(60, dtype=torch.float64, generator=generator))
    from imagereg.solvers.projected import gcv_minimum

    QA, RA = torch.linalg.qr(A)
    _, RL = torch.linalg.qr(L)
    nought = torch.zeros(1, 40, dtype=torch.float64)

    def projected(v: torch.Tensor) -> ProjectedProblem:
        b = QA.T @ v
        return ProjectedProblem.of(RA[None], RL[None], b[None], nought, tail=(v @ v - b @ b)[None], size=60)

    eta = float(gcv_minimum(projected(y), projected(signs)))

    def gcv(eta: float) -> float:
        H = A @ torch.linalg.solve(A.T @ A + eta * L.T @ L, A.T)
        r = H @ y - y
        return float(60 * (r @ r) / (60 - signs @ H @ signs) ** 2)

    grid = np.geomspace(1e-6, 1e6, 3000)
    best = min(map(gcv, grid))
    assert gcv(eta) <= best * (1 + 1e-6)


def test_gcv_needs_no_noise_level_and_finds_a_sensible_image() -> None:
    x, physics, data, _, graph = scene(level=0.1)
    problem = Problem(LeastSquares(data), physics, (PowerPrior(graph, 1.0, power=2),))
    found = solve(MMGKS(rule="gcv", tolerance=1e-7), problem)
    error = float((found.image - x).norm() / x.norm())
    least = solve(MMGKS(tolerance=1e-8), replace(problem, priors=(PowerPrior(graph, 1e-9, power=2),)))
    assert error < 0.5 * float((least.image - x).norm() / x.norm())


def test_weights_are_whitening() -> None:
    _, physics, data, _, graph = scene()
    weights = torch.rand(data.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) + 0.2
    prior = PowerPrior(graph, 500.0, power=2)
    found = solve(MMGKS(tolerance=1e-10), Problem(LeastSquares(data, weights), physics, (prior,)))
    A, L = physics.matrix, torch.from_numpy(graph.matrix(1).toarray())
    w = weights[1].flatten()
    expected = torch.linalg.solve(
        A.T @ (w[:, None] * A) + 500 * L.T @ L, A.T @ (w * data[1].flatten())
    ).reshape(SIDE, SIDE)
    assert float((found.image[1, 0] - expected).norm() / expected.norm()) < 1e-6
    assert found.residual == pytest.approx(float((physics.A(found.image) - data).norm() / data.norm()))


@pytest.mark.parametrize("rule", ["fixed", "discrepancy", "gcv"])
def test_an_image_does_not_depend_on_its_company(rule: str) -> None:
    _, physics, data, norms, graph = scene()
    prior = PowerPrior(graph, 2e3, power=1, smoothing=0.05)
    both = solve(
        MMGKS(rule=rule, noise_norm=norms.tolist(), tolerance=1e-5),
        Problem(LeastSquares(data), physics, (prior,)),
    )
    guide = phantoms()  # only its shape matters: the graph of one item is taken from both
    for item in range(2):
        one = _one(graph, item, guide)
        alone = solve(
            MMGKS(rule=rule, noise_norm=[float(norms[item])], tolerance=1e-5),
            Problem(
                LeastSquares(data[item : item + 1]), physics, (PowerPrior(one, 2e3, power=1, smoothing=0.05),)
            ),
        )
        error = float((both.image[item] - alone.image[0]).norm() / alone.image.norm())
        assert error < 1e-6, (rule, item)


def _one(graph: GraphLaplacian, item: int, guide: torch.Tensor) -> GraphLaplacian:
    """The graph of one item of a batch."""
    one = GraphLaplacian(guide[item : item + 1], radius=2)
    one._guide = graph._guide[item : item + 1]
    one._divisor = graph._divisor[item : item + 1]
    one.degrees, one.gram_diagonal = graph.degrees[item : item + 1], graph.gram_diagonal[item : item + 1]
    return one


def tensors(memory: Memory) -> dict[str, torch.Tensor]:
    """What a solver remembers, spaces as tensors."""
    plain = {name: v.all if isinstance(v, Columns) else v for name, v in memory.items()}
    return {name: v for name, v in plain.items() if isinstance(v, torch.Tensor)}


def test_a_step_leaves_earlier_memories_as_they_were() -> None:
    _, physics, data, _, graph = scene()
    problem = Problem(LeastSquares(data), physics, (PowerPrior(graph, 10.0, power=1, smoothing=0.05),))
    solver = MMGKS(restart=5)
    memories = [solver.init(problem, None)]
    copies = []
    for _ in range(8):
        copies.append({name: v.clone() for name, v in tensors(memories[-1]).items()})
        memories.append(solver.step(problem, memories[-1]))
    for memory, copy in zip(memories, copies, strict=False):
        assert all(torch.equal(tensors(memory)[name], value) for name, value in copy.items())
    # Two successors of one memory keep out of each other's way.
    again = solver.step(problem, memories[3])
    other = solver.step(replace(problem, fidelity=LeastSquares(2 * data)), memories[3])
    for name, value in tensors(memories[4]).items():
        assert torch.equal(tensors(again)[name], value)
    assert not torch.equal(tensors(other)["V"], tensors(again)["V"])


def test_roots_at_both_ends() -> None:
    """No misfit small enough gives the least parameter, none large enough the largest."""
    generator = torch.Generator().manual_seed(5)
    R_A = torch.triu(torch.randn(1, 6, 6, dtype=torch.float64, generator=generator)) + 2 * torch.eye(6)
    R_L = torch.triu(torch.randn(1, 6, 6, dtype=torch.float64, generator=generator))
    b = torch.randn(1, 6, dtype=torch.float64, generator=generator)
    small = ProjectedProblem.of(R_A, R_L, b, 0 * b, tail=torch.tensor([0.5], dtype=torch.float64), size=20)
    low, high = (edge.exp() for edge in small.bounds())
    assert float(discrepancy_root(small, torch.tensor([0.1])) / low) == pytest.approx(1, rel=1e-6)
    assert float(discrepancy_root(small, torch.tensor([1e3])) / high) == pytest.approx(1, rel=1e-6)
    eta = discrepancy_root(small, torch.tensor([1.0]))
    z = small.solve(eta)[0]
    misfit = (R_A[0] @ z - b[0]).square().sum() + 0.5
    assert float(misfit) == pytest.approx(1.0, rel=1e-9)
    stack = torch.cat([R_A[0], eta.sqrt() * R_L[0]])
    expected = torch.linalg.lstsq(stack, torch.cat([b[0], torch.zeros(6, dtype=torch.float64)])).solution
    assert torch.allclose(z, expected, atol=1e-10)


def test_a_gradient_will_do_for_the_operator() -> None:
    """The published comparator: smoothed anisotropic TV by the same solver, without a graph."""
    x, physics, data, norms, _ = scene()
    prior = PowerPrior(Gradient(2), 1.0, power=1, smoothing=1e-2)
    solver = MMGKS(rule="discrepancy", noise_norm=norms.tolist(), tolerance=1e-7)
    found = solve(solver, Problem(LeastSquares(data), physics, (prior,)))
    residual = (physics.A(found.image) - data).flatten(1).norm(dim=1)
    assert torch.allclose(residual, 1.01 * norms, rtol=1e-4)
    assert float((found.image - x).norm() / x.norm()) < 0.5


def test_refusals() -> None:
    _, physics, data, _, graph = scene()
    prior, fidelity = PowerPrior(graph), LeastSquares(data)
    for problem, sentence in (
        (Problem(fidelity, physics, (TV(1.0),)), "one PowerPrior and was given TV; use PDHG"),
        (Problem(fidelity, physics, (prior, prior)), "PowerPrior and PowerPrior"),
        (Problem(fidelity, physics, (prior,), (0.0, None)), "cannot keep to the bounds"),
    ):
        with pytest.raises(Refusal, match=sentence):
            next(iterate(MMGKS(), problem, total=1))
    with pytest.raises(UsageError, match="noise norm of each of 2 items and was given 1"):
        next(
            iterate(
                MMGKS(rule="discrepancy", noise_norm=[1.0]), Problem(fidelity, physics, (prior,)), total=1
            )
        )
    with pytest.raises(UsageError, match="restart = 1"):
        next(iterate(MMGKS(restart=1), Problem(fidelity, physics, (prior,)), total=1))


def small_scan(guide_noise: float = 0.01) -> tuple[Problem, GraphLaplacian, float]:
    """A scan of 20 views, the graph of a good guide, and the norm of the noise."""
    import imagereg as ir
    from imagereg.phantoms import ellipses_and_lines

    truth = torch.from_numpy(ellipses_and_lines(64, seed=3)).float()[None, None]
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 20, endpoint=False), columns=92)
    physics = ir.tomography(geometry, ir.Volume((64, 64)))
    clean = physics.A(truth)
    data = ir.RelativeNoise(0.01).sample(clean, seed=0)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    graph = GraphLaplacian(truth + guide_noise * noise)
    return Problem(LeastSquares(data), physics), graph, float((data - clean).norm())


@pytest.mark.parametrize(
    ("rule", "steps", "near"),
    [("fixed", 40, 5e-2), ("discrepancy", 40, 1e-3), ("gcv", 40, 5e-2), ("gcv", 80, 1e-2)],
)
def test_dozens_of_steps_do_where_the_penalty_outweighs_the_data(rule: Any, steps: int, near: float) -> None:
    scan, graph, norm = small_scan()
    alpha = 1e6 * float(mean_curvature(scan)) / (graph.norm / 2) ** 2
    problem = replace(scan, priors=(PowerPrior(graph, alpha, power=2),))
    solver = MMGKS(tolerance=0, rule=rule, noise_norm=[norm])
    early, late = (solve(solver, problem, total).image for total in (steps, 200))
    assert float((early - late).norm() / late.norm()) < near


def test_groups_save_most_of_the_steps() -> None:
    scan, graph, _ = small_scan()
    alpha = 1e6 * float(mean_curvature(scan)) / (graph.norm / 2) ** 2
    problem = replace(scan, priors=(PowerPrior(graph, alpha, power=2),))
    exact = solve(MMGKS(tolerance=0), problem, 400).image
    errors = []
    for groups in (graph.groups, ()):
        graph.__dict__["groups"] = groups
        found = solve(MMGKS(tolerance=0), problem, 30).image
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] < 0.1 * errors[1]


def test_one_short_step_does_not_end_it() -> None:
    """Where it says that it has come to rest, the minimum is near."""
    scan, graph, norm = small_scan()
    problem = replace(scan, priors=(PowerPrior(graph, 1.0, power=2),))
    for tolerance, error in ((1e-3, 1e-2), (1e-4, 1e-3)):
        found = solve(MMGKS(rule="discrepancy", noise_norm=[norm], tolerance=tolerance), problem, 1000)
        exact = solve(MMGKS(rule="discrepancy", noise_norm=[norm], tolerance=1e-7), problem, 2000)
        assert found.finished and float((found.image - exact.image).norm() / exact.image.norm()) < error


@pytest.mark.parametrize("channels", [1, 2])
def test_two_levels_are_what_they_are_said_to_be(channels: int) -> None:
    _, physics, data, _, graph = scene()
    problem = Problem(LeastSquares(data), physics, (PowerPrior(graph, 1.0, power=2),))
    levels, eta = TwoLevels.of(problem), torch.tensor([64.0, 1000.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    slope = torch.randn(2, channels, SIDE, SIDE, dtype=torch.float64, generator=generator)
    found = levels.near(eta / 8).near(eta).solve(slope, eta)
    for item, groups in enumerate(graph.groups):
        Z, L = np.eye(len(groups.sizes))[groups.labels], graph.matrix(item).toarray()
        held, force = levels.held[item], float(eta[item])
        coarse = np.linalg.inv(held * Z.T @ Z + force * Z.T @ L @ L @ Z)
        fine = np.diag(1 / (float(levels.curvature[item]) + force * np.diag(L @ L)))
        expected = slope[item].reshape(channels, -1).numpy() @ (fine + Z @ coarse @ Z.T)
        np.testing.assert_allclose(found[item].reshape(channels, -1).numpy(), expected, rtol=1e-6)
        v = torch.from_numpy(Z @ np.random.default_rng(0).choice([-1.0, 1.0], len(groups.sizes)))
        seen = physics.matrix @ v
        assert held == pytest.approx(float(seen.square().sum() / v.numel()))
    plain = replace(problem, priors=(PowerPrior(Gradient(2), 1.0, power=2),))
    assert torch.equal(TwoLevels.of(plain).near(eta).solve(slope, eta), slope)
