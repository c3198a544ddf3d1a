"""What a user has downloaded: a folder or an archive, nested as it may be, indexed by file names.

Adapters look files up by regular expression on the base name, because these archives get unpacked
in many ways.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from datamodules.ingest.archives.member import Member, check_text_size, tell_damage
from datamodules.ingest.archives.names import (
    ARCHIVE,
    JOIN,
    PART,
    TAR,
    UNPACK,
    describe_unread,
    is_litter,
)
from datamodules.ingest.archives.tar_files import is_gzip, list_tar, unpack_gzip
from datamodules.ingest.archives.zip_files import list_zip
from datamodules.rasters.raster_file import check_intact, open_raw
from datamodules.rasters.source_raster import SourceRaster
from datamodules.store.scene_store import file_stamp
from usererror import UserError

Key = TypeVar("Key", bound=Hashable)
Log = Callable[[str], None]
# in small and in capital letters
WORLD_FILES = (".tfw", ".TFW", ".tifw", ".TIFW", ".jgw", ".JGW", ".pgw", ".PGW", ".wld", ".WLD")
MAX_DEPTH = 3  # archives within each other
MAX_LOOKED_INTO = 50  # rasters that are opened to tell the sizes of all


@dataclass(frozen=True)
class SourceFile:
    """A file of the source: `path` on the disk, or the archive that holds it as `member`.

    `rel` is the path below the source, archives counted as folders; `origin` is what the user is
    shown; `stamp` changes when the content does (size and time of a file, size and CRC of a zip
    member, size and archive of a tar member); `sidecars` are members of the same archive that say
    more of this one (mask, place), and `beside` changes when what lies beside it does.
    """

    path: Path
    rel: str
    origin: str
    size: int
    stamp: str
    member: Member | None = None
    sidecars: tuple[Member, ...] = ()
    beside: str = ""

    @classmethod
    def on_disk(cls, path: Path, rel: str) -> SourceFile:
        """Describe an unpacked file."""
        status = path.stat()
        return cls(path, rel, str(path), status.st_size, f"{status.st_size}:{status.st_mtime_ns}")

    @property
    def name(self) -> str:
        """The base name."""
        return PurePosixPath(self.rel).name

    @property
    def folder(self) -> str:
        """The folder below the source, `.` for the source itself."""
        return str(PurePosixPath(self.rel).parent)

    def read_bytes(self) -> bytes:
        """Return the content of a table or a description; raises UserError when it is damaged."""
        check_text_size(self.size, self.origin)
        if self.member is None:
            return self.path.read_bytes()
        with tell_damage(self.origin):
            return b"".join(self.member.chunks())

    def extract(self, scratch: Path) -> Path:
        """Return a path on the disk: the file itself, or a checked copy of it in `scratch`."""
        if self.member is None:
            return self.path
        # GDAL looks beside the raster, under its name
        for member in (self.member, *self.sidecars):
            member.copy_to(scratch / PurePosixPath(member.name).name, self.origin)
        return scratch / self.name


class SourceIndex:
    """All files below `source` (a folder or one archive), archives inside archives included.

    Inner ones are extracted into `scratch`, which the caller removes, and what gzip has packed is
    unpacked there; `exclude` is a folder that is not looked into (the store itself); `log` is told
    what takes long. Symbolic links are followed.
    Afterwards `loose` holds the stamp of every file on the disk, archives included.
    """

    def __init__(
        self, source: Path, scratch: Path, exclude: Path | None = None, log: Log = lambda text: None
    ) -> None:
        self.root = Path(source).expanduser().absolute()
        self.scratch, self.log = scratch, log
        self.loose: dict[str, str] = {}
        self.warnings: list[str] = []
        if not self.root.exists():
            raise UserError(f"SOURCE {self.root} does not exist.")
        if self.root.is_dir():
            self.files = list(self._walk(exclude.absolute() if exclude else None))
        elif TAR.search(self.root.name) or zipfile.is_zipfile(self.root):
            self.loose[str(self.root)] = stamp = SourceFile.on_disk(self.root, "").stamp
            self.files = list(self._members(self.root, "", str(self.root), stamp))
        else:
            neither = f"SOURCE {self.root} is neither a folder nor a whole zip or tar file"
            raise UserError(f"{neither}: {JOIN if PART.match(self.root.name) else UNPACK}.")
        if not self.files:
            raise UserError(f"SOURCE {self.root} holds no files.")
        self._by_rel = {_plain_rel(file.rel): file for file in self.files}

    def file_at(self, rel: str) -> SourceFile | None:
        """Return the file at a path below the source, or None."""
        # tables of users hold `./` and `..`
        return self._by_rel.get(_plain_rel(rel))

    def name_unread(self) -> str:
        """Say which files are not read and what to do about it, "" if there are none."""
        return describe_unread(file.rel for file in self.files)

    def match_names(self, pattern: re.Pattern[str]) -> list[tuple[SourceFile, re.Match[str]]]:
        """Return every file whose base name matches `pattern` from its beginning."""
        return [(file, match) for file in self.files if (match := pattern.match(file.name))]

    def find_files(
        self, pattern: re.Pattern[str], key: Callable[[re.Match[str]], Key]
    ) -> dict[Key, SourceFile]:
        """Return one file per key, for the base names that match `pattern`; see `choose_copies`."""
        return self.choose_copies([(key(match), file) for file, match in self.match_names(pattern)])

    def choose_copies(self, candidates: Sequence[tuple[Key, SourceFile]]) -> dict[Key, SourceFile]:
        """Return one file per key out of (key, file) pairs.

        Of several files with one key the one in the folder that holds most keys wins (complete
        labels before those for participants), then the unpacked one, then the shortest path.
        """
        groups: dict[Key, list[SourceFile]] = {}
        for key, file in candidates:
            groups.setdefault(key, []).append(file)
        keys_in_folder: Counter[str] = Counter()
        for files in groups.values():
            keys_in_folder.update({file.folder for file in files})

        def rank(file: SourceFile) -> tuple[int, bool, int, str]:
            return -keys_in_folder[file.folder], file.member is not None, len(file.rel), file.rel

        chosen = {}
        for key, files in groups.items():
            files.sort(key=rank)
            chosen[key] = first = files[0]
            # copies of one download have one size
            other = next((file for file in files if file.size != first.size), None)
            if other is not None:
                told = f"{first.rel} ({first.size} bytes, used), {other.rel} ({other.size} bytes)"
                self.warnings.append(f"two files for one raster differ in size: {told}")
        return chosen

    def _walk(self, exclude: Path | None) -> Iterator[SourceFile]:
        for file in walk_files(self.root, exclude):
            self.loose[str(file.path)] = file.stamp
            if ARCHIVE.search(file.name):
                yield from self._members(file.path, file.rel + "/", file.origin, file.stamp)
            else:
                yield file

    def _members(
        self, path: Path, prefix: str, origin: str, stamp: str, depth: int = 1
    ) -> Iterator[SourceFile]:
        """Yield the members of an archive; `prefix` and `origin` are its path and its name."""
        if depth > MAX_DEPTH:
            nested = f"{origin} lies in {depth} archives, one within the other"
            raise UserError(f"{nested} (at most {MAX_DEPTH}): {UNPACK}.")
        members = {member.name: member for member in self._list(path, origin, stamp)}
        for name, member in members.items():
            rel, shown = prefix + name, f"{origin}/{name}"
            if ARCHIVE.search(name):
                write = partial(member.copy_to, origin=shown)
                inner = self._unpack(shown, member.stamp, f"{member.size / 1e6:.0f} MB", write)
                yield from self._members(inner, rel + "/", shown, member.stamp, depth + 1)
                continue
            sidecars, beside = [], ""
            for other in _names_beside(name):
                if other in members:
                    sidecars.append(members[other])
                    beside += f"|{other}:{members[other].stamp.partition(':')[2]}"
            more = member, tuple(sidecars), beside
            yield SourceFile(path, rel, shown, member.size, member.stamp, *more)

    def _list(self, path: Path, origin: str, stamp: str) -> Sequence[Member]:
        if not TAR.search(path.name):
            return list_zip(path, origin)
        if is_gzip(path):
            write = partial(unpack_gzip, path, origin=origin)
            told = f"{path.stat().st_size / 1e6:.0f} MB, more when unpacked"
            path = self._unpack(origin, f"{stamp} unpacked", told, write)
        return list_tar(path, origin, stamp)

    def _unpack(self, origin: str, stamp: str, told: str, write: Callable[[Path], None]) -> Path:
        """Return what `write` makes of an archive in the scratch folder."""
        key = f"{origin}|{stamp}".encode(errors="surrogateescape")
        # the end of the name tells what kind of archive it is
        end = PurePosixPath(origin).name[-12:]
        target = self.scratch / f"{hashlib.sha256(key).hexdigest()[:16]}-{end}"
        # a killed import leaves it behind, whole because renamed last
        if not target.exists():
            self.scratch.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.scratch).free / 1e6
            self.log(f"unpacking {origin} ({told}; {free:.0f} MB are free in {self.scratch})")
            write(target)
        return target


def walk_files(root: Path, exclude: Path | None = None) -> Iterator[SourceFile]:
    """Yield every file below a folder; `exclude` is a folder that is not looked into."""
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(root, onerror=_unreadable, followlinks=True):
        status = os.stat(folder)
        # links may lead in circles, and the store may lie inside the source
        inode = status.st_dev, status.st_ino
        if inode in seen or (exclude is not None and Path(folder) == exclude):
            subfolders.clear()
            continue
        seen.add(inode)
        subfolders.sort()
        present = set(names)
        for name in sorted(names):
            path = Path(folder) / name
            # no broken link
            if not path.is_file() or is_litter(name):
                continue
            file, beside = SourceFile.on_disk(path, path.relative_to(root).as_posix()), ""
            for other in _names_beside(name):
                if other in present:
                    beside += f"|{other}:{file_stamp(path.with_name(other))}"
            yield replace(file, beside=beside) if beside else file


def _names_beside(name: str) -> Iterator[str]:
    """Yield the names under which GDAL looks for what a raster does not say itself."""
    for suffix in (".msk", ".MSK", ".aux.xml"):
        yield name + suffix
    stem = name.rpartition(".")[0]
    for suffix in WORLD_FILES:
        if stem and stem + suffix != name:
            yield stem + suffix


def _plain_rel(rel: str) -> str:
    # letters with accents are one character here and two there
    return unicodedata.normalize("NFC", os.path.normpath(rel).replace(os.sep, "/"))


def _unreadable(error: OSError) -> None:
    remedy = "mend its permissions or take it away"
    raise UserError(f"{error.filename} cannot be looked into ({error.strerror}): {remedy}.")


def read_raster_header(file: SourceFile) -> tuple[int, str]:
    """Return the number of bands of a raster, packed or not, and the type that holds them all.

    As `SourceRaster` reads them: without alpha, a palette as its colours, scaled values as float32.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = file.extract(Path(scratch))
        with open_raw(path, file.origin) as dataset:
            raster = SourceRaster(dataset, file.origin)
            return raster.count, raster.dtype


