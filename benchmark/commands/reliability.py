"""`imss reliability`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmark.commands.options import Command, add_option, add_trained_run
from usererror import UserError

if TYPE_CHECKING:
    import lightning as L

    from benchmark.evaluation.reliability import ReliabilityEvaluation
    from benchmark.experiment.restore import TrainedRun
    from benchmark.metrics.reliability import ReliabilityCounts
    from benchmark.metrics.result import EvaluationResult
    from benchmark.records.record import Record

PICTURE = "reliability.png"


class Reliability(Command):
    """Count how far a run's confidences can be trusted, and what changes when a sensor goes."""

    example = "imss reliability --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        add_option(parser, "--devices", 1, "GPUs, or processes where there is none")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.experiment.lightning_cli import silence_known_warnings
        from benchmark.experiment.restore import load_trained_run
        from benchmark.experiment.signals import ends_when_asked
        from benchmark.figures.reliability_diagram import draw_reliability
        from benchmark.formats.files import make_writable
        from benchmark.records.record import RELIABILITY, read_record
        from benchmark.records.reliability import write_reliability

        if arguments.devices < 1:
            raise UserError(f"devices is {arguments.devices}: give 1 or more.")
        silence_known_warnings()
        # a run without a whole record has nothing that these counts could stand beside
        record = read_record(arguments.run / "record")
        run = load_trained_run(arguments.run, arguments.trust)
        make_writable(record.path, "--run")
        if run.data.store.fingerprint != record.manifest.fingerprint:
            problem = f"The data of {arguments.run} has changed since its record was made"
            raise UserError(f"{problem}: import it as it was, or run bench again.")
        evaluation = evaluation_of(run)
        trainer = trainer_of(run, evaluation, arguments.devices)
        with ends_when_asked(trainer):
            trainer.test(run.model, run.data, verbose=False)
        if not trainer.is_global_zero:
            return
        assert evaluation.result and evaluation.reliability
        require_same_counts(record, evaluation.result)
        write_reliability(record, evaluation.reliability)
        title = f"{run.title}, seed {run.request.seed}: reliability"
        draw_reliability(evaluation.reliability, title, arguments.run / PICTURE)
        print_reliability(evaluation.reliability)
        print(f"Reliability: {record.path / RELIABILITY}\nPicture: {arguments.run / PICTURE}")


def evaluation_of(run: TrainedRun) -> ReliabilityEvaluation:
    """Build the evaluation with which a run was scored."""
    from benchmark.evaluation.reliability import ReliabilityEvaluation
    from benchmark.experiment.restore import explain_misfit

    with explain_misfit("evaluation"):
        return ReliabilityEvaluation(**run.config.get("evaluation", {}))


def trainer_of(run: TrainedRun, evaluation: ReliabilityEvaluation, devices: int) -> L.Trainer:
    """Build what tests a run as it was tested: same precision, rounding and compiled parts."""
    import lightning as L

    from benchmark.computation.compilation import compile_where_possible
    from benchmark.computation.products import round_products
    from benchmark.experiment.checkpoints import trainer_plugins
    from benchmark.experiment.processes import EndTogether
    from benchmark.experiment.restore import explain_misfit
    from benchmark.tracking.progress import RunProgress

    device, cell = run.model.device, run.config["cell"]
    round_products(device, cell.get("exact"))
    compile_where_possible(cell.get("compile", "none"), run.model, device)
    with explain_misfit("trainer"):
        return L.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=devices,
            precision=run.config.get("trainer", {}).get("precision", "32-true"),
            # the datamodule deals out scenes itself
            use_distributed_sampler=False,
            callbacks=[evaluation, EndTogether(), RunProgress()],
            plugins=trainer_plugins(),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )


def require_same_counts(record: Record, result: EvaluationResult) -> None:
    """Raise a UserError unless a result has the confusion counts of a record."""
    import numpy as np
    import torch

    from benchmark.experiment.identity import git_state

    _, counts, _ = result.pooled()
    if np.array_equal(counts, record.counts):
        return
    manifest, device = record.manifest, "GPU" if torch.cuda.is_available() else "CPU"
    made = f"commit {manifest.git.get('commit', 'unknown')[:10]}, {manifest.device}"
    made += f", threads {manifest.threads}"
    here = f"commit {git_state().get('commit', 'unknown')[:10]}, {device}"
    here += f", threads {torch.get_num_threads()}"
    number = "other"
    if counts.shape == record.counts.shape:
        # a pixel that moves leaves one count and enters another
        number = f"{int(np.abs(counts - record.counts).sum()) // 2:,} other"
    problem = f"The test gives {number} confusion counts than {record.path}"
    advice = "score it with the code, device and OMP_NUM_THREADS of then, or run bench again"
    raise UserError(f"{problem} (then {made}; now {here}): {advice}.")


def print_reliability(counts: ReliabilityCounts) -> None:
    """Print one line per subset."""
    from benchmark.metrics.reliability import SURE_NAME, reliability_scores

    scores = reliability_scores(counts)
    for number, name in enumerate(counts.subsets):
        if not counts.pixels[number].any():
            print(f"{name:12} no test scene has all of these sensors")
            continue
        ece, mce, brier = scores.ece[number], scores.mce[number], scores.brier[number]
        wrong, changed = scores.wrong_and_sure[number], scores.changed[number]
        print(
            f"{name:12} ECE {100 * ece:5.2f}  MCE {100 * mce:5.2f}  Brier {brier:.4f}  "
            f"wrong above {SURE_NAME} {100 * wrong:5.2f} %  label changes {100 * changed:5.2f} %"
        )
