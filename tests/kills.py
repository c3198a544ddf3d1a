"""Kill commands with -9 and run them again: everything must end as if nothing had happened.

    python -m tests.kills --kills 60 --seed 0

A kill comes after a drawn time, or just before a drawn change of the disk (a file is opened for
writing, renamed, removed), since records and tables are written within milliseconds. A command is
killed up to three times, then left alone; what lies on the disk then is compared byte by byte, but
for times of day and durations, with what an undisturbed call left from the same beginning.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.__main__ import main
from benchmark.experiment import lightning_cli, train  # noqa: F401 - children need not
from benchmark.maps import geotiff, predict  # noqa: F401
from benchmark.report import payload  # noqa: F401
from tests.support.placed import write

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
TIMES = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d[^\"<,]*|\"(fit_s|test_s|mtime\w*)\": [\d.]+|version_\d+"
)
# what tells of attempts and of times
OMITTED = ("logs", "previous.ckpt", "attempt.json", ".lock", "import.jsonl", "stamps.json")
TRAINING = "--data.window 32 --data.batch_size 2 --trainer.accelerator cpu --trainer.max_steps 7"
TRAINING += " --trainer.val_check_interval 3 --trainer.enable_progress_bar false"
LIMIT_S = 300.0  # for any command


@dataclass(frozen=True)
class Stage:
    """A command, and how often it is killed relative to the others."""

    name: str
    words: str  # {now} is the folder of this trial, {run} the run directory in it
    share: int


BENCH = "bench --method control --data toy --store {now}/store --runs {now}/runs"
STAGES = (
    Stage("import", "data toy --source {src} --store {now}/store --copy", 4),
    Stage("train", f"{BENCH} {TRAINING} --data.num_workers 0", 5),
    Stage("workers", f"{BENCH} {TRAINING} --data.num_workers 2 --seed 1", 4),
    Stage("evaluate", "evaluate --checkpoint {run}/checkpoints/last.ckpt --store {now}/store", 3),
    Stage("leaderboard", "leaderboard --runs {now}/runs --data toy", 1),
    Stage("report", "report --runs {now}/runs --data toy --out {now}/report --samples 100", 2),
    Stage("predict", "predict --run {run} --input rgb={src}/c_rgb.tif --out {now}/maps/c.tif", 2),
)


def make_source(folder: Path) -> None:
    """Write three scenes of two sensors, which say something of three classes."""
    rng = np.random.default_rng(0)
    lines = ["id,split,rgb,dsm,label"]
    for name, split in {"a": "train", "b": "val", "c": "test"}.items():
        label = np.kron(rng.integers(0, 3, (9, 8)), np.ones((8, 8), int)).astype(np.uint8)
        noise = rng.integers(0, 60, (3, *label.shape))
        write(folder / f"{name}_rgb.tif", (60 * label[None] + noise).astype(np.uint8))
        write(folder / f"{name}_dsm.tif", (30 + 4.0 * label[None]).astype(np.float32))
        write(folder / f"{name}_label.tif", label[None])
        lines.append(f"{name},{split},{name}_rgb.tif,{name}_dsm.tif,{name}_label.tif")
    (folder / "scenes.csv").write_text("\n".join(lines) + "\n")
    classes = "id,name,r,g,b\n0,ground,0,0,0\n1,building,255,0,0\n2,tree,0,255,0\n"
    (folder / "classes.csv").write_text(classes)


def left_behind(folder: Path) -> dict[str, str]:
    """Digest every file that a command left, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not any(word in name for word in OMITTED):
            found[name] = hashlib.sha256(content_of(path)).hexdigest()
    return found


def content_of(path: Path) -> bytes:
    """Read what a file says, without the times at which it was said."""
    raw = path.read_bytes()
    if path.suffix == ".ckpt":
        state = torch.load(path, weights_only=True)["state_dict"]
        return b"".join(name.encode() + value.numpy().tobytes() for name, value in state.items())
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    if path.suffix in (".tif", ".png", ".jpg"):
        return raw
    return TIMES.sub("", raw.decode()).encode()


