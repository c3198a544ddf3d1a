"""A sweep on this machine: so many experiments at a time, each with GPUs of its own."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.records.attempts import RUNNING, LastAttempt
from benchmark.sweep.cell_states import find_state
from benchmark.sweep.estimate import in_words
from benchmark.sweep.jobs import note_jobs
from benchmark.sweep.plan import Cell
from benchmark.sweep.run_cell import RunCell
from datamodules.processes import usable_cores
from usererror import UserError

POLL_S = 0.5
ASK_AGAIN_S = 5.0
EVERY_S = 300.0  # between two lines of progress
FOR_EVER_MIN = 60 * 24 * 365


@dataclass
class _Running:
    cell: Cell
    job: Any  # of submitit
    gpus: list[str]


@dataclass
class LocalEngine:
    """Runs experiments `slots` at a time; those that other processes run are waited for."""

    folder: Path  # of the sweep
    slots: int
    retries: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: list[str] = field(default_factory=list)  # that are free

    def run(self, cells: Sequence[Cell]) -> None:
        """Run experiments until none is left; an interruption ends those that run, too."""
        self.per_cell = min(1, len(self.gpus))
        self.running: list[_Running] = []
        self.waiting = list(cells)
        self._leave_gpus()
        try:
            self.started = self.told = time.monotonic()
            while self.waiting or self.running:
                self._take_in()
                self._start()
                self._tell_progress(len(cells))
                time.sleep(POLL_S)
        except (KeyboardInterrupt, SystemExit):
            self._stop()
            raise

    def _leave_gpus(self) -> None:
        """Leave to what a killed sweep has left running the GPUs that it has."""
        self.left_over: list[tuple[Cell, list[str]]] = []
        for cell in self.waiting:
            state = find_state(cell)
            if state.state == RUNNING and state.attempt and is_here(state.attempt):
                taken = [gpu for gpu in state.attempt.gpus.split(",") if gpu in self.gpus]
                self.gpus = [gpu for gpu in self.gpus if gpu not in taken]
                self.left_over.append((cell, taken))

    def _stop(self) -> None:
        print(f"Ending {len(self.running)} experiments; each saves where it is.", flush=True)
        asked = -math.inf
        while running := [entry for entry in self.running if not entry.job.done()]:
            # again: one that is just starting does not listen yet, one that was asked knows it
            if time.monotonic() - asked > ASK_AGAIN_S:
                asked = time.monotonic()
                for entry in running:
                    # submitit's job is its controller, which passes this on
                    with suppress(ProcessLookupError):
                        os.kill(int(entry.job.job_id), signal.SIGTERM)
            time.sleep(POLL_S)

    def _tell_progress(self, total: int) -> None:
        now = time.monotonic()
        if now - self.told < EVERY_S:
            return
        self.told = now
        left = len(self.waiting) + len(self.running)
        said = f"{total - left} of {total} ended, {len(self.running)} running"
        if left < total:
            rest = (now - self.started) / (total - left) * left
            said += f", about {in_words(rest)} left"
        print(said, flush=True)

    def _take_in(self) -> None:
        for cell, gpus in list(self.left_over):
            if find_state(cell).state != RUNNING:
                self.left_over.remove((cell, gpus))
                self.gpus += gpus
        for entry in [entry for entry in self.running if entry.job.done()]:
            self.running.remove(entry)
            self.gpus += entry.gpus
            state = find_state(entry.cell)
            print(f"{state.state:12} {entry.cell.label}  {state.text}".rstrip(), flush=True)
            if state.state == RUNNING:
                self.waiting.append(entry.cell)  # another process was quicker

    def _start(self) -> None:
        busy = len(self.running)
        unfinished = {cell.identity for cell in self.waiting}
        unfinished |= {entry.cell.identity for entry in self.running}
        for cell in list(self.waiting):
            if busy >= self.slots:
                return
            if cell.teacher in unfinished:
                continue  # one that fails leaves it to the student to say why
            state = find_state(cell)
            if state.record:
                self.waiting.remove(cell)  # somebody else has finished it
            elif state.attempt and state.state == RUNNING:
                # of a sweep that was killed, or a command of its own; it shares this machine
                busy += is_here(state.attempt)
            elif (need := self.per_cell * max(1, cell.resources.gpus)) <= len(self.gpus):
                self.waiting.remove(cell)
                self._submit(cell, [self.gpus.pop(0) for _ in range(need)])
                busy += 1

    def _submit(self, cell: Cell, gpus: list[str]) -> None:
        from submitit import LocalExecutor

        env = {"CUDA_VISIBLE_DEVICES": ",".join(gpus), "OMP_NUM_THREADS": str(self._threads())}
        if not gpus:
            del env["CUDA_VISIBLE_DEVICES"]
        # what the file says of processors wins
        if cell.resources.cpus or "OMP_NUM_THREADS" in os.environ:
            del env["OMP_NUM_THREADS"]
        # submitit names files by the number of a process, which others have had before
        place = f"{cell.name}-{time.time_ns()}"
        executor = LocalExecutor(self.folder / "jobs" / place)
        executor.update_parameters(timeout_min=FOR_EVER_MIN)
        with _interruptions_are_ours():
            job = executor.submit(RunCell.of(cell, {**env, **self.env}, self.retries))
        note_jobs(self.folder, {f"{place}/{job.job_id}": cell})
        print(f"{'started':12} {cell.label}", flush=True)
        self.running.append(_Running(cell, job, gpus))

    def _threads(self) -> int:
        # processes that fight for cores take many times as long
        return max(1, usable_cores() // self.slots)


def is_here(attempt: LastAttempt) -> bool:
    """Tell whether an attempt was made on this machine."""
    return attempt.host == socket.gethostname()


def visible_gpus() -> list[str]:
    """List the GPUs that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return list(filter(None, named.split(",")))
    import torch

    return list(map(str, range(torch.cuda.device_count())))


def read_place(word: str) -> tuple[str, int]:
    """Read ON: `slurm`, `local`, or `local:2` for two at a time; 0 stands for as many as fit.

    Example:
        >>> read_place("local:2"), read_place("slurm")
        (('local', 2), ('slurm', 0))
    """
    place, _, number = word.partition(":")
    known = place == "local" and (not number or number.isdigit() and int(number) > 0)
    if not known and word != "slurm":
        raise UserError(f"ON is {word!r}: give local, local:2 for two at a time, or slurm.")
    return place, int(number or 0)


@contextmanager
def _interruptions_are_ours() -> Iterator[None]:
    """Start processes that a terminal's Ctrl-C does not reach; the sweep tells them itself."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
