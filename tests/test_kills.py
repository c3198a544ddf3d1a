"""The short form of the campaign of `tests.kills`."""

from __future__ import annotations

import os
import subprocess
import sys


def test_killed_commands_end_as_undisturbed_ones() -> None:
    # a process of its own: children are forked, which threads of torch's would not survive
    words = [sys.executable, "-m", "tests.kills", "--kills", "3", "--only", "import", "predict"]
    words += ["train", "--seed", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills" in done.stdout
