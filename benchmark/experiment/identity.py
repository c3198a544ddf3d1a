"""A cell: one (data, method, variant, backbone, seed, overrides), its identity and its manifest."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from benchmark.choices import ROOT

# what may differ between two runs of the same cell: devices' kind, loggers, workers and paths do not name a result
IRRELEVANT_TRAINER = {
    "accelerator",
    "barebones",
    "callbacks",
    "default_root_dir",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "log_every_n_steps",
    "logger",
    "num_sanity_val_steps",
    "profiler",
}
IRRELEVANT_DATA = {"name", "num_workers", "store"}
PACKAGES = ("torch", "torchvision", "lightning", "timm", "numpy", "rasterio", "jsonargparse")


@dataclass
class Cell:
    """The part of the configuration that names things.

    Args:
        method: folder of the method.
        variant: named configuration of it, the METHOD of the command line.
        protocol: named protocol.
        scale: `small` or `paper`; chooses `configs/method/<METHOD>.<scale>.yaml`.
        selection: `best` takes the checkpoint with the highest validation Average, `last` the final weights.
        control: the row is no published method but what a plain network reaches; tables say so beside its name.
    """

    method: str
    variant: str
    protocol: str
    scale: Literal["small", "paper"] = "paper"
    selection: Literal["best", "last"] = "best"
    control: bool = False


def identity(config: Mapping[str, Any], fingerprint: str) -> tuple[str, str]:
    """(identity, group) of a resolved configuration: equal groups differ in the seed only.

    Entries that are None are left out, so that a new optional setting of a library does not rename old cells, and so is
    the mark `cell.control`, which changes no number.
    """
    content = json.loads(json.dumps(config, default=str))
    content.pop("config", None)
    content["cell"].pop("control", None)
    content["trainer"] = {
        k: v for k, v in content["trainer"].items() if k not in IRRELEVANT_TRAINER
    }
    data = content["data"]["init_args"]
    content["data"]["init_args"] = {k: v for k, v in data.items() if k not in IRRELEVANT_DATA}
    content["fingerprint"] = fingerprint
    full = _digest(content)
    content.pop("seed_everything")
    for part in ("data", "model"):
        content[part]["init_args"].pop("seed", None)
    return full, _digest(content)


def _digest(content: Any) -> str:
    text = json.dumps(_without_none(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_none(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_none(value) for key, value in content.items() if value is not None}
    return [_without_none(value) for value in content] if isinstance(content, list) else content


def git_state() -> dict[str, Any]:
    """Commit, and whether the tree differs from it (results apart); empty outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--", ".", ":!results")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {}


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide numbers."""
    return {name: metadata.version(name) for name in PACKAGES}


def run_directory(
    runs: Path, data: str, variant: str, backbone: str, seed: int, identity_hash: str
) -> Path:
    """Where a cell lives; readable names first, the identity last."""
    return runs / data / variant / f"{backbone}-seed{seed}-{identity_hash[:8]}"
