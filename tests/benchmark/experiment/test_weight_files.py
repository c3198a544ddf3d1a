"""Files that an experiment reads: their content is part of what it is, their place is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.experiment.identity import (
    identify_config,
    name_file_contents,
    name_override_contents,
)


def config(path: Path | None) -> dict[str, Any]:
    arguments = {"pretrained_path": path and str(path), "optimizer": {"class_path": "a.B"}}
    sections = {"cell": {"method": "sgma"}, "trainer": {}, "data": {"init_args": {}}}
    return {**sections, "model": {"init_args": arguments}, "seed_everything": 0}


def test_weights_enter_by_their_content(tmp_path: Path) -> None:
    here, there = tmp_path / "here.pth", tmp_path / "folder" / "there.pth"
    there.parent.mkdir()
    for path in (here, there):
        path.write_bytes(b"one")
    first = identify_config(config(here), "f")
    assert identify_config(config(there), "f") == first
    assert identify_config(config(None), "f") != first
    here.write_bytes(b"two")
    assert identify_config(config(here), "f") != first


def test_what_is_kept_names_no_place(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"one")
    typed = ("--model.pretrained_path", str(path), "--trainer.max_steps=2")
    kept = [name_file_contents(config(path)), name_override_contents(typed)]
    assert str(tmp_path) not in str(kept) and str(kept).count("sha256:7692c3ad3540") == 2
    assert kept[0]["model"]["init_args"]["optimizer"] == {"class_path": "a.B"}
    # naming again what is named already changes nothing
    assert name_file_contents(kept[0]) == kept[0]
