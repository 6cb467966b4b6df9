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
# # 1. First reconstruction in three cells
#
# **You will be able to** read a raw scan, bring it to line integrals, reconstruct it by two methods, and
# see which of them is closer to the truth.
#
# The scan is simulated: a foam seen by a detector that counts photons, with flats and darks, rings, a
# few zingers, and a rotation axis that is not in the middle. It is read from a file as a scan of your
# own would be.

# %%
import imagereg as ir
from imagereg.simulation import write_raw_scan

truth, axis = write_raw_scan("scan.h5", columns=160, rows=1, views=60)
scan = ir.read("scan.h5")
ir.show({"raw counts": scan})

# %%
clean = ir.preprocess(scan, ["outliers", "flatfield", "rings", "centre"])
fbp = ir.reconstruct(clean, "fbp")
tv = ir.reconstruct(clean, "tv")

# %%
ir.show({"truth": truth, "filtered back-projection": fbp, "total variation": tv}, truth=truth)

# %% [markdown]
# That is all: a file, the steps that make line integrals of counts, a method by its name. Both images
# are attenuation in 1/mm, whatever the detector's pixel was.
#
# Move the slider to look below the one image for the other:

# %%
ir.show({"filtered back-projection": fbp, "total variation": tv}, view="swipe")

# %% [markdown]
# Each image carries the account of how it came about:

# %%
{key: tv.provenance[key] for key in ("method", "parameters", "centre_of_rotation", "metrics")}

# %% [markdown]
# The axis was found from the data to half a pixel, and with 60 views total variation is more than 3 dB
# closer to the truth than filtered back-projection:

# %%
from imagereg.metrics import psnr

assert abs(clean.geometry.centre_of_rotation - axis) < 0.5
assert psnr(tv.image, truth) > psnr(fbp.image, truth) + 3

# %% [markdown]
# ## Exercise
#
# `strength` says how much smoothness counts against the data. Is the default of 0.05 the best there is
# for this scan? Try three values and show them. (`imagereg list tv` names the other parameters.)

# %% [markdown]
# ### Answer

# %%
tries = {f"strength {s:g}": ir.reconstruct(clean, "tv", strength=s) for s in (0.01, 0.1, 1.0)}
ir.show(tries, truth=truth)

# %% [markdown]
# Twice the default does a little better, twenty times flattens the bubbles away. Tutorial 3 finds the
# value from the data, without the truth. Next: put the path of your own scan into the first cell, or go
# on with real raw counts in tutorial 2.
