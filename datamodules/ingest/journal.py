"""The journal of an import: one line per finished raster, so that a stopped import can go on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, Any

from datamodules.ingest.plan import RasterJob
from datamodules.ingest.sources import SourceFile
from datamodules.store.scene_store import JOURNAL_FILE, write_text_whole

Size = tuple[int, int] | None


class Journal:
    """Lines of JSON in `root`/import.jsonl: a header, then one record per finished raster.

    A record counts as long as its source file, the way it is read and the size of its scene are the
    same, and the file it describes still has the recorded number of bytes.
    """

    def __init__(self, root: Path, header: dict[str, Any], forget: bool = False) -> None:
        """Open the journal of the store `root`; with `forget`, without what earlier imports did."""
        self.path = root / JOURNAL_FILE
        self._header = header
        self._records: dict[tuple[str, str], dict[str, Any]] = {}
        if not forget:
            for record in read_journal(self.path)[1:]:
                self._records[record["scene"], record["raster"]] = record
        self._stream: IO[str] | None = None

    def __enter__(self) -> Journal:
        """Start a journal with the records that are known already."""
        # the header may name another source than the last time; records stay, each has its key
        lines = [json.dumps(line) + "\n" for line in (self._header, *self._records.values())]
        write_text_whole(self.path, "".join(lines))
        self._stream = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

    def find_result(
        self, scene: str, raster: str, job: RasterJob, size: Size
    ) -> dict[str, Any] | None:
        """Return the result recorded for a job, or None if it has to be done (again)."""
        record = self._records.get((scene, raster))
        if record is None or record["key"] != _job_key(job, size):
            return None
        # a store may have been tidied up by hand
        path = Path(record["result"]["path"])
        if not path.is_file() or path.stat().st_size != record["result"]["bytes"]:
            return None
        return record["result"]

    def add_result(
        self, scene: str, raster: str, job: RasterJob, size: Size, result: dict[str, Any]
    ) -> None:
        """Record a finished raster."""
        assert self._stream is not None
        stamps = {}
        for file in (job.source, *job.other_files):
            if file.member is None:
                stamps[str(file.path)] = file.stamp
        record: dict[str, Any] = {"scene": scene, "raster": raster, "key": _job_key(job, size)}
        record |= {"files": stamps, "result": result}
        self._records[scene, raster] = record
        # no fsync: a killed process loses nothing, and after a power failure a raster whose line
        # is lost is read again
        self._stream.write(json.dumps(record) + "\n")
        self._stream.flush()


def changed_files(root: Path) -> list[str]:
    """Return source files and archives that exist and have changed since they were imported."""
    stamps: dict[str, str] = {}
    for line in read_journal(root / JOURNAL_FILE):
        stamps.update(line.get("archives") or line.get("files") or {})
    changed = []
    for path, stamp in stamps.items():
        if Path(path).is_file() and SourceFile.on_disk(Path(path), "").stamp != stamp:
            changed.append(path)
    return changed


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal, [] when there is none; a last line cut short is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # what follows was written by nobody
            break
    return found


def _job_key(job: RasterJob, size: Size) -> str:
    # hashed, because a recipe may be long
    text = f"{job.source.origin}|{job.source.stamp}|{job.recipe()}|{size}"
    return hashlib.sha256(text.encode()).hexdigest()
