"""The block of data behind the page: what the records say, by dataset and board, as plain lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.formats.markdown import is_numeric
from benchmark.leaderboard.notes import footnote
from benchmark.leaderboard.score_rows import ScoreRow, leaderboard_rows
from benchmark.leaderboard.table import format_leaderboard, reader_cells
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import SUMMARIES, mean_std
from benchmark.records.groups import SeedGroup, comparable_groups, seed_groups
from benchmark.records.record import Record
from benchmark.records.selection import Skipped, select_records
from benchmark.report.costs import read_costs
from benchmark.report.gallery import ROOM, collect_gallery, limit_galleries
from benchmark.report.intervals import bootstrap_intervals
from benchmark.report.scores import group_scores, round_for_json
from benchmark.report.sensor_values import sensor_values
from benchmark.report.training_curves import read_training_curves, run_directory


def build_payload(runs: Path, data: str, samples: int, complexity: Path) -> dict[str, Any]:
    """Gather everything the page shows.

    Args:
        runs: directory of runs; the published records are read besides.
        data: one dataset, or empty for all.
        samples: draws of the bootstrap, 0 for no intervals.
        complexity: directory of `<data>.csv` with what methods cost.

    Returns:
        `made` (time), `datasets` (name, fingerprint, costs, boards; see `_board`), most records
        first, and `remarks` (what was left out, and why).
    """
    selections = select_records(runs, [data], required=False)
    remarks = Skipped()
    if data and data not in selections:
        remarks.add(f"there is no run record of {data}.")
    datasets, galleries = [], []
    for name, selection in sorted(selections.items(), key=lambda item: -len(item[1].records)):
        remarks += [text for text in selection.skipped if text not in remarks]
        boards = []
        for title, groups in comparable_groups(seed_groups(selection.records)).items():
            boards.append(_board(title, groups, samples, remarks))
            galleries.append((name, boards[-1]["gallery"]))
        fingerprint = selection.records[0].manifest.fingerprint
        dataset = {"name": name, "fingerprint": fingerprint, "boards": boards}
        datasets.append(dataset | {"costs": read_costs(complexity, name)})
    limit_galleries(galleries, ROOM, remarks)
    made = datetime.now(UTC).isoformat(timespec="minutes")
    return {"made": made, "datasets": datasets, "remarks": remarks}


def count_runs(payload: dict[str, Any]) -> int:
    """Count the runs that a page shows."""
    runs = 0
    for dataset in payload["datasets"]:
        for board in dataset["boards"]:
            runs += sum(len(row["seeds"]) for row in board["rows"])
    return runs


def _board(
    title: str, groups: Sequence[SeedGroup], samples: int, remarks: Skipped
) -> dict[str, Any]:
    """Describe rows that may be ranked against each other, best Average first."""
    first = groups[0].first
    names: set[str] = {ALL}
    encoders: dict[str, set[str]] = {}
    for group in groups:
        encoders.setdefault(group.method, set()).add(group.first.manifest.backbone)
        names.update(group.first.conditions)
    conditions = [ALL, *sorted(names - {ALL})]
    board = leaderboard_rows(groups)
    ranked = [row.group for row in board]
    columns, cells = _leaderboard_columns(board)
    rows = []
    for group, scores, texts in zip(ranked, board, cells, strict=True):
        rows.append(
            {
                **_identity(group, len(encoders[group.method]) > 1),
                **_summary(scores),
                **group_scores(group, conditions),
                "cells": texts,
                "training": [read_training_curves(record) for record in group.members],
            }
        )
    return {
        "title": title,
        "subsets": list(first.subsets),
        "conditions": conditions,
        "labels": list(first.labels),
        "averaged": list(first.convention.averaged),
        "note": footnote(board),
        "columns": columns,
        "rows": rows,
        "intervals": bootstrap_intervals(ranked, samples, remarks),
        "sensor_values": sensor_values(ranked, remarks),
        "gallery": collect_gallery(ranked, remarks),
    }


def _leaderboard_columns(
    rows: Sequence[ScoreRow],
) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Write the leaderboard's columns for readers, and every row's cells, for the page's table."""
    display = format_leaderboard(rows, sign=" \u00b1 ")
    columns: list[dict[str, Any]] = [
        {"title": name, "text": not is_numeric(display[name])} for name in display
    ]
    cells = []
    for row, texts in zip(rows, display.to_dict("records"), strict=True):
        line = []
        for place, (name, (column, value)) in enumerate(reader_cells(rows, row).items()):
            parts = column.parts(row, value)
            columns[place]["parts"] = list(parts)
            numbers = [round_for_json(p) if isinstance(p, float) else p for p in parts.values()]
            line.append({"text": texts[name], "value": numbers[0], "parts": numbers})
        cells.append(line)
    return columns, cells


def _summary(row: ScoreRow) -> dict[str, Any]:
    """Summarise the subsets, mean and std over seeds, and name the best and worst of the mean."""
    pairs = [round_for_json(mean_std(values)) for values in row.summary]
    return {
        "summary": dict(zip(SUMMARIES, pairs, strict=True)),
        "best": row.best,
        "worst": row.worst,
    }


def _identity(group: SeedGroup, with_backbone: bool) -> dict[str, Any]:
    """Say who the row is; `name` holds the backbone of a method that stands there with several."""
    manifest = group.first.manifest
    words = [group.marked_method, manifest.backbone if with_backbone else ""]
    words += [group.overrides, group.disambiguation]
    return {
        "id": group.group,
        "name": " ".join(filter(None, words)),
        **group.columns(),
        "seeds": [record.manifest.seed for record in group.members],
        "selection": manifest.protocol.selected,
        "outputs": list(group.first.convention.outputs),
        "runs": [_origin(record) for record in group.members],
    }


def _origin(record: Record) -> dict[str, Any]:
    """Say where and when one run was made."""
    manifest = record.manifest
    changes = " with changes" if manifest.git.get("dirty") else ""
    return {
        "created": manifest.created,
        "device": manifest.device,
        "steps": str(manifest.steps),
        "commit": str(manifest.git.get("commit", ""))[:10] + changes,
        "local": run_directory(record) is not None,
    }
