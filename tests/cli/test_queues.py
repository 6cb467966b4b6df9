"""A batch system's cluster from the command line, with commands that stand in for Slurm's: real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from imagereg.errors import ResourceError, UsageError
from imagereg.io import read
from imagereg.recipe import Recipe
from imagereg.running.local import run
from imagereg.simulation import write_raw_scan

pytestmark = pytest.mark.alone

pytest.importorskip("dask_jobqueue", reason="the extra [dask] is not installed")

SBATCH = """#!/bin/sh
cp "$1" "$SPOOL/job-$$.sh"
setsid sh "$SPOOL/job-$$.sh" > "$SPOOL/job-$$.log" 2>&1 &
echo "Submitted batch job $!"
echo "$!" >> "$SPOOL/submitted"
"""
SCANCEL = """#!/bin/sh
echo "$1" >> "$SPOOL/cancelled"
kill -- "-$1"
"""
CONFIGURATION = """
jobqueue:
  slurm:
    cores: 2
    memory: 2GB
    queue: short
    walltime: '00:10:00'
    job-extra-directives: ['--gres=gpu:1']
    worker-extra-args: [--no-dashboard]
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An environment in which sbatch and scancel are shell scripts, and Dask is told what a job is."""
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(text)
        command.chmod(0o755)
    (tmp_path / "spool").mkdir()
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "jobqueue.yaml").write_text(CONFIGURATION)
    return {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SPOOL": str(tmp_path / "spool"),
        "DASK_CONFIG": str(tmp_path / "dask"),
    }


def recipe_of(folder: Path, out: str, iterations: int = 4) -> Recipe:
    if not (folder / "scan.h5").exists():
        write_raw_scan(folder / "scan.h5", columns=48, rows=4, views=30, seed=2)
    return Recipe.of_mapping(
        {
            "input": str(folder / "scan.h5"),
            "preprocess": ["flatfield", {"centre": {"column": 23.4}}],
            "method": {"name": "tv", "iterations": iterations, "tolerance": 1e-300},
            "execution": {"slab": 1, "threads": 1},
            "output": {"folder": str(folder / out)},
        }
    )


def test_batch_jobs_do_the_work_have_successors_and_are_cancelled(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe_of(tmp_path, "out", iterations=600).to_yaml())
    words = ["run", "recipe.yaml", "--cluster", "slurm", "--workers", "1", "--resource", "GPU=1", "-o", "out"]
    command = subprocess.Popen(
        [sys.executable, "-m", "imagereg", *words],
        cwd=tmp_path, env={**os.environ, **slurm}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not list((tmp_path / "out" / ".partial").glob("slab-*.json")):
        assert command.poll() is None
        time.sleep(0.05)
    spool = tmp_path / "spool"
    # As at the end of its walltime.
    os.killpg(int((spool / "submitted").read_text()), signal.SIGKILL)
    assert command.wait(timeout=300) == 0
    scripts = sorted(spool.glob("job-*.sh"))
    assert len(scripts) == 2
    script = scripts[0].read_text()
    for line in ("-p short", "--cpus-per-task=2", "--mem=2G", "-t 00:10:00", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in script
    assert "--resources GPU=1" in script and "--no-dashboard --nthreads 1" in script
    assert (spool / "submitted").read_text().split()[-1] in (spool / "cancelled").read_text().split()
    list(run(recipe_of(tmp_path, "one", iterations=600)))
    images = [np.asarray(read(tmp_path / name / "image.ome.zarr").data[...]) for name in ("out", "one")]
    np.testing.assert_array_equal(*images)


def test_a_refused_batch_job_is_one_sentence(
    imagereg: Callable[..., CompletedProcess[str]], slurm: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition: short' >&2\nexit 1\n")
    (tmp_path / "recipe.yaml").write_text(recipe_of(tmp_path, "out").to_yaml())
    refused = imagereg("run", "recipe.yaml", "--cluster", "slurm", **slurm)
    assert refused.returncode == 4
    assert "invalid partition: short" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "out" / ".partial").exists()


def test_what_is_missing_is_said_before_anything_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    from imagereg.running.queues import QueueCluster

    with pytest.raises(UsageError, match="did you mean 'slurm'"):
        QueueCluster("slrum", 2)
    with pytest.raises(UsageError, match=r"jobqueue\.yaml: jobqueue: \{slurm: \{cores: 8"):
        QueueCluster("slurm", 2)
    real: Any = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "sbatch" else real(name))
    with (
        dask.config.set({"jobqueue.slurm.cores": 2, "jobqueue.slurm.memory": "2GB"}),
        pytest.raises(ResourceError, match="no command sbatch here"),
    ):
        QueueCluster("slurm", 2)
