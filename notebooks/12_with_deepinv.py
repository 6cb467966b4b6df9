# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12. imagereg and deepinv together
#
# **You will be able to** run deepinv's algorithms on the operators here, run the methods here on
# deepinv's operators, carry denoisers both ways, and send gradients through a projector.

# %%
import deepinv as dinv
import numpy as np
import torch

import imagereg as ir
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.metrics import psnr
from imagereg.networks.store import load_network
from imagereg.phantoms import ellipses_and_lines
from imagereg.priors.denoiser import DenoiserPrior
from imagereg.priors.learned_proximal import LearnedProximal
from imagereg.priors.tv import TV
from imagereg.solvers.base import iterate
from imagereg.solvers.fista import FISTA
from imagereg.solvers.pdhg import PDHG
from imagereg.solvers.problem import Problem

geometry = ir.ParallelBeam(np.linspace(0, np.pi, 48, endpoint=False), columns=137)
A = ir.tomography(geometry, ir.Volume((96, 96)))
truth = torch.as_tensor(ellipses_and_lines(96, seed=4))[None, None]
noise = ir.GaussianNoise(0.5)
y = noise.sample(A.A(truth), seed=0)
print(
    "a deepinv LinearPhysics:",
    isinstance(A, dinv.physics.LinearPhysics),
    f"  ‖A‖ = {A.certificate().norm:.2f}",
)

# %% [markdown]
# ## deepinv's algorithm on this operator
#
# Because the back-projection is the exact transpose and the certificate knows the norm, the step size is
# no guess. One thing to know: deepinv starts from Aᵀy, which for a scan is ‖A‖² times too bright, so
# give it a better start.

# %%
step, strength = 0.99 / A.certificate().norm ** 2, 4.0
start = A.A_dagger(y)
descent = dinv.optim.FISTA(
    data_fidelity=dinv.optim.L2(),
    prior=dinv.optim.TVPrior(n_it_max=50),
    lambda_reg=strength,
    stepsize=step,
    max_iter=100,
)
with torch.no_grad():
    theirs = descent(y, A, init=(start, start))
ir.show({"truth": truth, "filtered back-projection": start, "deepinv's FISTA with TV": theirs}, truth=truth)

# %% [markdown]
# The same problem by a solver from here, min ½‖Ax − y‖² + 4 TV(x). Two programs that share no line of
# their algorithms come to the same image, and PDHG says how far it is from the minimum at most:

# %%
problem = Problem(LeastSquares(y), A, (TV(strength),))
*_, ours = iterate(PDHG(), problem, total=400)
print(f"relative duality gap {ours.gap:.1e}")
print(f"objective: ours {problem.objective(ours.image):.3f}, deepinv's {problem.objective(theirs):.3f}")
print(f"relative difference of the images {float((ours.image - theirs).norm() / theirs.norm()):.1e}")

# %% [markdown]
# ## These methods on deepinv's operators
#
# Magnetic resonance imaging is not in this package; deepinv has it. Any linear physics will do, and so
# does its data: real and imaginary part of two fifths of the frequencies.

# %%
random = np.random.default_rng(0)
lines = (random.random(96) < 0.3) | (np.abs(np.arange(96) - 48) < 6)
mask = torch.as_tensor(np.broadcast_to(lines, (96, 96)).copy(), dtype=torch.float32)
mri = dinv.physics.MRI(mask=mask, img_size=(96, 96))
proton = torch.cat([truth, torch.zeros_like(truth)], 1)
frequencies = mri.A(proton)
frequencies = frequencies + 0.01 * mri.mask * torch.randn(
    frequencies.shape, generator=torch.Generator().manual_seed(0)
)
scan = ir.Measurement(frequencies, physics=mri, noise=ir.GaussianNoise(0.01), quantity="image")
zero_filled = mri.A_adjoint(frequencies)[:, :1]
tv = ir.reconstruct(scan, "tv", strength=0.01)
ir.show({"lines measured": mask, "zero-filled": zero_filled, "tv": tv.image[:, :1]})

