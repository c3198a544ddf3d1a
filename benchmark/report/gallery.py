"""Pictures for the page, from what `benchmark.tracking.example_images` left beside local runs."""

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.formats.files import own_file
from benchmark.records.groups import SeedGroup
from benchmark.records.record import Record
from benchmark.records.selection import Skipped
from benchmark.report.training_curves import run_directory
from benchmark.tracking.example_images import FOLDER, INDEX
from datamodules.store.scene_store import DAMAGE
from usererror import UserError

ROOM = 4_000_000  # characters of pictures in one page; scenes that do not fit are named
FIRST_BYTES = {".png": b"\x89PNG\r\n", ".jpg": b"\xff\xd8\xff"}
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def collect_gallery(
    groups: Sequence[SeedGroup],
    skipped: Skipped,
    name: str = FOLDER,
    remedy: str = "make examples",
) -> dict[str, Any]:
    """Collect scenes with their modalities, label and every row's predictions as data addresses.

    They lie in the folder `name` of a run, made again by the command `remedy`.

    Of each row the lowest seed that has examples is shown. A scene's `rows` are {group: {`seed`,
    `subsets`: {name: picture}}}; `unscored` are colours that no error is counted on.
    """
    scenes: dict[str, dict[str, Any]] = {}
    legend: dict[str, Any] = {}
    for group in groups:
        for record in group.members:
            folder, index = _read_index(record, name)
            if index is None:
                continue
            # all of a run's pictures or none: half a scene would look like a fault of the method
            try:
                pictures = _read_scenes(folder, index, folder.parent)
                legend = legend or _read_legend(index)
            # an index of another program may hold anything
            except (*DAMAGE, UserError) as error:
                text = f"The pictures in {folder} cannot be read ({error})"
                skipped.add(f"{text}; make them again: {remedy}.")
                continue
            for scene_id, (scene, subsets) in pictures.items():
                shown = {"seed": record.manifest.seed, "subsets": subsets}
                scenes.setdefault(scene_id, {"id": scene_id, **scene, "rows": {}})
                scenes[scene_id]["rows"][group.group] = shown
            # one seed is enough
            break
    return {**legend, "scenes": list(scenes.values())} if scenes else {}


def limit_galleries(
    galleries: Sequence[tuple[str, dict[str, Any]]], room: int, skipped: Skipped
) -> None:
    """Keep as many scenes of each (dataset, gallery) as fit into `room` characters."""
    kept: list[list[Any]] = [[] for _ in galleries]
    most = max((len(one.get("scenes", [])) for _, one in galleries), default=0)
    # the first scene of every gallery comes first, then the second, and so on
    for nth in range(most):
        for (data, one), chosen in zip(galleries, kept, strict=True):
            for scene in one.get("scenes", [])[nth : nth + 1]:
                size = len(json.dumps(scene))
                if size <= room:
                    room -= size
                    chosen.append(scene)
                else:
                    place = f"Pictures of {data}, {scene['id']}"
                    skipped.add(f"{place}: the page would become too large.")
    for (_, one), chosen in zip(galleries, kept, strict=True):
        if chosen:
            one["scenes"] = chosen
        else:
            one.clear()


def _read_index(record: Record, name: str) -> tuple[Path, dict[str, Any] | None]:
    """Read the list of the examples of a record's run, None where there are none of its data."""
    folder = (run_directory(record) or record.path) / name
    # there may be none, or a file of another program
    with suppress(*DAMAGE):
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["fingerprint"] == record.manifest.fingerprint:
            return folder, index
    return folder, None


def _read_legend(index: dict[str, Any]) -> dict[str, Any]:
    classes, unscored = [], []
    for entry in index["classes"]:
        classes.append({"name": str(entry["name"]), "color": list(entry["color"])})
        if entry["id"] not in index["outputs"]:
            unscored.append(list(entry["color"]))
    legend = {"classes": classes, "unlabelled": list(index["unlabelled"]), "unscored": unscored}
    return {**legend, "letters": dict(index["letters"])}


def _read_scenes(
    folder: Path, index: dict[str, Any], run: Path
) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Read every scene's own pictures and its predictions by subset."""
    found = {}
    for entry in index["scenes"]:
        here = folder / _file_name(entry["folder"])
        scene = {
            "modalities": _addresses(here, entry["modalities"], ".jpg", run),
            "label": _address(here / "label.png", run),
            "pixels": list(map(int, entry["pixels"])),
            "step": int(entry["step"]),
        }
        found[str(entry["id"])] = (scene, _addresses(here, entry["subsets"], ".png", run))
    return found


def _addresses(folder: Path, names: Sequence[Any], suffix: str, run: Path) -> dict[str, str]:
    return {name: _address(folder / f"{_file_name(name)}{suffix}", run) for name in names}


def _file_name(name: Any) -> str:
    """Refuse a name with folders: a foreign index must not put other files into the page."""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    return name


def _address(path: Path, run: Path) -> str:
    # the page is sent on, so it holds pictures of the run and nothing a link may point to
    if own_file(path, run).stat().st_size > ROOM:
        raise ValueError(f"{path} is too large")
    picture = path.read_bytes()
    if not picture.startswith(FIRST_BYTES[path.suffix]):
        raise ValueError(f"{path} is no picture")
    content = base64.b64encode(picture).decode()
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{content}"
