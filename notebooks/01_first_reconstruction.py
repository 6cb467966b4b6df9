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
# # A first reconstruction
#
# Three cells: a scan, a reconstruction, a picture. The scan is simulated (a foam seen by a detector that
# counts photons, with flats, darks, rings, and a rotation axis off centre), and read from a file as a scan of
# your own would be.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import imagereg as ir
from imagereg.metrics import psnr
from imagereg.simulation import write_raw_scan

path = Path(tempfile.mkdtemp()) / "scan.h5"
truth, axis = write_raw_scan(path, columns=160, rows=1, views=60)
scan = ir.read(path)
scan

# %%
clean = ir.preprocess(scan, ["outliers", "flatfield", "rings", "centre"])
images = {"truth": truth[0]}
for method in ("fbp", "tv"):
    images[method] = ir.reconstruct(clean, method).image.squeeze()

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 4))
for panel, (name, image) in zip(axes, images.items(), strict=True):
    panel.imshow(image, cmap="gray", vmin=0, vmax=truth.max())
    panel.set_title(name if name == "truth" else f"{name}, PSNR {psnr(image, truth[0]):.1f} dB")
    panel.axis("off")

# %% [markdown]
# The axis was found from the data, and total variation copes better with 60 views than filtered
# back-projection does:

# %%
assert abs(clean.geometry.centre_of_rotation - axis) < 0.5
assert psnr(images["tv"], truth[0]) > psnr(images["fbp"], truth[0]) + 3

# %% [markdown]
# **Next.** Change `strength` of `tv` and look again; `imagereg list tv` names the other parameters. Then put
# the path of your own scan into the first cell.
