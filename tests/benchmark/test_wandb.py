"""A real offline W&B run, read back record by record: no account, no network, no mock."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.records import read_record

BLOCK, FILE_HEADER, HEADER = 32768, 7, struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def stored_records(path: Path) -> Iterator[Any]:
    """Protocol buffers of a .wandb file, which is a LevelDB log behind a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, position, parts = path.read_bytes(), FILE_HEADER, b""
    while position < len(content):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(content, position)
        position += HEADER.size
        parts += content[position : position + length]
        position += length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def updates(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_offline_run_has_config_summary_table_and_the_cell_as_id(
    tiny_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-settings"))
    words = ["bench", "--data", "tiny", "--store", str(tiny_stores), "--runs", str(tmp_path / "runs")]
    words += ["--logger", "wandb", "--trainer.max_steps", "1", "--data.window", "32", "--data.num_workers", "0"]
    assert main([*words, "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]) == 0
    record = read_record(next(tmp_path.rglob("manifest.json")).parent)
    manifest = record.manifest
    files = list(tmp_path.rglob("run-*.wandb"))
    assert [path.stem for path in files] == [f"run-{manifest['identity']}"]

    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for entry in stored_records(files[0]):
        kind = entry.WhichOneof("record_type")
        if kind == "run":
            assert entry.run.run_id == manifest["identity"]
            assert entry.run.run_group == "tiny/sgma/pvt_v2_b0"
            config |= updates(entry.run.config.update)
        elif kind == "config":
            config |= updates(entry.config.update)
        elif kind == "summary":
            summary |= updates(entry.summary.update)
        elif kind == "request" and entry.request.HasField("partial_history"):
            continue
    for key in ("method", "variant", "data", "backbone", "seed", "fingerprint", "identity"):
        assert config[key] == manifest[key]
    assert config["protocol"] == "standard"
    assert config["config"]["model"]["init_args"]["fusion"] == "sgf", "nested, not flattened"
    scores = {name: 100 * entry.miou for name, entry in record.scores().items()}
    assert summary["average_miou"] == pytest.approx(sum(scores.values()) / 7)
    assert summary["top1_miou"] == pytest.approx(max(scores.values()))
    assert summary["last1_miou"] == pytest.approx(min(scores.values()))
    assert summary["miou_R+D"] == pytest.approx(scores["R+D"])
    table = json.loads(next(tmp_path.rglob("subset_scores*.table.json")).read_text())
    assert table["columns"] == ["subset", "miou", "mf1", "oa"]
    assert {row[0]: row[1] for row in table["data"]} == pytest.approx(scores)
