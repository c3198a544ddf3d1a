"""From what a user has downloaded to a scene store: what is the same for every dataset.

An import lists its jobs (one per raster), does those the journal does not know, and writes
`dataset.json` last. It can be killed at any time: the next run goes on where this one stopped, and
nothing half-written is taken for whole.
"""

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median_high
from typing import Any

import pandas as pd
from rich.console import Console

from datamodules.ingest.archives.zip_files import keep_open
from datamodules.ingest.file_changes import check_unchanged, write_stamps
from datamodules.ingest.journal import Journal, changed_file
from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan, ScenePlan
from datamodules.ingest.plan_checks import apply_options, check_plan, keep_usable_splits
from datamodules.ingest.remarks import compare_published, describe_voids
from datamodules.ingest.sources import SourceIndex
from datamodules.ingest.workers import Results, run_jobs
from datamodules.processes import hold
from datamodules.store.scene_store import (
    DATASET_FILE,
    FORMAT,
    IGNORE,
    SCENES_FILE,
    STATISTICS_FILE,
    Scene,
    SceneStore,
    dataset_fingerprint,
    file_sha256,
    import_command,
    info_sha256,
    write_text_whole,
)
from usererror import UserError

LOCK_FILE = "import.lock"
MAX_WARNINGS = 10  # that are printed; all are in dataset.json


def import_dataset(
    adapter: Adapter,
    source: Path,
    store_root: Path,
    *,
    name: str | None = None,
    allow_incomplete: bool = False,
    force: bool = False,
    tiles: list[str] | None = None,
    copy: bool = False,
    ignore_nodata: Sequence[str] = (),
    align: str = "check",
    workers: int | None = None,
    console: Console | None = None,
) -> SceneStore:
    """Import a dataset from a folder or an archive into `store_root`/`name` and open the store.

    A store that is complete stays as it is, but for `force`; after an error the same call resumes
    the import. `tiles` are the only scenes wanted, `allow_incomplete` goes on without files that
    are missing, `copy` leaves no raster where it is, `ignore_nodata` names rasters whose files are
    wrong about what they call nodata, masked or transparent, `align` is "ignore" where places in
    files are wrong and their pixels lie right, `workers` is the number of processes
    (by default one per core, at most 4, and one for a small import).
    """
    source = Path(source).expanduser().absolute()
    name = name or adapter.name
    # the name becomes a folder, and a word of the command line
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise UserError(f"{name!r} is no usable name: letters, digits, `_`, `-` and `.` only.")
    root = Path(store_root).expanduser().absolute() / name
    if not source.exists() and not (root / DATASET_FILE).is_file():
        raise UserError(f"SOURCE {source} does not exist. {adapter.obtain}")
    chosen = tuple(tiles) if tiles is not None else None
    ignored = tuple(sorted(set(ignore_nodata)))
    options = ImportOptions(chosen, allow_incomplete, copy, ignored, align)
    work = _Import(adapter, source, root, options, console or Console())
    try:
        root.mkdir(parents=True, exist_ok=True)
        # one import at a time; the second then finds the store complete
        running = f"another import of {name} is running: waiting for it"
        with hold(root / LOCK_FILE, partial(work.log, running)):
            # asked inside the lock: the import waited for may have done the work
            store = None if force else work.complete_store()
            return store or work.import_scenes(force, workers)
    except OSError as error:
        failed = f"The import of {name} into {root} failed ({error})"
        remedy = "make room or mend permissions, and run the same command again to resume it"
        raise UserError(f"{failed}: {remedy}.") from error
    finally:
        # nothing was imported: leave nothing behind
        with suppress(OSError):
            root.rmdir()


