"""What a finished run leaves in W&B: metrics for sorting and plotting, and tables of scores."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from benchmark.choices import WANDB_PROJECT
from benchmark.metrics.confusion import Scores
from benchmark.metrics.summaries import average_top1_last1
from benchmark.records.record import Record
from benchmark.tracking.trust_metrics import trust_metrics

SUBSET_COLUMNS = ["subset", "miou", "mf1", "oa", "oa_all"]
CLASS_COLUMNS = ["subset", "class", "iou", "f1"]


def wandb_logger(
    run_dir: Path, name: str, group: str, identity: str, config: Mapping[str, Any]
) -> WandbLogger:
    """Build the logger of a run; offline unless WANDB_MODE or the user's login says otherwise."""
    import wandb

    # W&B falls back to a temporary folder where this one is missing
    (run_dir / "wandb").mkdir(parents=True, exist_ok=True)
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", WANDB_PROJECT),
        name=name,
        # runs that are equal but for the seed, a row of the leaderboard
        group=group,
        # so that a run that continues goes on in the same place
        id=identity,
        resume="allow",
        save_dir=str(run_dir),
        mode=mode,
        config=dict(config),
    )


def run_names(data: str, variant: str, backbone: str, seed: int, group: str) -> tuple[str, str]:
    """Name a run and its group, a row of the leaderboard: runs that are equal but for the seed.

    Example:
        >>> run_names("miniature", "sgma", "pvt_v2_b0", 1, "0123456789")
        ('miniature/sgma/pvt_v2_b0/seed1', 'miniature/sgma/pvt_v2_b0/01234567')
    """
    row = f"{data}/{variant}/{backbone}"
    return f"{row}/seed{seed}", f"{row}/{group[:8]}"


def import_record(record: Record, folder: Path) -> None:
    """Send the scores of a published record to W&B as a run, so that new ones have company."""
    entry = record.manifest
    names = run_names(entry.data, entry.variant, entry.backbone, entry.seed, entry.group)
    config = {
        **entry.model_dump(include={"method", "variant", "data", "backbone", "seed"}),
        **entry.model_dump(include={"identity", "fingerprint", "git", "config"}),
        "protocol": entry.protocol.name,
        "split_note": entry.protocol.split_note,
    }
    logger = wandb_logger(folder, *names, entry.identity, config)
    log_result([logger], record, entry.durations)


def log_result(loggers: Iterable[Logger], record: Record, more: Mapping[str, float]) -> None:
    """Log a finished run to W&B, which ends there; other loggers get nothing.

    `more` holds costs and durations.
    """
    scores, convention, labels = record.scores(), record.convention, record.labels
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        # plain names, without a stage: they become columns of the table of runs
        metrics = {**summary_metrics(scores), **trust_metrics(record), **more}
        logger.log_metrics(metrics, record.manifest.steps)
        subsets: list[list[Any]] = []
        classes: list[list[Any]] = []
        for name, entry in scores.items():
            whole = [100 * entry.miou, 100 * entry.mf1, 100 * entry.oa, 100 * entry.oa_all]
            subsets.append([name, *whole])
            for label, iou, f1 in zip(convention.averaged, entry.iou, entry.f1, strict=True):
                classes.append([name, labels[label], 100 * iou, 100 * f1])
        logger.log_table("subset_scores", columns=SUBSET_COLUMNS, data=subsets)
        logger.log_table("class_scores", columns=CLASS_COLUMNS, data=classes)
        # several runs may follow in one process, as tests and sweeps have it
        logger.experiment.finish()


def summary_metrics(scores: Mapping[str, Scores]) -> dict[str, float]:
    """Compute `average_miou`, `top1_miou`, `last1_miou` and `miou_<subset>`, in per cent.

    What was not scored is nan, and so is a summary of a network that does not see all subsets.
    """
    metrics = {}
    for name, entry in scores.items():
        metrics[f"miou_{name}"] = 100 * entry.miou
    summary = average_top1_last1(list(metrics.values()), list(scores))
    for name, value in summary._asdict().items():
        metrics[f"{name}_miou"] = value
    return metrics
