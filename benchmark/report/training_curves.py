"""Training curves from the CSV logs that lie beside the records of local runs."""

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.records.record import Record
from benchmark.report.scores import round_for_json

SCORES = ("val/average_miou", "val/top1_miou", "val/last1_miou")
FACTORS = dict.fromkeys(SCORES, 100) | {"train/loss": 1}  # scores are logged as shares
MOST_POINTS = 100  # of a curve; longer logs are thinned evenly
LOGS = "logs"  # below a run, and below a published record


def run_directory(record: Record) -> Path | None:
    """Find where the run of a record lies; None of a published one."""
    return record.path.parent if record.path.name == "record" else None


def read_training_curves(record: Record) -> dict[str, Any]:
    """Read {measure: {`step`: [...], `value`: [...]}} of one run; empty without logs."""
    curves = {}
    for name, points in read_curves(run_directory(record) or record.path).items():
        values = round_for_json(FACTORS[name] * points[name].to_numpy(float), 4)
        curves[name] = {"step": points["step"].tolist(), "value": values}
    return curves


def read_curves(directory: Path) -> dict[str, pd.DataFrame]:
    """Read {measure: table of `step` and the measure} from the logs below a directory, thinned."""
    parts = []
    # an interrupted run has several logs
    for path in sorted(directory.glob(f"{LOGS}/**/metrics.csv")):
        try:
            parts.append(pd.read_csv(path))
        except (OSError, ValueError, pd.errors.ParserError):  # an empty or cut file
            continue
    log = pd.concat(parts) if parts else pd.DataFrame()
    curves = {}
    for name in FACTORS:
        if name not in log or "step" not in log:
            continue
        points = log[["step", name]].apply(pd.to_numeric, errors="coerce").dropna()
        # steps that were trained again after an interruption stand twice: the last run counts
        points = points.drop_duplicates("step", keep="last").sort_values("step")
        points = points.iloc[:: max(1, -(-len(points) // MOST_POINTS))]
        if len(points):
            curves[name] = points.astype({"step": int})
    return curves
