"""Footnotes of leaderboards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from benchmark.formats.markdown_latex import Part
from benchmark.metrics.result import ALL
from benchmark.records.record import Record


def left_out_notes(left_out: Sequence[str]) -> list[Part]:
    """The end of a page that does not hold every record."""
    return ["Left out:", "\n".join(f"- {text}" for text in left_out)] if left_out else []


MARK = "*"  # beside the protocol of rows whose split has something to be known


def footnote(table: pd.DataFrame, records: Sequence[Record]) -> str:
    """What the numbers mean, in one paragraph."""
    seeds = "mean +- std over n seeds; best and worst subset in brackets."
    return f"mIoU in per cent {conventions(table, records)}; {seeds}{split_notes(table)}"


def conventions(table: pd.DataFrame, records: Sequence[Record]) -> str:
    """Classes, label kind, scenes and data behind the scores of these records, of one dataset."""
    absent: dict[str, set[str]] = {}
    labels: dict[str, set[str]] = {}
    for record in records:
        name, convention = record.manifest.protocol.name, record.convention
        absent.setdefault(name, set()).add(convention.absent)
        labels.setdefault(name, set()).add("eroded" if convention.regions else "full")
    outputs = ", ".join(str(value) for value in sorted(set(table["K"])))
    classes = " / ".join(sorted(set(table["classes"])))
    return (
        f"over {classes} classes (K = {outputs} outputs, absent classes: "
        f"{_per_protocol(absent)}), {_per_protocol(labels)} labels, "
        f"{_scored_scenes(table)}, fingerprint {records[0].manifest.fingerprint[:12]}"
    )


def _scene_columns(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns if str(name).startswith("scenes ")]


def _scored_scenes(table: pd.DataFrame) -> str:
    """How many test scenes the scores come from; per subset where scenes really lack modalities."""
    whole = table[table["condition"] == ALL]
    counts = {
        name.removeprefix("scenes "): int(whole[name].min()) for name in _scene_columns(table)
    }
    most = max(counts.values())
    fewer = [f"{name} {number}" for name, number in counts.items() if number < most]
    if not fewer:
        return f"{most} test scenes"
    return (
        f"{most} test scenes, but fewer for subsets whose modalities some scenes lack ({', '.join(fewer)}; "
        "a dash where there are none, which then is left out of the summaries)"
    )


def split_notes(table: pd.DataFrame) -> str:
    """What is to be known of the splits of marked protocols, empty without any."""
    rows = table[table["split note"] != ""]
    notes = dict(zip(rows["protocol"], rows["split note"], strict=True))
    return "".join(f" {MARK} {name}: {note}" for name, note in sorted(notes.items()))


def _per_protocol(values: Mapping[str, set[str]]) -> str:
    # one table may hold rows of several protocols, each with conventions of its own, and an override may change one
    texts = {name: " / ".join(sorted(entry)) for name, entry in sorted(values.items())}
    return ", ".join(
        f"{text} ({name})" if len(values) > 1 else text for name, text in texts.items()
    )
