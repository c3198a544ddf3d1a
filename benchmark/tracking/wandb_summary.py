"""What a finished cell leaves in W&B: flat metrics for sorting and plotting, and tables of scores."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.loggers import WandbLogger

from benchmark.evaluation.protocol import convention_of
from benchmark.metrics.confusion import Convention, Scores
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.summaries import average_top1_last1
from benchmark.profiling.complexity import TOTAL, evaluation_gmac, parameters

if TYPE_CHECKING:
    from benchmark.experiment.lightning_cli import BenchCLI

SUBSET_COLUMNS = ["subset", "miou", "mf1", "oa", "oa_all"]
CLASS_COLUMNS = ["subset", "class", "iou", "f1"]


def log_result(cli: BenchCLI, result: EvaluationResult, durations: Mapping[str, float]) -> None:
    """Scores in per cent, cost and durations to the cell's W&B run, which ends here; nothing for other loggers."""
    for logger in cli.trainer.loggers:
        if not isinstance(logger, WandbLogger):
            continue
        convention = convention_of(cli.datamodule, cli.config_init.evaluation.absent)
        scores = result.scores(convention)
        logger.log_metrics({**flat(scores), **cost(cli), **durations}, cli.trainer.global_step)
        logger.log_table("subset_scores", columns=SUBSET_COLUMNS, data=subset_rows(scores))
        logger.log_table(
            "class_scores",
            columns=CLASS_COLUMNS,
            data=class_rows(scores, convention, result.labels),
        )
        logger.experiment.finish()


def flat(scores: Mapping[str, Scores]) -> dict[str, float]:
    """`average_miou`, `top1_miou`, `last1_miou` and `miou_<subset>`."""
    average = average_top1_last1([100 * entry.miou for entry in scores.values()])._asdict()
    summary = {f"{name}_miou": value for name, value in average.items()}
    return summary | {f"miou_{name}": 100 * entry.miou for name, entry in scores.items()}


def subset_rows(scores: Mapping[str, Scores]) -> list[list[Any]]:
    """Rows of `SUBSET_COLUMNS`."""
    return [
        [name, 100 * entry.miou, 100 * entry.mf1, 100 * entry.oa, 100 * entry.oa_all]
        for name, entry in scores.items()
    ]


def class_rows(
    scores: Mapping[str, Scores], convention: Convention, labels: Sequence[str]
) -> list[list[Any]]:
    """Rows of `CLASS_COLUMNS`, one per subset and averaged class."""
    return [
        [subset, labels[label], 100 * iou, 100 * f1]
        for subset, entry in scores.items()
        for label, iou, f1 in zip(convention.averaged, entry.iou, entry.f1, strict=True)
    ]


def cost(cli: BenchCLI) -> dict[str, float]:
    """`parameters_m`, trainable ones in 1e6, and `gmac` of the full set on one window, as `make profile` counts."""
    side = cli.datamodule.window
    images = {
        name: torch.zeros(1, count, side, side, device="meta")
        for name, count in cli.model.modalities.items()
    }
    network = copy.deepcopy(cli.model.network).to("meta").eval()
    return {
        "parameters_m": parameters(cli.model)[TOTAL] / 1e6,
        "gmac": evaluation_gmac(lambda: network(images)),
    }