@dataclass(frozen=True)
class _Import:
    """One import: what is imported, from where, to where, and where its messages go."""

    adapter: Adapter
    source: Path
    root: Path
    options: ImportOptions
    console: Console

    def log(self, text: str) -> None:
        """Print a line as it is: file names are not to be wrapped or taken for markup."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def complete_store(self) -> SceneStore | None:
        """Return the store if it is whole and holds what this import would bring."""
        if not (self.root / DATASET_FILE).is_file():
            return None
        store = SceneStore.open(self.root)
        info, source = store.info, str(self.source)
        declared = info.get("ignored_nodata", []) == list(self.options.ignore_nodata)
        declared &= info.get("align", "check") == self.options.align
        if info["adapter"] != self.adapter.name or info["tiles"] != self._tiles or not declared:
            reason = f"{store.name} was imported with other settings: importing what differs"
        elif self.options.copy and _refers_outside(store):
            reason = f"{store.name} refers to files outside: copying them"
        elif info["incomplete"] and not self.options.allow_incomplete:
            reason = f"{store.name} was imported incomplete: looking for what was missing"
        elif info["source"] == source and (changed := changed_file(self.root, self.source)):
            reason = f"{changed} has changed since the import: importing what differs"
        else:
            try:
                check_unchanged(store, self.log)
                self._tell_complete(store)
                return store
            except UserError as error:
                if not self.source.exists():
                    raise
                reason = f"{error} (importing what differs)"
        self.log(reason)
        return None

    def _tell_complete(self, store: SceneStore) -> None:
        asked = store.info | {"source": str(self.source)}
        again = f"{import_command(store.name, asked)} FORCE=1"
        scenes = f"{len(store.scenes)} scenes in {self.root}"
        if store.info["source"] != str(self.source):
            scenes += f", from {store.info['source']}, not from {self.source}"
        self.log(f"{store.name} is complete ({scenes}); to import it again: {again}")

    def import_scenes(self, force: bool, workers: int | None) -> SceneStore:
        """Plan, check, do the jobs that are not done, and write the store's tables."""
        scratch = self.root / "scratch"
        try:
            index = SourceIndex(self.source, scratch, self.root, self.log)
            plan = self._plan(index)
            # from here on the store is unfinished, whatever happens
            (self.root / DATASET_FILE).unlink(missing_ok=True)
            header = {"format": FORMAT, "adapter": self.adapter.name, "source": str(self.source)}
            header |= {"files": index.loose}
            with closing(Journal(self.root, header, forget=force)) as journal:
                results = run_jobs(plan, journal, scratch, self.root, workers, self.console)
            warnings = self._finish(plan, results)
        finally:
            keep_open.cache_clear()
            shutil.rmtree(scratch, ignore_errors=True)
        for line in warnings[:MAX_WARNINGS]:
            self.log(f"warning: {line}")
        if (more := len(warnings) - MAX_WARNINGS) > 0:
            self.log(f"warning: {more} more are listed in {self.root / DATASET_FILE}")
        store = SceneStore.open(self.root)
        told = f"{len(store.scenes)} scenes in {self.root}, fingerprint {store.fingerprint[:12]}"
        self.log(f"{store.name}: {told}")
        return store

    def _plan(self, index: SourceIndex) -> ImportPlan:
        """Let the adapter plan and check it; an error names archives that were not looked into."""
        try:
            plan = self.adapter.plan(index, self.options)
            for line in plan.inventory:
                self.log(line)
            apply_options(plan, self.options)
            check_plan(plan, self.source, self.options, self.adapter)
            keep_usable_splits(plan, self.options)
        except UserError as error:
            raise UserError(f"{index.name_unread()} {error}".strip()) from error
        # what the source itself had to say comes first
        plan.warnings[:0] = index.warnings
        return plan

    @property
    def _tiles(self) -> list[str] | None:
        return None if self.options.tiles is None else list(self.options.tiles)

    def _finish(self, plan: ImportPlan, results: Results) -> list[str]:
        """Write the tables, dataset.json last, and remove rasters no longer wanted."""
        warnings = list(plan.warnings)
        pixels: dict[str, dict[str, str]] = {}
        statistics: dict[str, dict[str, Any]] = {}
        scenes = []
        for planned in plan.scenes:
            done = results[planned.id]
            reference = done[planned.reference]
            size = reference["height"], reference["width"]
            scenes.append(Scene(planned.id, *size, planned.splits, planned.attributes))
            statistics[planned.id] = {r: done[r]["statistics"] for r in done}
            # hashes of pixels, not of files: two people who packed them differently agree
            pixels[planned.id] = {r: done[r]["statistics"]["pixels_sha256"] for r in done}
            for result in done.values():
                warnings += result["warnings"]
        warnings += describe_voids(plan, scenes, statistics)
        if self.options.tiles is None and not plan.missing:
            warnings += compare_published(plan, statistics)
        info = self._describe(plan, results, list(dict.fromkeys(warnings)))
        info["fingerprint"] = dataset_fingerprint(info, scenes, pixels)
        # dataset.json comes last: its presence says that all the rest is there
        rows = [_scene_row(plan, scene, results, self.root) for scene in plan.scenes]
        table = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        write_text_whole(self.root / SCENES_FILE, table)
        write_text_whole(self.root / STATISTICS_FILE, json.dumps(statistics))
        _prune(self.root, results)
        stamps: dict[str, str] = {}
        for row, planned in zip(rows, plan.scenes, strict=True):
            stamps |= {row[r]: done["stamp"] for r, done in results[planned.id].items()}
        write_stamps(self.root, stamps)
        tables = (SCENES_FILE, STATISTICS_FILE)
        info["tables"] = {name: file_sha256(self.root / name) for name in tables}
        info["tables"][DATASET_FILE] = info_sha256(info)
        write_text_whole(self.root / DATASET_FILE, json.dumps(info, indent=1) + "\n")
        return info["warnings"]

    def _describe(self, plan: ImportPlan, results: Results, warnings: list[str]) -> dict[str, Any]:
        """Return the content of dataset.json but for the fingerprint."""
        modalities = {}
        for modality in plan.modalities:
            modalities[modality.name] = modality.to_json()
            # the key says it
            del modalities[modality.name]["name"]
        notes = plan.split_notes.items()
        info: dict[str, Any] = {"format": FORMAT, "name": self.root.name, "title": plan.title}
        info |= {"licence": plan.licence, "citation": plan.citation}
        info |= {"gsd_m": _pixel_side(plan, results), "nadir": plan.nadir}
        info |= {"classes": [asdict(entry) for entry in plan.classes], "ignore_index": IGNORE}
        info |= {"modalities": modalities, "labels": plan.labels, "splits": list(plan.splits)}
        info["split_notes"] = {column: note for column, note in notes if column in plan.splits}
        info |= {"attributes": plan.attributes, "conditions": plan.conditions}
        info |= {"adapter": self.adapter.name, "tiles": self._tiles}
        info["ignored_nodata"] = list(self.options.ignore_nodata)
        info["align"] = self.options.align
        info["incomplete"] = bool(plan.missing)
        info["missing"] = [f"{missing.scene}: {missing.raster}" for missing in plan.missing]
        return info | {"warnings": warnings, "source": str(self.source)}


