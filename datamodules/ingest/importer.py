"""From what a user has downloaded to a scene store: the part of an import that is the same for every dataset.

An import lists its jobs (one per raster), does those the journal does not know, and writes `dataset.json` last. It
can be killed at any time: the next run goes on where this one stopped, and nothing half-written is taken for whole.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.ingest.journal import Journal
from datamodules.ingest.plan import Adapter, ImportOptions, ImportPlan, ScenePlan
from datamodules.ingest.plan_checks import check_plan, usable_splits
from datamodules.ingest.sources import SourceIndex
from datamodules.ingest.workers import run_jobs
from datamodules.store.scene_store import (
    DATASET_FILE,
    FORMAT,
    IGNORE,
    SCENES_FILE,
    STATISTICS_FILE,
    Scene,
    SceneStore,
    fingerprint,
    import_command,
    write_text_whole,
)
from usererror import UserError

if TYPE_CHECKING:
    from rich.console import Console

LOCK_FILE = "import.lock"
SHOWN = 10  # warnings that are printed; all are in dataset.json


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
    workers: int | None = None,
    console: Console | None = None,
) -> SceneStore:
    """Import a dataset from a folder or zip file into `store_root`/`name` and return the opened store.

    Args:
        adapter: of the dataset; `adapters.registry.import_named_dataset` finds one by name.
        source: what the user has: a folder (searched recursively, zip files included) or one zip file.
        store_root: directory of the stores.
        name: of the store; by default the adapter's.
        allow_incomplete: go on without files that are missing; the store says so.
        force: import again although the store is complete.
        tiles: only these scenes.
        copy: bring small rasters into the store too, instead of referencing them where they are.
        workers: processes; by default as many as cores, at most 4. Small imports stay in this process.
        console: where the inventory and the progress go.

    Raises:
        UserError: for everything the user can mend, with file name and remedy. The store is then incomplete, and
            running the same call again resumes it.
    """
    source = Path(source).expanduser().absolute()
    name = name or adapter.name
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise UserError(
            f"{name!r} is no usable name for a dataset: letters, digits, `_`, `-` and `.` only."
        )
    root = Path(store_root).expanduser().absolute() / name
    if not source.exists() and not (root / DATASET_FILE).is_file():
        raise UserError(f"SOURCE {source} does not exist. {adapter.obtain}")
    say = _console(console)
    options = ImportOptions(tuple(tiles) if tiles is not None else None, allow_incomplete, copy)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(root, say):
            if not force and (store := _complete(root, adapter, source, options, say)) is not None:
                return store
            return _import(adapter, source, root, options, force, workers, say)
    except OSError as error:
        text = f"The import of {name} into {root} failed ({error}): mend this (room on the disk, permissions)"
        raise UserError(
            f"{text} and run the same command again; it goes on where it stopped."
        ) from error
    finally:
        # nothing was imported: leave nothing behind
        if root.is_dir() and [path.name for path in root.iterdir()] == [LOCK_FILE]:
            (root / LOCK_FILE).unlink()
            root.rmdir()


def _import(
    adapter: Adapter,
    source: Path,
    root: Path,
    options: ImportOptions,
    force: bool,
    workers: int | None,
    say: Console,
) -> SceneStore:
    scratch = root / "scratch"
    try:
        index = SourceIndex(source, scratch, root, lambda text: _print(say, text))
        plan = adapter.plan(index, options)
        plan.warnings[:0] = index.warnings
        for line in plan.inventory:
            _print(say, line)
        if options.copy:
            _copy_everything(plan)
        check_plan(plan, source, options, adapter)
        usable_splits(plan, options)
        (root / DATASET_FILE).unlink(missing_ok=True)
        header = {
            "format": FORMAT,
            "adapter": adapter.name,
            "source": str(source),
            "archives": index.archives,
        }
        with Journal(root, header, forget=force) as journal:
            results = run_jobs(plan, journal, scratch, root, workers, say)
        info = _finish(adapter, source, root, plan, results, options)
        for line in info["warnings"][:SHOWN]:
            _print(say, f"warning: {line}")
        if len(info["warnings"]) > SHOWN:
            _print(
                say,
                f"warning: {len(info['warnings']) - SHOWN} more are listed in {root / DATASET_FILE}",
            )
        store = SceneStore.open(root)
        _print(
            say,
            f"{store.name}: {len(store.scenes)} scenes in {root}, fingerprint {store.fingerprint[:12]}",
        )
        return store
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy_everything(plan: ImportPlan) -> None:
    for scene in plan.scenes:
        scene.jobs.update({raster: replace(job, stay=False) for raster, job in scene.jobs.items()})


def _complete(
    root: Path, adapter: Adapter, source: Path, options: ImportOptions, say: Console
) -> SceneStore | None:
    """Return the store if it is whole and was made from this source as it is now, by this adapter, for these scenes."""
    if not (root / DATASET_FILE).is_file():
        return None
    store = SceneStore.open(root)
    wanted = list(options.tiles) if options.tiles is not None else None
    outside = any(
        not path.is_relative_to(root) for scene in store.scenes for path in scene.paths.values()
    )
    if (
        store.info["adapter"] != adapter.name
        or store.info["tiles"] != wanted
        or (options.copy and outside)
    ):
        _print(say, f"{store.name} was imported with other settings: importing what differs")
        return None
    if store.info["incomplete"] and not options.allow_incomplete:
        _print(say, f"{store.name} was imported incomplete: looking for what was missing")
        return None
    if store.info["source"] == str(source) and (changed := Journal.changed_files(root)):
        _print(say, f"{changed[0]} has changed since the import: importing what differs")
        return None
    again = f"{import_command(store.name, str(source))} FORCE=1"
    _print(
        say,
        f"{store.name} is complete ({len(store.scenes)} scenes in {root}); to import it again: {again}",
    )
    return store


def _finish(
    adapter: Adapter, source: Path, root: Path, plan: ImportPlan, results: dict[str, dict[str, dict[str, Any]]],
    options: ImportOptions,
) -> dict[str, Any]:  # fmt: skip
    """Write scenes.csv and statistics.json, then dataset.json, and remove rasters no longer wanted."""
    warnings = [*plan.warnings]
    warnings += [
        w for scene in plan.scenes for r in results[scene.id].values() for w in r["warnings"]
    ]
    info = {
        "format": FORMAT,
        "name": root.name,
        "title": plan.title,
        "licence": plan.licence,
        "citation": plan.citation,
        "gsd_m": _gsd(plan, results),
        "nadir": plan.nadir,
        "classes": [
            {"id": c.id, "name": c.name, "color": list(c.color), "clutter": c.clutter}
            for c in plan.classes
        ],
        "ignore_index": IGNORE,
        "modalities": {
            m.name: {
                "letter": m.letter,
                "channels": m.channels,
                "dtype": m.dtype,
                "unit": m.unit,
                "kind": m.kind,
            }
            for m in plan.modalities
        },
        "labels": plan.labels,
        "splits": list(plan.splits),
        "split_notes": {
            column: note for column, note in plan.split_notes.items() if column in plan.splits
        },
        "attributes": plan.attributes,
        "conditions": plan.conditions,
        "adapter": adapter.name,
        "tiles": list(options.tiles) if options.tiles is not None else None,
        "incomplete": bool(plan.missing),
        "missing": [f"{m.scene}: {m.raster}" for m in plan.missing],
        "warnings": list(dict.fromkeys(warnings)),
        "source": str(source),
    }
    scenes = [_scene(plan_scene, results[plan_scene.id]) for plan_scene in plan.scenes]
    pixels = {
        s: {r: v["statistics"]["pixels_sha256"] for r, v in rasters.items()}
        for s, rasters in results.items()
    }
    info["fingerprint"] = fingerprint(info, scenes, pixels)
    write_text_whole(root / SCENES_FILE, _scenes_csv(plan, results, root))
    statistics = {
        s: {r: v["statistics"] for r, v in rasters.items()} for s, rasters in results.items()
    }
    write_text_whole(root / STATISTICS_FILE, json.dumps(statistics))
    _prune(root, results)
    write_text_whole(root / DATASET_FILE, json.dumps(info, indent=1) + "\n")
    return info


def _gsd(plan: ImportPlan, results: dict[str, dict[str, dict[str, Any]]]) -> float | None:
    if plan.gsd_m is not None:
        return plan.gsd_m
    sides = sorted(g for s in plan.scenes if (g := results[s.id][s.reference]["gsd_m"]) is not None)
    return round(sides[len(sides) // 2], 6) if sides else plan.gsd_default


def _scene(plan: ScenePlan, results: dict[str, dict[str, Any]]) -> Scene:
    reference = results[plan.reference]
    return Scene(plan.id, reference["height"], reference["width"], plan.splits, plan.attributes)


def _scenes_csv(plan: ImportPlan, results: dict[str, dict[str, dict[str, Any]]], root: Path) -> str:
    rasters = [*(m.name for m in plan.modalities), *plan.labels]
    checksums = [column for raster in rasters for column in (raster, f"{raster}_sha256")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "height", "width", *plan.splits, *plan.attributes, *checksums])
    for scene in plan.scenes:
        done = results[scene.id]
        row = [scene.id, done[scene.reference]["height"], done[scene.reference]["width"]]
        row += [scene.splits[column] for column in plan.splits]
        row += [scene.attributes.get(column, "") for column in plan.attributes]
        for raster in rasters:
            path = Path(done[raster]["path"]) if raster in done else None
            inside = path is not None and path.is_relative_to(root)
            row += (
                ["", ""]
                if path is None
                else [path.relative_to(root) if inside else path, done[raster]["sha256"]]
            )
        writer.writerow(row)
    return text.getvalue()


def _prune(root: Path, results: dict[str, dict[str, dict[str, Any]]]) -> None:
    wanted = {r["path"] for rasters in results.values() for r in rasters.values()}
    for path in (root / "rasters").rglob("*"):
        if path.is_file() and str(path) not in wanted:
            path.unlink()


@contextmanager
def _one_at_a_time(root: Path, say: Console) -> Iterator[None]:
    """Let one import at a time work on a store; the second waits, and then finds it complete."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (root / LOCK_FILE).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _print(say, f"another import of {root.name} is running: waiting for it")
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _console(console: Console | None) -> Console:
    if console is not None:
        return console
    from rich.console import Console

    return Console()


def _print(say: Console, text: str) -> None:
    """Print a line as it is: file names are not to be wrapped, coloured or taken for markup."""
    say.print(text, highlight=False, markup=False, soft_wrap=True)
