"""What a sweep's status says: a line per experiment that is not done, and a summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from benchmark.records.attempts import FAILED, INTERRUPTED, RUNNING
from benchmark.records.overrides import describe_overrides
from benchmark.sweep.cell_states import (
    INVALID,
    MISSING,
    QUEUED,
    STATES,
    CellState,
    find_state,
)
from benchmark.sweep.estimate import Durations, in_words
from benchmark.sweep.jobs import jobs_by_cell, log_file, queued_jobs_if_any
from benchmark.sweep.plan import Plan
from datamodules.processes import LEASE_S
from usererror import UserError

DRIVER = "driver.lock"  # held by the process that runs a sweep on this machine
ALL_DONE, NOT_ALL_RIGHT, UNFINISHED = 0, 1, 3
LINES = 40  # of one state, before the rest is only counted


def find_states(plan: Plan, folder: Path) -> list[CellState]:
    """Find where every experiment stands."""
    jobs, queued = jobs_by_cell(folder), queued_jobs_if_any()
    states = []
    for cell in plan.cells:
        state = find_state(cell, queued, jobs.get(cell.identity, ()))
        states.append(state)
    return states


def status_lines(plan: Plan, states: Iterable[CellState], folder: Path) -> Iterator[str]:
    """Write the status, for a terminal."""
    states = list(states)
    jobs = jobs_by_cell(folder)
    numbers = Counter(entry.state for entry in states)
    counted = []
    for state in STATES:
        if numbers[state]:
            counted.append(f"{numbers[state]} {state}")
    shared = plan.shared_overrides
    of = f" ({described})" if (described := describe_overrides(shared)) else ""
    yield f"{plan.sweep}: {len(states)} cells{of} - {', '.join(counted)}"
    for state in STATES[1:]:
        members = [entry for entry in states if entry.state == state]
        if state == INVALID:
            yield from _invalid_lines(members, shared)
            continue
        for entry in members[:LINES]:
            text = entry.text
            if state == RUNNING:
                text += f"  {last_line(folder, jobs.get(entry.cell.identity, []))}"
            yield f"  {state:12} {entry.cell.label_beside(shared)}  {text}".rstrip()
        if len(members) > LINES:
            yield f"  {state:12} ... and {len(members) - LINES} more"
    if plan.undecided:
        waiting = f"{plan.undecided} cells wait for what trials choose"
        yield f"  {waiting}; when all are done, make sweep goes on with them"
    yield from time_lines(states, folder)


def _invalid_lines(members: Iterable[CellState], shared: Collection[str]) -> Iterator[str]:
    """Say every problem once: data that are not there concern many cells."""
    by_problem: dict[str, list[str]] = {}
    for entry in members:
        by_problem.setdefault(entry.text, []).append(entry.cell.label_beside(shared))
    for problem, labels in by_problem.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        yield f"  {INVALID:12} {labels[0]}{more}  {problem}"


def time_lines(states: Iterable[CellState], folder: Path) -> Iterator[str]:
    """Say what was spent, and what is left as far as records tell."""
    states = list(states)
    durations = Durations.at_hand([entry.cell for entry in states], folder)
    spent, left, unknown, gpu = 0.0, 0.0, 0, 0.0
    for entry in states:
        gpus = entry.cell.resources.gpus * entry.cell.resources.nodes
        if entry.record:
            seconds = sum(entry.record.manifest.durations.values())
            spent += seconds
        elif entry.state != INVALID:
            known = durations.of_cell(entry.cell)
            unknown += known is None
            left += known or 0.0
            gpu += gpus * (known or 0.0)
    texts = [f"{in_words(spent)} spent"] if spent else []
    if left:
        texts.append(f"about {in_words(left)} left, one at a time")
    if gpu:
        texts.append(f"{gpu / 3600:.1f} GPU hours of it")
    if unknown:
        texts.append(f"{unknown} cells of unknown length")
    if texts:
        yield f"  {'; '.join(texts)}"


def last_line(folder: Path, jobs: list[str]) -> str:
    """Read the last line that the newest job printed, which says the time left."""
    log = log_file(folder, jobs[-1]) if jobs else None
    if log is None or not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        lines = stream.read().decode(errors="replace").splitlines()
    # the engine's own lines are of no interest
    said = [line.strip() for line in lines if line.strip() and not line.startswith("submitit")]
    return said[-1] if said else ""


def goes_on(states: Iterable[CellState], folder: Path) -> bool:
    """Tell whether anything runs or waits in a queue, or a sweep on this disk starts the next."""
    try:
        driven = time.time() - (folder / DRIVER).stat().st_mtime < 2 * LEASE_S
    except FileNotFoundError:
        driven = False
    return driven or any(entry.state in (RUNNING, QUEUED) for entry in states)


def exit_status(states: Iterable[CellState], plan: Plan) -> int:
    """Tell a program how a sweep stands: 0 all done, 1 failed or invalid, 3 unfinished.

    A sweep of which nothing can run is a user's mistake, 2.
    """
    found = {entry.state for entry in states}
    if found == {INVALID}:
        return UserError.status
    if found & {QUEUED, MISSING, INTERRUPTED, RUNNING}:
        return UNFINISHED
    if found & {FAILED, INVALID}:
        return NOT_ALL_RIGHT
    return UNFINISHED if plan.undecided else ALL_DONE
