"""`imss bench`: fit, evaluate, record, leaderboard; continues what was interrupted and repeats nothing finished."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.experiment.checkpoints import load_weights, select
from benchmark.experiment.manifest import run_manifest
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.records.manifest import read_manifest
from benchmark.records.record import write_json, write_record

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from benchmark.experiment.request import Request


def _run_cell(cli: BenchCLI, record: Path) -> None:
    durations = {}
    if cli.trainer.is_global_zero:
        cli.run_dir.mkdir(parents=True, exist_ok=True)
        write_json(
            cli.run_dir / "config.json", {"request": _plain(cli.request), "resolved": cli.resolved}
        )
        inputs = Inputs.of(cli.datamodule, cli.config_init.evaluation.stitching)
        write_json(cli.run_dir / INPUTS, inputs.to_json())
    data, device = cli.datamodule, cli.trainer.strategy.root_device
    print(
        f"{cli.cell.variant} on {cli.request.data}, {cli.backbone}, seed {cli.seed}, protocol {cli.cell.protocol}, "
        f"{device}: {len(data.splits['train'])} training, {len(data.splits.get('val', []))} validation, "
        f"{len(data.splits['test'])} test scenes, "
        f"{2 ** len(data.modalities) - 1} subsets of {'+'.join(data.letters.values())}"
    )
    if data.split_note:
        print(f"Note on {data.split_column}: {data.split_note}")
    started = time.monotonic()
    last = cli.run_dir / "checkpoints" / "last.ckpt"
    if last.exists():
        print(f"Continuing from {last}.")
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=str(last) if last.exists() else None)
    if cli.trainer.interrupted:
        raise KeyboardInterrupt
    durations["fit_s"] = round(time.monotonic() - started, 1)
    steps = cli.trainer.global_step
    checkpoint, selected = select(cli)
    started = time.monotonic()
    result = test(cli, checkpoint)
    durations["test_s"] = round(time.monotonic() - started, 1)
    if cli.trainer.is_global_zero:
        write_record(record, run_manifest(cli, checkpoint, selected, steps, durations), result)
        if cli.request.logger == "wandb":
            from benchmark.tracking.wandb_summary import log_result

            log_result(cli, result, durations)
        from benchmark.evaluation.inference import evenly_spaced, select_test_scenes
        from benchmark.tracking.example_images import store_examples

        store_examples(cli, cli.run_dir, evenly_spaced(select_test_scenes(cli.datamodule)))


def test(cli: BenchCLI, checkpoint: Path) -> Any:
    """Score the weights of a checkpoint on the test scenes."""
    load_weights(cli, checkpoint)
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    evaluation = cli.config_init.evaluation
    assert evaluation.result is not None
    return evaluation.result


def _plain(request: Request) -> dict[str, Any]:
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in asdict(request).items()
    }


def set_aside(run_dir: Path) -> None:
    """Rename a run directory to `old-<time>-...`, which tables do not read."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    run_dir.rename(run_dir.with_name(f"old-{stamp}-{run_dir.name}"))


def _mention_other_code(record: Path) -> None:
    from benchmark.experiment.identity import git_state

    then = read_manifest(record).git
    now = git_state()
    if then.get("commit") != now.get("commit") or then.get("dirty"):
        made = f"commit {then.get('commit', 'unknown')[:10]}{' with changes' if then.get('dirty') else ''}"
        print(
            f"Its record was made by {made}; the tree is now at {now.get('commit', 'unknown')[:10]}."
        )
