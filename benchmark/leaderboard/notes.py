"""What stands below a leaderboard: how its numbers came about."""

from collections.abc import Mapping, Sequence

from benchmark.leaderboard.score_rows import ScoreRow
from benchmark.metrics.result import ALL
from benchmark.records.manifest import SPLIT_MARK


def footnote(rows: Sequence[ScoreRow]) -> str:
    """Say in one paragraph what the numbers of a leaderboard mean."""
    seeds = "mean +- std over n seeds; best and worst subset in brackets."
    return f"mIoU in per cent {describe_scoring(rows)}; {seeds}{split_notes(rows)}"


def describe_scoring(rows: Sequence[ScoreRow]) -> str:
    """Name classes, label kind, scenes and data behind the scores of one dataset."""
    outputs, classes = set(), set()
    absent: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    for row in rows:
        convention, name = row.group.first.convention, row.protocol.name
        outputs.add(len(convention.outputs))
        classes.add(row.classes)
        # by protocol, and several of each: an override may change a convention within a protocol
        absent.setdefault(name, set()).add(convention.absent)
        kinds.setdefault(name, set()).add("eroded" if convention.regions else "full")
    scenes = f"{_count_scenes(rows)}{_describe_unseen(rows)}"
    return (
        f"over {' / '.join(sorted(classes))} classes "
        f"(K = {', '.join(map(str, sorted(outputs)))} outputs, "
        f"absent classes: {_by_protocol(absent)}), {_by_protocol(kinds)} labels, "
        f"{scenes}, fingerprint {rows[0].group.manifest.fingerprint[:12]}"
    )


def _by_protocol(values: Mapping[str, set[str]]) -> str:
    """Join what is said of each protocol, under its name where a table holds several."""
    texts = []
    for name, entry in sorted(values.items()):
        text = " / ".join(sorted(entry))
        texts.append(f"{text} ({name})" if len(values) > 1 else text)
    return ", ".join(texts)


def scored_on_fewer(rows: Sequence[ScoreRow]) -> tuple[int, str]:
    """Return the number of test scenes, and the subsets that fewer of them have: `H 5, S+H 5`."""
    counts: dict[str, int] = {}
    for row in rows:
        # conditions are parts of the test set
        if row.condition == ALL:
            for subset, number in zip(row.subsets, row.scenes, strict=True):
                if subset not in row.unseen:
                    counts[subset] = min(number, counts.get(subset, number))
    most = max(counts.values())
    return most, ", ".join(f"{name} {number}" for name, number in counts.items() if number < most)


def _count_scenes(rows: Sequence[ScoreRow]) -> str:
    """Count the test scenes, per subset where some scenes lack modalities."""
    most, fewer = scored_on_fewer(rows)
    if not fewer:
        return f"{most} test scenes"
    return (
        f"{most} test scenes, but fewer for subsets whose modalities some scenes lack ({fewer}; "
        "a dash where there are none, which then is left out of the summaries)"
    )


def _describe_unseen(rows: Sequence[ScoreRow]) -> str:
    """Explain the dashes of networks that do not see all subsets; empty without any."""
    methods = sorted({row.group.method for row in rows if row.unseen})
    if not methods:
        return ""
    return (
        f", a dash where a network sees none of the sensors ({', '.join(methods)}), "
        "which leaves it without summaries"
    )


def split_notes(rows: Sequence[ScoreRow]) -> str:
    """Explain the marked splits; empty without any."""
    notes = {row.protocol.name: row.protocol.split_note for row in rows}
    return "".join(f" {SPLIT_MARK} {name}: {note}" for name, note in sorted(notes.items()) if note)
