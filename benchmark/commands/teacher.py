"""The network that a student learns from, trained first where it is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmark.records.manifest import read_manifest
from benchmark.records.record import is_whole, write_json
from usererror import Busy, UserError

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI
    from benchmark.experiment.request import Teacher
    from benchmark.records.manifest import Stage

TEACHER = "teacher.json"  # in the run of a student
PATIENCE_S = 30.0  # between two looks at a teacher that another process trains


def train_teacher(cli: BenchCLI) -> tuple[Stage, ...]:
    """Hand a trained teacher to the student; it is trained first where it is missing.

    Returns what the teacher saw, nothing for an experiment without one.

    Raises:
        UserError: the student began with another teacher, or its network is not taught by any.
    """
    from benchmark.experiment.models import instantiate_model
    from benchmark.experiment.restore import load_trained_run
    from benchmark.experiment.train import describe_stage
    from methods.taught import TaughtSegmenter

    teacher = cli.teacher
    if teacher is None:
        return ()
    if not isinstance(cli.model, TaughtSegmenter):
        raise UserError(f"{cli.cell.variant} learns from no teacher: leave --cell.teacher out.")
    # one that does not fit is said before it is trained
    section = teacher.experiment.config["model"]
    cli.model.take_teacher(instantiate_model(section, cli.model.modalities, cli.model.num_classes))
    run_until_done(teacher)
    network = load_trained_run(teacher.run_dir).model
    cli.model.take_teacher(network)
    request, identity = teacher.request, teacher.experiment.identity
    stage = describe_stage("teacher", request.variant, identity, request.seed, network)
    check_same_teacher(cli, identity, stage.weights_sha256)
    return (stage,)


def run_until_done(teacher: Teacher) -> None:
    """Train a teacher as a command of its own, unless its record and its weights are there."""
    request, record = teacher.request, teacher.run_dir / "record"
    status = Busy.status
    while status == Busy.status:
        whole = is_whole(record)
        if whole and (teacher.run_dir / read_manifest(record).checkpoint).is_file():
            print(f"The teacher {request.variant} is trained: {teacher.run_dir}", flush=True)
            return
        print(f"The teacher {request.variant} comes first: {teacher.run_dir}", flush=True)
        # a record without weights: they were cleaned up, and are made again
        words = [*request.command_words(), *(["--force"] if whole else [])]
        status = run_command([sys.executable, "-m", "benchmark", *words])
        if status == Busy.status:
            time.sleep(PATIENCE_S)
    if status:
        # it has said why; the last line is what a sweep notes of the student
        failed = f"Its teacher {request.variant} ended with status {status}: {teacher.run_dir}"
        print(f"imss: Not trained. {failed}", file=sys.stderr, flush=True)
        raise SystemExit(status)


def run_command(words: list[str]) -> int:
    """Run a command; whatever ends this process asks it to end, and waits for it to save."""
    child = subprocess.Popen(words)
    try:
        return child.wait()
    except (KeyboardInterrupt, SystemExit):
        child.terminate()
        child.wait()
        raise


def check_same_teacher(cli: BenchCLI, identity: str, weights: str) -> None:
    """Note which weights teach a student, or refuse others than those that it began with."""
    path = cli.run_dir / TEACHER
    wanted = {"identity": identity, "weights_sha256": weights}
    if path.exists():
        began = json.loads(path.read_text(encoding="utf-8"))
        if began != wanted:
            hashes = f"{began.get('weights_sha256', '')[:12]}, now {weights[:12]}"
            problem = f"The teacher {cli.cell.teacher} was trained anew since this run began"
            raise UserError(f"{problem} (weights {hashes}): FORCE=1 begins anew.")
    elif cli.trainer.is_global_zero:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
