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
# # 9. Low counts: Poisson and SPIRAL-TAP
#
# **You will be able to** reconstruct from a handful of photons a ray, in emission and in transmission,
# and say when the likelihood of counts is worth its price over weighted least squares.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import imagereg as ir
from imagereg.fidelities.poisson import KullbackLeibler
from imagereg.metrics import psnr
from imagereg.phantoms import shepp_logan, simulate
from imagereg.solvers.base import iterate
from imagereg.solvers.mlem import MLEM
from imagereg.solvers.problem import Problem

geometry = ir.ParallelBeam(np.linspace(0, np.pi, 90, endpoint=False), columns=137)
A = ir.tomography(geometry, ir.Volume((96, 96)))
truth = torch.as_tensor(shepp_logan(96))[None, None]
truth *= 6e4 / float(A.A(truth).sum())
noise = ir.PoissonNoise()
scan = ir.Measurement(noise.sample(A.A(truth).clamp_min(0), seed=0), physics=A, noise=noise)
print(f"{float(scan.data.mean()):.1f} counts a ray on average, {float(scan.data.max()):.0f} at most")
fbp = ir.reconstruct(scan, "fbp")
ir.show({"truth": truth, "filtered back-projection": fbp}, truth=truth)

# %% [markdown]
# The object emits, the detector counts, y ~ Poisson(A x): five counts a ray. Rays with few counts have
# little noise, rays with many have more, and none is Gaussian.
#
# ## Maximum likelihood, stopped early
#
# MLEM climbs the likelihood of the counts. Every solver here is a generator, so watching it costs
# nothing:

# %%
problem = Problem(KullbackLeibler(scan.data), A)
decibels, images = [], []
for state in iterate(MLEM(), problem, total=60):
    decibels.append(psnr(state.image, truth))
    images.append(state.image)
best = int(np.argmax(decibels))
figure, axis = plt.subplots(figsize=(6, 2.6))
axis.plot(range(1, 61), decibels)
axis.axvline(best + 1, color="C1", linestyle="--", label=f"best: iteration {best + 1}")
axis.set(xlabel="iteration of MLEM", ylabel="PSNR in dB")
axis.legend()
figure.tight_layout()

# %% [markdown]
# The most likely image is all noise: with five counts a ray the likelihood alone does not know better.
# When to stop is seen only with the truth.
#
# ## A penalty instead
#
# SPIRAL-TAP minimises the same likelihood plus a penalty, over non-negative images, and converges. Total
# variation, wavelets and dyadic partitions (regions of constant grey whose number costs) are among the
# six penalties.

# %%
images = {f"MLEM, iteration {best + 1}": images[best]}
options = {"tv": 0.3, "wavelet": 0.5, "partition_invariant": 0.03}
spiral = {
    penalty: ir.reconstruct(
        scan, "spiral_tap", penalty=penalty, strength=strength, iterations=60, tolerance=1e-3
    )
    for penalty, strength in options.items()
}
ir.show({**images, **spiral}, truth=truth)

# %% [markdown]
# ## Transmission
#
# In a transmission scan the counts are N ~ Poisson(I₀ exp(−A x)), and the usual way takes their
# logarithm first. With I₀ = 20 the logarithm of the few counts behind the skull is far off, and on one
# side more than on the other. There are three ways to treat them: all alike, weighted by their counts,
# or by the likelihood itself.

# %%
dark = simulate(
    "shepp_logan",
    geometry,
    volume=ir.Volume((96, 96)),
    noise=ir.TransmissionNoise(20),
    attenuation=0.05,
    seed=1,
)
print(f"fewest counts: {float(dark.weights.min()):.0f}")
ways = {
    "least squares": ir.reconstruct(dark, "tv", strength=0.25, fidelity="least_squares"),
    "weighted": ir.reconstruct(dark, "tv", strength=0.25, fidelity="weighted"),
    "likelihood": ir.reconstruct(dark, "spiral_tap", strength=0.25, iterations=60),
}
ir.show({"filtered back-projection": ir.reconstruct(dark, "fbp"), **ways}, truth=dark.truth)

# %% [markdown]
# Weights bring most of the gain and cost nothing: they are what `flatfield` leaves with the data, and
# `tv` uses them without being asked. The likelihood adds a little at counts as low as these, and nothing
# at a thousand.

# %%
reached = {name: psnr(result.image, truth) for name, result in spiral.items()}
assert decibels[best] > decibels[-1] + 4
assert reached["tv"] > decibels[best] + 0.7
assert all(float(result.image.min()) >= 0 for result in spiral.values())
order = [psnr(result.image, dark.truth) for result in ways.values()]
assert order[0] < order[1] < order[2]

# %% [markdown]
# ## Exercise
#
# At how many counts does the likelihood stop paying? Repeat the transmission scan with I₀ = 5 and I₀ =
# 500, weighted and by likelihood.

# %% [markdown]
# ### Answer

# %%
gain = {}
for blank, strength in ((5, 0.4), (500, 0.12)):
    scan = simulate(
        "shepp_logan",
        geometry,
        volume=ir.Volume((96, 96)),
        noise=ir.TransmissionNoise(blank),
        attenuation=0.05,
        seed=1,
    )
    weighted = ir.reconstruct(scan, "tv", strength=strength, fidelity="weighted")
    likelihood = ir.reconstruct(scan, "spiral_tap", strength=strength, iterations=60)
    gain[blank] = psnr(likelihood.image, scan.truth) - psnr(weighted.image, scan.truth)
print({blank: round(decibels, 2) for blank, decibels in gain.items()})
assert gain[5] > 0.3
assert abs(gain[500]) < 0.3

# %% [markdown]
# It pays below some tens of counts a ray. Above, weighted least squares is the same thing in less time,
# with a solver that states how far it is from the minimum.
