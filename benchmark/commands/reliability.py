"""`imss reliability`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmark.commands.options import Command, add_path, add_trained_run
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.metrics.reliability import ReliabilityCounts
    from benchmark.metrics.result import EvaluationResult
    from benchmark.records.record import Record

PICTURE = "reliability.png"


class Reliability(Command):
    """Count how far a run's confidences can be trusted, and what changes when a sensor goes."""

    example = "imss reliability --run results/runs/miniature/sgma/pvt_v2_b0-seed0-0123abcd"
    passes_on = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser)
        add_path(parser, "--store", "directory of scene stores (default: the run's)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        from benchmark.evaluation.reliability import ReliabilityEvaluation
        from benchmark.figures.reliability_diagram import draw_reliability
        from benchmark.formats.files import make_writable
        from benchmark.records.record import RELIABILITY
        from benchmark.records.reliability import write_reliability
        from benchmark.rescoring.rebuild import rebuild_experiment, score_again, scored_record

        run_dir = make_writable(arguments.run, "--run").resolve()
        places = {"store": arguments.store} if arguments.store else {}
        cli = rebuild_experiment(run_dir, arguments.trust, arguments.overrides, **places)
        record = scored_record(cli, run_dir)
        evaluation = score_again(cli, run_dir, ReliabilityEvaluation)
        if not cli.trainer.is_global_zero:
            return
        assert evaluation.result and evaluation.reliability
        require_same_counts(record, evaluation.result)
        write_reliability(record, evaluation.reliability)
        manifest = record.manifest
        title = f"{manifest.variant}, {manifest.data}, seed {manifest.seed}: reliability"
        draw_reliability(evaluation.reliability, title, run_dir / PICTURE)
        print_reliability(evaluation.reliability)
        print(f"Reliability: {record.path / RELIABILITY}\nPicture: {run_dir / PICTURE}")


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
