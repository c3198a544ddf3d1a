"""Which records stand in one table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import choices
from benchmark.records.record import Record, search_records
from benchmark.records.trainer_options import partial_option
from datamodules.store.names import printable
from usererror import UserError

PUBLISHED = choices.PUBLISHED / "records"
SPECIALIST = "control"  # the method of networks that are trained for exactly some sensors


class Skipped(list[str]):
    """Sentences about what no table holds, and why; `add` prints them too."""

    def add(self, text: str) -> None:
        """Note a sentence and print it."""
        print(f"Left out: {printable(text)}")
        self.append(text)


class Unsaid(Skipped):
    """Sentences that are kept until it is known whether anyone needs them."""

    def add(self, text: str) -> None:
        """Note a sentence."""
        self.append(text)


@dataclass(frozen=True)
class RecordSelection:
    """What the tables of a dataset are made of."""

    records: list[Record]  # of one fingerprint; those of one group agree in all but the seed
    skipped: Skipped = field(default_factory=Skipped)
    # of networks that were trained for some of the sensors alone
    specialists: list[Record] = field(default_factory=list)
    # of protocols that name the subsets they score: without an Average, in tables of their own
    contests: list[Record] = field(default_factory=list)


def select_records(
    runs: Path,
    datasets: Collection[str] = (),
    required: bool = True,
    contests: bool = False,
) -> dict[str, RecordSelection]:
    """Select comparable records by dataset, from a directory of runs and the published ones.

    Without a name of a dataset, all that have records are selected; `required` makes it a mistake
    of the user if there are none. A record that no longer says its dataset is listed with all.
    Datasets that have records of `contests` alone are left out unless these are wanted.
    """
    if not runs.is_dir() and runs != Path(choices.DEFAULT_RUNS):
        # the published records alone would look like an answer
        raise UserError(f"There is no folder {runs}: RUNS is that of the runs of `bench`.")
    records, unread = search_records(filter(Path.exists, (runs, PUBLISHED)))
    by_data: dict[str, list[Record]] = {}
    for record in records:
        by_data.setdefault(record.manifest.data, []).append(record)
    wanted = set(filter(None, datasets))
    skipped = Skipped()
    for _, text in unread:
        skipped.add(text)
    missing = wanted - set(by_data)
    if required and missing:
        have = ", ".join(sorted(by_data)) or "none at all"
        names = ", ".join(map(repr, sorted(missing)))
        raise UserError(f"No run record of {names} below {runs}; there are records of: {have}.")
    if required and not by_data:
        raise UserError(f"No run record below {runs}; make one with: make bench")
    selections = {}
    # what is unreadable may be of any dataset, or of one that has no other record
    for name in sorted(by_data):
        if not wanted or name in wanted:
            # already printed above
            own = Skipped(text for data, text in unread if data == name or data not in by_data)
            whole = drop_trials(drop_partial(by_data[name], own))
            kept = keep_newest_fingerprint(name, whole, own)
            whole, some = part_contests(drop_inconsistent_seeds(kept, own))
            records, specialists = part_specialists(whole)
            if some and not contests:
                named = f"{len(some)} records of {name} whose protocol names the subsets it scores"
                own.add(f"{named}; their table: {name}.contests.")
            if records or contests or not some:
                selections[name] = RecordSelection(records, own, specialists, some)
    if required and not selections:
        names = ", ".join(map(repr, sorted(wanted or by_data)))
        raise UserError(f"No run of {names} below {runs} scores all subsets; see: make leaderboard")
    return selections


def part_contests(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Part off the records of protocols that name the subsets they score."""
    kept: list[Record] = []
    some: list[Record] = []
    for record in records:
        (some if record.manifest.scores_some else kept).append(record)
    return kept, some


def part_specialists(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Part off the networks of `control` that were trained with fewer sensors than other runs.

    They belong beside a table of subsets, not into it.
    """
    widest: dict[str, set[str]] = {}
    for record in records:
        sensors = set(record.manifest.modalities)
        others = widest.setdefault(record.manifest.protocol.name, set())
        if len(sensors) > len(others):
            widest[record.manifest.protocol.name] = sensors
    kept: list[Record] = []
    specialists: list[Record] = []
    for record in records:
        manifest = record.manifest
        narrow = set(manifest.modalities) < widest[manifest.protocol.name]
        (specialists if narrow and manifest.variant == SPECIALIST else kept).append(record)
    return kept, specialists


def drop_partial(records: Sequence[Record], skipped: Skipped) -> list[Record]:
    """Drop records of a part of the scenes, which earlier versions made."""
    kept = []
    for record in records:
        if partial := partial_option(record.manifest.config.get("trainer") or {}):
            skipped.add(f"{record.path} does not score every scene once ({partial}).")
        else:
            kept.append(record)
    return kept


def drop_trials(records: Sequence[Record]) -> list[Record]:
    """Drop the trials of a search of hyperparameters, of which one was chosen."""
    return [record for record in records if record.manifest.tuned != 0]


def keep_newest_fingerprint(data: str, records: Sequence[Record], skipped: Skipped) -> list[Record]:
    """Keep records of the newest fingerprint: scores on different pixels are not comparable."""
    if not records:
        return []
    newest = max(records, key=lambda record: record.manifest.created).manifest.fingerprint
    kept = [record for record in records if record.manifest.fingerprint == newest]
    if number := len(records) - len(kept):
        skipped.add(f"{number} records of {data} with another fingerprint than {newest[:12]}.")
    return kept


def drop_inconsistent_seeds(records: Sequence[Record], skipped: Skipped) -> list[Record]:
    """Drop records that differ from the newest of their group in more than the seed."""
    # the group's hash holds protocol and data: such a record was altered, or made by other code
    # the newest is what the code of today would make
    newest: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.manifest.created):
        newest[record.manifest.group] = record
    kept = []
    for record in records:
        other = newest[record.manifest.group]
        if _scored_alike(record, other):
            kept.append(record)
        else:
            text = f"{record.path} was scored by another protocol than {other.path}"
            skipped.add(f"{text}, of which it is to be another seed.")
    return kept


def _scored_alike(one: Record, other: Record) -> bool:
    """Tell whether scores of two records of a group may be averaged."""
    ours, theirs = one.manifest.protocol, other.manifest.protocol
    return (
        (ours.name, ours.split, ours.score_label) == (theirs.name, theirs.split, theirs.score_label)
        and one.convention == other.convention
        and one.axes == other.axes
    )
