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
# # 2. From raw counts: flats, centre, rings
#
# **You will be able to** bring raw counts of a detector to line integrals, find the centre of rotation
# and see how sure it is, take rings off, and keep the steps as a list that runs on every scan alike.
#
# The scan is a tooth, measured at the Advanced Photon Source, where a folder with the samples is at hand
# (the settings `IMAGEREG_SAMPLES_MIRROR` or `IMAGEREG_SHARED`). Otherwise a raw scan is simulated.
# (`imagereg.samples.fetch("tooth")` downloads it.)

# %%
import os
from pathlib import Path

import numpy as np

import imagereg as ir
from imagereg.metrics import ring_energy
from imagereg.preprocessing import centre_sweep, find_centre, health
from imagereg.samples import fetch
from imagereg.simulation import write_raw_scan

mirrors = [
    Path(os.environ.get("IMAGEREG_SAMPLES_MIRROR", "")),
    Path(os.environ.get("IMAGEREG_SHARED", "")) / "data",
]
mirror = next((folder for folder in mirrors if (folder / "tooth" / "tooth.h5").is_file()), None)
if mirror is not None:
    print("measured: the tooth")
    path, known_axis = fetch("tooth", mirror=mirror), 295.9
else:
    print("simulated: a foam")
    path = Path("scan.h5")
    _, known_axis = write_raw_scan(path, columns=320, rows=2, views=180)
scan = ir.read(path)
ir.show({"raw counts of a row, view by view": scan, "the first flat": scan.flats[0:1].repeat(90, axis=1)})

# %% [markdown]
# Rows of these pictures are views and columns are detector columns. The vertical stripes are the beam
# and the pixels' own responses; the object is hardly seen before the flats are divided out.
#
# ## What is wrong with it?
#
# `health` looks at a few rows and names the step that mends each finding. `imagereg info FILE` says the
# same in a shell.

# %%
for finding in health(scan):
    print("*", finding)

# %% [markdown]
# ## Flats and darks
#
# The step `flatfield` makes line integrals, -log((counts - dark) / (flat - dark)), and keeps how well
# each of them is known: their weights are the counts, so that rays through dense parts count less.

# %%
flat = ir.preprocess(scan, ["outliers", "flatfield"])
ir.show({"line integrals": flat})

# %% [markdown]
# ## The centre of rotation
#
# Four estimators look at different evidence and vote. A stray one does not move the outcome; where they
# do not agree, it says so.

# %%
centre = find_centre(flat)
for name, column in centre.votes.items():
    print(f"{name:15} {column:8.2f} ± {centre.uncertainties[name]:.2f}")
print(f"{'outcome':15} {centre.column:8.2f}, between {centre.interval[0]:.2f} and {centre.interval[1]:.2f}")

# %% [markdown]
# To check by eye, reconstruct around it: a wrong axis turns every point into a small arc.

# %%
columns = centre.column + np.array([-6, -2, 0, 2])
pictures = centre_sweep(flat, columns, size=160)
ir.show({f"axis on {column:.1f}": picture for column, picture in zip(columns, pictures, strict=True)})

# %% [markdown]
# ## Rings
#
# What a detector column does wrong in all views becomes a ring about the axis. `rings` takes stripes off
# the sinogram; what it took is the difference:

# %%
with_rings = ir.preprocess(flat, [{"centre": {"column": centre.column}}])
without = ir.preprocess(flat, [{"rings": {"size": 9}}, {"centre": {"column": centre.column}}])
before, after = ir.reconstruct(with_rings), ir.reconstruct(without)
edge = scan.data.shape[-1] // 4
inside = np.s_[0, edge:-edge, edge:-edge]
ir.show({"with rings": before.image[inside], "without": after.image[inside]}, view="difference")

# %% [markdown]
# The steps are a list, the same in Python, in a recipe and in the napari workbench, and the measurement
# keeps what each of them did:

# %%
steps = ["outliers", "flatfield", {"rings": {"size": 9}}, "centre"]
clean = ir.preprocess(scan, steps)
for step in clean.history:
    print({key: value for key, value in step.items() if key in ("step", "name", "size", "column")})

# %%
assert abs(clean.geometry.centre_of_rotation - known_axis) < 0.6
assert centre.interval[0] - 0.5 < known_axis < centre.interval[1] + 0.5
rings_before, rings_after = (ring_energy(image.image[0]) for image in (before, after))
assert rings_after < 0.9 * rings_before

# %% [markdown]
# ## Exercise
#
# How far may the axis be off before you see it? Reconstruct with the axis one column beside the outcome,
# and compare by difference.

# %% [markdown]
# ### Answer

# %%
beside = ir.preprocess(without, [{"centre": {"column": centre.column + 1}}])
off = ir.reconstruct(beside)
error = np.linalg.norm(off.image - after.image) / np.linalg.norm(after.image)
assert error > 0.1
ir.show({"axis as found": after.image[inside], "one column beside": off.image[inside]}, view="difference")

# %% [markdown]
# One column moves every edge, which the difference shows at once and the picture alone hardly does. So
# trust the votes and their interval, and look at the sweep where they disagree.