# %% [markdown]
# ## Denoisers both ways
#
# The learned proximal network of tutorial 5 is a deepinv denoiser, so deepinv's plug-and-play takes it.
# And a denoiser of deepinv's goes into any solver here as a `DenoiserPrior`; without a download, its
# median filter:

# %%
network, card = load_network("lpn_ct_05", method="lpn")
sigma = card.metrics["sigma"]
# What the noise asks of the prior, over what a step of this size gives it.
share = (noise.sigma / sigma) ** 2 * step
plug = dinv.optim.PGD(
    data_fidelity=dinv.optim.L2(),
    prior=dinv.optim.PnP(LearnedProximal(network, sigma, relaxation=share)),
    stepsize=step,
    max_iter=60,
)
with torch.no_grad():
    played = plug(y, A, init=(start,))

median = DenoiserPrior(dinv.models.MedianFilter(kernel_size=3), sigma=0.05)
*_, filtered = iterate(FISTA(momentum=False, restart=False), Problem(LeastSquares(y), A, (median,)), total=40)
ir.show({"deepinv's PnP, our network": played, "our solver, deepinv's filter": filtered.image}, truth=truth)

# %% [markdown]
# ## Gradients
#
# `backward` goes through the projector, in both directions. So a projector may be a layer of your
# network, and losses on projections need no formula:

# %%
image = torch.zeros_like(truth, requires_grad=True)
loss = 0.5 * (A.A(image) - y).square().sum()
loss.backward()
by_hand = A.A_adjoint(A.A(torch.zeros_like(truth)) - y)
difference = float((image.grad - by_hand).norm() / by_hand.norm())
print(f"gradient by autograd against Aᵀ(Ax − y): {difference:.1e}")

# %%
assert difference < 1e-6
assert float((ours.image - theirs).norm() / theirs.norm()) < 0.03
assert problem.objective(theirs) < 1.02 * problem.objective(ours.image)
assert psnr(tv.image[:, :1], truth) > psnr(zero_filled, truth) + 4
found = {"start": start, "PnP": played, "median": filtered.image}
decibels = {name: round(psnr(image, truth), 1) for name, image in found.items()}
print(decibels)
assert decibels["PnP"] > decibels["start"] + 3 and decibels["median"] > decibels["start"]
assert abs(float(dinv.metric.PSNR()(theirs, truth)) - psnr(theirs, truth, data_range=1)) < 1e-3

# %% [markdown]
# ## Exercise
#
# Unroll it: take five steps of x ← x − tAᵀ(Ax − y), let torch find the five step sizes t that bring the
# image closest to the truth, and compare with five steps of the classical 1 / ‖A‖².

# %% [markdown]
# ### Answer

# %%
relative = torch.linspace(0.5, 3, 5).requires_grad_()
optimiser = torch.optim.Adam([relative], lr=0.3)


def unrolled(sizes: torch.Tensor) -> torch.Tensor:
    x = torch.zeros_like(truth)
    for size in sizes:
        x = x - size * step * A.A_adjoint(A.A(x) - y)
    return x


for _ in range(60):
    optimiser.zero_grad()
    (unrolled(relative) - truth).square().mean().backward()
    optimiser.step()
learned, classical = unrolled(relative.detach()), unrolled(torch.ones(5))
print("step sizes over 1 / ‖A‖²:", [round(float(size), 1) for size in relative.detach()])
assert psnr(learned, truth) > psnr(classical, truth) + 2
ir.show({"five classical steps": classical, "five learned steps": learned}, truth=truth)

# %% [markdown]
# Long and short steps in turn are far better than equal ones, as Chebyshev knew. Train on many images
# instead of one, and put a network between the steps, and it is an unrolled reconstruction: deepinv's
# `unfold=True` does that with this operator inside.
