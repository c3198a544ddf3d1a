"""Temporary files of processes that are gone go with the next writing; others are left alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from datamodules.store.part_files import HOST
from datamodules.store.scene_store import write_text_whole


def test_only_what_dead_processes_of_this_machine_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    kept = [f"a.csv.{HOST}.{os.getppid()}.part", f"a.csv.elsewhere.{gone.pid}.part"]
    kept += [f"b.csv.{HOST}.{gone.pid}.part", f"a.csv.{HOST}.x.part"]
    for name in (f"a.csv.{HOST}.{gone.pid}.part", *kept):
        (tmp_path / name).write_text("half")
    write_text_whole(tmp_path / "a.csv", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", *kept}
    assert (tmp_path / "a.csv").read_text() == "whole"