def read_pixels(file: SourceFile) -> np.ndarray:
    """Return all bands of a small raster, packed or not, `(C, H, W)`; floats are NaN where void."""
    with tempfile.TemporaryDirectory() as scratch:
        path = file.extract(Path(scratch))
        check_intact(path, file.origin)
        with open_raw(path, file.origin) as dataset:
            raster = SourceRaster(dataset, file.origin)
            return raster.read(0, 0, dataset.height, dataset.width)[0]


def describe_sizes(files: Sequence[SourceFile]) -> str:
    """Return the sizes in pixels of unpacked rasters for an inventory: `38 of 6000 x 6000`."""
    unpacked = [file for file in files if file.member is None]
    if not unpacked:
        return "seen when they are unpacked"
    seen: Counter[str] = Counter()
    # evenly spread, since 47,000 headers would take minutes
    for file in unpacked[:: -(-len(unpacked) // MAX_LOOKED_INTO)]:
        try:
            with open_raw(file.path, file.origin) as dataset:
                seen[f"{dataset.height} x {dataset.width}"] += 1
        except UserError:  # told when the file is imported
            seen["unreadable"] += 1
    text = ", ".join(f"{n} of {size}" for size, n in seen.most_common(5))
    return text + (", ..." if len(seen) > 5 else "")
