"""What a run record says of its run."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI


def manifest(
    cli: BenchCLI, checkpoint: Path, selected: str, steps: int, durations: dict[str, float]
) -> dict[str, Any]:
    """Everything a reader of the numbers may ask about the run; no paths outside the run directory."""
    import torch

    from benchmark.evaluation.protocol import convention_of, scored_regions
    from benchmark.experiment.identity import git_state, package_versions

    data, evaluation = cli.datamodule, cli.config_init.evaluation
    device = cli.trainer.strategy.root_device
    if device.type == "cuda":
        device_name = torch.cuda.get_device_name(device)
    else:
        import platform

        device_name = f"{platform.machine()} CPU"
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": cli.identity,
        "group": cli.group,
        "method": cli.cell.method,
        "variant": cli.cell.variant,
        "control": cli.cell.control,
        "data": cli.request.data,
        "backbone": cli.backbone,
        "seed": cli.seed,
        "overrides": list(cli.request.overrides),
        "protocol": {
            "name": cli.cell.protocol,
            "selection": cli.cell.selection,
            "selected": selected,
            "split": data.split_column,
            "split_note": data.split_note,
            "train_label": data.train_label,
            "score_label": data.score_label,
            "clutter": data.clutter,
            "rasters": data.rasters,
            "window": data.window,
            "stride": data.stride,
            "stitching": evaluation.stitching,
            "absent": evaluation.absent,
        },
        "convention": {
            **asdict(convention_of(data, evaluation.absent)),
            "regions": scored_regions(data),
        },
        "modalities": data.letters,
        "classes": [entry.name for entry in data.store.classes],
        "fingerprint": data.store.fingerprint,
        "incomplete": data.store.info.get("incomplete", False),
        "checkpoint": str(checkpoint.relative_to(cli.run_dir))
        if checkpoint.is_relative_to(cli.run_dir)
        else checkpoint.name,
        "steps": steps,
        "durations": durations,
        "device": device_name,
        # sums in another order: last digits of a CPU run depend on it
        "threads": torch.get_num_threads(),
        "world_size": cli.trainer.world_size,
        "git": git_state(),
        "packages": package_versions(),
        "model": _model_hparams(cli),
        "config": _without_paths(cli.resolved),
    }


def _model_hparams(cli: BenchCLI) -> dict[str, Any]:
    # after linking, the parsed configuration still holds the unlinked values
    return json.loads(json.dumps(dict(cli.model.hparams), default=str))


def _without_paths(resolved: dict[str, Any]) -> dict[str, Any]:
    data = {
        **resolved["data"],
        "init_args": {k: v for k, v in resolved["data"]["init_args"].items() if k != "store"},
    }
    return {**{k: v for k, v in resolved.items() if k != "config"}, "data": data}
