"""What a run's files say of the attempts at it: which process holds it, how the last one ended.

Neither torch nor a queue is asked.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from datamodules.processes import LEASE_S
from datamodules.store.scene_store import write_text_whole

CHECKPOINTS = "checkpoints"  # the folder in a run
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
ATTEMPT = "attempt.json"
RUNNING, FAILED, INTERRUPTED = "running", "failed", "interrupted"


@dataclass(frozen=True)
class LastAttempt:
    """The newest attempt at a run, as the file `attempt.json` in it."""

    state: str
    host: str
    pid: int
    job: str  # of a cluster, `8812_3`; empty elsewhere
    started: str
    number: int = 1  # of attempts, this one included
    error: str = ""  # the last line that it printed
    status: int | None = None  # its exit status
    fruitless: int = 0  # interrupted attempts in a row that saved nothing
    gpus: str = ""  # CUDA_VISIBLE_DEVICES

    @classmethod
    def begin(cls, run_dir: Path) -> LastAttempt:
        """Note that this process is at work on a run."""
        earlier = cls.read(run_dir)
        attempt = cls(
            state=RUNNING,
            host=socket.gethostname(),
            pid=os.getpid(),
            job=job_id(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            number=earlier.number + 1 if earlier else 1,
            fruitless=earlier.fruitless if earlier else 0,
            gpus=os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        )
        attempt.write(run_dir)
        return attempt

    @classmethod
    def read(cls, run_dir: Path) -> LastAttempt | None:
        """Read the newest attempt; None where there was none, or its file tells nothing."""
        try:
            return cls(**json.loads((run_dir / ATTEMPT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            # it is told to people and decides nothing
            return None

    def write(self, run_dir: Path) -> None:
        """Write the file."""
        run_dir.mkdir(parents=True, exist_ok=True)
        write_text_whole(run_dir / ATTEMPT, json.dumps(asdict(self), indent=1) + "\n")

    def is_alive(self, run_dir: Path) -> bool:
        """Tell whether its process still holds the run, as far as this machine can see."""
        if self.state != RUNNING:
            return False
        if self.host == socket.gethostname():
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except PermissionError:
                pass  # it is another user's
        try:
            # touched by its holder for as long as it lives
            return time.time() - lock_file(run_dir).stat().st_mtime < 2 * LEASE_S
        except FileNotFoundError:
            return False


def lock_file(run_dir: Path) -> Path:
    """Name the file that a process holds which works on a run; beside it, since FORCE=1 renames."""
    return run_dir.with_name(f".{run_dir.name}.lock")


def last_checkpoint(run_dir: Path) -> Path:
    """Name the checkpoint that a run continues from, if it is there."""
    return run_dir / CHECKPOINTS / LAST


def job_id() -> str:
    """Name the job of a cluster that this process is a part of, as its queue does."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
