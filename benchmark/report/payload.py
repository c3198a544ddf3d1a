"""The block of data behind the page: what the records say, by dataset and board, as plain lists."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.analysis.comparison import BootstrapOptions
from benchmark.leaderboard.families import family_heads
from benchmark.leaderboard.notes import footnote
from benchmark.leaderboard.score_rows import ScoreRow, leaderboard_rows
from benchmark.leaderboard.table import reader_cells
from benchmark.method_table import method_entry
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import SUMMARIES, mean_std
from benchmark.records.groups import (
    CONTROL_MARK,
    SeedGroup,
    comparable_groups,
    seed_groups,
    short_names,
)
from benchmark.records.record import Record
from benchmark.records.selection import Skipped, select_records
from benchmark.report.calibration import calibration_scores
from benchmark.report.damage import damage_scores
from benchmark.report.gallery import ROOM, collect_gallery, limit_galleries
from benchmark.report.intervals import bootstrap_intervals
from benchmark.report.references import references, spelled_letters
from benchmark.report.scores import group_scores, round_for_json
from benchmark.report.sensor_values import sensor_values
from benchmark.report.training_curves import read_training_curves, run_directory


def build_payload(runs: Path, data: str, samples: int, *costs: Path) -> dict[str, Any]:
    """Gather everything the page shows of one dataset, or all (an empty name), most records first.

    No `samples`, no intervals. `remarks` say what was left out, and why.
    """
    # before the work: too few draws are the user's mistake
    options = BootstrapOptions(samples) if samples else None
    selections = select_records(runs, [data], required=False)
    remarks = Skipped()
    if data and data not in selections:
        remarks.add(f"there is no run record of {data}.")
    datasets, galleries = [], []
    for name, selection in sorted(selections.items(), key=lambda item: -len(item[1].records)):
        remarks += [text for text in selection.skipped if text not in remarks]
        boards = []
        for title, groups in comparable_groups(seed_groups(selection.records)).items():
            boards.append(_board(title, groups, options, remarks))
            shown = boards[-1]["gallery"], boards[-1]["damage"].get("gallery", {})
            galleries += [(name, gallery) for gallery in shown]
        fingerprint = selection.records[0].manifest.fingerprint
        dataset = {"name": name, "fingerprint": fingerprint, "boards": boards}
        datasets.append(dataset | {"costs": read_costs(costs, name)})
    # last, since all boards share the room
    limit_galleries(galleries, ROOM, remarks)
    made = datetime.now(UTC).isoformat(timespec="minutes")
    return {"made": made, "datasets": datasets, "remarks": remarks}


def read_costs(places: Sequence[Path], data: str) -> list[dict[str, Any]]:
    """Read `method`, `backbone` (may be empty) and every number of the first `<data>.csv`."""
    table = pd.DataFrame()
    # the page does without costs; it says itself how to make them
    for place in reversed(places):
        with suppress(OSError, ValueError, pd.errors.ParserError):
            table = pd.read_csv(place / f"{data}.csv")
    if "method" not in table:
        return []
    numbers = table.select_dtypes("number").to_dict("records")
    costs = []
    for line, row in zip(table.fillna({"backbone": ""}).to_dict("records"), numbers, strict=True):
        values = {str(name): round_for_json(value) for name, value in row.items()}
        name = str(line["method"]).removesuffix(CONTROL_MARK)
        backbone = str(line.get("backbone", ""))
        costs.append({"method": name, "backbone": backbone, "values": values})
    return costs


def count_runs(payload: dict[str, Any]) -> int:
    """Count the runs that a page shows."""
    runs = 0
    for dataset in payload["datasets"]:
        for board in dataset["boards"]:
            runs += sum(len(row["seeds"]) for row in board["rows"])
    return runs


def _board(
    title: str, groups: Sequence[SeedGroup], options: BootstrapOptions | None, remarks: Skipped
) -> dict[str, Any]:
    """Describe rows that may be ranked against each other, best Average first."""
    first = groups[0].first
    # rows of one board may have been scored with and without conditions
    names: set[str] = {ALL}
    for group in groups:
        names.update(group.first.conditions)
    conditions = [ALL, *sorted(names - {ALL})]
    board = leaderboard_rows(groups)
    ranked = [row.group for row in board]
    rows, shown, heads = [], short_names(groups), family_heads(ranked)
    titles = short_names(groups, lambda method: method_entry(method).name)
    for row in board:
        group = row.group
        line = _identity(group, shown[group.group]) | references(group)
        line |= {"title": titles[group.group], "head": heads[group.group]}
        pairs = map(round_for_json, map(mean_std, row.summary))
        line |= {"summary": dict(zip(SUMMARIES, pairs, strict=True))}
        line |= {"cells": _leaderboard_cells(board, row)}
        line |= group_scores(group, conditions)
        line["training"] = list(map(read_training_curves, group.members))
        rows.append(line)
    return {
        "title": title,
        "subsets": list(first.subsets),
        "conditions": conditions,
        "labels": list(first.labels),
        "averaged": list(first.convention.averaged),
        "letters": spelled_letters(max(groups, key=lambda group: len(group.manifest.modalities))),
        "note": footnote(board),
        "columns": _leaderboard_columns(board),
        "rows": rows,
        "intervals": bootstrap_intervals(ranked, options, remarks),
        "sensor_values": sensor_values(ranked, remarks),
        "damage": damage_scores(ranked, remarks),
        "calibration": calibration_scores(ranked, remarks),
        "gallery": collect_gallery(ranked, remarks),
    }


def _leaderboard_columns(rows: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """Describe the leaderboard's columns: heading, endings in CSV, whether cells are texts."""
    columns = []
    for heading, (column, value) in reader_cells(rows, rows[0]).items():
        parts = list(column.csv_parts(rows[0], value))
        columns.append({"title": heading, "parts": parts, "text": isinstance(value, str)})
    return columns


def _leaderboard_cells(rows: Sequence[ScoreRow], row: ScoreRow) -> list[dict[str, Any]]:
    """Write a row of the leaderboard: text, value to sort by, and what the page's CSV holds."""
    cells = []
    for column, value in reader_cells(rows, row).values():
        parts = []
        for part in column.csv_parts(row, value).values():
            parts.append(part if isinstance(part, str) else round_for_json(part))
        # the page's CSV has plain numbers, which the text rounds
        text = column.format_value(row, value, sign=" \u00b1 ")
        cells.append({"text": text, "value": parts[0], "parts": parts})
    return cells


def _identity(group: SeedGroup, name: str) -> dict[str, Any]:
    """Say who the row is."""
    manifest = group.manifest
    return {
        "id": group.group,
        "name": name,
        **group.columns(),
        "seeds": [record.manifest.seed for record in group.members],
        "selection": manifest.protocol.selected,
        "outputs": list(group.first.convention.outputs),
        "runs": list(map(_origin, group.members)),
    }


def _origin(record: Record) -> dict[str, Any]:
    """Say where and when one run was made, and what it took."""
    manifest = record.manifest
    changes = " with changes" if manifest.git.get("dirty") else ""
    return {
        # not the whole path, since a page is sent on
        "folder": (run_directory(record) or record.path).name,
        "seconds": [manifest.durations.get(name) for name in ("fit_s", "test_s")],
        "created": manifest.created,
        "device": manifest.device,
        "steps": str(manifest.steps),
        "commit": str(manifest.git.get("commit", ""))[:10] + changes,
        "local": run_directory(record) is not None,
    }
