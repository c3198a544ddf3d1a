"""What runs one experiment wherever an engine starts it: `imss bench` as a process of its own.

The process has neither the engine's signal handlers nor its libraries. This one stands between it
and the queue:

* Before a time limit the queue sends USR2: the experiment is asked to end, saves between two steps,
  and submitit requeues the job; nothing else does.
* A preempted job gets SIGTERM, and is requeued only if it is still there when its time of grace is
  over: the experiment saves and ends, this process waits to be killed.
* On one machine SIGTERM comes from the sweep itself, and both end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from benchmark.records.attempts import (
    FAILED,
    INTERRUPTED,
    RUNNING,
    LastAttempt,
    job_id,
    last_checkpoint,
)
from benchmark.sweep.plan import Cell
from usererror import TERMINATED, Busy, UserError

GRACE_S = 15 * 60  # longer than any queue leaves a job that it has told to end
FRUITLESS = 2  # interrupted attempts in a row that saved nothing are a failure


@dataclass
class RunCell:
    """One experiment for an engine; calling it returns the exit status of `imss bench`."""

    words: tuple[str, ...]  # of the command
    run_dir: Path
    env: dict[str, str] = field(default_factory=dict)
    retries: int = 0  # of an attempt that ended otherwise than by a user's mistake or a request

    @classmethod
    def of(cls, cell: Cell, env: Mapping[str, str], retries: int = 0) -> RunCell:
        """Make what an engine calls for a cell of a plan."""
        # sums in another order would be another result
        threads = {"OMP_NUM_THREADS": str(cell.resources.cpus)} if cell.resources.cpus else {}
        return cls(cell.request.command_words(), cell.run_dir, {**threads, **env}, retries)

    def __call__(self) -> int:
        """Run the experiment and note how it ended."""
        requeue = signal.getsignal(signal.SIGUSR2)
        self.asked: set[int] = set()
        for _ in range(self.retries + 1):
            status = self._attempt()
            if self.asked or not may_try_again(status):
                break
        if os.environ.get("SUBMITIT_EXECUTOR") != "slurm" or not status:
            return status
        attempt = LastAttempt.read(self.run_dir)
        hopeless = attempt is not None and attempt.state == FAILED
        if signal.SIGUSR2 in self.asked and callable(requeue) and not hopeless:
            requeue(signal.SIGUSR2, None)
        if self.asked and not hopeless:
            # preempted: a job that has ended is not requeued; other tasks wait for the first
            time.sleep(GRACE_S)
        # the queue is to know that it failed
        raise SystemExit(status)

    def checkpoint(self) -> Any:
        """Say how submitit starts it again: as it is, since the run directory holds the rest."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _attempt(self) -> int:
        saved = self._saved_at()
        child: subprocess.Popen[str] | None = None

        def ask_to_end(number: int, frame: FrameType | None) -> None:
            # once: a second request would end it while it saves
            if child and not self.asked:
                child.send_signal(signal.SIGTERM)
            self.asked.add(number)

        signal.signal(signal.SIGTERM, ask_to_end)
        # a queue signals all processes of a job: the child ignores this one for ever
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmark", *self.words],
            env={**os.environ, **self.env},
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        signal.signal(signal.SIGUSR2, ask_to_end)
        if self.asked:
            child.send_signal(signal.SIGTERM)
        last_line = ""
        assert child.stderr is not None
        for line in child.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            last_line = line.strip() or last_line
        status = child.wait()
        # as a shell says that a signal ended it
        status = status if status >= 0 else 128 - status
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        by_itself = status < 128 and not self.asked
        # what ends the others when one has failed is no news
        if status not in (0, Busy.status) and (first or by_itself):
            error = last_line.removeprefix("imss: ")
            self._note(child.pid, status, error, self._saved_at() != saved)
        return status

    def _note(self, pid: int, status: int, error: str, saved: bool) -> None:
        attempt = LastAttempt.read(self.run_dir)
        own = attempt and (attempt.pid, attempt.host) == (pid, socket.gethostname())
        if attempt and is_one_of_several() and attempt.job == job_id():
            if attempt.state == FAILED:
                return  # the first to fail has said why
            own = True
        if attempt and not own and attempt.is_alive(self.run_dir):
            return  # the run is another process's, which goes on
        if attempt is None or not own or attempt.state != RUNNING:
            # it ended before it came to the run
            attempt = LastAttempt.begin(self.run_dir)
        interrupted = status >= 128
        # whoever ends a sweep by hand may do so as often and as early as he likes
        by_hand = self.asked and os.environ.get("SUBMITIT_EXECUTOR") != "slurm"
        fruitless = attempt.fruitless + 1 if interrupted and not (saved or by_hand) else 0
        state = INTERRUPTED if interrupted else FAILED
        if fruitless >= FRUITLESS:
            state, error = FAILED, f"nothing was saved in {fruitless} attempts; {error}"
        attempt = replace(attempt, state=state, status=status, error=error, fruitless=fruitless)
        attempt.write(self.run_dir)

    def _saved_at(self) -> int:
        try:
            return last_checkpoint(self.run_dir).stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def may_try_again(status: int) -> bool:
    """Tell whether an experiment that ended with `status` is worth another attempt by itself.

    Example:
        >>> may_try_again(2), may_try_again(143), may_try_again(137)  # mistake, SIGTERM, SIGKILL
        (False, False, True)
    """
    meant = (0, UserError.status, Busy.status, TERMINATED, 128 + signal.SIGINT)
    return not is_one_of_several() and status not in meant


def is_one_of_several() -> bool:
    """Tell whether other processes of a queue's job work on the same experiment."""
    return os.environ.get("SLURM_NTASKS", "1") != "1"
