"""Run records: what a finished run leaves behind for tables.

A record is a directory with `manifest.json` (written last: a record without it is no record),
`summary.npz` (pooled counts, all that tables read) and `scenes.npz` (counts per scene and block,
for intervals). A slim record, such as older published ones, lacks the last.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.formats.files import own_file
from benchmark.metrics.confusion import (
    ClassCounts,
    Convention,
    Counts,
    Scores,
    class_counts,
    score_matrices,
)
from benchmark.metrics.result import ALL, EvaluationResult, sum_regions
from benchmark.records.arrays import DAMAGE, as_names, check_counts, read_arrays
from benchmark.records.manifest import AGAIN, MANIFEST, Manifest, read_manifest
from datamodules.store.part_files import whole_file
from datamodules.store.scene_store import write_text_whole
from usererror import UserError

SUMMARY, SCENES, RELIABILITY = "summary.npz", "scenes.npz", "reliability.npz"
SCENARIOS = "scenarios"  # folder of counts while sensors were damaged
AXES = ("subsets", "conditions", "regions", "labels")


@dataclass(frozen=True)
class Record:
    """A record read back."""

    path: Path
    manifest: Manifest
    subsets: tuple[str, ...]
    conditions: tuple[str, ...]
    regions: tuple[str, ...]
    labels: tuple[str, ...]
    counts: Counts  # `(subsets, conditions, regions, labels, outputs)`
    scored: Counts  # scenes, `(subsets, conditions)`

    @property
    def axes(self) -> tuple[tuple[str, ...], ...]:
        """Names of the axes of `counts`, its last one left out."""
        return self.subsets, self.conditions, self.regions, self.labels

    @property
    def convention(self) -> Convention:
        """The convention that the record's protocol names."""
        return self.manifest.convention

    def matrices(self, condition: str = ALL, convention: Convention | None = None) -> Counts:
        """Add up the scored regions to confusion matrices `(subsets, labels, outputs)`."""
        regions = (convention or self.convention).regions
        return sum_regions(self.counts[:, self.conditions.index(condition)], self.regions, regions)

    def class_counts(
        self, condition: str = ALL, convention: Convention | None = None
    ) -> ClassCounts:
        """Count pixels per averaged class, each `(subsets, classes)`."""
        convention = convention or self.convention
        return class_counts(self.matrices(condition, convention), convention)

    def scores(self, condition: str = ALL) -> dict[str, Scores]:
        """Score every subset under the record's own convention."""
        scores = score_matrices(self.matrices(condition), self.convention)
        return dict(zip(self.subsets, scores, strict=True))


def write_record(path: Path, manifest: Manifest, result: EvaluationResult) -> None:
    """Write a whole record; whatever interrupts it leaves no manifest behind."""
    path.mkdir(parents=True, exist_ok=True)
    # it goes first and comes last: its presence says that the rest is whole
    (path / MANIFEST).unlink(missing_ok=True)
    # of the counts that are replaced
    (path / RELIABILITY).unlink(missing_ok=True)
    shutil.rmtree(path / SCENARIOS, ignore_errors=True)
    conditions, counts, scored = result.pooled()
    names = {key: np.array(getattr(result, key), dtype=str) for key in AXES if key != "conditions"}
    pooled = {**names, "conditions": np.array(conditions), "counts": counts, "scored": scored}
    write_npz(path / SUMMARY, pooled)
    # a scene has fewer than 2^32 pixels, sums over scenes may have more
    scenes = {**names, "scenes": np.array(result.scenes), "scored": result.scored}
    for number, scene in enumerate(result.counts):
        scenes[f"counts_{number}"] = scene.astype(np.uint32)
    write_npz(path / SCENES, scenes)
    write_text_whole(path / MANIFEST, manifest.model_dump_json(indent=1) + "\n")


def read_record(path: Path) -> Record:
    """Read manifest and summary.

    Example:
        >>> record = read_record(next(Path("results/records/miniature").glob("sgma-*")))
        >>> record.subsets
        ('R', 'D', 'N', 'R+D', 'R+N', 'D+N', 'R+D+N')
        >>> bool(record.scores()["R+D+N"].miou > record.scores()["D"].miou)
        True
    """
    try:
        manifest = read_manifest(path)
        summary = read_arrays(path / SUMMARY, (*AXES, "counts", "scored"))
        axes = {key: as_names(summary[key]) for key in AXES}
        counts = check_counts(summary["counts"]).astype(np.int64)
        scored = check_counts(summary["scored"])
    except FileNotFoundError as error:
        lacks = Path(error.filename).name
        text = f"{path} is no whole run record: {lacks} is missing; run it again."
        raise UserError(text) from error
    except DAMAGE as error:
        said = str(error) or type(error).__name__
        raise UserError(f"The run record {path} is damaged ({said}); {AGAIN}.") from error
    record = Record(path, manifest, counts=counts, scored=scored, **axes)
    if not _fits(record):
        raise UserError(f"The manifest of {path} does not fit its counts; {AGAIN}.")
    return record


