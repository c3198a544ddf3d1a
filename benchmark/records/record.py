"""Run records: what a finished cell leaves behind, and how tables find it again.

A record is a directory with `manifest.json` (written last: a record without it is no record), `summary.npz` (pooled
counts, all that tables read) and `scenes.npz` (counts per scene and block, for intervals). A slim record
lacks the last.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmark.metrics.confusion import Absent, Convention, Counts, Scores
from benchmark.metrics.result import ALL, EvaluationResult, region_scores
from datamodules.store.scene_store import write_text_whole
from usererror import UserError

FORMAT = 1
MANIFEST, SUMMARY, SCENES = "manifest.json", "summary.npz", "scenes.npz"
# what a cut or altered file raises; a JSON or Unicode error is a ValueError
DAMAGE = (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
TEXTS = ("identity", "group", "method", "variant", "data", "backbone", "fingerprint", "created")
REQUIRED = (*TEXTS, "seed", "protocol", "convention")


@dataclass(frozen=True)
class Record:
    """A record read back.

    Attributes:
        path: its directory.
        manifest: see `benchmark.experiment.manifest.manifest`.
        subsets, conditions, regions, labels: names of the axes of `counts` (its last axis are network outputs).
        counts: int64 subsets x conditions x regions x labels x outputs.
        scored: scored scenes, subsets x conditions.
    """

    path: Path
    manifest: Mapping[str, Any]
    subsets: tuple[str, ...]
    conditions: tuple[str, ...]
    regions: tuple[str, ...]
    labels: tuple[str, ...]
    counts: Counts
    scored: Counts

    @property
    def axes(self) -> tuple[tuple[str, ...], ...]:
        """Names of the axes of `counts`, its last one left out."""
        return self.subsets, self.conditions, self.regions, self.labels

    @property
    def convention(self) -> Convention:
        """The convention that the record's protocol names."""
        entry = self.manifest["convention"]
        return Convention(
            tuple(entry["outputs"]),
            tuple(entry["averaged"]),
            tuple(entry["ignored"]),
            entry["absent"],
        )

    def scores(self, condition: str = ALL) -> dict[str, Scores]:
        """Scores per subset under the record's own convention and label kind."""
        counts = self.counts[:, self.conditions.index(condition)]
        return region_scores(
            self.subsets,
            self.regions,
            counts,
            self.convention,
            self.manifest["convention"]["regions"],
        )


@dataclass(frozen=True)
class SceneCounts:
    """The counts of a record by scene.

    Attributes:
        scenes: scene ids.
        counts: per scene uint32 subsets x blocks x regions x labels x outputs.
    """

    scenes: tuple[str, ...]
    counts: tuple[np.ndarray, ...]


def write_record(path: Path, manifest: Mapping[str, Any], result: EvaluationResult) -> None:
    """Write a whole record; whatever interrupts it leaves no manifest behind."""
    path.mkdir(parents=True, exist_ok=True)
    (path / MANIFEST).unlink(missing_ok=True)
    conditions, counts, scored = result.pooled()
    names = {
        key: np.array(getattr(result, key), dtype=str) for key in ("subsets", "regions", "labels")
    }
    _write_npz(
        path / SUMMARY,
        {**names, "conditions": np.array(conditions), "counts": counts, "scored": scored},
    )
    scenes = {
        f"counts_{number}": counts.astype(np.uint32) for number, counts in enumerate(result.counts)
    }
    _write_npz(
        path / SCENES,
        {**names, "scenes": np.array(result.scenes), "scored": result.scored, **scenes},
    )
    write_json(path / MANIFEST, {"format": FORMAT, **manifest})


