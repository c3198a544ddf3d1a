"""Train, score and continue one experiment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.choices import LOGGERS, PRECISIONS, is_config_file, short_name
from benchmark.commands import options
from benchmark.commands.options import Command, add_flag, add_option, add_path
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from benchmark.experiment.train import Outcome
    from benchmark.metrics.result import EvaluationResult
    from methods.base import AnyModalitySegmenter


IN_WANDB = Path("wandb", "logged")  # in a run, when W&B has its scores


class Bench(Command):
    """Train a method, score every modality subset, write the leaderboard."""

    example = "imss bench --method magic --data miniature --trainer.max_epochs 2"
    passes_on = resumes = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        options.add_method_arguments(parser)
        text = "bf16 is half precision, a row of its own in tables (default: fp32)"
        add_option(parser, "--precision", "", text, choices=tuple(PRECISIONS))
        text = "divide each batch among so many, for less memory; a row of its own (default: 1)"
        add_option(parser, "--accumulate", 0, text)
        text = (
            "divide each batch until a GPU of so much holds it, as ACCUMULATE does: 24gb, or auto"
        )
        add_option(parser, "--hardware", "", text)
        add_option(parser, "--seed", ["0"], "seed of everything, or several: 0,1,2 (default: 0)")
        add_option(parser, "--logger", "csv", "besides CSV", choices=LOGGERS)
        options.add_runs(parser)
        options.add_wide(parser)
        add_flag(parser, "--force", "run a finished cell again; the old record is set aside")
        text = "afterwards also score damaged sensors: scenarios or groups, comma separated"
        add_option(parser, "--scenario", [], text)
        add_flag(parser, "--no-leaderboard", "leave the leaderboard as it is, as a sweep does")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.models import checked_request
        from benchmark.experiment.request import Request

        names = ["method", "data", "protocol", "scale", "backbone", "runs", "store", "logger"]
        values = options.values_of(arguments, *names)
        seed, *others = options.read_seeds(arguments.seed)
        words = arguments.overrides
        if arguments.precision:
            # an override like any other: identity, tables and plans know what to make of it
            words = [f"--trainer.precision={PRECISIONS[arguments.precision]}", *words]
        if arguments.accumulate:
            words = [f"--cell.accumulate={arguments.accumulate}", *words]
        request = Request(**values, seed=seed, overrides=tuple(words))
        if arguments.hardware:
            # names and store come before what is slow to import
            request = checked_request(request)
            from benchmark.profiling.presets import fit_batch

            request = fit_batch(request, arguments.hardware)
        if others:
            flags = {name: f"{name.upper()}=1" for name in ("force", "wide", "no_leaderboard")}
            for name, word in {**flags, "scenario": "SCENARIO"}.items():
                if getattr(arguments, name):
                    raise UserError(f"{word} is for one SEED: several are a sweep.")
            from benchmark.sweep.run_sweep import run_seeds

            if status := run_seeds(request, [seed, *others]):
                raise SystemExit(status)
            return
        request = checked_request(request)
        # what is slow to import comes after the names were checked
        from benchmark.commands.robustness import print_scenarios
        from benchmark.commands.teacher import train_teacher
        from benchmark.evaluation.scenario_files import read_scenarios
        from benchmark.experiment.lightning_cli import build_cli
        from benchmark.experiment.processes import claim
        from benchmark.experiment.train import archive_run, mention_other_code, train_and_score
        from benchmark.formats.files import make_writable
        from benchmark.leaderboard.write import update_leaderboard
        from benchmark.profiling.presets import device_memory, warn_if_too_small
        from benchmark.records.record import is_whole

        make_writable(request.runs, "--runs")
        asked = arguments.scenario
        wanted = read_scenarios(asked) if asked else []
        cli = build_cli(request)
        if wanted and cli.trainer.world_size > 1:
            raise UserError(
                "SCENARIO is for one process: use `make robustness RUN=...` afterwards."
            )
        # the directory is named by the identity, so that what was finished before is found again
        run_dir, record = cli.run_dir, cli.run_dir / "record"
        with claim(run_dir, cli.trainer):
            # by the first process alone: those that it starts find what it made
            if arguments.force and run_dir.exists() and cli.trainer.is_global_zero:
                archive_run(run_dir)
            if is_whole(record) and not arguments.force:
                print(f"This cell is finished: {run_dir} (FORCE=1 runs it again).")
                mention_other_code(record)
                if cli.trainer.is_global_zero:
                    make_up_for(cli, record)
            else:
                if cli.trainer.is_global_zero:
                    warn_if_too_small(request, device_memory(cli.trainer.strategy.root_device))
                cli.stages = train_teacher(cli)
                outcome = train_and_score(cli)
                # other ranks have sent their counts and are done
                if cli.trainer.is_global_zero:
                    keep_outcome(cli, outcome, record)
            if wanted:
                print_scenarios(cli, run_dir, wanted, asked)
        if cli.trainer.is_global_zero:
            if not arguments.no_leaderboard:
                update_leaderboard(request.runs, request.dataset, cli.group, arguments.wide)
            print(f"\nRun: {run_dir}\nRecord: {record}\nCheckpoints: {run_dir / 'checkpoints'}")


def keep_outcome(cli: BenchCLI, outcome: Outcome, record: Path) -> None:
    """Write the record, log to W&B if wanted, store example pictures."""
    from benchmark.experiment.train import run_manifest
    from benchmark.records.record import write_record

    # the record comes first: whatever fails later, the numbers are kept
    write_record(record, run_manifest(cli, outcome), outcome.result)
    if cli.request.logger == "wandb":
        log_record(cli, record)
    draw_examples(cli)


def log_record(cli: BenchCLI, path: Path) -> None:
    """Log the scores of a record to W&B, and remember that."""
    from benchmark.records.record import read_record
    from benchmark.tracking.wandb_summary import log_result

    record = read_record(path)
    more = measure_cost(cli.model, cli.datamodule.window) | record.manifest.durations
    log_result(cli.trainer.loggers, record, more)
    (cli.run_dir / IN_WANDB).touch()


def draw_examples(cli: BenchCLI) -> None:
    """Store pictures of a few test scenes beside the run."""
    from benchmark.evaluation.inference import evenly_spaced, select_test_scenes
    from benchmark.tracking.example_images import store_examples

    data = cli.datamodule
    store_examples(cli.model, data, cli.run_dir, evenly_spaced(select_test_scenes(data)))


def make_up_for(cli: BenchCLI, record: Path) -> None:
    """Do what a run that was cut off after its record has left undone."""
    from benchmark.experiment.restore import load_weights
    from benchmark.records.manifest import read_manifest
    from benchmark.tracking.example_images import FOLDER, INDEX

    if cli.request.logger == "wandb" and not (cli.run_dir / IN_WANDB).exists():
        log_record(cli, record)
    checkpoint = cli.run_dir / read_manifest(record).checkpoint
    # a run that was cleaned up has no weights
    if not (cli.run_dir / FOLDER / INDEX).exists() and checkpoint.is_file():
        load_weights(cli.model, checkpoint, cli.cell.variant)
        draw_examples(cli)


def measure_cost(model: AnyModalitySegmenter, window: int) -> dict[str, float]:
    """Count trainable parameters in 1e6, and GMAC of the full set on one window."""
    import copy

    import torch

    from benchmark.profiling.complexity import TOTAL, count_parameters, evaluation_gmac

    # a copy, since the model goes on; on the meta device nothing is computed, only counted
    network = copy.deepcopy(model.network).to("meta").eval()
    images = {}
    for name, channels in model.modalities.items():
        images[name] = torch.zeros(1, channels, window, window, device="meta")
    gmac = evaluation_gmac(lambda: network(images))
    return {"parameters_m": count_parameters(model)[TOTAL] / 1e6, "gmac": gmac}


class Evaluate(Command):
    """Score a checkpoint that `bench` wrote on every modality subset, if wanted on other data."""

    example = "imss evaluate --checkpoint RUN/checkpoints/best.ckpt --data potsdam"
    passes_on = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_path(parser, "--checkpoint", "a checkpoint that `bench` wrote", required=True)
        add_option(parser, "--method", "", "fail unless the checkpoint is of this method")
        add_option(parser, "--data", "", "another dataset than the one trained on")
        add_option(parser, "--protocol", "", "another protocol than the one trained with")
        add_path(parser, "--out", "directory of the record (default: beside the run)")
        options.add_runs(parser)
        options.add_store(parser)
        options.add_trust(parser)

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.restore import read_run_config
        from benchmark.experiment.train import Outcome, run_manifest, score_checkpoint
        from benchmark.formats.files import make_writable
        from benchmark.records.record import write_record
        from benchmark.rescoring.rebuild import rebuild_experiment

        checkpoint, method = arguments.checkpoint, arguments.method
        if not checkpoint.is_file():
            remedy = "CHECKPOINT is a file such as <run>/checkpoints/best.ckpt"
            raise UserError(f"There is no checkpoint {checkpoint}: {remedy}.")
        run_dir = checkpoint.resolve().parent.parent
        # a method's file that is named here is the user's own, not what came with the run
        trust = arguments.trust or is_config_file(method)
        trained, _ = read_run_config(run_dir, trust)
        if method and short_name(method) != trained.variant:
            raise UserError(f"{checkpoint} is of method {trained.variant!r}, not {method!r}.")
        # not the run's own record, which says what its selection rule chose
        out = make_writable(arguments.out or run_dir / "evaluations" / checkpoint.stem)
        asked = options.values_of(
            arguments, "overrides", "method", "data", "protocol", "runs", "store"
        )
        cli = rebuild_experiment(run_dir, trust, out=out, **asked)
        result = score_checkpoint(cli, checkpoint)
        if cli.trainer.is_global_zero:
            request = cli.request
            name = f"{request.dataset}, {request.protocol}"
            unchanged = (request.data, request.protocol) == (trained.data, trained.protocol)
            if unchanged and not arguments.overrides:
                name = f"evaluation of {checkpoint.stem}"
            outcome = Outcome(result, checkpoint, name, 0, {})
            write_record(out / "record", run_manifest(cli, outcome), result)
            print_scores(cli, result)
            print(f"Record: {out / 'record'}")


def print_scores(cli: BenchCLI, result: EvaluationResult) -> None:
    """Print one line per subset, then the summaries where all are scored."""
    from benchmark.evaluation.protocol import convention_of
    from benchmark.metrics.summaries import average_top1_last1, format_mean_std

    def per_cent(share: float) -> str:
        return format_mean_std(100 * share, float("nan"))

    scores = result.scores(convention_of(cli.datamodule, cli.config_init.evaluation.absent))
    for name, entry in scores.items():
        miou, mf1, oa = map(per_cent, (entry.miou, entry.mf1, entry.oa))
        print(f"{name:12} mIoU {miou:>6}  mF1 {mf1:>6}  OA {oa:>6}")
    if cli.config_init.evaluation.subsets is not None:
        return  # a mean of some subsets is no Average
    summary = average_top1_last1([entry.miou for entry in scores.values()], result.subsets)
    print("  ".join(f"{name} {per_cent(value)}" for name, value in summary._asdict().items()))
