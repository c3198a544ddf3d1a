"""Which records stand in one table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.choices import ROOT
from benchmark.records.record import Record, search_records
from usererror import UserError

PUBLISHED = ROOT / "results" / "records"


PROTOCOL_KEYS = (
    "name",
    "split",
    "score_label",
)  # of a protocol, what scores depend on besides the convention


@dataclass(frozen=True)
class RecordSelection:
    """What the tables of a dataset are made of.

    Attributes:
        records: of one fingerprint; those of one group agree in everything but the seed.
        left_out: sentences about what is not in them, and why; printed already.
    """

    records: list[Record]
    left_out: list[str]


def chosen_records(runs: Path, data: str) -> dict[str, RecordSelection]:
    """What the tables are made of: of the named dataset, or of all that have records if `data` is empty.

    Raises:
        UserError: there are no records.
    """
    by_data, unread = read_by_data(runs)
    if data and data not in by_data:
        have = ", ".join(sorted(by_data)) or "none at all"
        raise UserError(f"No run record of {data!r} below {runs}; there are records of: {have}.")
    if not by_data:
        raise UserError(f"No run record below {runs}; make one with: make bench")
    return {
        name: choose(name, by_data[name], unread) for name in ([data] if data else sorted(by_data))
    }


def records_among(runs: Path, datasets: Collection[str]) -> dict[str, RecordSelection]:
    """As `chosen_records`, of those of the named datasets that have records."""
    by_data, unread = read_by_data(runs)
    return {
        name: choose(name, members, unread) for name, members in by_data.items() if name in datasets
    }


def read_by_data(runs: Path) -> tuple[dict[str, list[Record]], list[tuple[str, str]]]:
    """Records of RUNS together with the published ones, by dataset, and (dataset, sentence) of what was left out."""
    records, unread = search_records([root for root in (runs, PUBLISHED) if root.exists()])
    for _, text in unread:
        say_left_out(text)
    by_data: dict[str, list[Record]] = {}
    for record in records:
        by_data.setdefault(record.manifest["data"], []).append(record)
    return by_data, unread


def choose(
    name: str, members: Sequence[Record], unread: Sequence[tuple[str, str]] = ()
) -> RecordSelection:
    """Records that may stand in one table; what does not say its dataset any more is named beside every one."""
    left_out = [text for data, text in unread if data in ("", name)]
    return RecordSelection(
        drop_inconsistent_seeds(keep_newest_fingerprint(name, members, left_out), left_out),
        left_out,
    )


def say_left_out(text: str, left_out: list[str] | None = None) -> None:
    """Print what no table holds, and note it for the tables themselves."""
    print(f"Left out: {text}")
    if left_out is not None:
        left_out.append(text)


def keep_newest_fingerprint(
    data: str, records: Sequence[Record], left_out: list[str] | None = None
) -> list[Record]:
    """The records of the newest fingerprint: scores on different pixels are not comparable."""
    newest = max(records, key=lambda record: record.manifest["created"]).manifest["fingerprint"]
    kept = [record for record in records if record.manifest["fingerprint"] == newest]
    if len(kept) < len(records):
        number = len(records) - len(kept)
        say_left_out(
            f"{number} records of {data} with another fingerprint than {newest[:12]}.", left_out
        )
    return kept


def drop_inconsistent_seeds(
    records: Sequence[Record], left_out: list[str] | None = None
) -> list[Record]:
    """The records without those that differ from the newest of their group in more than the seed.

    The group's hash holds protocol and data, so this is a record that was altered, or made by other code.
    """

    def alike(one: Record, other: Record) -> bool:
        # older manifests lack keys of a protocol that newer ones have; what both say must be the same
        ours, theirs = one.manifest["protocol"], other.manifest["protocol"]
        same = all(
            ours[name] == theirs[name] for name in PROTOCOL_KEYS if name in ours and name in theirs
        )
        return (
            same
            and one.manifest["convention"] == other.manifest["convention"]
            and one.axes == other.axes
        )

    newest: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: str(record.manifest["created"])):
        newest[record.manifest["group"]] = record
    kept = []
    for record in records:
        other = newest[record.manifest["group"]]
        if alike(record, other):
            kept.append(record)
        else:
            text = f"{record.path} was scored by another protocol than {other.path}, of which it is to be another seed."
            say_left_out(text, left_out)
    return kept
