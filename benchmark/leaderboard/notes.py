"""What stands below a leaderboard: how its numbers came about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.metrics.result import ALL
from benchmark.records.manifest import SPLIT_MARK
from benchmark.records.record import Record


def footnote(rows: Sequence[ScoreRow]) -> str:
    """Say in one paragraph what the numbers of a leaderboard mean."""
    seeds = "mean +- std over n seeds; best and worst subset in brackets."
    return f"mIoU in per cent {describe_scoring(rows)}; {seeds}{split_notes(rows)}"


def describe_scoring(rows: Sequence[ScoreRow]) -> str:
    """Name classes, label kind, scenes and data behind the scores of one dataset."""
    records = [row.group.first for row in rows]
    outputs = ", ".join(map(str, sorted({len(record.convention.outputs) for record in records})))
    classes = " / ".join(sorted({row.classes for row in rows}))
    absent = _by_protocol((record, record.convention.absent) for record in records)
    kinds = _by_protocol((r, "eroded" if r.convention.regions else "full") for r in records)
    return (
        f"over {classes} classes (K = {outputs} outputs, absent classes: {absent}), "
        f"{kinds} labels, "
        f"{_count_scenes(rows)}, fingerprint {records[0].manifest.fingerprint[:12]}"
    )


def _count_scenes(rows: Sequence[ScoreRow]) -> str:
    """Count the test scenes, per subset where some scenes lack modalities."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.condition == ALL:
            for subset, number in zip(row.subsets, row.scenes, strict=True):
                counts[subset] = min(number, counts.get(subset, number))
    most = max(counts.values())
    fewer = ", ".join(f"{name} {number}" for name, number in counts.items() if number < most)
    if not fewer:
        return f"{most} test scenes"
    return (
        f"{most} test scenes, but fewer for subsets whose modalities some scenes lack ({fewer}; "
        "a dash where there are none, which then is left out of the summaries)"
    )


def split_notes(rows: Sequence[ScoreRow]) -> str:
    """Explain the marked splits; empty without any."""
    protocols = [row.protocol for row in rows]
    notes = sorted({(entry.name, entry.split_note) for entry in protocols if entry.split_note})
    return "".join(f" {SPLIT_MARK} {name}: {note}" for name, note in notes)


def _by_protocol(values: Iterable[tuple[Record, str]]) -> str:
    """Join what records say; under each protocol's name where a table holds several."""
    # an override may change a convention within one protocol
    by_name: dict[str, set[str]] = {}
    for record, text in values:
        by_name.setdefault(record.manifest.protocol.name, set()).add(text)
    texts = {name: " / ".join(sorted(entry)) for name, entry in sorted(by_name.items())}
    if len(texts) == 1:
        return "".join(texts.values())
    return ", ".join(f"{text} ({name})" for name, text in texts.items())
