"""Fit and score one experiment; continues what was interrupted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.experiment.checkpoints import checkpoint_for, load_weights
from benchmark.experiment.identity import git_state
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.experiment.restore import CONFIG
from benchmark.records.manifest import read_manifest
from benchmark.records.record import write_json

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from benchmark.metrics.result import EvaluationResult


@dataclass(frozen=True)
class Outcome:
    """What training and scoring gave.

    Args:
        result: counts of every subset on the test scenes.
        checkpoint: whose weights were scored.
        selected: the rule that selected it.
        steps: optimiser steps of the whole training.
        durations: seconds of training and of scoring, in this process.
    """

    result: EvaluationResult
    checkpoint: Path
    selected: str
    steps: int
    durations: dict[str, float]


def train_and_score(cli: BenchCLI) -> Outcome:
    """Train, or continue, then score the selected checkpoint on the test scenes."""
    if cli.trainer.is_global_zero:
        cli.run_dir.mkdir(parents=True, exist_ok=True)
        # written before training, so that an interrupted run can be looked at
        config = {"request": cli.request.to_json(), "resolved": cli.resolved}
        write_json(cli.run_dir / CONFIG, config)
        inputs = Inputs.of(cli.datamodule, cli.config_init.evaluation.stitching)
        write_json(cli.run_dir / INPUTS, inputs.to_json())
    print_start(cli)
    started = time.monotonic()
    last = cli.run_dir / "checkpoints" / "last.ckpt"
    if last.exists():
        print(f"Continuing from {last}.")
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=str(last) if last.exists() else None)
    if cli.trainer.interrupted:
        # Lightning swallows the interruption; the command must not go on to score
        raise KeyboardInterrupt
    fitted = time.monotonic()
    steps = cli.trainer.global_step
    checkpoint, selected = checkpoint_for(cli.run_dir, cli.cell.selection)
    result = score_checkpoint(cli, checkpoint)
    durations = {
        "fit_s": round(fitted - started, 1),
        "test_s": round(time.monotonic() - fitted, 1),
    }
    return Outcome(result, checkpoint, selected, steps, durations)


def score_checkpoint(cli: BenchCLI, checkpoint: Path) -> EvaluationResult:
    """Score the weights of a checkpoint on the test scenes."""
    load_weights(cli.model, checkpoint, f"{cli.cell.variant} with backbone {cli.backbone}")
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    result: EvaluationResult = cli.config_init.evaluation.result
    return result


def print_start(cli: BenchCLI) -> None:
    """Print what is trained on what."""
    data = cli.datamodule
    numbers = {part: len(data.splits.get(part, [])) for part in ("train", "val", "test")}
    print(
        f"{cli.cell.variant} on {cli.request.dataset}, {cli.backbone}, seed {cli.seed}, "
        f"protocol {cli.cell.protocol}, {cli.trainer.strategy.root_device}: "
        f"{numbers['train']} training, {numbers['val']} validation, {numbers['test']} test scenes, "
        f"{2 ** len(data.modalities) - 1} subsets of {'+'.join(data.letters.values())}"
    )
    if data.split_note:
        print(f"Note on {data.split_column}: {data.split_note}")


def archive_run(run_dir: Path) -> None:
    """Rename a run directory to `old-<time>-...`, which tables do not read."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    run_dir.rename(run_dir.with_name(f"old-{stamp}-{run_dir.name}"))


def mention_other_code(record: Path) -> None:
    """Print that a record was made by other code than that of the working tree."""
    then = read_manifest(record).git
    now = git_state()
    # a result of the same configuration, but perhaps not of the same code
    if then.get("commit") == now.get("commit") and not then.get("dirty"):
        return
    changes = " with changes" if then.get("dirty") else ""
    made, tree = then.get("commit", "unknown")[:10], now.get("commit", "unknown")[:10]
    print(f"Its record was made by commit {made}{changes}; the tree is now at {tree}.")
