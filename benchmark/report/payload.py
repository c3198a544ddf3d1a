"""The block of data behind the page: what the records say, by dataset and board, as plain lists and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.leaderboard.notes import footnote
from benchmark.leaderboard.table import leaderboard
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import SUMMARIES
from benchmark.records.groups import SeedGroup, comparable_groups, seed_groups
from benchmark.records.record import Record
from benchmark.records.selection import Skipped, select_records
from benchmark.report.costs import costs
from benchmark.report.gallery import ROOM, fit, gallery
from benchmark.report.intervals import chance
from benchmark.report.scores import rounded, row_scores
from benchmark.report.sensor_values import sensors
from benchmark.report.training_curves import curves, run_directory


def gather(runs: Path, data: str, samples: int, complexity: Path) -> dict[str, Any]:
    """Everything the page shows.

    Args:
        runs: directory of runs; the published records are read besides.
        data: one dataset, or empty for all.
        samples: draws of the bootstrap, 0 for no intervals.
        complexity: directory of `<data>.csv` with what methods cost.

    Returns:
        `made` (time), `datasets` (name, fingerprint, costs, boards; see `_board`), most records first, and `remarks`
        (what was left out, and why).
    """
    selections = select_records(runs, [data], required=False)
    remarks = Skipped()
    if data and data not in selections:
        remarks.add(f"there is no run record of {data}.")
    apart = {}
    for name, selection in sorted(selections.items(), key=lambda item: -len(item[1].records)):
        remarks += [text for text in selection.skipped if text not in remarks]
        apart[name] = comparable_groups(seed_groups(selection.records))
    datasets: list[dict[str, Any]] = []
    for name, parts in apart.items():
        shown = [_board(title, rows, samples, remarks) for title, rows in parts.items()]
        fingerprint = next(iter(parts.values()))[0].first.manifest.fingerprint
        datasets.append(
            {
                "name": name,
                "fingerprint": fingerprint,
                "boards": shown,
                "costs": costs(complexity, name),
            }
        )
    fit(
        [(entry["name"], board["gallery"]) for entry in datasets for board in entry["boards"]],
        ROOM,
        remarks,
    )
    return {
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "datasets": datasets,
        "remarks": remarks,
    }


def _board(title: str, rows: Sequence[SeedGroup], samples: int, remarks: Skipped) -> dict[str, Any]:
    """Rows that may be ranked against each other, best Average first, with everything that is said of them."""
    first = rows[0].first
    conditions = sorted(
        {name for row in rows for name in row.first.conditions},
        key=lambda name: (name != ALL, name),
    )
    records = [record for row in rows for record in row.members]
    table = leaderboard(records)
    lines = {row.group: leaderboard(row.members).iloc[0] for row in rows}
    ranked = sorted(rows, key=lambda row: -np.nan_to_num(lines[row.group]["Average"], nan=-np.inf))
    encoders = Counter(
        method for method, _ in {(row.method, row.first.manifest.backbone) for row in rows}
    )
    return {
        "title": title,
        "subsets": list(first.subsets),
        "conditions": conditions,
        "labels": list(first.labels),
        "averaged": list(first.convention.averaged),
        "note": footnote(table, records),
        "rows": [
            {
                **_identity(row, encoders[row.method] > 1),
                "summary": {
                    name: [rounded(lines[row.group][part]) for part in (name, f"{name} std")]
                    for name in SUMMARIES
                },
                "best": lines[row.group]["Top-1 subset"],
                "worst": lines[row.group]["Last-1 subset"],
                **row_scores(row, conditions),
                "training": [curves(record) for record in row.members],
            }
            for row in ranked
        ],
        "chance": chance(ranked, samples, remarks),
        "sensors": sensors(ranked, remarks),
        "gallery": gallery(ranked, remarks),
    }


def _identity(row: SeedGroup, with_backbone: bool) -> dict[str, Any]:
    """Who the row is; `name` holds the backbone of a method that stands in the board with several."""
    manifest = row.first.manifest
    parts = [
        row.marked_method,
        manifest.backbone if with_backbone else "",
        row.overrides,
        row.disambiguation,
    ]
    return {
        "id": row.group,
        "name": " ".join(filter(None, parts)),
        **row.columns(),
        "seeds": [record.manifest.seed for record in row.members],
        "selection": manifest.protocol.selected,
        "outputs": list(row.first.convention.outputs),
        "runs": [_about(record) for record in row.members],
    }


def _about(record: Record) -> dict[str, Any]:
    """Where and when one run was made."""
    manifest = record.manifest
    git = manifest.git
    return {
        "created": manifest.created,
        "device": manifest.device,
        "steps": str(manifest.steps),
        "commit": str(git.get("commit", ""))[:10] + (" with changes" if git.get("dirty") else ""),
        "local": run_directory(record) is not None,
    }