def read_record(path: Path) -> Record:
    """Read manifest and summary.

    Raises:
        UserError: not a record, damaged, or written by another format; names the file and the remedy.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        with np.load(path / SUMMARY, allow_pickle=False) as summary:
            axes = {
                key: tuple(str(name) for name in summary[key])
                for key in ("subsets", "conditions", "regions", "labels")
            }
            counts, scored = summary["counts"], summary["scored"]
    except FileNotFoundError as error:
        lacks = Path(error.filename).name
        raise UserError(
            f"{path} is no whole run record: {lacks} is missing; run its cell again."
        ) from error
    except DAMAGE as error:
        raise UserError(
            f"The run record {path} is damaged ({error}); run its cell again with FORCE=1."
        ) from error
    if not isinstance(manifest, dict):
        raise UserError(
            f"The run record {path} is damaged ({MANIFEST} is no object); run its cell again with FORCE=1."
        )
    missing = [key for key in REQUIRED if key not in manifest]
    shape = tuple(len(axes[key]) for key in ("subsets", "conditions", "regions", "labels"))
    if (
        manifest.get("format") != FORMAT
        or missing
        or counts.shape[:-1] != shape
        or scored.shape != shape[:2]
    ):
        reason = (
            f"lacks {', '.join(missing)}"
            if missing
            else "is of another format or its parts do not fit"
        )
        raise UserError(f"The run record {path} {reason}; run its cell again with FORCE=1.")
    record = Record(path, manifest, counts=counts.astype(np.int64), scored=scored, **axes)
    _check_convention(record)
    return record


def _check_convention(record: Record) -> None:
    """Raise a UserError unless the manifest's convention speaks of labels, outputs and regions that the counts have."""
    manifest = record.manifest
    try:
        convention, regions = record.convention, manifest["convention"]["regions"] or ()
        named = {*convention.outputs, *convention.averaged, *convention.ignored}
        fits = [
            len(convention.outputs) == record.counts.shape[-1],
            named <= set(range(len(record.labels))),
            set(regions) <= set(record.regions),
            convention.absent in get_args(Absent),
            ALL in record.conditions,
            all(isinstance(manifest[name], str) for name in TEXTS)
            and isinstance(manifest["protocol"]["name"], str),
            isinstance(manifest["seed"], int),
        ]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The manifest of {record.path} is damaged ({error!r}); run its cell again with FORCE=1."
        ) from error
    if not all(fits):
        raise UserError(
            f"The manifest of {record.path} does not fit its counts; run its cell again with FORCE=1."
        )


def read_scenes(record: Record) -> SceneCounts:
    """Read the counts per scene and block of a record.

    Raises:
        UserError: a slim record, or a file that is damaged or does not add up to the record's summary.
    """
    path = record.path / SCENES
    try:
        with np.load(path, allow_pickle=False) as file:
            scenes = tuple(str(name) for name in file["scenes"])
            counts = tuple(file[f"counts_{number}"] for number in range(len(scenes)))
    except FileNotFoundError as error:
        raise UserError(
            f"{record.path} has no {SCENES} (published records are slim); run its cell again."
        ) from error
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}); run its cell again with FORCE=1.") from error
    whole = record.counts[:, record.conditions.index(ALL)]
    fits = all(
        entry.ndim == 5 and entry.shape[:1] + entry.shape[2:] == whole.shape for entry in counts
    )
    if not fits or not np.array_equal(sum(entry.sum(1, dtype=np.int64) for entry in counts), whole):
        raise UserError(f"{path} does not add up to {SUMMARY}; run its cell again with FORCE=1.")
    return SceneCounts(scenes, counts)


def search_records(roots: Iterable[Path]) -> tuple[list[Record], list[tuple[str, str]]]:
    """All records below the roots, one per cell, and (dataset, sentence) for each that was left out.

    The newest record of an identity counts; the others are named. Damaged and unfinished ones are named too, with an
    empty dataset where they do not say it any more. What was set aside (`old-*`) or scored under another protocol than
    the cell was trained with (`evaluations`) is none of a table's business.
    """
    newest: dict[str, Record] = {}
    left_out = []
    for path in (path for root in roots for path in _record_directories(root)):
        try:
            record = read_record(path)
        except UserError as error:
            left_out.append((_dataset(path), str(error)))
            continue
        identity = record.manifest["identity"]
        other = newest.get(identity)
        if other is not None and not np.array_equal(other.counts, record.counts):
            older = min(other, record, key=lambda entry: entry.manifest["created"])
            text = f"Two records of one cell differ: the older one, {older.path}, is left out."
            left_out.append((record.manifest["data"], text))
        if other is None or record.manifest["created"] > other.manifest["created"]:
            newest[identity] = record
    return list(newest.values()), left_out


def _record_directories(root: Path) -> list[Path]:
    """Directories that hold a part of a record, sorted."""
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [
            name for name in folders if name != "evaluations" and not name.startswith("old-")
        ]
        if {MANIFEST, SUMMARY} & set(files):
            found.append(Path(place))
    return sorted(found)


def _dataset(path: Path) -> str:
    """The dataset of a record that cannot be read, empty if its manifest is what is damaged."""
    try:
        return str(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["data"])
    except (*DAMAGE, TypeError):
        return ""


def publish_record(source: Path, target: Path) -> None:
    """Copy manifest and summary, which is all that committed tables need."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (SUMMARY, MANIFEST):
        shutil.copyfile(source / name, target / name)


def write_json(path: Path, content: Any) -> None:
    """Write UTF-8 JSON under a temporary name, then rename."""
    write_text_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(temporary, path)
