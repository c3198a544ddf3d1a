"""A sweep as arrays of a Slurm cluster, one for all experiments that need the same resources."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.sweep.jobs import note_jobs
from benchmark.sweep.plan import Cell
from benchmark.sweep.run_cell import RunCell
from benchmark.sweep.sweep_file import Resources
from usererror import UserError

LARGEST = 1000  # array that Slurm takes if nobody has configured it otherwise
TIMEOUTS = 20  # how often an experiment may run into its time limit

# A job that is preempted while it starts would end by SIGTERM, and one that has ended is not
# requeued: it does not hear it until `RunCell` listens.
DEAF_PYTHON = f'sh -c \'trap "" TERM; exec "$@"\' sh {shlex.quote(sys.executable)}'


def submit_arrays(
    name: str, cells: Sequence[Cell], folder: Path, env: Mapping[str, str], retries: int = 0
) -> list[str]:
    """Submit experiments and return the jobs; it does not wait for them."""
    names = {cell.identity for cell in cells}
    taught = [cell for cell in cells if cell.teacher in names]
    jobs = _submit(name, [cell for cell in cells if cell not in taught], folder, env, retries)
    # teachers are no students themselves, and may lie in any of the arrays
    return jobs + _submit(name, taught, folder, env, retries, after_any_of(jobs))


def after_any_of(jobs: Sequence[str]) -> str:
    """Make Slurm's condition that jobs have ended, however, each array as a whole.

    Example:
        >>> after_any_of(["7_0", "7_1", "9_0"])
        'afterany:7:9'
    """
    return ":".join(["afterany", *sorted({job.partition("_")[0] for job in jobs})])


def _submit(
    name: str,
    cells: Sequence[Cell],
    folder: Path,
    env: Mapping[str, str],
    retries: int,
    dependency: str = "",
) -> list[str]:
    from submitit import SlurmExecutor

    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(cell.resources.model_dump_json(), []).append(cell)
    arrays = []
    for members in alike.values():
        for start in range(0, len(members), LARGEST):
            arrays.append(members[start : start + LARGEST])
    submitted: list[str] = []
    for members in arrays:
        with explain_refusal(name):
            executor = SlurmExecutor(folder / "jobs", max_num_timeout=TIMEOUTS, python=DEAF_PYTHON)
            options = sbatch_options(name, members[0].resources)
            executor.update_parameters(**options, dependency=dependency or None)
            jobs = executor.submit_array([RunCell.of(cell, env, retries) for cell in members])
        found = {str(job.job_id): cell for job, cell in zip(jobs, members, strict=True)}
        note_jobs(folder, found)
        submitted += found
    return submitted


def submit_follow_up(
    name: str, words: Sequence[str], jobs: Sequence[str], folder: Path, resources: Resources
) -> None:
    """Submit a short job that runs a command of ours when all others have ended, however."""
    from submitit import SlurmExecutor

    # whose account and partition, and what makes the program start, are those of the others
    alike = resources.model_dump(include={"partition", "slurm", "setup"})
    options = sbatch_options(f"{name}-tables", Resources(minutes=15, cpus=1, **alike))
    with explain_refusal(name):
        executor = SlurmExecutor(folder / "jobs")
        executor.update_parameters(**options, dependency=after_any_of(jobs))
        executor.submit(subprocess.call, [sys.executable, "-m", "benchmark", *words])


@contextmanager
def explain_refusal(name: str) -> Iterator[None]:
    """Turn what submitit says of jobs that a cluster refuses into the user's mistake."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except (FailedJobError, FailedSubmissionError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"Slurm does not take the jobs of {name}: {reason}") from error


def sbatch_options(name: str, resources: Resources) -> dict[str, Any]:
    """Translate resources into options of submitit."""
    more: dict[str, Any] = {"requeue": True, **resources.slurm}
    if resources.memory:
        more["mem"] = resources.memory
    options: dict[str, Any] = {
        "job_name": f"imss-{name}",
        "time": resources.minutes,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.tasks_per_node,
        "cpus_per_task": resources.cpus,
        "gpus_per_node": resources.gpus or None,
        "partition": resources.partition,
        "array_parallelism": resources.at_a_time,
        "setup": resources.setup or None,
        # processes of one experiment would wait half an hour for one that failed before they met
        "srun_args": ["--kill-on-bad-exit=1"],
        "additional_parameters": more,
    }
    return {key: value for key, value in options.items() if value is not None}
