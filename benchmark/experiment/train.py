"""Fit, score and describe one experiment; continues what was interrupted."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from benchmark.evaluation.protocol import convention_of
from benchmark.experiment.checkpoints import Attempt
from benchmark.experiment.identity import git_state, name_file_contents, name_override_contents
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.experiment.restore import CONFIG, checkpoint_for, load_weights
from benchmark.experiment.signals import ends_when_asked
from benchmark.records.attempts import CHECKPOINTS, LastAttempt
from benchmark.records.manifest import Manifest, Protocol, Stage, read_manifest
from benchmark.records.record import write_json
from datamodules.miniature.registry import MINIATURES

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from benchmark.metrics.result import EvaluationResult
    from methods.base import AnyModalitySegmenter

# whose versions decide numbers
PACKAGES = ("torch", "torchvision", "lightning", "timm", "numpy", "rasterio", "jsonargparse")
# of the protocol, as the datamodule calls them
OF_DATA = ("split_note", "train_label", "score_label", "clutter", "rasters", "window", "stride")


@dataclass(frozen=True)
class Outcome:
    """What training and scoring gave."""

    result: EvaluationResult
    checkpoint: Path  # whose weights were scored
    selected: str  # the rule that selected it
    steps: int  # of the optimiser, in the whole training
    durations: dict[str, float]  # seconds of training, over all attempts, and of scoring


def train_and_score(cli: BenchCLI) -> Outcome:
    """Train, or continue, then score the selected checkpoint on the test scenes."""
    if cli.trainer.is_global_zero:
        cli.run_dir.mkdir(parents=True, exist_ok=True)
        # written before training, so that an interrupted run can be looked at
        config = {"request": cli.request.to_json(), "resolved": cli.resolved}
        write_json(cli.run_dir / CONFIG, config)
        inputs = Inputs.of(cli.datamodule, cli.config_init.evaluation.stitching)
        write_json(cli.run_dir / INPUTS, inputs.to_json())
        LastAttempt.begin(cli.run_dir)
    print_start(cli)
    started = time.monotonic()
    earlier = Attempt.find(cli.run_dir / CHECKPOINTS)
    if earlier:
        print(f"Continuing from {earlier.path}, step {earlier.steps}.")
    path = str(earlier.path) if earlier else None
    with ends_when_asked(cli.trainer):
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=path, weights_only=True)
    fitted, steps = time.monotonic(), cli.trainer.global_step
    fit_s = fitted - started + (earlier.fit_s if earlier else 0.0)
    checkpoint, selected = checkpoint_for(cli.run_dir, cli.cell.selection)
    result = score_checkpoint(cli, checkpoint)
    scored = time.monotonic()
    durations = {"fit_s": round(fit_s, 1), "test_s": round(scored - fitted, 1)}
    return Outcome(result, checkpoint, selected, steps, durations)


def score_checkpoint(cli: BenchCLI, checkpoint: Path) -> EvaluationResult:
    """Score the weights of a checkpoint on the test scenes."""
    load_weights(cli.model, checkpoint, f"{cli.cell.variant} with backbone {cli.backbone}")
    # named, since Lightning otherwise looks for weights by itself
    place = str(checkpoint)
    with ends_when_asked(cli.trainer):
        cli.trainer.test(cli.model, cli.datamodule, place, verbose=False, weights_only=True)
    result: EvaluationResult = cli.config_init.evaluation.result
    return result


def print_start(cli: BenchCLI) -> None:
    """Print what is trained on what."""
    data = cli.datamodule
    cases = cli.config_init.evaluation.cases(data)
    splits = {"train": [], "val": [], "test": [], **data.splits}
    weights = sum(weight.numel() for weight in cli.model.parameters())
    print(
        f"{cli.cell.variant} on {cli.request.dataset}, {cli.backbone}, "
        f"{weights / 1e6:.1f} M weights, seed {cli.seed}, "
        f"protocol {cli.cell.protocol}, scale {cli.cell.scale}, "
        f"{cli.trainer.strategy.root_device}: "
        f"{len(splits['train'])} training, {len(splits['val'])} validation, "
        f"{len(splits['test'])} test scenes, "
        f"{len(cases)} subset{'s' if len(cases) > 1 else ''} of {'+'.join(data.letters.values())}"
    )
    if unseen := [name for name, subset in cases.items() if not cli.model.sees(subset)]:
        print(f"The network sees none of {', '.join(unseen)}: no score there, and no Average.")
    if cli.cell.scale == "small" and data.name not in MINIATURES:
        print("Scale small is a trial: a small network from random weights, few steps.")
        print("SCALE=paper trains as published.")
    if data.training_gaps:
        lost = Counter(chain.from_iterable(data.training_gaps.values()))
        said = ", ".join(f"{name} of {lost[name]}" for name in data.modalities)
        print(f"Incomplete training: {said} of {len(splits['train'])} scenes are held back.")
    if data.split_note:
        print(f"Note on {data.split_column}: {data.split_note}")


def archive_run(run_dir: Path) -> None:
    """Rename a run directory to `old-<time>-...`, which tables do not read."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    run_dir.rename(run_dir.with_name(f"old-{stamp}-{run_dir.name}"))


