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
# # 7. How sure are we? Samples, and intervals that keep their promise
#
# **You will be able to** restore an image by variational Bayes, draw other images that fit the data as
# well, tell where the restored one may be wrong, and check whether error bars keep their promise, on
# your own kind of image.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from skimage.data import camera, coins

import imagereg as ir
from imagereg.metrics import psnr
from imagereg.physics import gaussian_kernel

physics, noise = ir.blur(gaussian_kernel(1.6)), ir.GaussianNoise(0.02)


def seen(picture: np.ndarray, seed: int) -> tuple[ir.Measurement, torch.Tensor]:
    """A blurred and noisy picture, and the sharp one."""
    sharp = torch.as_tensor(picture / 255, dtype=torch.float32)[None, None]
    data = noise.sample(physics.A(sharp), seed=seed)
    return ir.Measurement(data, physics=physics, noise=noise, quantity="image"), sharp


measurement, sharp = seen(camera()[80:208, 160:288], 0)
options = {"iterations": 80, "samples": 24, "weights": "vble_rate_015"}
result = ir.reconstruct(measurement, "vble", **options)
ir.show({"sharp": sharp, "blurred, noisy": measurement.data, "vble": result}, truth=sharp)

# %% [markdown]
# The prior is a compressive autoencoder: images that take few bits are likely ones. VBLE finds, in the
# few latents of the autoencoder, the distribution that fits the data; what is decoded from its samples
# are images that could all have given these data.

# %%
uncertainty = result.state.outcome.uncertainty
samples, std = uncertainty.samples, uncertainty.std
error = (result.image - sharp).abs()
ir.show({"one sample": samples[0], "another": samples[1]}, view="difference")

# %%
ir.show({"standard deviation": std, "true error": error})

# %% [markdown]
# The standard deviation is large where the error is, along edges that the blur has taken. But is it as
# large as it should be? An interval of 90 % promises that nine pixels of ten lie within.
#
# ## Do error bars keep their promise?
#
# With the truth at hand one can count. For each promised share p, take the interval mean ± z(p) std, and
# see how many pixels it covers:

# %%
normal = torch.distributions.Normal(0.0, 1.0)
promised = torch.linspace(0.05, 0.95, 19)


def covered(ratio: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """The share of pixels within factor · z(p) standard deviations of the mean, for each promised p."""
    widths = factor * normal.icdf((1 + promised) / 2)
    return torch.stack([(ratio <= width).float().mean() for width in widths])


ratio = error / std
honest = covered(ratio)

# %% [markdown]
# ## Calibrated on another image
#
# Nobody has the truth of the image at hand. But one may have that of other images, and find the factor
# by which error bars must be widened there, or may be narrowed: split conformal prediction takes the
# factor that covers 90 % of the pixels of the *calibration* image, and uses it on the image whose truth
# one does not know. The promise then holds as far as the calibration image is not easier than that one.

# %%
other, other_sharp = seen(coins()[30:158, 40:168], 1)
calibration = ir.reconstruct(other, "vble", **options)
other_std = calibration.state.outcome.uncertainty.std
scores = ((calibration.image - other_sharp).abs() / other_std).flatten()
factor = float(scores.quantile(0.9) / normal.icdf(torch.tensor(0.95)))
calibrated = covered(ratio, factor)
figure, axis = plt.subplots(figsize=(4.6, 3.6))
axis.plot([0, 1], [0, 1], ":", color="grey")
axis.plot(promised, honest, label="as they come")
axis.plot(promised, calibrated, label=f"times {factor:.2f}, from another image")
axis.set(xlabel="promised share of pixels", ylabel="covered")
axis.legend()
figure.tight_layout()

# %%
at_90 = int((promised - 0.9).abs().argmin())
print(f"promised 0.90: covered {honest[at_90]:.2f} as they come, {calibrated[at_90]:.2f} calibrated")
rank = np.corrcoef(std.flatten().argsort().argsort(), error.flatten().argsort().argsort())[0, 1]
print(f"rank correlation of standard deviation and error: {rank:.2f}")
assert psnr(result.image, sharp) > psnr(measurement.data, sharp) + 2
assert rank > 0.2
assert abs(honest[at_90] - 0.9) < 0.05
assert calibrated[at_90] > 0.88

# %% [markdown]
# On this image the error bars keep their promise as they come. The coins, with their texture, are the
# harder image and ask for more, so that with their factor more is covered than was promised: the error
# is on the safe side.
#
# ## Exercise
#
# Now calibrate on a flat image instead, and see what becomes of the promise.

# %% [markdown]
# ### Answer

# %%
flat, flat_sharp = seen(np.full((128, 128), 128.0), 2)
easy = ir.reconstruct(flat, "vble", **options)
easy_std = easy.state.outcome.uncertainty.std
wrong = float(((easy.image - flat_sharp).abs() / easy_std).quantile(0.9) / normal.icdf(torch.tensor(0.95)))
broken = covered(ratio, wrong)
print(f"factor {wrong:.2f} from a flat image, {factor:.2f} from coins; covered {broken[at_90]:.2f}")
assert broken[at_90] < 0.85

# %% [markdown]
# Nothing is hard about a flat image, so its errors say nothing of edges. Calibrate on images like those
# you will see, and say which they were. One image promises little: `imagereg calibrate` does this on many
# pairs, for any method, with a factor whose guarantee is a theorem, and recipes then write the intervals
# beside the image.
