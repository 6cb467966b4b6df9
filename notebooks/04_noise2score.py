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
# # 4. Denoise your own image without clean data: Noise2Score
#
# **You will be able to** denoise an image of known or unknown noise without any clean example, read off
# the noise that was found, and train on your own image where the shipped weights do not fit.

# %%
import numpy as np
from skimage.data import camera, coins

import imagereg as ir
from imagereg.metrics import psnr

clean = camera()[96:288, 128:320] / 255
random = np.random.default_rng(1)
noisy = clean + 25 / 255 * random.standard_normal(clean.shape)
told = ir.reconstruct(ir.Measurement(noisy, noise=ir.GaussianNoise(25 / 255)), "noise2score")
ir.show({"clean": clean, "noisy": noisy, "noise2score": told}, truth=clean)

# %% [markdown]
# A network has learned the score, the gradient of the logarithm of the density of *noisy* images. It
# never saw a clean one. Tweedie's formula makes of it the mean of all clean images that could have given
# this noisy one: for Gaussian noise, clean = noisy + σ² score.
#
# ## When the noise is not known
#
# Leave the noise away. Its kind and level are then told from the image, and the notes say what was
# found:

# %%
blind = ir.reconstruct(ir.Measurement(noisy), "noise2score", noise="gaussian")
found = blind.history[-1]["noise_level"]
print(f"level: true {25 / 255:.4f}, found {found:.4f}")
print(
    f"PSNR: {psnr(told.image, clean):.2f} dB with the true level, {psnr(blind.image, clean):.2f} dB without"
)

# %% [markdown]
# ## Photons and speckle
#
# The same network denoises counts (Poisson) and speckle (Gamma): only the formula changes.

# %%
counts = ir.PoissonNoise(1 / 40).sample(clean, seed=2)
speckled = ir.GammaNoise(20).sample(clean, seed=3)
from_counts = ir.reconstruct(ir.Measurement(counts, noise=ir.PoissonNoise(1 / 40)), "noise2score")
from_speckle = ir.reconstruct(ir.Measurement(speckled, noise=ir.GammaNoise(20)), "noise2score")
ir.show(
    {"40 photons at most": counts, "denoised": from_counts, "20 looks": speckled, "despeckled": from_speckle},
    truth=clean,
)

# %% [markdown]
# ## Your own image, and nothing else
#
# Shipped weights have seen photographs. Where your images are of another world, leave the weights away:
# a small network is trained on the noisy image itself. Training is a generator as everything here, so
# look at it while it goes on, and stop when you like. Here it has 120 steps, for the sake of your time;
# the default is 800.

# %%
tray = coins()[30:158, 40:168] / 255
noisy_tray = ir.Measurement(tray + 0.1 * random.standard_normal(tray.shape), noise=ir.GaussianNoise(0.1))
for state in ir.iterate(noisy_tray, "noise2score", weights="", steps=120, crop=48, batch=4):
    last = state
own = last.image.squeeze().numpy()
shipped = ir.reconstruct(noisy_tray, "noise2score").image
ir.show(
    {"noisy": noisy_tray.data, "trained on it alone": own, "shipped weights": shipped, "clean": tray},
    truth=tray,
)

# %%
assert psnr(told.image, clean) > psnr(noisy, clean) + 7
assert abs(found - 25 / 255) < 0.15 * 25 / 255
assert psnr(blind.image, clean) > psnr(told.image, clean) - 0.7
assert psnr(from_counts.image, clean) > psnr(counts, clean) + 6
assert psnr(from_speckle.image, clean) > psnr(speckled, clean) + 6
assert psnr(own, tray) > psnr(noisy_tray.data, tray) + 5

# %% [markdown]
# ## Exercise
#
# What does a wrong noise level do? Tell the method half of the true level, and twice of it.

# %% [markdown]
# ### Answer

# %%
wrong = {
    f"told {factor:g} of the level": ir.reconstruct(
        ir.Measurement(noisy, noise=ir.GaussianNoise(factor * 25 / 255)), "noise2score"
    )
    for factor in (0.5, 1, 2)
}
scores = [psnr(result.image, clean) for result in wrong.values()]
assert scores[1] > scores[0] + 1 and scores[1] > scores[2] + 1
ir.show(wrong, truth=clean)

# %% [markdown]
# Too low a level leaves noise, too high a one takes detail with it. When you are not sure, leave the
# level away: the sweep is closer than most guesses. What the weights were trained on, and what their
# licence allows, says `imagereg models`.
