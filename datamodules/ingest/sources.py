"""What a user has downloaded: a folder or a zip file, nested as it may be, indexed once by the names of its files.

Adapters look files up by regular expression on the base name, because these archives get unpacked in many ways.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from datamodules.store.raster_file import open_raw
from usererror import UserError

Key = TypeVar("Key", bound=Hashable)
UNUSABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
)  # control characters, undecodable bytes
WORLD_FILE_SUFFIXES = (".tfw", ".tifw", ".jgw", ".pgw", ".wld")


@dataclass(frozen=True)
class SourceFile:
    """A file of the source: `path` on the disk, or the zip file that holds it as `member`.

    `rel` is the path below the source, archives counted as folders; `origin` is what the user is shown; `stamp`
    changes when the content does (size and time of a file, size and CRC of a zip member); `sidecars` are members of
    the same archive that georeference this one.
    """

    path: Path
    rel: str
    origin: str
    size: int
    stamp: str
    member: str | None = None
    sidecars: tuple[str, ...] = ()

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
        """Return the content of a small file; raises UserError when it is damaged inside its archive."""
        if self.member is None:
            return self.path.read_bytes()
        with _open_zip(self.path, self.origin) as archive, _undamaged(self.origin):
            return archive.read(self.member)

    def extract(self, scratch: Path) -> Path:
        """Return a path on the disk: the file itself, or a checked copy (with its world file) in `scratch`.

        Raises UserError when the member is damaged (the CRC is checked while it is inflated).
        """
        if self.member is None:
            return self.path
        scratch.mkdir(parents=True, exist_ok=True)
        archive = _kept_open(self.path, self.path.stat().st_mtime_ns)
        for member in (self.member, *self.sidecars):
            _inflate(
                archive, archive.getinfo(member), scratch / PurePosixPath(member).name, self.origin
            )
        return scratch / self.name


class SourceIndex:
    """All files below `source` (a folder or one zip file), zips inside zips included.

    Inner zips are extracted into `scratch` (their members are then read from there); the caller removes it. Symbolic
    links are followed, each folder once. `exclude` is a folder that is not looked into (the store itself); `say` is
    told what takes long. Afterwards `archives` holds the stamp of every zip file on the disk.

    Raises:
        UserError: the source is absent, empty, neither a folder nor a zip file; an archive is damaged, has a password,
            or has a member whose path leads outside of the folder it would be unpacked to; a pipe lies among the files.
    """

    def __init__(
        self,
        source: Path,
        scratch: Path,
        exclude: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Index `source`; see the class."""
        self.say = say
        self.archives: dict[str, str] = {}
        self.root = Path(source).expanduser().absolute()
        self.scratch = scratch
        self.warnings: list[str] = []
        if UNUSABLE.search(str(self.root)):
            raise UserError(
                f"SOURCE {str(self.root)!r} has a character in its name that is no text: rename it."
            )
        if not self.root.exists():
            raise UserError(f"SOURCE {self.root} does not exist.")
        if self.root.is_dir():
            self.files = list(self._walk(exclude.absolute() if exclude else None))
        elif zipfile.is_zipfile(self.root):
            self.archives[str(self.root)] = SourceFile.on_disk(self.root, "").stamp
            self.files = list(self._archive(self.root, "", str(self.root)))
        else:
            raise UserError(
                f"SOURCE {self.root} is neither a folder nor a whole zip file: unpack it first."
            )
        if not self.files:
            raise UserError(f"SOURCE {self.root} holds no files.")
        self._by_rel = {file.rel: file for file in self.files}

    def get(self, rel: str) -> SourceFile | None:
        """Return the file at a path below the source, or None."""
        return self._by_rel.get(os.path.normpath(rel).replace(os.sep, "/"))

    def matches(self, pattern: re.Pattern[str]) -> list[tuple[SourceFile, re.Match[str]]]:
        """Return every file whose base name matches `pattern` from its beginning."""
        return [(file, match) for file in self.files if (match := pattern.match(file.name))]

    def find(
        self, pattern: re.Pattern[str], key: Callable[[re.Match[str]], Key]
    ) -> dict[Key, SourceFile]:
        """Return one file per key, for the base names that match `pattern`; see `choose`."""
        return self.choose([(key(match), file) for file, match in self.matches(pattern)])

    def choose(self, candidates: list[tuple[Key, SourceFile]]) -> dict[Key, SourceFile]:
        """Return one file per key out of (key, file) pairs.

        Of several files with one key the one in the folder that holds most keys wins (complete labels before those for
        participants), then the unpacked one, then the shortest path. Files of one key that differ in size are worth a
        warning: they cannot all be the same download.
        """
        keys_in_folder: Counter[str] = Counter(
            folder for folder, _ in {(f.folder, key) for key, f in candidates}
        )
        groups: dict[Key, list[SourceFile]] = {}
        for key, file in candidates:
            groups.setdefault(key, []).append(file)
        chosen = {}
        for key, files in groups.items():
            files.sort(
                key=lambda f: (-keys_in_folder[f.folder], f.member is not None, len(f.rel), f.rel)
            )
            chosen[key] = files[0]
            other = next((f for f in files if f.size != files[0].size), None)
            if other is not None:
                self.warnings.append(
                    f"two files for one raster differ in size: {files[0].rel} ({files[0].size} bytes, used) "
                    f"and {other.rel} ({other.size} bytes)"
                )
        return chosen

    def _walk(self, exclude: Path | None) -> Iterator[SourceFile]:
        seen: set[tuple[int, int]] = set()
        for folder, subfolders, names in os.walk(self.root, onerror=_unreadable, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen or (
                exclude is not None and Path(folder) == exclude
            ):
                subfolders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            subfolders.sort()
            for name in sorted(names):
                path = Path(folder) / name
                if not path.is_file():  # a broken link, most likely
                    _refuse_pipe(path)
                    continue
                rel = path.relative_to(self.root).as_posix()
                if not self._usable(rel):
                    continue
                if name.lower().endswith(".zip"):
                    self.archives[str(path)] = SourceFile.on_disk(path, "").stamp
                    yield from self._archive(path, rel + "/", str(path))
                else:
                    yield SourceFile.on_disk(path, rel)

    def _usable(self, rel: str) -> bool:
        """Tell whether a path can be shown and written to a table; if not, say that it is ignored."""
        if UNUSABLE.search(rel) is None:
            return True
        self.warnings.append(
            f"{rel!r} is ignored: its name holds a character that is no text; rename it if it matters"
        )
        return False

    def _archive(self, path: Path, prefix: str, origin: str) -> Iterator[SourceFile]:
        """Yield the members of a zip file; `prefix` and `origin` name the archive for paths and for the user."""
        with _open_zip(path, origin) as archive:
            members = [info for info in archive.infolist() if info.filename and not info.is_dir()]
            names = {info.filename for info in members}
            for info in members:
                _refuse_unsafe(info, origin)
                if not self._usable(prefix + info.filename):
                    continue
                rel, shown = prefix + info.filename, f"{origin}/{info.filename}"
                if info.filename.lower().endswith(".zip"):
                    inner = (
                        self.scratch
                        / f"{info.CRC:08x}-{info.file_size}-{PurePosixPath(info.filename).name}"
                    )
                    if (
                        not inner.exists()
                    ):  # a killed import leaves it behind, whole because renamed last
                        self.say(f"unpacking {shown} ({info.file_size / 1e6:.0f} MB)")
                        _inflate(archive, info, inner, shown)
                    yield from self._archive(inner, rel + "/", shown)
                else:
                    stamp = f"{info.file_size}:{info.CRC:08x}"
                    sidecars = _sidecars(info.filename, names)
                    yield SourceFile(
                        path, rel, shown, info.file_size, stamp, info.filename, sidecars
                    )


def _refuse_pipe(path: Path) -> None:
    """Refuse what waits for ever when it is opened: beside a raster, it may be opened without being asked for."""
    if path.is_fifo():
        raise UserError(f"{path} is a pipe and no file: take it out of SOURCE.")


def _unreadable(error: OSError) -> None:
    raise UserError(
        f"{error.filename} cannot be looked into ({error.strerror}): mend its permissions or take it away."
    )


def _sidecars(name: str, names: set[str]) -> tuple[str, ...]:
    stem = name.rpartition(".")[0]
    spellings = (stem + s for suffix in WORLD_FILE_SUFFIXES for s in (suffix, suffix.upper()))
    return tuple(s for s in spellings if s in names and s != name)


def _open_zip(path: Path, origin: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        text = f"{origin} is not a whole zip file ({error}): download it again or take it out of SOURCE."
        raise UserError(text) from error


@lru_cache(maxsize=4)
def _kept_open(path: Path, time: int) -> zipfile.ZipFile:
    """Open an archive once per process: its list of 50,000 members takes longer to read than a picture of it."""
    return _open_zip(path, str(path))


def close_archives() -> None:
    """Let go of the archives that `extract` keeps open."""
    _kept_open.cache_clear()


def _refuse_unsafe(info: zipfile.ZipInfo, origin: str) -> None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        raise UserError(
            f"{origin} holds a file whose path leads outside of the archive ({info.filename!r}): refused."
        )
    if info.flag_bits & 1:
        remedy = "unpack it first and name the folder"
        raise UserError(f"{origin} is protected by a password ({info.filename!r}): {remedy}.")


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, origin: str) -> None:
    """Write one member to `target`, whole or not at all; zipfile compares the CRC at the end of the member."""
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < info.file_size:
        raise UserError(
            f"Unpacking {origin} needs {info.file_size / 1e6:.0f} MB in {target.parent}; {free / 1e6:.0f} MB are free."
        )
    temporary = target.with_name(target.name + ".part")
    with _undamaged(origin), archive.open(info) as stream, temporary.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    temporary.replace(target)


@contextmanager
def _undamaged(origin: str) -> Iterator[None]:
    """Tell what goes wrong while a member is inflated as damage of the file `origin`."""
    import lzma
    import struct
    import zlib

    damage = (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
    )
    try:
        yield
    except (*damage, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # a full disk, no permission; without such a number it is bz2 that cannot go on, or a wrong offset
        raise UserError(
            f"{origin} is damaged inside its archive ({error}): download the archive again."
        ) from error


def peek(file: SourceFile) -> tuple[int, str]:
    """Return the number of bands and the data type that holds them all from the header of a raster, packed or not."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_raw(file.extract(Path(scratch)), file.origin) as dataset,
    ):
        return dataset.count, str(np.result_type(*dataset.dtypes))


def sizes(files: list[SourceFile]) -> str:
    """Return the sizes in pixels of unpacked rasters for an inventory: `38 of 6000 x 6000`; looks into 50 at most."""
    unpacked = [file for file in files if file.member is None]
    if not unpacked:
        return "seen when they are unpacked"
    seen: Counter[str] = Counter()
    for file in unpacked[:: -(-len(unpacked) // 50)]:
        try:
            with open_raw(file.path, file.origin) as dataset:
                seen[f"{dataset.height} x {dataset.width}"] += 1
        except UserError:  # told when the file is imported
            seen["unreadable"] += 1
    return ", ".join(f"{n} of {size}" for size, n in seen.most_common(5)) + (
        ", ..." if len(seen) > 5 else ""
    )
