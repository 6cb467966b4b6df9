"""Many runs kept together: what is finished is not done again, and a table and a picture of all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import ImageregError, UsageError
from imagereg.io.complaints import writing
from imagereg.running.jobs import Job
from imagereg.running.ledger import FINISHED, PARTIAL, write_beside
from imagereg.running.reports import Executor, Report

RECORD, TABLE, SHEET = "campaign.json", "table.csv", "sheet.png"
MOST_PANELS = 48


def run_all(
    jobs: Sequence[Job], executor: Executor, folder: Path, *, overwrite: bool = False
) -> Iterator[Report]:
    """Carry out jobs, less those that are finished; keep a record of each in `folder`.

    A job counts as finished when its folder is complete and was begun with the same recipe and input.

    Raises
    ------
    UsageError
        When a job's folder holds the result of another recipe or input and `overwrite` is not allowed,
        before anything runs.
    InputError
        When an input is missing, or the folder cannot be written.
    """
    record = _read(folder)
    identities = {job.name: job.identity for job in jobs}
    finished: list[Job] = []
    waiting: list[Job] = []
    for job in jobs:
        same = record.get(job.name, {}).get("identity") == identities[job.name]
        complete = (job.folder / FINISHED).exists()
        if complete and not same and not overwrite:
            raise UsageError(
                f"{job.folder} holds the result of another recipe or input; nothing was changed: choose "
                "another folder with -o, or allow it with --overwrite."
            )
        unfinished = not complete and not same and job.name in record and (job.folder / PARTIAL).exists()
        if unfinished and not overwrite:
            raise UsageError(
                f"{job.folder / PARTIAL} holds an unfinished run of another recipe or input; remove that "
                "folder, or choose another output with -o."
            )
        (finished if complete and same else waiting).append(job)
    for job in waiting:
        record[job.name] = {"identity": identities[job.name], "values": dict(job.values), "status": "begun"}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _write(folder, record)
    for job in finished:
        yield Report(job.name, "kept", "finished earlier", 1.0, metrics=record[job.name].get("metrics", {}))
    for report in executor.run(waiting, overwrite=overwrite):
        if report.kind in ("done", "failed"):
            entry = record[report.job]
            entry.update(status=report.kind, seconds=report.seconds, metrics=dict(report.metrics))
            entry.pop("message", None)
            if report.kind == "failed":
                entry["message"] = report.message
            _write(folder, record)
        yield report


def write_table(
    jobs: Sequence[Job], folder: Path, *, truth: NDArray[Any] | None = None
) -> list[dict[str, Any]]:
    """Write `table.csv`: a row for each job with what was varied, how it ended and its figures.

    Parameters
    ----------
    truth : the true image, where there is one: PSNR, SSIM and the rest are then among the figures.
    """
    record = _read(folder)
    rows = []
    for job in jobs:
        entry = record.get(job.name, {})
        row: dict[str, Any] = {"job": job.name, **job.values, "status": entry.get("status", "")}
        row["seconds"] = entry.get("seconds")
        row.update(entry.get("metrics", {}))
        if truth is not None and entry.get("status") == "done":
            row.update(_against(job, truth))
        rows.append(row)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_beside(folder / TABLE, lambda stream: stream.write(table.getvalue().encode()))
    return rows


def write_sheet(jobs: Sequence[Job], folder: Path) -> Path | None:
    """Write `sheet.png`: the middle slice of each finished job on one grey scale; None where none is."""
    from imagereg.preview import write_panels

    done = [job for job in jobs if (job.folder / FINISHED).exists()]
    if not done:
        return None
    if len(done) > MOST_PANELS:
        done = [done[k] for k in np.linspace(0, len(done) - 1, MOST_PANELS).round().astype(int)]
    return write_panels({job.name: middle_slice(job.folder) for job in done}, folder / SHEET)


def middle_slice(folder: Path) -> NDArray[np.float64]:
    """The middle slice of a finished run, without reading the others."""
    data = image_in(folder)
    while data.ndim > 2:
        data = data[data.shape[0] // 2]
    return np.asarray(data[...], dtype=np.float64)


def _against(job: Job, truth: NDArray[Any]) -> Mapping[str, float]:
    from imagereg.metrics import all_metrics

    image = np.asarray(image_in(job.folder)[...], dtype=np.float64)
    if image.size != truth.size:
        raise UsageError(f"the truth has shape {truth.shape} and {job.folder} {image.shape}.")
    return all_metrics(image.reshape(truth.shape), truth)


def image_in(folder: Path) -> Any:
    """The image of a finished run, lazily where it is large."""
    from imagereg.io import read
    from imagereg.running.slabs import SUFFIX

    for name in SUFFIX.values():
        if (folder / name).exists():
            return read(folder / name).data
    raise ImageregError(f"{folder}: the run is complete and holds no image; was it moved?")


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        jobs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["jobs"]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{path}: not readable as a record of runs; choose another folder with -o."
        ) from None
    return jobs


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps({"version": 1, "jobs": record}, indent=1, default=str)
    write_beside(folder / RECORD, lambda stream: stream.write(text.encode()))
