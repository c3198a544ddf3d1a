"""Doing the jobs of an import: in this process or in several, with a progress bar."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from datamodules.ingest.journal import Item, Journal
from datamodules.ingest.place_check import find_misplaced, find_swapped_bands
from datamodules.ingest.plan import ImportPlan
from datamodules.processes import usable_cores
from datamodules.store.scene_store import SceneClass
from usererror import UserError

# below so many bytes of source, starting processes costs more than it saves
SMALL_BYTES = 100_000_000
MAX_NAMED = 5  # damaged files that are named in one error


Outcome = tuple[Item, dict[str, Any] | None, UserError | None]
Work = Callable[[list[Item]], Iterable[Outcome]]
Results = dict[str, dict[str, dict[str, Any]]]  # by scene and raster


def run_jobs(
    plan: ImportPlan, journal: Journal, scratch: Path, root: Path, workers: int | None, out: Console
) -> Results:
    """Bring every raster of the plan into the store `root` and return what is recorded of each.

    Jobs that the journal knows as finished are not done again. A file that cannot be used does not
    stop the others; a full disk does.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; at least 1 process is needed.")
    size = sum(job.source.size for scene in plan.scenes for job in scene.jobs.values())
    count = workers or (1 if size < SMALL_BYTES else min(4, usable_cores()))
    # jobs that are known already count as well: the bar shows how far the store is
    total = sum(len(scene.jobs) for scene in plan.scenes)
    results: Results = {scene.id: {} for scene in plan.scenes}
    errors: list[UserError] = []
    work = partial(_do_group, scratch, plan.classes)
    with Progress(console=out) as progress, _open_pool(count) as pool:
        bar = progress.add_task(escape(f"importing {root.name}"), total=total)
        # references first, since the size of the others is judged by them
        for references in (True, False):
            # an archive member that several jobs read is inflated once
            groups: dict[str, list[Item]] = {}
            for item in _phase_items(plan, root, results, references):
                known = journal.find_result(item)
                if known is None:
                    groups.setdefault(item.job.source.origin, []).append(item)
                else:
                    results[item.scene][item.raster] = known
                    progress.advance(bar)
            for item, result, error in _outcomes(list(groups.values()), pool, work):
                if result is not None:
                    journal.add_result(item, result)
                    results[item.scene][item.raster] = result
                elif error is not None:
                    errors.append(error)
                progress.advance(bar)
    if not errors:
        errors = find_misplaced(plan, results) + find_swapped_bands(plan, results)
    if errors:
        raise _merge_errors(errors)
    return results


def _phase_items(plan: ImportPlan, root: Path, done: Results, references: bool) -> Iterator[Item]:
    for scene in plan.scenes:
        known = done[scene.id].get(scene.reference)
        # without a size the rest cannot be judged; the error of its reference is reported
        if known is None and not references:
            continue
        size = None if known is None else (known["height"], known["width"])
        place = None if known is None else known.get("place")
        name = scene.jobs[scene.reference].source.origin
        for raster, job in scene.jobs.items():
            if (raster == scene.reference) == references:
                target = root / "rasters" / scene.id / f"{raster}.tif"
                yield Item(scene.id, raster, job, target, size, name, place)


def _merge_errors(errors: list[UserError]) -> UserError:
    resume = "What is imported is kept: mend the rest and run the same command again."
    if len(errors) == 1:
        return UserError(f"{errors[0]} {resume}")
    more = f" (and {len(errors) - MAX_NAMED} more)" if len(errors) > MAX_NAMED else ""
    named = " | ".join(map(str, errors[:MAX_NAMED]))
    return UserError(f"{len(errors)} rasters cannot be used{more}: {named} {resume}")


@contextmanager
def _open_pool(count: int) -> Iterator[ProcessPoolExecutor | None]:
    """Start `count` processes, or none for one: then the jobs are done in this process."""
    if count == 1:
        yield None
        return
    # spawned, not forked: GDAL and the progress bar's thread do not survive a fork
    context = multiprocessing.get_context("spawn")
    # an interrupt is the parent's to handle
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(count, context, signal.signal, ignore) as pool:
        yield pool


def _outcomes(
    groups: list[list[Item]], pool: ProcessPoolExecutor | None, work: Work
) -> Iterator[Outcome]:
    """Yield the outcome of every job; raises UserError for a full disk."""
    if pool is None:
        for group in groups:
            yield from work(group)
        return
    # DELIVER has 40,000 small groups: handing them over one by one would take longer than the work
    chunk = min(16, 1 + len(groups) // 100)
    try:
        for outcomes in pool.map(partial(_list_outcomes, work), groups, chunksize=chunk):
            yield from outcomes
    except BrokenProcessPool as error:
        text = "A process of the import was killed, perhaps for lack of memory"
        raise UserError(f"{text}: run the same command again with fewer workers.") from error


def _list_outcomes(work: Work, items: list[Item]) -> list[Outcome]:
    return list(work(items))


def _do_group(scratch: Path, classes: list[SceneClass], items: list[Item]) -> Iterator[Outcome]:
    """Do the jobs that read one file. A full disk ends it; any other error is an outcome."""
    from datamodules.ingest.tiff_writer import DiskFullError

    folder = scratch / f"{os.getpid()}"
    try:
        for item in items:
            try:
                yield item, _do_item(item, folder, classes), None
            except DiskFullError:
                raise
            except UserError as error:
                yield item, None, error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _do_item(item: Item, folder: Path, classes: list[SceneClass]) -> dict[str, Any]:
    from datamodules.ingest.raster_writer import store_raster

    job = item.job
    path = folder / job.source.name
    # the job before this one may have unpacked the same file
    if not (job.source.member and path.is_file()):
        path = job.source.extract(folder)
    where = None
    if job.valid_where is not None:
        # it may have the name of the label
        where = job.valid_where.extract(folder / "valid_where")
    result = store_raster(item, path, classes, where)
    if not result["constant"]:
        return result
    text = f"{job.source.origin} holds one single value"
    if job.fallback is not None:
        text += f": {job.fallback.name} is used instead"
        path = job.fallback.extract(folder / "fallback")
        other = replace(item, job=replace(job, source=job.fallback, fallback=None))
        result = store_raster(other, path, classes)
    return {**result, "warnings": [*result["warnings"], text]}
