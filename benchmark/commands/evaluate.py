"""`imss evaluate`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from benchmark.choices import short_name
from benchmark.commands.options import (
    Command,
    add_out_argument,
    add_runs_argument,
    add_store_argument,
    user_path,
)
from usererror import UserError


class Evaluate(Command):
    """Score a checkpoint that `bench` wrote on every modality subset, if wanted on other data."""

    example = "imss evaluate --checkpoint RUN/checkpoints/best.ckpt --data potsdam"
    passes_on = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        text = "a checkpoint that `bench` wrote"
        parser.add_argument("--checkpoint", type=user_path, required=True, help=text)
        text = "fail unless the checkpoint is of this method"
        parser.add_argument("--method", default="", help=text)
        text = "another dataset than the one trained on"
        parser.add_argument("--data", default="", help=text)
        text = "another protocol than the one trained with"
        parser.add_argument("--protocol", default="", help=text)
        add_out_argument(parser, "directory of the record (default: beside the run)")
        add_runs_argument(parser)
        add_store_argument(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.lightning_cli import build_cli
        from benchmark.experiment.manifest import run_manifest
        from benchmark.experiment.restore import (
            model_overrides,
            read_run_config,
            run_of_checkpoint,
        )
        from benchmark.experiment.train import Outcome, score_checkpoint
        from benchmark.records.record import write_record

        checkpoint = arguments.checkpoint
        if not checkpoint or not checkpoint.is_file():
            raise UserError(f"There is no checkpoint {checkpoint}.")
        run_dir = run_of_checkpoint(checkpoint)
        trained, config = read_run_config(run_dir)
        if arguments.method and short_name(arguments.method) != trained.variant:
            raise UserError(
                f"{checkpoint} is of method {trained.variant!r}, not {arguments.method!r}."
            )
        wanted = replace(
            trained,
            data=arguments.data or trained.data,
            protocol=arguments.protocol or trained.protocol,
            runs=arguments.runs,
            store=arguments.store,
        )
        unchanged = (wanted.data, wanted.protocol) == (trained.data, trained.protocol)
        # the network as trained, whatever the configs of other data say, but for what was typed now
        words = (*trained.overrides, *model_overrides(config["model"]), *arguments.overrides)
        request = replace(wanted, overrides=words).checked()
        out = arguments.out or run_dir / "evaluations" / checkpoint.stem
        cli = build_cli(request, run_dir=out)
        result = score_checkpoint(cli, checkpoint)
        if cli.trainer.is_global_zero:
            name = f"{request.dataset}, {request.protocol}"
            if unchanged and not arguments.overrides:
                name = f"evaluation of {checkpoint.stem}"
            outcome = Outcome(result, checkpoint, name, 0, {})
            write_record(out / "record", run_manifest(cli, outcome), result)
            print_scores(cli, result)
            print(f"Record: {out / 'record'}")


def print_scores(cli: Any, result: Any) -> None:
    """Print one line per subset, then the summaries over subsets."""
    from benchmark.evaluation.protocol import convention_of
    from benchmark.metrics.summaries import average_top1_last1

    convention = convention_of(cli.datamodule, cli.config_init.evaluation.absent)
    scores = result.scores(convention)
    for name, entry in scores.items():
        miou, mf1, oa = 100 * entry.miou, 100 * entry.mf1, 100 * entry.oa
        print(f"{name:12} mIoU {miou:6.2f}  mF1 {mf1:6.2f}  OA {oa:6.2f}")
    summary = average_top1_last1([entry.miou for entry in scores.values()])._asdict()
    print("  ".join(f"{name} {100 * value:.2f}" for name, value in summary.items()))
