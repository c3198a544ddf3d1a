"""The import journal: one line per finished raster, so that an import that was stopped can go on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from pathlib import Path
from typing import IO, Any

from datamodules.ingest.plan import RasterJob
from datamodules.ingest.sources import SourceFile
from datamodules.store.scene_store import JOURNAL_FILE

CHECK = ', "check": "'
FLUSH_S = 0.5  # at most so much finished work is done twice after a power failure; a killed process loses nothing
Size = tuple[int, int] | None


class Journal:
    """Lines of JSON in `root`/import.jsonl: a header naming the source, then one record per finished raster.

    A record counts as long as its source file, the way it is read and the size of its scene are the same, and the file
    it describes still has the recorded number of bytes.
    """

    def __init__(self, root: Path, header: dict[str, Any], forget: bool = False) -> None:
        """Open the journal of the store `root`; with `forget`, without what earlier imports did."""
        self.path = root / JOURNAL_FILE
        self._records = (
            {} if forget else {(r["scene"], r["raster"]): r for r in read_records(self.path)}
        )
        self._stream: IO[str] | None = None
        self._header = header
        self._flushed = 0.0

    def __enter__(self) -> Journal:
        """Start a journal with the records that are known already."""
        temporary = self.path.with_name(self.path.name + ".part")
        with temporary.open("w", encoding="utf-8") as stream:
            for line in (self._header, *self._records.values()):
                stream.write(_write(line))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.path)
        self._stream = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        """Flush and close."""
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()

    def finished(
        self, scene: str, raster: str, job: RasterJob, size: Size
    ) -> dict[str, Any] | None:
        """Return the result recorded for a job, or None if it has to be done (again)."""
        record = self._records.get((scene, raster))
        if record is None or record["key"] != key(job, size):
            return None
        path = Path(record["result"]["path"])
        if not path.is_file() or path.stat().st_size != record["result"]["bytes"]:
            return None
        return record["result"]

    def add(
        self, scene: str, raster: str, job: RasterJob, size: Size, result: dict[str, Any]
    ) -> None:
        """Record a finished raster."""
        assert self._stream is not None
        files = {
            str(file.path): file.stamp
            for file in (job.source, *job.others())
            if file.member is None
        }
        record = {
            "scene": scene,
            "raster": raster,
            "key": key(job, size),
            "files": files,
            "result": result,
        }
        self._records[scene, raster] = record
        self._stream.write(_write(record))
        self._stream.flush()
        if time.monotonic() - self._flushed > FLUSH_S:
            os.fsync(self._stream.fileno())
            self._flushed = time.monotonic()

    @staticmethod
    def changed_files(root: Path) -> list[str]:
        """Return source files and archives that exist and are no longer what they were when they were imported."""
        stamps = dict(read_header(root / JOURNAL_FILE).get("archives", {}))
        for record in read_records(root / JOURNAL_FILE):
            stamps.update(record["files"])
        present = [(path, stamp) for path, stamp in stamps.items() if Path(path).is_file()]
        return [
            path for path, stamp in present if SourceFile.on_disk(Path(path), "").stamp != stamp
        ]


def key(job: RasterJob, size: Size) -> str:
    """Return text that is equal when a job would give the same pixels again (hashed: a recipe may be long)."""
    text = f"{job.source.origin}|{job.source.stamp}|{job.recipe()}|{size}"
    return hashlib.sha256(text.encode()).hexdigest()


def read_header(path: Path) -> dict[str, Any]:
    """Return the first line of a journal: format, adapter, source, archives; {} when there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return _read(stream.readline()) or {}
    except OSError:
        return {}


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a journal; a line that is not as it was written (cut short, edited) is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [record for line in lines[1:] if (record := _read(line)) is not None]


def _write(record: dict[str, Any]) -> str:
    """Return a line of the journal: JSON whose last entry is a checksum of the rest."""
    text = json.dumps(record)
    return f'{text[:-1]}{CHECK}{zlib.crc32(text.encode()):08x}"}}\n'


def _read(line: str) -> dict[str, Any] | None:
    """Return what a line of the journal says, None unless it is as it was written."""
    body, _, check = line.rstrip("\n").rpartition(CHECK)
    text = body + "}"
    return json.loads(text) if check == f'{zlib.crc32(text.encode()):08x}"}}' else None
