"""Where every experiment of a plan stands, from files; a queue only tells waiting from nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from benchmark.choices import PUBLISHED
from benchmark.records.attempts import FAILED, INTERRUPTED, RUNNING, LastAttempt, last_checkpoint
from benchmark.records.manifest import MANIFEST
from benchmark.records.record import Record, read_record
from benchmark.sweep.plan import Cell
from usererror import UserError

DONE, QUEUED, MISSING, INVALID = "done", "queued", "missing", "invalid"
# in the order of a table: what needs somebody comes last
STATES = (DONE, RUNNING, QUEUED, MISSING, INTERRUPTED, FAILED, INVALID)


@dataclass(frozen=True)
class CellState:
    """Where one experiment stands."""

    cell: Cell
    state: str
    text: str = ""  # what a person would ask next
    attempt: LastAttempt | None = None
    record: Record | None = None


def record_of(cell: Cell) -> Record | None:
    """Read the whole record of an experiment, one of the user or a published one, if any."""
    published = PUBLISHED / "records" / cell.request.dataset / f"{cell.request.variant}-{cell.name}"
    for folder in (cell.run_dir / "record", published):
        if (folder / MANIFEST).exists():
            try:
                record = read_record(folder)
            except UserError:
                continue  # a damaged one is no result; a run makes it anew
            # the name holds the first digits alone
            if record.manifest.identity == cell.identity:
                return record
    return None


def find_state(cell: Cell, queued: Collection[str] = (), jobs: Sequence[str] = ()) -> CellState:
    """Find where an experiment stands; `jobs` are those that were submitted for it."""
    if cell.problem:
        return CellState(cell, INVALID, cell.problem)
    if record := record_of(cell):
        return CellState(cell, DONE, "", None, record)
    attempt = LastAttempt.read(cell.run_dir)
    if attempt and attempt.is_alive(cell.run_dir):
        place = f"job {attempt.job} on {attempt.host}" if attempt.job else attempt.host
        again = f", attempt {attempt.number}" if attempt.number > 1 else ""
        return CellState(cell, RUNNING, f"{place}{again}", attempt)
    waiting = [job for job in jobs if job in queued]
    if waiting:
        return CellState(cell, QUEUED, f"job {waiting[-1]}", attempt)
    if attempt and attempt.state == FAILED:
        return CellState(cell, FAILED, attempt.error or f"exit status {attempt.status}", attempt)
    saved = last_checkpoint(cell.run_dir).exists()
    if saved or attempt:
        text = "continues from its last checkpoint" if saved else "starts again"
        return CellState(cell, INTERRUPTED, text, attempt)
    return CellState(cell, MISSING)
