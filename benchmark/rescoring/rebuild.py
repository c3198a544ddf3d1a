"""The experiment of a finished run, built again to score its weights once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from benchmark.choices import is_config_file
from benchmark.evaluation.callback import MissingModalityEvaluation
from benchmark.experiment.lightning_cli import BenchCLI, build_cli
from benchmark.experiment.models import checked_request
from benchmark.experiment.restore import (
    checkpoint_for,
    model_overrides,
    read_inputs,
    read_run_config,
)
from benchmark.experiment.train import score_checkpoint
from benchmark.experiment.trust import refuse_stored_files, trusted_overrides
from benchmark.records.record import Record, read_record
from usererror import UserError

Evaluation = TypeVar("Evaluation", bound=MissingModalityEvaluation)


def rebuild_experiment(
    run_dir: Path,
    trust: bool,
    overrides: Sequence[str] = (),
    method: str = "",
    data: str = "",
    protocol: str = "",
    out: Path | None = None,
    **places: Any,
) -> BenchCLI:
    """Build what a run was asked for, with its network as trained, if wanted on other data.

    Args:
        trust: classes and settings of outside the suite may be built.
        overrides: words of now, which win over those of the run.
        method: a method's file of the user's own instead of the run's.
        data: another dataset.
        protocol: another protocol.
        out: the directory that the experiment writes to; None: the run's.
        places: `runs` and `store` where they are now.

    Raises:
        UserError: the run cannot be read, names what is not trusted, or does not fit the data.
    """
    trained, config = read_run_config(run_dir, trust)
    request = replace(trained, method=method) if is_config_file(method) else trained
    if not trust:
        refuse_stored_files(request.method, *([] if data else [request.data]))
    # the network as trained, whatever the configs of other data say, but for what was typed now
    stored = (*trained.overrides, *model_overrides(config["model"]))
    # other data may have another scale, of which this network is not
    scale = f"--cell.scale={config['cell'].get('scale', 'paper')}"
    words = (*trusted_overrides(stored, trust), scale, *overrides)
    places |= {"data": data or request.data, "protocol": protocol or request.protocol}
    request = checked_request(replace(request, overrides=words, **places))
    cli = build_cli(request, run_dir=out or run_dir)
    cli.datamodule.match_outputs(read_inputs(run_dir).output_names)
    # tables name what was typed, not what makes the network the trained one again
    cli.request = replace(request, overrides=(*trained.overrides, *overrides))
    return cli


def scored_record(cli: BenchCLI, run_dir: Path) -> Record:
    """Read the record of a run, on whose data the run can be scored once more.

    Raises:
        UserError: there is no whole record, or the data are others now.
    """
    record = read_record(run_dir / "record")
    if cli.datamodule.store.fingerprint != record.manifest.fingerprint:
        text = f"{cli.request.dataset} in {cli.request.store} is not what {run_dir} was scored on"
        raise UserError(f"{text} (another fingerprint): import it as it was, or run bench again.")
    return record


def score_again(
    cli: BenchCLI, run_dir: Path, kind: type[Evaluation], *arguments: Any
) -> Evaluation:
    """Score the selected weights of a run by another evaluation than that of all subsets.

    The evaluation, which holds the result, is built from `arguments` and the options with which the
    run was scored. Nothing is logged: the run's logs are those of its training.
    """
    callbacks: list[Any] = cli.trainer.callbacks  # type: ignore[attr-defined]
    [place] = [n for n, one in enumerate(callbacks) if isinstance(one, MissingModalityEvaluation)]
    names = ("stitching", "absent", "block", "subsets")
    options = {name: getattr(callbacks[place], name) for name in names}
    evaluation = kind(*arguments, **options)
    callbacks[place] = cli.config_init.evaluation = evaluation
    cli.trainer.loggers = []
    checkpoint, _ = checkpoint_for(run_dir, cli.cell.selection)
    score_checkpoint(cli, checkpoint)
    return evaluation
