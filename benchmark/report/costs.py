"""What methods cost: `results/complexity/<data>.csv`, where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.report.scores import rounded


def costs(directory: Path, data: str) -> list[dict[str, Any]]:
    """Lines of `method`, `backbone` (may be empty) and every numeric column of the file; empty without one."""
    try:
        table = pd.read_csv(directory / f"{data}.csv")
    except (OSError, ValueError, pd.errors.ParserError):
        return []
    if "method" not in table:
        return []
    numbers = [str(name) for name in table.select_dtypes("number").columns]
    texts = table.fillna("").astype(str)
    backbones = texts["backbone"] if "backbone" in table else [""] * len(table)
    return [
        {
            "method": method,
            "backbone": backbone,
            "values": {name: rounded(values[name]) for name in numbers},
        }
        for method, backbone, values in zip(
            texts["method"], backbones, table.to_dict("records"), strict=True
        )
    ]
