"""What a run record says of its run."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch

from benchmark.evaluation.protocol import convention_of
from benchmark.experiment.identity import git_state, package_versions
from benchmark.records.manifest import Manifest, Protocol

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from benchmark.experiment.train import Outcome


def run_manifest(cli: BenchCLI, outcome: Outcome) -> Manifest:
    """Describe a finished run; no paths outside the run directory."""
    data, evaluation, root = cli.datamodule, cli.config_init.evaluation, cli.run_dir
    device = cli.trainer.strategy.root_device
    checkpoint = outcome.checkpoint
    inside = checkpoint.is_relative_to(root)
    device_name = f"{platform.machine()} CPU"
    if device.type == "cuda":
        device_name = torch.cuda.get_device_name(device)
    return Manifest(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        identity=cli.identity,
        group=cli.group,
        method=cli.cell.method,
        variant=cli.cell.variant,
        control=cli.cell.control,
        data=cli.request.dataset,
        backbone=cli.backbone,
        seed=cli.seed,
        overrides=tuple(cli.request.overrides),
        protocol=Protocol(
            name=cli.cell.protocol,
            selection=cli.cell.selection,
            selected=outcome.selected,
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
        steps=outcome.steps,
        durations=outcome.durations,
        device=device_name,
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
    # neither the places of config files nor that of the store belong into a record
    config = json.loads(json.dumps(resolved, default=str))
    config.pop("config", None)
    config["data"]["init_args"].pop("store", None)
    return config
