"""Doing the jobs of an import: in this process or in several, one raster at a time each, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.ingest.journal import Journal
from datamodules.ingest.plan import ImportPlan, RasterJob
from datamodules.ingest.sources import close_archives
from datamodules.store.scene_store import SceneClass
from usererror import UserError

if TYPE_CHECKING:
    from rich.console import Console

SMALL_BYTES = (
    100_000_000  # below so many bytes of source, starting processes costs more than it saves
)
AHEAD = 8  # groups of jobs per process that are handed over ahead of time
NAMED = 5  # damaged files that are named in one error


@dataclass(frozen=True)
class Item:
    """One job with all a worker process needs: where to write, the scene's size and who says so."""

    scene: str
    raster: str
    job: RasterJob
    target: Path
    size: tuple[int, int] | None
    reference: str


Outcome = tuple[Item, dict[str, Any] | None, UserError | None]
Results = dict[str, dict[str, dict[str, Any]]]


def run_jobs(
    plan: ImportPlan, journal: Journal, scratch: Path, root: Path, workers: int | None, say: Console
) -> Results:
    """Bring every raster of the plan into the store `root` and return {scene: {raster: result of rasters.process}}.

    The reference raster of each scene comes first, since the size of the others is judged by it. Jobs that the journal
    knows as finished are not done again. A file that cannot be used does not stop the others; a full disk does.

    Raises:
        UserError: naming the files that cannot be used.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    total = sum(len(scene.jobs) for scene in plan.scenes)
    results: Results = {scene.id: {} for scene in plan.scenes}
    errors: list[UserError] = []
    with Progress(*columns, console=say) as progress, _Workers(plan, workers, scratch) as pool:
        bar = progress.add_task(f"importing {root.name}", total=total)
        for phase in (_references(plan, root), _others(plan, root, results)):
            todo = []
            for item in phase:
                known = journal.finished(item.scene, item.raster, item.job, item.size)
                if known is None:
                    todo.append(item)
                else:
                    results[item.scene][item.raster] = known
                    progress.advance(bar)
            for item, result, error in pool.run(_by_file(todo)):
                if result is None:
                    assert error is not None
                    errors.append(error)
                else:
                    journal.add(item.scene, item.raster, item.job, item.size, result)
                    results[item.scene][item.raster] = result
                progress.advance(bar)
    if errors:
        raise _summary(errors)
    return results


def _references(plan: ImportPlan, root: Path) -> Iterator[Item]:
    for scene in plan.scenes:
        target = root / "rasters" / scene.id / f"{scene.reference}.tif"
        yield Item(scene.id, scene.reference, scene.jobs[scene.reference], target, None, "")


def _others(plan: ImportPlan, root: Path, results: Results) -> Iterator[Item]:
    for scene in plan.scenes:
        known = results[scene.id].get(scene.reference)
        if known is None:  # its error is reported; without a size the rest cannot be judged
            continue
        size, name = (known["height"], known["width"]), scene.jobs[scene.reference].source.origin
        for raster, job in scene.jobs.items():
            if raster != scene.reference:
                yield Item(
                    scene.id, raster, job, root / "rasters" / scene.id / f"{raster}.tif", size, name
                )


def _by_file(items: Iterable[Item]) -> list[list[Item]]:
    """Group jobs that read the same file, so that an archive member is inflated once."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.job.source.origin, []).append(item)
    return list(groups.values())


def _summary(errors: list[UserError]) -> UserError:
    if len(errors) == 1:
        return errors[0]
    more = f" (and {len(errors) - NAMED} more)" if len(errors) > NAMED else ""
    return UserError(
        f"{len(errors)} rasters cannot be used{more}: " + " | ".join(str(e) for e in errors[:NAMED])
    )


class _Workers:
    """A few processes, or none when the import is small; used as a context."""

    def __init__(self, plan: ImportPlan, workers: int | None, scratch: Path) -> None:
        if workers is not None and workers < 1:
            raise UserError(f"workers is {workers}; at least 1 process is needed.")
        size = sum(job.source.size for scene in plan.scenes for job in scene.jobs.values())
        self.count = workers or (1 if size < SMALL_BYTES else min(4, os.cpu_count() or 1))
        self.scratch, self.classes = scratch, plan.classes
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Workers:
        if self.count > 1:
            # spawned, not forked: GDAL and the progress bar's thread do not survive a fork
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(
                self.count, mp_context=context, initializer=_start_worker
            )
        return self

    def __exit__(self, *_: object) -> None:
        close_archives()
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(self, groups: list[list[Item]]) -> Iterator[Outcome]:
        """Yield the outcome of every job, in the order in which they finish; raises UserError for a full disk."""
        if self.pool is None:
            for group in groups:
                yield from _work(group, self.scratch, self.classes)
            return
        rest = iter(groups)
        waiting: set[Future[list[Outcome]]] = set()
        while True:
            # a few at a time: waiting costs time in proportion to the number waited for, and there may be 40,000
            for group in islice(rest, AHEAD * self.count - len(waiting)):
                waiting.add(self.pool.submit(_work_all, group, self.scratch, self.classes))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    yield from future.result()
                except BrokenProcessPool as error:
                    raise UserError(
                        "A process of the import was killed, perhaps for lack of memory: run the same command again "
                        "with fewer workers; it goes on where it stopped."
                    ) from error


def _start_worker() -> None:
    """Leave interrupts to the parent, and end with it even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _work_all(items: list[Item], scratch: Path, classes: list[SceneClass]) -> list[Outcome]:
    return list(_work(items, scratch, classes))


def _work(items: list[Item], scratch: Path, classes: list[SceneClass]) -> Iterator[Outcome]:
    """Do the jobs that read one file. A full disk ends it; any other error is an outcome."""
    from datamodules.ingest.raster_writer import DiskFullError

    place = scratch / f"{os.getpid()}"
    try:
        for item in items:
            try:
                yield item, _one(item, place, classes), None
            except DiskFullError:
                raise
            except UserError as error:
                yield item, None, error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _one(item: Item, place: Path, classes: list[SceneClass]) -> dict[str, Any]:
    from datamodules.ingest.raster_writer import process

    extracted = place / item.job.source.name
    path = (
        extracted
        if item.job.source.member and extracted.is_file()
        else item.job.source.extract(place)
    )
    result = process(item.job, path, item.target, item.size, item.reference, classes)
    if not result["constant"]:
        return result
    if item.job.fallback is None:
        text = f"{item.job.source.origin} holds one single value"
    else:
        text = f"{item.job.source.origin} holds one single value: {item.job.fallback.name} is used instead"
        job = replace(item.job, source=item.job.fallback, fallback=None)
        result = process(
            job,
            job.source.extract(place / "fallback"),
            item.target,
            item.size,
            item.reference,
            classes,
        )
    return {**result, "warnings": [*result["warnings"], text]}
