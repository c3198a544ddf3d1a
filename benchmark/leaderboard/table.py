"""Average, Top-1 and Last-1 of every method on a dataset, from run records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.formats.numbers import format_mean_std
from benchmark.leaderboard.notes import MARK, _scene_columns
from benchmark.metrics.result import ALL
from benchmark.metrics.summaries import SUMMARIES, average_top1_last1, mean_std
from benchmark.records.groups import CONTROL_MARK, SeedGroup, seed_groups
from benchmark.records.record import Record


def leaderboard(records: Sequence[Record]) -> pd.DataFrame:
    """One row per method, backbone, protocol and overrides; scores in per cent, seeds as mean and std (ddof 1).

    Every score is computed per seed first. The subsets beside Top-1 and Last-1 are those of the mean row; a subset that
    no test scene has all modalities of has no score and does not enter them. Sorted by Average, best first. Records
    must belong to one dataset fingerprint.
    """
    rows = [_row(group, ALL) for group in seed_groups(records)]
    table = pd.DataFrame(rows)
    return (
        table.sort_values("Average", ascending=False, kind="stable").reset_index(drop=True)
        if rows
        else table
    )


def condition_board(records: Sequence[Record]) -> pd.DataFrame:
    """The same rows once per condition of the test scenes (`weather=night`), in the order of `leaderboard`.

    Empty when the dataset has no conditions. A class that no test scene of a condition shows is left out there, so the
    column `classes` belongs to the numbers.
    """
    if all(record.conditions == (ALL,) for record in records):
        return pd.DataFrame()
    parts = [
        [_row(group, condition) for condition in group.first.conditions]
        for group in seed_groups(records)
    ]
    parts.sort(key=lambda rows: -next(row["Average"] for row in rows if row["condition"] == ALL))
    return pd.DataFrame(row for rows in parts for row in rows)


def _row(group: SeedGroup, condition: str) -> dict[str, Any]:
    members, first = group.members, group.first.manifest
    seeds = [record.scores(condition) for record in members]
    subsets = members[0].subsets
    miou = np.array([[100 * seed[name].miou for name in subsets] for seed in seeds])
    f1 = np.array([[100 * seed[name].mf1 for name in subsets] for seed in seeds])
    mean = miou.mean(0)
    scored = [subset for subset, value in enumerate(mean) if not np.isnan(value)]
    row: dict[str, Any] = {
        "condition": condition,
        "method": first.variant,
        "backbone": first.backbone,
        "protocol": first.protocol.name,
        "overrides": group.overrides,
        "seeds": len(seeds),
    }
    for name, values in zip(SUMMARIES, average_top1_last1(miou), strict=True):
        row[name], row[f"{name} std"] = mean_std(values)
    row["Top-1 subset"] = subsets[max(scored, key=lambda subset: mean[subset])] if scored else ""
    row["Last-1 subset"] = subsets[min(scored, key=lambda subset: mean[subset])] if scored else ""
    for number, name in enumerate(subsets):
        row[f"mIoU {name}"], row[f"mIoU {name} std"] = mean_std(miou[:, number])
    for number, name in enumerate(subsets):
        row[f"mF1 {name}"], row[f"mF1 {name} std"] = mean_std(f1[:, number])
    oa = [100 * seed[subsets[-1]].oa for seed in seeds]
    oa_all = [100 * seed[subsets[-1]].oa_all for seed in seeds]
    row["OA full"], row["OA all labels full"] = float(np.mean(oa)), float(np.mean(oa_all))
    row["K"] = members[0].counts.shape[-1]
    convention = members[0].convention
    classes = {seed[subsets[i]].classes for seed in seeds for i in scored} or {0}
    row["classes"] = (
        f"{' to '.join(map(str, sorted({min(classes), max(classes)})))} of {len(convention.averaged)}"
    )
    counts = members[0].scored[:, members[0].conditions.index(condition)]
    row |= {f"scenes {name}": int(number) for name, number in zip(subsets, counts, strict=True)}
    row["split note"] = first.protocol.split_note
    row["selection"] = first.protocol.selected
    row["control"] = first.control
    return row


def shown(table: pd.DataFrame, decimals: int = 2, sign: str = " +- ") -> pd.DataFrame:
    """The table as people read it: `mean +- std` in one cell where there are several seeds."""
    if table.empty:
        return table

    def cell(row: Mapping[Any, Any], column: str) -> str:
        return format_mean_std(row[column], row[f"{column} std"], decimals, sign)

    names = [str(column) for column in table.columns]
    scores = [name for name in names if name.startswith("mIoU ") and not name.endswith(" std")]
    rows = table.to_dict("records")
    method = table["method"] + np.where(table["control"], CONTROL_MARK, "")
    result = pd.DataFrame({"method": method, "backbone": table["backbone"]})
    if (table["condition"] != ALL).any():
        result["condition"] = table["condition"]
        result["scenes"] = table[_scene_columns(table)].max(axis=1)
        result["classes"] = table["classes"]
    for name in SUMMARIES:
        result[name] = [cell(row, name) for row in rows]
        if name != "Average":
            result[name] += " (" + table[f"{name} subset"] + ")"
    for column in scores:
        result[column.removeprefix("mIoU ")] = [cell(row, column) for row in rows]
    result["n"] = table["seeds"]
    result["protocol"] = (
        table["protocol"]
        + np.where(table["split note"] != "", MARK, "")
        + ", "
        + table["selection"]
    )
    if (table["overrides"] != "").any():
        result["overrides"] = table["overrides"]
    return result
