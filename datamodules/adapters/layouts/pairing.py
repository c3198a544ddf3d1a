"""Which files are one scene: names agree once the ending that a raster's files share is cut off."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from datamodules.adapters.layouts.forms import Found
from datamodules.ingest.sources import SourceFile
from usererror import UserError

# MMSegmentation reads these where a dataset has its labels in several forms
TRAIN_IDS = "labeltrainids"
Scenes = dict[str, dict[str, SourceFile]]  # by id and raster


def pair_scenes(found: Iterable[Found]) -> tuple[Scenes, dict[str, str]]:
    """Return the files of each scene, `<part>/<folders below>/<name>`, and the endings cut off.

    Endings are chosen by raster so that as many images as possible go with a label, and the
    shortest of those that do. UserError for two files of one raster and scene.
    """
    by_raster: dict[str, list[Found]] = defaultdict(list)
    for file in found:
        by_raster[file.raster].append(file)
    labels = by_raster["label"]
    by_raster["label"] = [f for f in labels if f.stem.lower().endswith(TRAIN_IDS)] or labels
    endings, most = {}, -1
    for ending in shared_endings([file.stem for file in by_raster["label"]]):
        labelled = _names(by_raster["label"], ending)
        chosen, paired = {"label": ending}, 0
        for raster, files in by_raster.items():
            if raster != "label":
                # max takes the first, which is the shortest
                candidates = shared_endings([file.stem for file in files])
                numbers = {cut: len(labelled & _names(files, cut)) for cut in candidates}
                chosen[raster] = max(numbers, key=lambda cut: numbers[cut])
                paired += max(numbers.values())
        if paired > most:
            endings, most = chosen, paired
    scenes: Scenes = {}
    for raster, files in by_raster.items():
        for file in files:
            id_ = _name(file, endings[raster])
            other = scenes.setdefault(id_, {}).setdefault(raster, file.file)
            if other is not file.file:
                two = f"{other.origin} and {file.file.origin}"
                raise UserError(f"The scene {id_} has two files for {raster}, {two}: keep one.")
    return dict(sorted(scenes.items())), {name: cut for name, cut in endings.items() if cut}


def shared_endings(stems: Collection[str]) -> list[str]:
    """Return "" and the endings, from a `_` on, that all names share; no word of one is a number.

    Of a single name nothing can be told from its ending.

    Example:
        >>> shared_endings(["north_01_gtFine_label", "south_01_gtFine_label"])
        ['', '_label', '_gtFine_label']
    """
    endings = [""]
    if len(set(stems)) < 2:
        return endings
    words = min(stems).split("_")
    for first in range(len(words) - 1, 0, -1):
        ending = "_" + "_".join(words[first:])
        if words[first].isdigit() or not all(stem.endswith(ending) for stem in stems):
            break
        endings.append(ending)
    return endings


def _name(file: Found, ending: str) -> str:
    return "/".join(filter(None, (file.part, file.folder, file.stem.removesuffix(ending))))


def _names(files: Iterable[Found], ending: str) -> set[str]:
    return {_name(file, ending) for file in files}
