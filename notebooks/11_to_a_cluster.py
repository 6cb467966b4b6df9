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
# # 11. From notebook to recipe to a cluster
#
# **You will be able to** turn what you found in a notebook into a recipe that gives the same bytes
# anywhere, run it on a folder of scans, sweep a parameter, and send the same jobs to a Dask cluster.

# %%
import json
from pathlib import Path

import numpy as np
import tifffile

import imagereg as ir
from imagereg.running.campaign import run_all, write_sheet, write_table
from imagereg.running.jobs import batch_jobs, sweep_jobs
from imagereg.running.local import run
from imagereg.running.reports import InProcess
from imagereg.simulation import write_raw_scan

folder = Path("scans").resolve()
folder.mkdir()
truths = {
    name: write_raw_scan(folder / f"{name}.h5", columns=96, rows=2, views=60, seed=seed)[0]
    for seed, name in enumerate(("monday", "tuesday", "wednesday"))
}
steps = ["outliers", "flatfield", "centre"]
tried = ir.reconstruct(ir.preprocess(ir.read(folder / "monday.h5"), steps), "tv", strength=0.1)
ir.show({"truth": truths["monday"][1], "tv": tried}, truth=truths["monday"][1])

# %% [markdown]
# ## A recipe
#
# A recipe is the same thing as a document: input, steps, method, output. napari writes it, the command
# line runs it, every output carries it. Write it once, with nothing but what you chose:

# %%
recipe = ir.Recipe.of_mapping(
    {
        "input": str(folder / "monday.h5"),
        "preprocess": steps,
        "method": {"name": "tv", "strength": 0.1},
        "output": {"folder": "monday", "formats": ["tiff"]},
    }
)
Path("recipe.yaml").write_text(recipe.to_yaml())
*_, last = run(recipe)
print(sorted(path.name for path in Path("monday").iterdir()))

# %% [markdown]
# In a shell this is `imagereg run recipe.yaml`, and `imagereg check recipe.yaml` says before what
# memory, time and disk it takes. The image is the notebook's, and `provenance.json` says how it came
# about:

# %%
image = tifffile.imread("monday/image.tif")
provenance = json.loads(Path("monday/provenance.json").read_text())
print("largest difference to the notebook:", f"{np.abs(image - tried.image).max():.1g}")
print({key: provenance[key] for key in ("method", "centre_of_rotation")})

# %% [markdown]
# ## Many values
#
# `imagereg sweep recipe.yaml --vary strength=log:0.01:1:3 --truth truth.tif` makes a folder for each
# value, a table and a sheet of pictures. In Python:

# %%
swept = Path("sweep").resolve()
jobs = sweep_jobs(recipe, {"strength": (0.01, 0.1, 1.0)}, swept)
reports = list(run_all(jobs, InProcess(), swept))
rows = write_table(jobs, swept, truth=truths["monday"])
for row in rows:
    print(f"strength {row['strength']:5g}   PSNR {row['psnr']:5.1f} dB   SSIM {row['ssim']:.3f}")
write_sheet(jobs, swept)
ir.show({job.name: tifffile.imread(job.folder / "image.tif") for job in jobs}, truth=truths["monday"][1])

# %% [markdown]
# ## Many scans, on a cluster
#
# `imagereg batch scans/ recipe.yaml --scheduler tcp://node:8786` sends the jobs to a `dask.distributed`
# scheduler. What travels is a recipe and comes back is a line; images go straight from the worker to
# disk. Here the cluster is two workers on this computer; where there is Slurm, `--cluster slurm
# --workers 16` submits the workers as batch jobs, and nothing else changes.

# %%
from distributed import LocalCluster

from imagereg.running.cluster import DaskCluster

batch = Path("batch").resolve()
jobs = batch_jobs(folder, recipe, batch, pattern="*.h5")
with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
    for report in run_all(jobs, DaskCluster(cluster.scheduler_address), batch):
        if report.kind in ("done", "failed"):
            print(report.job, report.kind)
done = {job.name: tifffile.imread(job.folder / "image.tif") for job in jobs}
ir.show(dict(sorted(done.items())))

# %% [markdown]
# ## Nothing is done twice
#
# Call it again, after a power cut say: what is finished is kept, and the rest goes on where it stopped.
# A recipe that is another one is refused over an old output, with a sentence.

# %%
again = [report.kind for report in run_all(jobs, InProcess(), batch)]
print(again)
try:
    other = batch_jobs(folder, recipe.with_values({"method.strength": 0.2}), batch, pattern="*.h5")
    list(run_all(other, InProcess(), batch))
    refused = ""
except ir.ImageregError as error:
    refused = str(error).replace(str(batch), "batch")
print(refused)

# %%
assert np.abs(image - tried.image).max() < 1e-4 * np.abs(image).max()
decibels = [row["psnr"] for row in rows]
assert decibels[1] > decibels[0] and decibels[1] > decibels[2]
assert sorted(done) == ["monday", "tuesday", "wednesday"]
assert np.array_equal(done["monday"], image)  # the cluster's bytes are the single run's
assert again == ["kept"] * 3
assert "holds the result of another recipe" in refused

# %% [markdown]
# ## Exercise
#
# Sweep two parameters at once: the strength, and the number of views that are used. How many jobs is
# that, and where are their pictures?

# %% [markdown]
# ### Answer

# %%
both = Path("both").resolve()
grid = sweep_jobs(recipe, {"strength": (0.03, 0.1), "input.views": ("::1", "::3")}, both)
list(run_all(grid, InProcess(), both))
table = write_table(grid, both, truth=truths["monday"])
for row in table:
    print(f"{row['job']:32} PSNR {row['psnr']:5.1f} dB")
assert len(grid) == 4 and write_sheet(grid, both) == both / "sheet.png"

# %% [markdown]
# Two times two jobs, each with its own folder and recipe, all in `both/sheet.png`. In a shell: `imagereg
# sweep recipe.yaml --vary strength=0.03,0.1 --vary input.views=::1,::3`.
