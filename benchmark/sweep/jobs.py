"""Which jobs were submitted for which experiments of a sweep, and which of them the queue knows."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmark.sweep.plan import Cell
from usererror import UserError

JOBS = "jobs.jsonl"
PATIENCE_S = 60  # for a busy queue to answer


def note_jobs(folder: Path, jobs: dict[str, Cell]) -> None:
    """Add submitted jobs to the table of a sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    # one short line at a time: what several processes append does not mix
    with (folder / JOBS).open("a", buffering=1, encoding="utf-8") as stream:
        for job, cell in jobs.items():
            stream.write(json.dumps({"job": job, "identity": cell.identity}) + "\n")


def jobs_by_cell(folder: Path) -> dict[str, list[str]]:
    """Read the table: jobs of every experiment, by its identity, the newest last."""
    found: dict[str, list[str]] = defaultdict(list)
    if (folder / JOBS).exists():
        for line in (folder / JOBS).read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                found[entry["identity"]].append(entry["job"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off; the run directory knows the rest
    return found


def jobs_of_queue(folder: Path) -> set[str]:
    """Read the jobs that a queue was given; those of one machine are named by a folder."""
    return {job for found in jobs_by_cell(folder).values() for job in found if "/" not in job}


def log_file(folder: Path, job: str) -> Path:
    """Name the log of a job; what it printed as errors is in `.err` beside it."""
    return folder / "jobs" / f"{job}_0_log.out"


def queued_jobs() -> set[str]:
    """Ask the queue for the jobs of this user that wait or run; a UserError without an answer."""
    return set(ask_queue("squeue", "--me", "--noheader", "--array", "--format=%i").split())


def queued_jobs_if_any() -> set[str]:
    """Ask likewise where there may be no queue."""
    try:
        return queued_jobs()
    except UserError:
        return set()


def ask_queue(*words: str) -> str:
    """Run a command of the queue, or raise a UserError."""
    try:
        return subprocess.run(
            words, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        reason = " ".join(str(said).split())
        remedy = "on a machine of the cluster, try again later"
        raise UserError(f"Slurm does not answer {words[0]} ({reason}): {remedy}.") from error


def cancel_jobs(jobs: Sequence[str]) -> None:
    """Take jobs off the queue."""
    if jobs:
        ask_queue("scancel", *jobs)
