"""What a run record says of its run."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.records.manifest import Manifest, Protocol

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI


def run_manifest(
    cli: BenchCLI, checkpoint: Path, selected: str, steps: int, durations: dict[str, float]
) -> Manifest:
    """Describe a finished run; no paths outside the run directory."""
    import torch

    from benchmark.evaluation.protocol import convention_of
    from benchmark.experiment.identity import git_state, package_versions

    data, evaluation, root = cli.datamodule, cli.config_init.evaluation, cli.run_dir
    device = cli.trainer.strategy.root_device
    inside = checkpoint.is_relative_to(root)
    return Manifest(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        identity=cli.identity,
        group=cli.group,
        method=cli.cell.method,
        variant=cli.cell.variant,
        control=cli.cell.control,
        data=cli.request.data,
        backbone=cli.backbone,
        seed=cli.seed,
        overrides=tuple(cli.request.overrides),
        protocol=Protocol(
            name=cli.cell.protocol,
            selection=cli.cell.selection,
            selected=selected,
            split=data.split_column,
            split_note=data.split_note,
            train_label=data.train_label,
            score_label=data.score_label,
            clutter=data.clutter,
            rasters=data.rasters,
            window=data.window,
            stride=data.stride,
            stitching=evaluation.stitching,
            absent=evaluation.absent,
        ),
        convention=convention_of(data, evaluation.absent),
        modalities=data.letters,
        classes=tuple(entry.name for entry in data.store.classes),
        fingerprint=data.store.fingerprint,
        incomplete=data.store.info.get("incomplete", False),
        checkpoint=str(checkpoint.relative_to(root)) if inside else checkpoint.name,
        steps=steps,
        durations=durations,
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{platform.machine()} CPU",
        # sums in another order: last digits of a CPU run depend on it
        threads=torch.get_num_threads(),
        world_size=cli.trainer.world_size,
        git=git_state(),
        packages=package_versions(),
        # after linking, the parsed configuration still holds the unlinked values
        model=json.loads(json.dumps(dict(cli.model.hparams), default=str)),
        config=_without_paths(cli.resolved),
    )


def _without_paths(resolved: dict[str, Any]) -> dict[str, Any]:
    """The configuration without the places of its files and of the scene store."""
    arguments = {k: v for k, v in resolved["data"]["init_args"].items() if k != "store"}
    config = {k: v for k, v in resolved.items() if k != "config"}
    return {**config, "data": {**resolved["data"], "init_args": arguments}}
