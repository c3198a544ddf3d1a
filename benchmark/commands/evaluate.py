"""`imss evaluate`: score a checkpoint that `bench` wrote, if wanted on other data or under another protocol."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.experiment.manifest import manifest
from benchmark.experiment.request import checked_request
from benchmark.experiment.restore import model_words, trained_request
from benchmark.experiment.train import test
from benchmark.records.record import write_record
from usererror import UserError


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Rebuild the cell that the checkpoint belongs to, score it and write a record."""
    checkpoint = Path(arguments.checkpoint).expanduser()
    if not checkpoint.is_file():
        raise UserError(f"There is no checkpoint {checkpoint}.")
    trained = trained_request(checkpoint)
    if arguments.method and arguments.method != trained["method"]:
        raise UserError(
            f"{checkpoint} is of method {trained['method']!r}, not {arguments.method!r}."
        )
    wanted = argparse.Namespace(
        **{key: trained[key] for key in ("method", "seed", "backbone", "logger")},
        data=arguments.data or trained["data"],
        protocol=arguments.protocol or trained["protocol"],
        runs=arguments.runs,
        store=arguments.store,
    )
    same = (wanted.data, wanted.protocol, list(overrides)) == (
        trained["data"],
        trained["protocol"],
        [],
    )
    request = checked_request(wanted, [*trained["overrides"], *model_words(trained), *overrides])
    from benchmark.experiment.lightning_cli import build

    run_dir = checkpoint.resolve().parent.parent
    out = (
        Path(arguments.out).expanduser()
        if arguments.out
        else run_dir / "evaluations" / checkpoint.stem
    )
    cli = build(request, run_dir=out)
    result = test(cli, checkpoint)
    if cli.trainer.is_global_zero:
        name = f"evaluation of {checkpoint.stem}" if same else f"{wanted.data}, {wanted.protocol}"
        write_record(out / "record", manifest(cli, checkpoint, name, 0, {}), result)
        print_scores(cli, result)
        print(f"Record: {out / 'record'}")


def print_scores(cli: Any, result: Any) -> None:
    """One line per subset."""
    from benchmark.evaluation.protocol import convention_of, scored_regions
    from benchmark.metrics.summaries import average_top1_last1

    convention = convention_of(cli.datamodule, cli.config_init.evaluation.absent)
    scores = result.scores(convention, scored_regions(cli.datamodule))
    summary = average_top1_last1([entry.miou for entry in scores.values()])._asdict()
    for name, entry in scores.items():
        print(
            f"{name:12} mIoU {100 * entry.miou:6.2f}  mF1 {100 * entry.mf1:6.2f}  OA {100 * entry.oa:6.2f}"
        )
    print("  ".join(f"{name} {100 * value:.2f}" for name, value in summary.items()))