def _refers_outside(store: SceneStore) -> bool:
    paths = chain.from_iterable(scene.paths.values() for scene in store.scenes)
    return not all(path.is_relative_to(store.root) for path in paths)


def _pixel_side(plan: ImportPlan, results: Results) -> float | None:
    if plan.gsd_m is not None:
        return plan.gsd_m
    sides = []
    for scene in plan.scenes:
        if (side := results[scene.id][scene.reference]["gsd_m"]) is not None:
            sides.append(side)
    # a side that some raster has, not the mean of two
    return round(median_high(sides), 6) if sides else plan.gsd_default


def _scene_row(plan: ImportPlan, scene: ScenePlan, results: Results, root: Path) -> dict[str, Any]:
    done = results[scene.id]
    reference = done[scene.reference]
    row = {"id": scene.id, "height": reference["height"], "width": reference["width"]}
    row |= {column: scene.splits[column] for column in plan.splits}
    row |= {column: scene.attributes.get(column, "") for column in plan.attributes}
    for raster in (*(modality.name for modality in plan.modalities), *plan.labels):
        if raster not in done:
            row |= {raster: "", f"{raster}_sha256": ""}
            continue
        path = Path(done[raster]["path"])
        # relative, so that a store can be moved; referenced files lie where they lie
        place = path.relative_to(root) if path.is_relative_to(root) else path
        row |= {raster: str(place), f"{raster}_sha256": done[raster]["sha256"]}
    return row


def _prune(root: Path, results: Results) -> None:
    # left by an import of other scenes, or with other settings
    wanted = {result["path"] for rasters in results.values() for result in rasters.values()}
    for path in (root / "rasters").rglob("*"):
        if path.is_file() and str(path) not in wanted:
            path.unlink()