class Commands:
    """Runs commands in children of this process, which has imported what they need."""

    def __init__(self, work: Path) -> None:
        self.now, self.src, self.log = work / "now", work / "src", work / "log.txt"
        self.changes = work / "changes"

    def start(self, words: str, kill_at: int = 0) -> int:
        """Run in a child that kills itself before a change of the disk; return its process id."""
        run = next((path.parent for path in self.now.rglob("inputs.json")), self.now)
        words = words.format(now=self.now, src=self.src, run=run)
        if child := os.fork():
            with suppress(OSError):
                # by the parent too, which may kill the group before the child has made it
                os.setpgid(child, child)
            return child
        os.setpgid(0, 0)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.addaudithook(_Countdown(os.getpid(), kill_at))
        status = 1
        try:
            status = main(words.split())
        finally:
            if not kill_at:
                self.changes.write_text(str(_Countdown.seen))
            sys.stdout.flush()
            # without the exit of the parent's modules
            os._exit(status)

    def wait(self, child: int, seconds: float = LIMIT_S) -> int | None:
        """Wait for a child, kill it with its workers after a time; its status, None if killed."""
        end = time.monotonic() + seconds
        ended, status = os.waitpid(child, os.WNOHANG)
        while not ended and time.monotonic() < end:
            time.sleep(0.005)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.killpg(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            # the kill of a group reaches its workers at once, but they leave a little later
            time.sleep(0.05)
            return None
        return code

    def undisturbed(self, words: str) -> tuple[float, int]:
        """Run to the end; the seconds and the changes of the disk it took."""
        started = time.monotonic()
        status = self.wait(self.start(words))
        if status != 0:
            raise SystemExit(f"{words}\nended with {status}:\n{self.log.read_text()[-3000:]}")
        return time.monotonic() - started, int(self.changes.read_text())


class _Countdown:
    """An audit hook that counts changes of the disk, and ends the process group before one."""

    seen = 0

    def __init__(self, process: int, kill_at: int) -> None:
        self.process, self.kill_at = process, kill_at

    def __call__(self, event: str, arguments: Any) -> None:
        if event == "open":
            changes = arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            changes = event in CHANGES
        if changes and os.getpid() == self.process:
            _Countdown.seen += 1
            if _Countdown.seen == self.kill_at:
                os.killpg(0, signal.SIGKILL)


def campaign(work: Path, stages: Sequence[Stage], kills: int, seed: int) -> int:
    """Kill so many times; return the number of trials whose end differs."""
    draw, commands = random.Random(seed), Commands(work)
    commands.src.mkdir()
    make_source(commands.src)
    commands.now.mkdir()
    costs, ends = [], []
    for number, stage in enumerate(stages):
        shutil.copytree(commands.now, work / f"before{number}")
        costs.append(commands.undisturbed(stage.words))
        ends.append(left_behind(commands.now))
        print(f"{stage.name}: {costs[-1][0]:.1f} s, {costs[-1][1]} changes", flush=True)
    shares = [stage.share for stage in stages]
    # every command is killed, then by its share
    turns = [*range(len(stages)), *draw.choices(range(len(stages)), shares, k=kills)]
    done, different = Counter[str](), 0
    for number in turns:
        if (left := kills - done.total()) <= 0:
            break
        stage, (seconds, changes) = stages[number], costs[number]
        shutil.rmtree(commands.now)
        shutil.copytree(work / f"before{number}", commands.now)
        for _ in range(min(draw.randint(1, 3), left)):
            if draw.random() < 0.5:
                child, limit = commands.start(stage.words, draw.randint(1, changes)), LIMIT_S
            else:
                child, limit = commands.start(stage.words), draw.uniform(0, seconds)
            # a command that was too quick has not been killed
            done[stage.name] += commands.wait(child, limit) is None
        commands.undisturbed(stage.words)
        found = left_behind(commands.now)
        names = ends[number].keys() | found.keys()
        differ = sorted(name for name in names if found.get(name) != ends[number].get(name))
        different += bool(differ)
        print(f"{stage.name}, {done.total()} kills: {', '.join(differ) or 'equal'}", flush=True)
    print(f"{done.total()} kills ({dict(done)}), {different} trials differ")
    return different


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of commands (default: all)")
    given = parser.parse_args()
    chosen = [stage for stage in STAGES if not given.only or stage.name in given.only]
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(min(1, campaign(Path(folder), chosen, given.kills, given.seed)))
