"""`imss bench`: fit, evaluate, record, leaderboard; continues what was interrupted and repeats nothing finished."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import choices
from benchmark.experiment.model_inputs import INPUTS, Inputs
from benchmark.records.record import MANIFEST, write_json, write_record
from datamodules.prepare import ensure_store
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI, Request
    from methods.base import AnyModalitySegmenter


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Check names and data, then run one cell and print its leaderboard."""
    request = checked_request(arguments, overrides)
    bench(request, force=arguments.force)


def checked_request(arguments: argparse.Namespace, overrides: Sequence[str]) -> Request:
    """A request whose names are valid and whose store is complete, found out before anything heavy is imported."""
    store = Path(arguments.store).expanduser()
    choices.check("METHOD", arguments.method, choices.methods())
    choices.check(
        "DATA",
        arguments.data,
        choices.datasets(store),
        " Data of your own becomes a name with: make data DATA=<name> SOURCE=<folder with scenes.csv>.",
    )
    choices.check("PROTOCOL", arguments.protocol, choices.protocols())
    if arguments.backbone:
        choices.check("BACKBONE", arguments.backbone, list(choices.BACKBONES))
    ensure_store(arguments.data, store)
    from benchmark.experiment.lightning_cli import Request

    return Request(
        arguments.method,
        arguments.data,
        arguments.protocol,
        arguments.seed,
        arguments.backbone,
        Path(arguments.runs).expanduser(),
        store,
        arguments.logger,
        tuple(overrides),
    )


def bench(request: Request, force: bool = False) -> Path:
    """Run one cell unless it is finished; returns its run directory."""
    from benchmark.experiment.lightning_cli import build

    cli = build(request)
    record = cli.run_dir / "record"
    if force and cli.run_dir.exists():
        set_aside(cli.run_dir)
    if (record / MANIFEST).exists():
        print(f"This cell is finished: {cli.run_dir} (FORCE=1 runs it again).")
        _mention_other_code(record)
    else:
        _run_cell(cli, record)
    if cli.trainer.is_global_zero:
        from benchmark.leaderboard.write import show

        show(request.runs, request.data)
        print(f"\nRun: {cli.run_dir}\nRecord: {record}\nCheckpoints: {cli.run_dir / 'checkpoints'}")
    return cli.run_dir


def _run_cell(cli: BenchCLI, record: Path) -> None:
    durations = {}
    if cli.trainer.is_global_zero:
        cli.run_dir.mkdir(parents=True, exist_ok=True)
        write_json(cli.run_dir / "config.json", {"request": _plain(cli.request), "resolved": cli.resolved})
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
        write_record(record, manifest(cli, checkpoint, selected, steps, durations), result)
        if cli.request.logger == "wandb":
            from benchmark.tracking.wandb_summary import log_result

            log_result(cli, result, durations)
        from benchmark.figures.predictions import test_scenes
        from benchmark.tracking.example_images import few, store_examples

        store_examples(cli, cli.run_dir, few(test_scenes(cli, [])))


def select(cli: BenchCLI) -> tuple[Path, str]:
    """The checkpoint that the cell's selection rule names, see `selected_checkpoint`."""
    return selected_checkpoint(cli.run_dir, cli.cell.selection)


def selected_checkpoint(run_dir: Path, rule: str) -> tuple[Path, str]:
    """The checkpoint that a selection rule names, and the rule that could be applied (`best` needs a validation).

    Raises:
        UserError: the run has none.
    """
    directory = run_dir / "checkpoints"
    if rule == "best" and (directory / "best.ckpt").exists():
        return directory / "best.ckpt", "best"
    if not (directory / "last.ckpt").exists():
        raise UserError(f"{directory} has no checkpoint; training ended before its first epoch did.")
    return directory / "last.ckpt", "last"


def test(cli: BenchCLI, checkpoint: Path) -> Any:
    """Score the weights of a checkpoint on the test scenes."""
    load_weights(cli, checkpoint)
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    evaluation = cli.config_init.evaluation
    assert evaluation.result is not None
    return evaluation.result


def load_weights(cli: BenchCLI, checkpoint: Path) -> None:
    """Put a checkpoint's weights into the model of a cell, see `load_state`."""
    load_state(cli.model, checkpoint, f"{cli.cell.variant} with backbone {cli.backbone}")


def load_state(model: AnyModalitySegmenter, checkpoint: Path, name: str) -> None:
    """Put a checkpoint's weights into a model; `name` is the model's for the user.

    Raises:
        UserError: unreadable, or of another method or architecture.
    """
    import pickle

    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content["state_dict"]
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, EOFError) as error:
        raise UserError(f"{checkpoint} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(
            f"{checkpoint} does not fit {name} ({detail[:120]}); it belongs to another method, backbone or dataset."
        ) from error


def manifest(cli: BenchCLI, checkpoint: Path, selected: str, steps: int, durations: dict[str, float]) -> dict[str, Any]:
    """Everything a reader of the numbers may ask about the run; no paths outside the run directory."""
    import torch

    from benchmark.evaluation.callback import convention_of, scored_regions
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
        "convention": {**asdict(convention_of(data, evaluation.absent)), "regions": scored_regions(data)},
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
    data = {**resolved["data"], "init_args": {k: v for k, v in resolved["data"]["init_args"].items() if k != "store"}}
    return {**{k: v for k, v in resolved.items() if k != "config"}, "data": data}


def _plain(request: Request) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(request).items()}


def set_aside(run_dir: Path) -> None:
    """Rename a run directory to `old-<time>-...`, which tables do not read."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    run_dir.rename(run_dir.with_name(f"old-{stamp}-{run_dir.name}"))


def _mention_other_code(record: Path) -> None:
    from benchmark.experiment.identity import git_state

    then = json.loads((record / MANIFEST).read_text(encoding="utf-8")).get("git", {})
    now = git_state()
    if then.get("commit") != now.get("commit") or then.get("dirty"):
        made = f"commit {then.get('commit', 'unknown')[:10]}{' with changes' if then.get('dirty') else ''}"
        print(f"Its record was made by {made}; the tree is now at {now.get('commit', 'unknown')[:10]}.")
