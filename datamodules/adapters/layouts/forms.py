"""Which folder holds what: the forms of folder names of MMSegmentation and torchgeo.

MMSegmentation's converters write `img_dir/train` and `ann_dir/train`; who has several sensors puts
the sensor's name behind `img_dir`, below it or above it. torchgeo's `NonGeoDataset`s are mostly one
folder per part with one per raster in it, or the other way round.
"""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from datamodules.adapters.scene_table import RASTER_SUFFIX
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import list_names
from usererror import UserError

FORMS = {
    "mmseg": (
        "img_dir/<part>",
        "ann_dir/<part>",
        "img_dir_<sensor>/<part>",
        "img_dir/<sensor>/<part>",
        "<sensor>/img_dir/<part>",
    ),
    "torchgeo": ("<part>/<sensor>", "<sensor>/<part>"),
}
PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
PART_OF = {word: part for part, words in PARTS.items() for word in words}
LABEL_FOLDERS = ("ann_dir", "annotations", "gt", "label", "labels", "mask", "masks")
# a folder that names no sensor
IMAGE_FOLDERS = ("image", "images", "img", "img_dir", "imgs")
ROLES = re.compile(r"(?i)(img|ann)_dir")
MOST_NAMED = 6  # folders that an error names


@dataclass(frozen=True)
class Found:
    """A raster file: `raster` is `label`, `image` or a sensor; `folder` lies below its part's."""

    file: SourceFile
    raster: str
    part: str
    folder: str

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.file.name.rpartition(".")[0]


def find_rasters(index: SourceIndex, layout: str) -> tuple[str, list[Found]]:
    """Find the rasters that lie as the layout says, and the folder that holds them all.

    UserError where no folder has labels, or none has images.
    """
    rasters = [file for file in index.files if RASTER_SUFFIX.match(file.name)]
    base = _common_folder(file.folder for file in rasters if _may_fit(file.folder, layout))
    patterns = [(form, _pattern(form)) for form in FORMS[layout]]
    found = []
    for file in rasters:
        folder = posixpath.relpath(file.folder, base)
        for form, pattern in patterns:
            if match := pattern.fullmatch(folder):
                name = match.groupdict().get("sensor") or form.partition("/")[0]
                part = PART_OF[match["part"].lower()]
                found.append(Found(file, _raster_name(name), part, match["below"] or ""))
                break
    lacking = {"label", "image"} - {"label" if f.raster == "label" else "image" for f in found}
    if lacking:
        what = " and no ".join(f"{word}s" for word in sorted(lacking))
        folders = sorted({file.folder for file in index.files})
        wanted = f"{', '.join(FORMS[layout])}, where <part> is train, val or test"
        if layout == "torchgeo":
            wanted += f" and labels lie in one of {', '.join(LABEL_FOLDERS)}"
        has = list_names(folders, MOST_NAMED)
        raise UserError(
            f"SOURCE {index.root} has no {what} as LAYOUT={layout} says: looked for {wanted}; "
            f"found the folders {has}. Rename them, or write a scenes.csv."
        )
    return base, found


def _may_fit(folder: str, layout: str) -> bool:
    words = folder.lower().split("/")
    roles = layout != "mmseg" or any(map(ROLES.match, words))
    return roles and not PART_OF.keys().isdisjoint(words)


def _common_folder(folders: Iterable[str]) -> str:
    """Return the folder above all that layouts speak of: a sensor's name must not be cut off."""
    folders = list(folders)
    shared = []
    for word in (posixpath.commonpath(folders) if folders else "").split("/"):
        if word.lower() in PART_OF or ROLES.match(word):
            break
        shared.append(word)
    return "/".join(shared) or "."


def _pattern(form: str) -> re.Pattern[str]:
    parts = "|".join(PART_OF)
    text = form.replace("<part>", f"(?P<part>{parts})")
    text = text.replace("<sensor>", rf"(?P<sensor>(?!(?:{parts})(?:/|$))[^/]+)")
    return re.compile(rf"(?i){text}(?:/(?P<below>.+))?")


def _raster_name(folder: str) -> str:
    name = folder.lower()
    if name in LABEL_FOLDERS:
        return "label"
    return "image" if name in IMAGE_FOLDERS else name
