"""The block of data behind the page: what the records say, by dataset and board, as plain lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.leaderboard.notes import footnote
from benchmark.leaderboard.table import leaderboard
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import SUMMARIES, average_top1_last1, mean_std
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
    rows = {}
    for group in groups:
        rows[group.group] = {
            **_identity(group, len(encoders[group.method]) > 1),
            **_summary(group),
            **group_scores(group, conditions),
            "training": [read_training_curves(record) for record in group.members],
        }

    def average(group: SeedGroup) -> float:
        value = rows[group.group]["summary"][SUMMARIES[0]][0]
        return -np.inf if value is None else value

    ranked = sorted(groups, key=average, reverse=True)
    records = [record for group in groups for record in group.members]
    return {
        "title": title,
        "subsets": list(first.subsets),
        "conditions": conditions,
        "labels": list(first.labels),
        "averaged": list(first.convention.averaged),
        "note": footnote(leaderboard(records), records),
        "rows": [rows[group.group] for group in ranked],
        "intervals": bootstrap_intervals(ranked, samples, remarks),
        "sensor_values": sensor_values(ranked, remarks),
        "gallery": collect_gallery(ranked, remarks),
    }


def _summary(group: SeedGroup) -> dict[str, Any]:
    """Summarise the subsets, mean and std over seeds, and name the best and worst of the mean."""
    seeds = []
    for record in group.members:
        seeds.append([100 * scores.miou for scores in record.scores().values()])
    miou = np.array(seeds)
    means, stds = mean_std(np.stack(average_top1_last1(miou), -1))
    pairs = round_for_json(np.stack([means, stds], -1))
    subsets, mean = group.first.subsets, miou.mean(0)
    # a subset that no test scene has all modalities of is neither
    best, worst = "", ""
    if not np.isnan(mean).all():
        best, worst = subsets[np.nanargmax(mean)], subsets[np.nanargmin(mean)]
    return {"summary": dict(zip(SUMMARIES, pairs, strict=True)), "best": best, "worst": worst}


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
