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
# # 3. Sparse views: total variation, its adaptive forms, and how strong
#
# **You will be able to** reconstruct a scan of few views by four methods, find the strength from the
# data alone, and say what the adaptive methods add to total variation.

# %%
import matplotlib.pyplot as plt
import numpy as np

import imagereg as ir
from imagereg.choose.base import choose
from imagereg.engine import prepare
from imagereg.metrics import psnr, ssim
from imagereg.phantoms import foam, simulate

geometry = ir.ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), columns=181)
image = foam(128, seed=1)
scan = simulate(image, geometry, volume=ir.Volume((128, 128)), noise=ir.RelativeNoise(0.005), seed=3)
fbp = ir.reconstruct(scan, "fbp")
ir.show({"truth": image, "filtered back-projection": fbp}, truth=image)

# %% [markdown]
# Forty views of 128 x 128 pixels are a fifth of what filtered back-projection needs, so it draws
# streaks. The image has flat parts and sharp edges, which is what total variation is for.
#
# ## How strong?
#
# More strength is smoother. Which strength is right is in the data: leave out some views, and take the
# strength whose reconstruction predicts them best. `choose` does that and keeps the curve. Other rules
# are the discrepancy principle, GCV, SURE and the L-curve (`imagereg choose --help`).

# %%
method = ir.method("tv", iterations=150)
choice = choose(method, prepare(scan), "held_out", {"strength": (1e-3, 0.3)}, folds=4)
print(choice)

# %%
tried = [row["strength"] for row in choice.curve]
truth_says = [psnr(ir.reconstruct(scan, method, strength=strength).image, image) for strength in tried]
figure, axis = plt.subplots(figsize=(7, 3))
axis.loglog(tried, [row["score"] for row in choice.curve], "o-", label="error of left-out views")
axis.axvline(choice.values["strength"], color="C1", linestyle="--", label="chosen")
axis.set_xlabel("strength")
axis.legend(loc="upper left", bbox_to_anchor=(0, 1.25), ncols=2)
beside = axis.twinx()
beside.semilogx(tried, truth_says, "s-", color="C2", label="PSNR in dB (needs the truth)")
beside.legend(loc="upper right", bbox_to_anchor=(1, 1.25))
figure.tight_layout()

# %% [markdown]
# The error of the left-out views, which knows nothing of the truth, is smallest close to where the PSNR
# is largest.
#
# ## Space-variant total variation and graphLa+Psi
#
# Total variation lowers the contrast at every edge. Both of the following start from a first
# reconstruction, `psi`, and ask it where the edges are. Space-variant TV smooths less there, so that it
# bears more strength elsewhere; graphLa+Psi keeps alike what is alike in it.

# %%
strength = choice.values["strength"]
tv = ir.reconstruct(scan, "tv", strength=strength)
psi = {"name": "tv", "strength": strength}
adaptive = ir.reconstruct(scan, "space_variant_tv", psi=psi, strength=4 * strength)
graph = ir.reconstruct(scan, "graph_laplacian", psi=psi)
ir.show({"TV": tv, "space-variant TV": adaptive, "graphLa+Psi": graph}, truth=image)

# %% [markdown]
# Errors say more than the pictures: total variation errs along every edge, the adaptive form
# hardly does.

# %%
errors = {"TV": tv.image - image, "space-variant TV": adaptive.image - image}
ir.show({name: np.abs(error) for name, error in errors.items()})

# %%
results = {"fbp": fbp, "tv": tv, "space_variant_tv": adaptive, "graph_laplacian": graph}
table = {name: (psnr(result.image, image), ssim(result.image, image)) for name, result in results.items()}
for name, (decibels, similarity) in table.items():
    print(f"{name:18} PSNR {decibels:5.1f} dB   SSIM {similarity:.3f}")
assert table["tv"][0] > table["fbp"][0] + 8
assert table["space_variant_tv"][0] > table["tv"][0] + 1
assert table["graph_laplacian"][1] > table["tv"][1] + 0.01
assert max(truth_says) - table["tv"][0] < 1.5  # the data found a good strength

# %% [markdown]
# A word of care: the scan was made with the pixels that it is reconstructed on, so the edges can be had
# exactly. Data of the world have edges that run through pixels. `simulate("foam", ...)` makes such data,
# exact line integrals of the bodies themselves; the order of the methods may then be another. Judge on
# data like yours.
#
# ## Exercise
#
# What if the first reconstruction is bad? Give space-variant TV filtered back-projection as `psi`, and
# the truth as the other extreme.

# %% [markdown]
# ### Answer

# %%
from_fbp = ir.reconstruct(scan, "space_variant_tv", psi="fbp", strength=4 * strength)
from_truth = ir.reconstruct(scan, "space_variant_tv", psi="truth", strength=4 * strength)
assert psnr(from_fbp.image, image) < table["space_variant_tv"][0] < psnr(from_truth.image, image)
ir.show({"psi: fbp": from_fbp, "psi: tv": adaptive, "psi: truth": from_truth}, truth=image)

# %% [markdown]
# Streaks in `psi` are taken for edges and stay. A better first reconstruction is worth more than a finer
# second step; `psi="learned_fbp"` takes a trained network.
