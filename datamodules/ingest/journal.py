"""The journal of an import: one line per finished raster, so that a stopped import can go on."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.ingest.plan import RasterJob
from datamodules.ingest.sources import SourceFile, walk_files
from datamodules.store.scene_store import JOURNAL_FILE, file_stamp, write_text_whole


@dataclass(frozen=True)
class Item:
    """One job with all a worker process needs: where to write, the scene's size and its source."""

    scene: str
    raster: str
    job: RasterJob
    target: Path
    size: tuple[int, int] | None
    reference: str
    place: dict[str, Any] | None = None  # `Grid.to_json` of the scene's reference, once it is known

    @property
    def key(self) -> str:
        """Text that is equal when the job would give the same pixels again."""
        source = self.job.source
        stamps = source.stamp + source.beside
        text = f"{source.origin}|{stamps}|{self.job.recipe()}|{self.size}"
        if self.place is not None and self.place["transform"]:
            text += f"|{self.place}"
        # hashed, because a recipe may be long
        return hashlib.sha256(text.encode()).hexdigest()


class Journal:
    """Lines of JSON in `root`/import.jsonl: a header, then one record per finished raster.

    A record counts as long as its source file, the way it is read and the size of its scene are the
    same, and its file is as it was written; with `forget` none counts.
    """

    def __init__(self, root: Path, header: dict[str, Any], forget: bool = False) -> None:
        path = root / JOURNAL_FILE
        self._records: dict[tuple[str, str], dict[str, Any]] = {}
        if not forget:
            for record in read_journal(path)[1:]:
                self._records[record["scene"], record["raster"]] = record
        # the header may name another source than the last time; records stay, each has its key
        lines = [json.dumps(line) + "\n" for line in (header, *self._records.values())]
        write_text_whole(path, "".join(lines))
        self._stream = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def find_result(self, item: Item) -> dict[str, Any] | None:
        """Return the result recorded for a job, or None if it has to be done (again)."""
        record = self._records.get((item.scene, item.raster))
        if record is None or record["key"] != item.key:
            return None
        # a store may have been tidied up by hand, and a referenced raster written anew
        result = record["result"]
        stamp = result.get("stamp")
        return result if stamp and stamp == file_stamp(Path(result["path"])) else None

    def add_result(self, item: Item, result: dict[str, Any]) -> None:
        """Record a finished raster."""
        path, source = Path(result["path"]), item.job.source
        stamp = file_stamp(path)
        # written anew since its pixels were read: no stamp, so that it is in doubt from now on
        result["stamp"] = stamp if path != source.path or stamp.startswith(source.stamp) else ""
        stamps = {}
        for file in (item.job.source, *item.job.other_files):
            if file.member is None:
                stamps[str(file.path)] = file.stamp
        record = {"scene": item.scene, "raster": item.raster, "key": item.key}
        # no fsync: a killed process loses nothing, and after a power failure a raster whose line
        # is lost is read again
        self._stream.write(json.dumps(record | {"files": stamps, "result": result}) + "\n")
        self._stream.flush()


def changed_file(root: Path, source: Path) -> str | None:
    """Return a file that an import from `source` into `root` read and that has changed since.

    A new file is a change too: it may be an `about.json`, or a raster that was missing. One that is
    gone is none, since the store may hold all of it.
    """
    lines = read_journal(root / JOURNAL_FILE)
    stamps: dict[str, str] = {}
    for line in lines:
        stamps.update(line.get("files", {}))
    for path, stamp in stamps.items():
        if Path(path).is_file() and SourceFile.on_disk(Path(path), "").stamp != stamp:
            return path
    for file in walk_files(source, root) if source.is_dir() else ():
        # hidden files are those of file managers
        if str(file.path) not in stamps and not file.name.startswith("."):
            return str(file.path)
    return None


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal, [] when there is none; a last line cut short is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError):  # what follows was written by nobody
            break
    return found
