"""What `imss robustness` and `imss reliability` have added to a record, as metrics for W&B."""

import numpy as np

from benchmark.metrics.reliability import reliability_scores
from benchmark.records.damage import ABSENCE, read_damage
from benchmark.records.record import Record
from benchmark.records.reliability import read_reliability

RELIABILITY = {"ece": 100.0, "brier": 1.0, "changed": 100.0}  # and what makes a unit of them


def trust_metrics(record: Record) -> dict[str, float]:
    """Compute `robustness/...` and `reliability/...` of what the record has; see `keys.KEYS`.

    mPC is the mean over the scenarios of this record, without those of absence, and `scenarios`
    their number: two records compare only if they were scored under the same ones.

    Raises:
        UserError: counts are damaged.
    """
    metrics: dict[str, float] = {}
    means = []
    for found in read_damage(record):
        clean, damaged = found.miou()
        metrics["robustness/clean"] = clean
        for severity, row in zip(found.damage.severities, damaged, strict=True):
            for letters, score in zip(found.sets, row, strict=True):
                metrics[f"robustness/{found.damage.name}/{severity}/{letters}"] = float(score)
        if found.damage.group != ABSENCE:
            means.append(damaged.mean())
    if means:
        metrics["robustness/mPC"] = float(np.mean(means))
        metrics["robustness/scenarios"] = len(means)
    if counts := read_reliability(record):
        scores = reliability_scores(counts)
        for name, factor in RELIABILITY.items():
            values = factor * getattr(scores, name)
            for subset, value in zip(counts.subsets, values, strict=True):
                # of a subset that no scene has there is no score
                if np.isfinite(value):
                    metrics[f"reliability/{name}/{subset}"] = float(value)
    return metrics
