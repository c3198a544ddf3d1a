"""Sweeps of tests: tiny cells of two kinds, and what they left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml

from benchmark.__main__ import main
from benchmark.choices import ROOT
from benchmark.records.record import read_record

PATIENCE_S = 600
SETTINGS = {
    "data.window": 32,
    "data.batch_size": 2,
    "data.num_workers": 0,
    "data.epoch_windows": 8,
    "trainer.accelerator": "cpu",
    # a fifth of the default's weights, which every epoch saves
    "model.backbone": "test_resnet",
}


def write_sweep(path: Path, steps: int, seeds: list[int], **more: Any) -> Path:
    """Write the file of a sweep of the control on the tiny store."""
    content = {
        "grid": {"method": "control", "data": "tiny", "seed": seeds},
        "overrides": {**SETTINGS, "trainer.max_steps": steps},
        "resources": {"cpus": 1, "minutes": 30},
    }
    for key, value in more.items():
        if isinstance(value, dict):
            content[key] = {**content.get(key, {}), **value}
        else:
            content[key] = value
    path.write_text(yaml.safe_dump(content))
    return path


def imss(*words: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does."""
    return subprocess.run(
        command(*words), cwd=ROOT, env=environment(env), capture_output=True, text=True
    )


def imss_here(
    *words: object, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which has imported torch already."""
    given, out, err = list(map(str, words)), StringIO(), StringIO()
    with patch.dict(os.environ, environment(env)), redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(given)
        except SystemExit as stop:
            status = int(stop.code or 0)
    return subprocess.CompletedProcess(given, status, out.getvalue(), err.getvalue())


def start_imss(*words: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command in a session of its own."""
    return subprocess.Popen(
        command(*words),
        cwd=ROOT,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # test runners are deaf to it, and what they start would be, too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "benchmark", *map(str, words)]


def environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **(more or {})}


def counts_by_seed(runs: Path) -> dict[int, Any]:
    """Read the counts of every record below a directory of runs."""
    found = {}
    for manifest in runs.glob("*/*/*/record/manifest.json"):
        record = read_record(manifest.parent)
        found[record.manifest.seed] = record.counts
    return found


def assert_equal_counts(one: Mapping[int, Any], other: Mapping[int, Any]) -> None:
    assert set(one) == set(other)
    for seed, counts in one.items():
        assert np.array_equal(counts, other[seed]), f"seed {seed}"


def run_of(runs: Path, seed: int) -> Path | None:
    """Find the run directory of a seed, once it is there."""
    found = (manifest.parent for manifest in runs.glob(f"*/*/*-seed{seed}-*/config.json"))
    return next(found, None)


def attempt(runs: Path, seed: int) -> dict[str, Any]:
    """Read what the newest attempt at a seed says; empty before there is one."""
    run = run_of(runs, seed)
    try:
        return json.loads((run / "attempt.json").read_text()) if run else {}
    except FileNotFoundError:
        return {}


def is_alive(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def has_saved(runs: Path, seed: int) -> bool:
    """Tell whether a seed has saved something to continue from."""
    run = run_of(runs, seed)
    return run is not None and (run / "checkpoints" / "last.ckpt").exists()


def stop_when_saved(runs: Path, seeds: list[int]) -> None:
    """Let each stand still when it has saved, however fast the machine is."""
    waiting = list(seeds)

    def stop_those_that_saved() -> bool:
        for seed in [seed for seed in waiting if has_saved(runs, seed)]:
            os.kill(attempt(runs, seed)["pid"], signal.SIGSTOP)
            waiting.remove(seed)
        return not waiting

    wait_for(stop_those_that_saved)


def wait_for(what: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)
    return found
