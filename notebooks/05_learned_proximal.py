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
# # 5. Learned proximal networks: see the prior
#
# **You will be able to** use a network as the prior of any linear problem, ask it how likely it finds an
# image, and see what it takes for noise and what for structure.

# %%
import matplotlib.pyplot as plt
import torch
from skimage.data import camera

import imagereg as ir
from imagereg.metrics import psnr
from imagereg.networks.inversion import value_at
from imagereg.networks.store import load_network
from imagereg.physics import gaussian_kernel
from imagereg.priors.learned_proximal import LearnedProximal

network, card = load_network("lpn_natural_05", method="lpn")
denoiser = LearnedProximal(network, card.metrics["sigma"])
clean = torch.as_tensor(camera()[100:164, 206:270] / 255, dtype=torch.float32)[None, None]
noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    noisy = clean + 0.05 * noise
    denoised = denoiser(noisy)
ir.show({"clean": clean, "noisy": noisy, "denoised": denoised}, truth=clean)

# %% [markdown]
# Most networks denoise without saying why. This one, f, is the gradient of a convex function ψ that the
# network computes, and such a gradient is a *proximal operator*: f(v) is the image x that minimises ½‖x
# − v‖² + φ(x) for one fixed φ. So there is a prior φ, and since f was trained to remove noise, φ is
# close to −σ² log p of clean images.
#
# ## How likely is an image?
#
# φ(x) = ⟨v, x⟩ − ½‖x‖² − ψ(v) for the v with f(v) = x, which a convex problem finds. Low is likely:

# %%
shuffled = clean.flatten()[torch.randperm(clean.numel(), generator=torch.Generator().manual_seed(1))]
candidates = {
    "denoised": denoised,
    "clean": clean,
    "noise 0.02": clean + 0.02 * noise,
    "noise 0.05": noisy,
    "pixels shuffled": shuffled.reshape(clean.shape),
}
found = denoiser.prior(torch.cat(list(candidates.values())))
values = dict(zip(candidates, (found.value - found.value[1]).tolist(), strict=True))
ir.show({f"{name}: {values[name]:+.1f}": image for name, image in candidates.items()}, columns=5)

# %% [markdown]
# Numbers are relative to the clean image. The denoised image is a little *more* likely than the clean
# one: it has lost what is rare. Noise costs, and an image of the same pixels in another order costs
# most.
#
# ## What is structure, and what noise?
#
# Put a dot, a line and an edge of growing contrast on grey, and see how much of the contrast f leaves.

# %%
contrasts = torch.linspace(0.01, 0.45, 23)
grey = torch.full((len(contrasts), 1, 33, 33), 0.5)
shapes = {name: grey.clone() for name in ("a dot", "a line", "an edge")}
shapes["a dot"][..., 16, 16] += contrasts[:, None]
shapes["a line"][..., 16] += contrasts[:, None, None]
shapes["an edge"][..., 17:] += contrasts[:, None, None, None]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(contrasts, contrasts, ":", color="grey", label="all of it")
kept = {}
with torch.no_grad():
    nothing = value_at(denoiser, grey, denoiser(grey))
    for name, v in shapes.items():
        x = denoiser(v)
        column = 18 if name == "an edge" else 16
        kept[name] = x[:, 0, 16, column] - x[:, 0, 16, 8]
        left.plot(contrasts, kept[name], label=name)
        right.plot(contrasts, value_at(denoiser, v, x) - nothing, label=name)
left.set(xlabel="contrast that goes in", ylabel="contrast that comes out")
right.set(xlabel="contrast that goes in", ylabel="φ of what comes out")
left.legend()
right.legend()
figure.tight_layout()

# %% [markdown]
# A faint line is taken for noise and flattened. From a contrast of about 0.15, three times the noise that
# the network was trained for, it is believed and passes almost whole. An edge has many pixels that speak
# for it and passes earlier; a single dot begins to be believed at 0.4. On the right is what each costs.
# Total variation would go on taking off the same amount of contrast for ever.
#
# ## As the prior of another problem
#
# Because f is a proximal operator, it goes where a proximal operator goes: ADMM, with any physics. Here
# a blur:

# %%
blurring = ir.blur(gaussian_kernel(1.2))
crop = torch.as_tensor(camera()[84:180, 190:286] / 255, dtype=torch.float32)[None, None]
grain = torch.randn(crop.shape, generator=torch.Generator().manual_seed(2))
blurred = ir.Measurement(
    blurring.A(crop) + 0.01 * grain, physics=blurring, noise=ir.GaussianNoise(0.01), quantity="image"
)
learned = ir.reconstruct(blurred, "lpn", weights="lpn_natural_10")
tv = ir.reconstruct(blurred, "tv")
ir.show({"sharp": crop, "blurred": blurred.data, "TV": tv, "lpn": learned}, truth=crop)

# %% [markdown]
# It is better here than total variation, and there was nothing to tune: the weight of the prior comes from
# the noise. The notes say so, and what is proven about the iteration and what is
# not:

# %%
for note in learned.state.notes[1:]:
    print("*", note)

# %%
assert psnr(denoised, clean) > psnr(noisy, clean) + 3
assert values["denoised"] < values["clean"] < values["noise 0.02"] < values["noise 0.05"]
assert values["pixels shuffled"] > 2 * values["noise 0.05"]
assert kept["a line"][-1] > 0.8 * contrasts[-1] and kept["a dot"][10] < 0.3 * contrasts[10]
assert psnr(learned.image, crop) > psnr(blurred.data, crop) + 2
assert psnr(learned.image, crop) > psnr(tv.image, crop) + 0.3

# %% [markdown]
# ## Exercise
#
# The gradient of a convex function is monotone: ⟨f(a) − f(b), a − b⟩ ≥ 0. A *convex* φ would ask for
# more, that images never move apart: ‖f(a) − f(b)‖ ≤ ‖a − b‖. Which of the two holds here? Try images
# that the network was never made for, and look at the steepest part of the curve above.

# %% [markdown]
# ### Answer

# %%
random = torch.Generator().manual_seed(3)
wide = LearnedProximal(network.double(), denoiser.sigma)
along, stretch = [], []
with torch.no_grad():
    for scale in (0.01, 0.1, 1.0, 10.0):
        a, b = (scale * torch.randn((4, 1, 32, 32), generator=random).double() for _ in range(2))
        moved, apart = wide(a) - wide(b), a - b
        along.append(float(((moved * apart).sum((1, 2, 3)) / apart.square().sum((1, 2, 3))).min()))
        stretch.append(float((moved.square().sum((1, 2, 3)) / apart.square().sum((1, 2, 3))).sqrt().max()))
print("⟨f(a) − f(b), a − b⟩ / ‖a − b‖²:", [round(value, 3) for value in along])
print("‖f(a) − f(b)‖ / ‖a − b‖:      ", [round(value, 3) for value in stretch])
assert min(along) > 0
assert max(stretch) > 1

# %% [markdown]
# Monotone it is, whatever you give it, for that holds by construction and not by training. But images do
# move apart: φ is not convex. That is why lines of enough contrast pass untouched, which no convex prior
# can do, and why the notes speak of critical points and not of minima. `imagereg train lpn` makes such a
# prior from your own clean images.
