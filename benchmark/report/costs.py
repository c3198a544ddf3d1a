"""What methods cost: `results/complexity/<data>.csv`, where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.report.scores import round_for_json


def read_costs(directory: Path, data: str) -> list[dict[str, Any]]:
    """Read `method`, `backbone` (may be empty) and every numeric column; empty without a file."""
    # the page does without costs; it says itself how to make them
    try:
        table = pd.read_csv(directory / f"{data}.csv")
    except (OSError, ValueError, pd.errors.ParserError):
        return []
    if "method" not in table:
        return []
    numbers = table.select_dtypes("number").to_dict("records")
    costs = []
    for line, row in zip(table.fillna({"backbone": ""}).to_dict("records"), numbers, strict=True):
        values = {str(name): round_for_json(value) for name, value in row.items()}
        name, backbone = str(line["method"]), str(line.get("backbone", ""))
        costs.append({"method": name, "backbone": backbone, "values": values})
    return costs
