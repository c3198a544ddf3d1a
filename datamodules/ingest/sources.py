"""What a user has downloaded: a folder or a zip file, nested as it may be, indexed by file names.

Adapters look files up by regular expression on the base name, because these archives get unpacked
in many ways.
"""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from datamodules.ingest.archives import (
    UNREAD_ARCHIVE,
    check_text_size,
    inflate,
    is_litter,
    keep_open,
    list_members,
    open_zip,
    tell_damage,
)
from datamodules.rasters.raster_file import open_raw
from datamodules.rasters.source_raster import SourceRaster
from datamodules.store.scene_store import file_stamp
from usererror import UserError

Key = TypeVar("Key", bound=Hashable)
Log = Callable[[str], None]
# in small and in capital letters
WORLD_FILES = (".tfw", ".TFW", ".tifw", ".TIFW", ".jgw", ".JGW", ".pgw", ".PGW", ".wld", ".WLD")
MAX_NAMED = 3  # archives that are not looked into
MAX_LOOKED_INTO = 50  # rasters that are opened to tell the sizes of all


@dataclass(frozen=True)
class SourceFile:
    """A file of the source: `path` on the disk, or the zip file that holds it as `member`.

    `rel` is the path below the source, archives counted as folders; `origin` is what the user is
    shown; `stamp` changes when the content does (size and time of a file, size and CRC of a zip
    member); `sidecars` are members of the same archive that say more of this one (mask, place), and
    `beside` changes when what lies beside it does.
    """

    path: Path
    rel: str
    origin: str
    size: int
    stamp: str
    member: str | None = None
    sidecars: tuple[str, ...] = ()
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
        with (
            open_zip(self.path, self.origin) as archive,
            tell_damage(self.origin),
            archive.open(self.member) as stream,
        ):
            # not all at once: what is packed may be more than the archive says
            return stream.read(self.size + 1)

    def extract(self, scratch: Path) -> Path:
        """Return a path on the disk: the file itself, or a checked copy of it in `scratch`."""
        if self.member is None:
            return self.path
        scratch.mkdir(parents=True, exist_ok=True)
        archive = keep_open(self.path, self.path.stat().st_mtime_ns)
        # GDAL looks beside the raster, under its name
        for member in (self.member, *self.sidecars):
            name = PurePosixPath(member.replace("\\", "/")).name
            target = scratch / (self.name if member == self.member else name)
            inflate(archive, archive.getinfo(member), target, self.origin)
        return scratch / self.name


class SourceIndex:
    """All files below `source` (a folder or one zip file), zips inside zips included.

    Inner zips are extracted into `scratch`, which the caller removes; `exclude` is a folder that is
    not looked into (the store itself); `log` is told what takes long. Symbolic links are followed.
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
        elif zipfile.is_zipfile(self.root):
            self.loose[str(self.root)] = SourceFile.on_disk(self.root, "").stamp
            self.files = list(self._members(self.root, "", str(self.root)))
        else:
            neither = f"SOURCE {self.root} is neither a folder nor a whole zip file"
            raise UserError(f"{neither}: unpack it first and name the folder.")
        if not self.files:
            raise UserError(f"SOURCE {self.root} holds no files.")
        self._by_rel = {_plain_rel(file.rel): file for file in self.files}

    def file_at(self, rel: str) -> SourceFile | None:
        """Return the file at a path below the source, or None."""
        # tables of users hold `./` and `..`
        return self._by_rel.get(_plain_rel(rel))

    def name_unread(self) -> str:
        """Return the archives that are not looked into as one sentence, "" if there are none."""
        unread = [file.rel for file in self.files if UNREAD_ARCHIVE.match(file.name)]
        if not unread:
            return ""
        named = ", ".join(unread[:MAX_NAMED]) + (", ..." if len(unread) > MAX_NAMED else "")
        return f"Only zip files are looked into, not {named}: unpack them first."

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
            if file.name.lower().endswith(".zip"):
                yield from self._members(file.path, file.rel + "/", file.origin)
            else:
                yield file

    def _members(
        self, path: Path, prefix: str, origin: str, depth: int = 1
    ) -> Iterator[SourceFile]:
        """Yield the members of a zip file; `prefix` and `origin` are its path and its name."""
        with open_zip(path, origin) as archive:
            members = {name: info for info, name in list_members(archive, origin, depth)}
            for name, info in members.items():
                rel, shown = prefix + name, f"{origin}/{name}"
                if name.lower().endswith(".zip"):
                    inner = self._unpack_inner(archive, info, shown)
                    yield from self._members(inner, rel + "/", shown, depth + 1)
                    continue
                # a copied archive has another time, but the same content
                stamp = f"{info.file_size}:{info.CRC:08x}"
                sidecars, beside = [], ""
                for other in _names_beside(name):
                    if other in members:
                        sidecars.append(members[other].filename)
                        beside += f"|{other}:{members[other].CRC:08x}"
                size, member = info.file_size, info.filename
                yield SourceFile(path, rel, shown, size, stamp, member, tuple(sidecars), beside)

    def _unpack_inner(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, shown: str) -> Path:
        name = f"{info.CRC:08x}-{info.file_size}-{PurePosixPath(shown).name}"
        inner = self.scratch / name
        # a killed import leaves it behind, whole because renamed last
        if not inner.exists():
            self.log(f"unpacking {shown} ({info.file_size / 1e6:.0f} MB)")
            inflate(archive, info, inner, shown)
        return inner


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
