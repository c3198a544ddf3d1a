"""The configuration files of an experiment, in the order in which they are merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmark.choices import CONFIGS
from benchmark.experiment.request import Request


def config_files(method: str, data: str, protocol: str) -> list[Path]:
    """Files in the order in which they are merged; a variant stands on its method's file."""
    own = CONFIGS / "data" / f"{data}.yaml"
    data_file = own if own.exists() else CONFIGS / "folder.yaml"
    scale = _read(data_file)["cell"]["scale"]
    family = _read(CONFIGS / "method" / f"{method}.yaml")["cell"]["method"]
    stems = [family] if family == method else [family, method]
    refined = [f"{stem}.{suffix}" for suffix in (scale, data) for stem in stems]
    files = [CONFIGS / "base.yaml", data_file, CONFIGS / "protocol" / f"{protocol}.yaml"]
    files += [CONFIGS / "method" / f"{stem}.yaml" for stem in stems]
    return files + [
        path for stem in refined if (path := CONFIGS / "method" / f"{stem}.yaml").exists()
    ]


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def config_words(request: Request) -> list[str]:
    """The command line that LightningCLI parses."""
    words = []
    for path in config_files(request.method, request.data, request.protocol):
        words += ["--config", str(path)]
    words += ["--seed_everything", str(request.seed)]
    words += ["--data.init_args.name", request.data, "--data.init_args.store", str(request.store)]
    if request.backbone:
        words += ["--model.init_args.backbone", request.backbone]
    return words + list(request.overrides)