def is_whole(record: Path) -> bool:
    """Tell whether there is a record that can be read; say so if there is a damaged one."""
    # the manifest is the last file of a record that is written
    if not (record / MANIFEST).exists():
        return False
    try:
        read_record(record)
    except UserError:
        print(f"The record {record} is damaged; it is made again.", flush=True)
        return False
    return True


def _fits(record: Record) -> bool:
    """Tell whether the convention speaks of labels, outputs and regions that the counts have."""
    convention, shape = record.convention, tuple(map(len, record.axes))
    labels = {*convention.outputs, *convention.averaged, *convention.ignored}
    unique = len(set(convention.outputs)) == len(convention.outputs)
    sensors = set(record.manifest.modalities.values())
    return (
        unique
        and bool(record.subsets and convention.averaged)
        and set("+".join(record.subsets).split("+")) <= sensors
        and record.counts.shape == (*shape, len(convention.outputs))
        and record.scored.shape == shape[:2]
        and labels <= set(range(len(record.labels)))
        and set(convention.regions or ()) <= set(record.regions)
        and ALL in record.conditions
    )


def read_scenes(record: Record) -> dict[str, Counts]:
    """Read the counts `(subsets, blocks, regions, labels, outputs)` of every scene."""
    path = record.path / SCENES
    try:
        arrays = read_arrays(path)
        scenes = {}
        for number, name in enumerate(as_names(arrays["scenes"])):
            scenes[name] = check_counts(arrays[f"counts_{number}"])
    except FileNotFoundError as error:
        slim = f"{record.path} has no {SCENES} (older published records have none); run it again."
        raise UserError(slim) from error
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}); {AGAIN}.") from error
    rest = record.counts[:, record.conditions.index(ALL)]
    # all axes but that of blocks
    fits = all(counts.shape[:1] + counts.shape[2:] == rest.shape for counts in scenes.values())
    for counts in scenes.values() if fits else ():
        rest = rest - counts.sum(1, dtype=np.int64)
    if rest.any() or not fits:
        raise UserError(f"{path} does not add up to {SUMMARY}; {AGAIN}.")
    return scenes


def search_records(roots: Iterable[Path]) -> tuple[list[Record], list[tuple[str, str]]]:
    """Find all records below the roots, the newest of each identity of a dataset's name.

    What was set aside (`old-*`) or scored under another protocol than it was trained with
    (`evaluations`) is ignored. Damaged, unfinished or contradicting ones come as (dataset,
    sentence); the dataset is empty where a record does not say it any more.
    """
    newest: dict[tuple[str, str], Record] = {}
    left_out = []
    for path in chain.from_iterable(map(_record_directories, roots)):
        try:
            record = read_record(path)
        except UserError as error:
            left_out.append((_dataset(path), str(error)))
            continue
        # the same run may lie below RUNS and among the published records
        # an identity knows no names: one dataset under two names has records of both
        identity = record.manifest.data, record.manifest.identity
        other = newest.get(identity)
        if other is not None and not np.array_equal(other.counts, record.counts):
            older = min(other, record, key=lambda entry: entry.manifest.created)
            text = f"Two records of one cell differ: the older one, {older.path}, is left out."
            left_out.append((record.manifest.data, text))
        if other is None or record.manifest.created > other.manifest.created:
            newest[identity] = record
    return list(newest.values()), left_out


def _record_directories(root: Path) -> list[Path]:
    """List directories that hold a part of a record, sorted."""
    found = []
    for place, folders, files in os.walk(root):
        # os.walk descends into what this list still holds
        folders[:] = [name for name in folders if name != "evaluations" and name[:4] != "old-"]
        if {MANIFEST, SUMMARY} & set(files):
            found.append(Path(place))
    return sorted(found)


def _dataset(path: Path) -> str:
    """Find the dataset of a record that cannot be read, empty if the manifest is damaged."""
    try:
        return str(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["data"])
    except DAMAGE:
        return ""


def publish_record(source: Path, target: Path) -> None:
    """Copy a record, the manifest last, as it is written."""
    target.mkdir(parents=True, exist_ok=True)
    # older records have no counts per scene, and few any under damage or of confidences
    optional = [source / SCENES, source / RELIABILITY, *sorted((source / SCENARIOS).glob("*.npz"))]
    for path in (source / SUMMARY, *filter(Path.exists, optional), source / MANIFEST):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(own_file(path, source), copy)


def write_json(path: Path, content: Any) -> None:
    """Write UTF-8 JSON under a temporary name, then rename."""
    write_text_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays whole, or nothing."""
    # a stream, since numpy gives a path another ending
    with whole_file(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