def mention_other_code(record: Path) -> None:
    """Print that a record was made by other code than that of the working tree."""
    then, now = read_manifest(record).git, git_state()
    # a result of the same configuration, but perhaps not of the same code
    if then.get("commit") == now.get("commit") and not then.get("dirty"):
        return
    changes = " with changes" if then.get("dirty") else ""
    made, tree = then.get("commit", "unknown")[:10], now.get("commit", "unknown")[:10]
    print(f"Its record was made by commit {made}{changes}; the tree is now at {tree}.")


def run_manifest(cli: BenchCLI, outcome: Outcome) -> Manifest:
    """Describe a finished run; no paths outside the run directory."""
    data, cell, evaluation = cli.datamodule, cli.cell, cli.config_init.evaluation
    device = cli.trainer.strategy.root_device
    checkpoint = outcome.checkpoint
    inside = checkpoint.is_relative_to(cli.run_dir)
    device_name = f"{platform.machine()} CPU"
    if device.type == "cuda":
        device_name = torch.cuda.get_device_name(device)
    protocol = Protocol(
        name=cell.protocol,
        selection=cell.selection,
        selected=outcome.selected,
        split=data.split_column,
        **_attributes(data, *OF_DATA),
        **_attributes(evaluation, "stitching", "absent"),
    )
    # neither the places of files nor that of the store belong into a record
    config = name_file_contents(json.loads(json.dumps(cli.resolved, default=str)))
    config.pop("config", None)
    config["data"]["init_args"].pop("store", None)
    stages = cli.stages
    if stages:
        names = (cell.variant, cli.identity, cli.seed)
        stages = (*stages, describe_stage("student", *names, cli.model))
    return Manifest(
        **_attributes(cell, "method", "variant", "control"),
        **_attributes(cli, "identity", "group", "revision", "backbone", "seed", "compiled"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data=cli.request.dataset,
        stages=stages,
        training_gaps=data.training_gaps,
        learning=cli.learning.averages() if cli.learning else {},
        overrides=name_override_contents(cli.request.overrides),
        protocol=protocol,
        convention=convention_of(data, evaluation.absent),
        modalities=data.letters,
        classes=tuple(entry.name for entry in data.store.classes),
        fingerprint=data.store.fingerprint,
        incomplete=data.store.info.get("incomplete", False),
        checkpoint=str(checkpoint.relative_to(cli.run_dir)) if inside else checkpoint.name,
        steps=outcome.steps,
        durations=outcome.durations,
        device=device_name,
        # sums in another order: last digits of a CPU run depend on it
        threads=torch.get_num_threads(),
        world_size=cli.trainer.world_size,
        batch=data.batch_size * cli.trainer.world_size * cli.trainer.accumulate_grad_batches,
        git=git_state(),
        packages={name: version(name) for name in PACKAGES},
        # after linking, the parsed configuration still holds the unlinked values
        model=name_file_contents(json.loads(json.dumps(dict(cli.model.hparams), default=str))),
        config=config,
    )


def describe_stage(
    stage: Literal["teacher", "student"],
    variant: str,
    identity: str,
    seed: int,
    model: AnyModalitySegmenter,
) -> Stage:
    """Describe the training that gave a network its weights."""
    shown = model.subsets if model.subsets == "full" else f"{model.subsets} per {model.subsets_per}"
    return Stage(
        stage=stage,
        variant=variant,
        identity=identity,
        seed=seed,
        subsets=shown,
        weights_sha256=hash_weights(model.state_dict()),
    )


def hash_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Hash names, kinds, shapes and values of weights, wherever they are stored.

    Example:
        >>> import torch
        >>> one, two = {"a": torch.ones(2), "b": torch.zeros(1)}, {"b": torch.zeros(1)}
        >>> hash_weights(one) == hash_weights({**two, "a": torch.ones(2)}), len(hash_weights(two))
        (True, 64)
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _attributes(source: object, *names: str) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}
