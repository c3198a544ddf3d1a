"""`imss evaluate`: score a checkpoint that `bench` wrote, if wanted on other data or under another protocol."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.experiment.train import checked_request, manifest, test
from benchmark.records.record import write_record
from usererror import UserError


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Rebuild the cell that the checkpoint belongs to, score it and write a record."""
    checkpoint = Path(arguments.checkpoint).expanduser()
    if not checkpoint.is_file():
        raise UserError(f"There is no checkpoint {checkpoint}.")
    trained = trained_request(checkpoint)
    if arguments.method and arguments.method != trained["method"]:
        raise UserError(f"{checkpoint} is of method {trained['method']!r}, not {arguments.method!r}.")
    wanted = argparse.Namespace(
        **{key: trained[key] for key in ("method", "seed", "backbone", "logger")},
        data=arguments.data or trained["data"],
        protocol=arguments.protocol or trained["protocol"],
        runs=arguments.runs,
        store=arguments.store,
    )
    same = (wanted.data, wanted.protocol, list(overrides)) == (trained["data"], trained["protocol"], [])
    request = checked_request(wanted, [*trained["overrides"], *model_words(trained), *overrides])
    from benchmark.experiment.lightning_cli import build

    run_dir = checkpoint.resolve().parent.parent
    out = Path(arguments.out).expanduser() if arguments.out else run_dir / "evaluations" / checkpoint.stem
    cli = build(request, run_dir=out)
    result = test(cli, checkpoint)
    if cli.trainer.is_global_zero:
        name = f"evaluation of {checkpoint.stem}" if same else f"{wanted.data}, {wanted.protocol}"
        write_record(out / "record", manifest(cli, checkpoint, name, 0, {}), result)
        print_scores(cli, result)
        print(f"Record: {out / 'record'}")


def trained_request(checkpoint: Path) -> dict[str, Any]:
    """What the run of a checkpoint was asked for, but for W&B: what is done with it later is no run of its own.

    Raises:
        UserError: the file does not lie in a run directory.
    """
    try:
        content = trained_run(checkpoint.resolve().parent.parent)
    except UserError as error:
        raise UserError(
            f"{checkpoint} does not lie in a run directory. {error} Keep checkpoints where bench wrote them."
        ) from error
    return {**content["request"], "logger": "csv", "model": content["resolved"]["model"]["init_args"]}


def trained_run(run_dir: Path) -> dict[str, Any]:
    """What a run directory says of its cell: `request` and `resolved`.

    Raises:
        UserError: it is no run directory.
    """
    path = run_dir / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["request"], content["resolved"]["model"]["init_args"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run_dir} is no run directory: {path} cannot be read.") from error
    return content


def model_words(trained: dict[str, Any]) -> list[str]:
    """Words that rebuild the network as it was trained, whatever the configs of other data would make of it.

    Pretrained weights are not looked for, since the checkpoint replaces them.
    """
    arguments = {key: False if key == "pretrained" else value for key, value in trained["model"].items()}
    # a quoted string is not taken for a Literal by the parser
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
    return [f"--model.init_args.{key}={text}" for key, text in texts.items()]


def print_scores(cli: Any, result: Any) -> None:
    """One line per subset."""
    from benchmark.evaluation.callback import convention_of, scored_regions
    from benchmark.metrics.result import headline

    convention = convention_of(cli.datamodule, cli.config_init.evaluation.absent)
    scores = result.scores(convention, scored_regions(cli.datamodule))
    for name, entry in scores.items():
        print(f"{name:12} mIoU {100 * entry.miou:6.2f}  mF1 {100 * entry.mf1:6.2f}  OA {100 * entry.oa:6.2f}")
    print("  ".join(f"{name} {100 * value:.2f}" for name, value in headline(scores).items()))
