"""Training curves from the CSV logs that lie beside the records of local runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.records.record import Record
from benchmark.report.scores import rounded

SHOWN = {  # column of the log -> factor; scores are logged as shares
    "val/average_miou": 100,
    "val/top1_miou": 100,
    "val/last1_miou": 100,
    "train/loss": 1,
}
POINTS = 100  # of a curve; longer logs are thinned evenly
UNREADABLE = (
    OSError,
    ValueError,
    pd.errors.ParserError,
)  # an empty or cut file; Unicode errors are ValueErrors


def run_directory(record: Record) -> Path | None:
    """Where the run of a record lies, or None of a published one."""
    return record.path.parent if record.path.name == "record" else None


def curves(record: Record) -> dict[str, Any]:
    """{measure: {`step`: [...], `value`: [...]}} of one run; empty without logs. An interrupted run has several."""
    run_dir = run_directory(record)
    parts = []
    for path in sorted(run_dir.glob("logs/**/metrics.csv")) if run_dir else []:
        try:
            parts.append(pd.read_csv(path))
        except UNREADABLE:
            continue
    log = pd.concat(parts) if parts else pd.DataFrame()
    found = {}
    for name, factor in SHOWN.items():
        if name not in log or "step" not in log:
            continue
        points = log[["step", name]].apply(pd.to_numeric, errors="coerce").dropna()
        points = points.drop_duplicates("step", keep="last").sort_values("step")
        thinned = points.iloc[:: max(1, -(-len(points) // POINTS))]
        if len(thinned):
            found[name] = {
                "step": [int(step) for step in thinned["step"]],
                "value": rounded(factor * thinned[name].to_numpy(float), 4),
            }
    return found
