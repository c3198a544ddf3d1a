"""What names say: of archives that are read, of those that are not, and of files inside of them."""

import re
import unicodedata
from collections.abc import Iterable

from usererror import UserError

ARCHIVE = re.compile(r"(?i)\.(zip|tar|tgz|tar\.gz)$")
TAR = re.compile(r"(?i)\.(tar|tgz|tar\.gz)$")
# of other programs, and of a split zip file
UNREAD = re.compile(r"(?i).*\.(7z|rar|tbz2?|txz|gz|bz2|xz|zst|z\d\d)$")
PART = re.compile(r"(?i).*\.(tar|tgz|zip|7z|rar)\b.*\.(\d{3}|part\d*)$")
ARRAY = re.compile(r"(?i).*\.np[yz]$")
RASTER = re.compile(r"(?i).*\.(tiff?|png|jpe?g|jp2|bmp)$")
MAX_NAMED = 3
UNPACK = "unpack it first and name the folder"
JOIN = "join the parts in numerical order, decompress and unpack the whole, and name the folder"


def is_litter(name: str) -> bool:
    """Tell whether a file is only macOS's note about another one.

    Example:
        >>> is_litter("__MACOSX/town/._a.tif"), is_litter("town/a.tif")
        (True, False)
    """
    parts = name.split("/")
    return parts[-1].startswith("._") or "__MACOSX" in parts


def without_ending(name: str) -> str:
    """Return the name of the folder that an archive counts as.

    Example:
        >>> without_ending("train.tar.gz"), without_ending("val.ZIP"), without_ending("a.tif")
        ('train', 'val', 'a.tif')
    """
    return ARCHIVE.sub("", name)


def member_path(raw: str, origin: str) -> str:
    """Return the path of a file in the archive `origin`, with `/`, "" for litter and folders.

    UserError for a path that leads outside.
    """
    name = unicodedata.normalize("NFC", raw.replace("\\", "/"))
    if not name or name.endswith("/") or is_litter(name):
        return ""
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{origin} holds a file whose path leads outside of it: {raw!r}.")
    return name


def describe_unread(names: Iterable[str]) -> str:
    """Say what of a source is not read and what to do about it, "" where nothing is.

    Example:
        >>> describe_unread(["a.tif", "b.7z"])
        'Only zip and tar files are looked into, not b.7z: unpack them first.'
    """
    found: dict[re.Pattern[str], list[str]] = {PART: [], UNREAD: [], ARRAY: [], RASTER: []}
    for name in names:
        kind = next((pattern for pattern in found if pattern.match(name)), None)
        if kind is not None:
            found[kind].append(name)
    told = []
    if found[PART]:
        told.append(f"{_list_names(found[PART])}: parts of an archive are not read: {JOIN}.")
    if found[UNREAD]:
        not_these = _list_names(found[UNREAD])
        told.append(f"Only zip and tar files are looked into, not {not_these}: unpack them first.")
    # beside pictures they are somebody's own
    if found[ARRAY] and not found[RASTER]:
        arrays = _list_names(found[ARRAY])
        told.append(f"Arrays are not read, as {arrays}: save them as TIFF, or as PNG of 16 bits.")
    return " ".join(told)


def _list_names(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
