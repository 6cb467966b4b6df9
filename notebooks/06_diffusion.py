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
# # 6. Diffusion: one prior for missing pixels, coarse pixels and scans
#
# **You will be able to** restore images with a diffusion network by RED-diff, use one network for three
# problems that it was never trained for, and tell what the data hold from what the network made up.

# %%
import numpy as np
import torch
from skimage.data import camera

import imagereg as ir
from imagereg.metrics import psnr

OPTIONS = {"weights": "diffusion_natural", "iterations": 60}
sharp = torch.as_tensor(camera()[96:192, 184:280] / 255, dtype=torch.float32)[None, None]
noise = ir.GaussianNoise(0.02)
mask = torch.as_tensor(np.random.default_rng(0).random((96, 96)) < 0.3)
missing = ir.inpainting(mask)
holes = ir.Measurement(
    noise.sample(missing.A(sharp), seed=0) * mask, physics=missing, noise=noise, quantity="image"
)
filled = ir.reconstruct(holes, "red_diff", **OPTIONS)
tv = ir.reconstruct(holes, "tv", strength=0.02)
ir.show({"sharp": sharp, "30 % of the pixels": holes.data, "TV": tv, "RED-diff": filled}, truth=sharp)

# %% [markdown]
# A diffusion network has learned one thing: to take noise of any strength off an image. RED-diff makes a
# prior of it. It looks for the image x that the data and the network agree on: a step down the data
# term, then noise is added to x, the network takes it off, and x moves to where the network would have
# it. The noise falls from step to step, so that large shapes come first and fine ones last. No
# derivative of the network is needed, and A may be anything.
#
# In decibels it is not ahead of total variation here. It draws texture where total variation leaves flat
# patches, and texture in the wrong place costs more than none: look at the pictures, and ask what for.
#
# ## The same network on coarse pixels

# %%
coarse = ir.downsampling((96, 96), 2)
small = ir.Measurement(noise.sample(coarse.A(sharp), seed=1), physics=coarse, noise=noise, quantity="image")
larger = ir.reconstruct(small, "red_diff", **OPTIONS)
repeated = small.data.repeat_interleave(2, -1).repeat_interleave(2, -2)
ir.show({"sharp": sharp, "coarse pixels": repeated, "RED-diff": larger}, truth=sharp)

# %% [markdown]
# ## And on a scan
#
# Nothing changes but the physics: forty views of the same picture, as if it were a slice of an object.

# %%
geometry = ir.ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), columns=137)
A = ir.tomography(geometry, ir.Volume((96, 96)))
quiet = ir.GaussianNoise(0.3)
scan = ir.Measurement(quiet.sample(A.A(sharp), seed=2), physics=A, noise=quiet)
fbp = ir.reconstruct(scan, "fbp")
from_scan = ir.reconstruct(scan, "red_diff", **OPTIONS)
ir.show({"filtered back-projection": fbp, "RED-diff": from_scan}, truth=sharp)

# %% [markdown]
# ## What was made up?
#
# A network that has seen many pictures fills in what is likely, not what was there. Run it several
# times, with other noise: where the runs agree, the data speak, and where they differ, the network does.
# It is no probability yet (tutorial 7 goes on from here), but it says where to look.

# %%
several = ir.reconstruct(holes, "red_diff", runs=3, **OPTIONS)
spread = several.state.outcome.uncertainty.std
error = (several.image - sharp).abs()
ir.show({"spread of three runs": spread, "true error of their mean": error})

# %%
table = {
    "missing pixels": (psnr(tv.image, sharp), psnr(filled.image, sharp)),
    "coarse pixels": (psnr(repeated, sharp), psnr(larger.image, sharp)),
    "scan": (psnr(fbp.image, sharp), psnr(from_scan.image, sharp)),
}
for name, (before, after) in table.items():
    print(f"{name:15} {before:5.1f} dB -> {after:5.1f} dB")
known = float(spread[..., mask].mean() / spread[..., ~mask].mean())
print(f"runs differ at known pixels {known:.2f} times as much as at missing ones")
assert table["missing pixels"][1] > table["missing pixels"][0] - 1
assert table["coarse pixels"][1] > table["coarse pixels"][0] + 1
assert table["scan"][1] > table["scan"][0] + 3
assert known < 0.9

# %% [markdown]
# ## Exercise
#
# `strength` weighs the prior against the data. What does ten times too much of it do to the image with
# holes, and how do you see it without the sharp image?

# %% [markdown]
# ### Answer

# %%
strong = ir.reconstruct(holes, "red_diff", **OPTIONS, strength=10.0)
residuals = [result.history[-1]["residual"] for result in (filled, strong)]
print(f"relative residual {residuals[0]:.3f} at strength 1, {residuals[1]:.3f} at 10")
assert residuals[1] > 1.2 * residuals[0]
assert psnr(strong.image, sharp) < psnr(filled.image, sharp)
ir.show({"strength 1": filled, "strength 10": strong}, truth=sharp)

# %% [markdown]
# It smooths away what the network does not expect, known pixels too: the image no longer fits the data.
# The residual says so, and that is the first thing to look at with any learned prior. Other methods on
# the same network are `diffpir`, `dps` and `ddrm`.
