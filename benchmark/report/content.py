"""The block of data behind the page: what the records say, by dataset and board, as plain lists and numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import boards
from benchmark.leaderboard import CONTROL, SUMMARIES, footnote, leaderboard
from benchmark.records import Record, find_records
from benchmark.report.chance import chance
from benchmark.report.costs import costs
from benchmark.report.pictures import ROOM, fit, gallery
from benchmark.report.scores import rounded, row_scores
from benchmark.report.sensors import sensors
from benchmark.report.training import curves, run_directory
from benchmark.result import ALL
from benchmark.rows import Row, rows_of, sections

UNFIT = (KeyError, TypeError, ValueError, IndexError, AttributeError)  # what a manifest of another program raises


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
    records, remarks = find_records([root for root in (runs, boards.PUBLISHED) if root.exists()])
    by_data: dict[str, list[Record]] = {}
    for record in records:
        if problem := _problem(record):
            remarks.append(f"The manifest of {record.path} does not fit its counts ({problem}).")
        elif data in ("", record.manifest["data"]):
            by_data.setdefault(record.manifest["data"], []).append(record)
    if data and data not in by_data:
        remarks.append(f"There is no run record of {data}.")
    apart = {}
    for name in sorted(by_data, key=lambda name: (-len(by_data[name]), name)):
        apart[name] = sections(rows_of(_heard(remarks, boards.one_fingerprint, name, by_data[name])))
    datasets = []
    for name, parts in apart.items():
        shown = [_board(title, rows, samples, remarks) for title, rows in parts.items()]
        fingerprint = next(iter(parts.values()))[0].first.manifest["fingerprint"]
        datasets.append({"name": name, "fingerprint": fingerprint, "boards": shown, "costs": costs(complexity, name)})
    fit([(entry["name"], board["gallery"]) for entry in datasets for board in entry["boards"]], ROOM, remarks)
    return {"made": datetime.now(UTC).isoformat(timespec="minutes"), "datasets": datasets, "remarks": remarks}


def _board(title: str, rows: Sequence[Row], samples: int, remarks: list[str]) -> dict[str, Any]:
    """Rows that may be ranked against each other, best Average first, with everything that is said of them."""
    first = rows[0].first
    conditions = sorted({name for row in rows for name in row.first.conditions}, key=lambda name: (name != ALL, name))
    records = [record for row in rows for record in row.members]
    table = leaderboard(records)
    lines = {row.group: leaderboard(row.members).iloc[0] for row in rows}
    ranked = sorted(rows, key=lambda row: -np.nan_to_num(lines[row.group]["Average"], nan=-np.inf))
    backbones = {row.first.manifest["backbone"] for row in rows}
    return {
        "title": title,
        "subsets": list(first.subsets),
        "conditions": conditions,
        "labels": list(first.labels),
        "averaged": list(first.convention.averaged),
        "note": footnote(table, records),
        "rows": [
            {
                **_identity(row, len(backbones) > 1),
                "summary": {
                    name: [rounded(lines[row.group][part]) for part in (name, f"{name} std")] for name in SUMMARIES
                },
                "best": lines[row.group]["Top-1 subset"],
                "worst": lines[row.group]["Last-1 subset"],
                **row_scores(row, conditions),
                "training": [curves(record) for record in row.members],
            }
            for row in ranked
        ],
        "chance": _heard(remarks, chance, ranked, samples),
        "sensors": _heard(remarks, sensors, ranked),
        "gallery": gallery(ranked, remarks),
    }


def _identity(row: Row, with_backbone: bool) -> dict[str, Any]:
    """Who the row is; `name` leaves out a backbone that all rows share."""
    manifest = row.first.manifest
    mark = CONTROL if manifest.get("control", False) else ""
    parts = [row.method + mark, manifest["backbone"] if with_backbone else "", row.overrides, row.tag]
    return {
        "id": row.group,
        "name": " ".join(filter(None, parts)),
        **row.columns(),
        "seeds": [record.manifest["seed"] for record in row.members],
        "selection": manifest["protocol"].get("selected", manifest["protocol"].get("selection", "")),
        "outputs": list(row.first.convention.outputs),
        "runs": [_about(record) for record in row.members],
    }


def _about(record: Record) -> dict[str, Any]:
    """Where and when one run was made."""
    manifest = record.manifest
    git = manifest.get("git") or {}
    return {
        "created": str(manifest["created"]),
        "device": str(manifest.get("device", "")),
        "steps": str(manifest.get("steps", "")),
        "commit": str(git.get("commit", ""))[:10] + (" with changes" if git.get("dirty") else ""),
        "local": run_directory(record) is not None,
    }


def _problem(record: Record) -> str:
    """Why a record cannot be scored; empty if it can."""
    try:
        convention, regions = record.convention, record.manifest["convention"]["regions"]
        for name in ("variant", "backbone", "data", "group", "fingerprint", "created"):
            if not isinstance(record.manifest[name], str):
                return f"{name} is no text"
        if len(convention.outputs) != record.counts.shape[-1]:
            return "another number of outputs"
        record.scores()
        str(record.manifest["protocol"]["name"] + "")
        [record.labels[label] for label in (*convention.averaged, *convention.outputs)]
        [record.regions.index(name) for name in regions or ()]
    except UNFIT as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _heard(remarks: list[str], function: Callable[..., Any], *arguments: Any) -> Any:
    """The answer of a function of the table commands, and what it prints of rows it leaves out, as remarks."""
    said = io.StringIO()
    with redirect_stdout(said):
        answer = function(*arguments)
    remarks += [line.removeprefix("Left out: ") for line in said.getvalue().splitlines()]
    return answer
