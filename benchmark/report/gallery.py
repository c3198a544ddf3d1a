"""Pictures for the page, from what `benchmark.tracking.example_images` left beside local runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.records.groups import SeedGroup
from benchmark.records.selection import Skipped
from benchmark.report.training_curves import run_directory
from benchmark.tracking.example_images import FOLDER, INDEX

ROOM = 4_000_000  # characters of pictures in one page; scenes that do not fit are named
KINDS = {".png": "image/png", ".jpg": "image/jpeg"}
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


def gallery(rows: Sequence[SeedGroup], remarks: Skipped) -> dict[str, Any]:
    """Scenes with their modalities, label and every row's predictions.

    Of each row the lowest seed that has examples is shown.

    Returns:
        `classes` (name, colour), `unlabelled` and `unscored` (colours that no error is counted on), `letters`, and
        `scenes`: [{`id`, `pixels`, `step`, `modalities`: {name: picture}, `label`: picture, `rows`: {group: {`seed`,
        `subsets`: {name: picture}}}}], pictures as data addresses; empty without any.
    """
    found: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for row in rows:
        for record in row.members:
            run_dir = run_directory(record)
            folder = run_dir / FOLDER if run_dir else None
            index = _index(folder) if folder else None
            if (
                folder is None
                or index is None
                or index.get("fingerprint") != record.manifest.fingerprint
            ):
                continue
            try:
                _add_run(found, folder, index, row.group, record.manifest.seed)
                shared = shared or _legend(index)
            except UNREADABLE as error:
                text = f"The pictures in {folder} cannot be read ({error}); make them again"
                remarks.add(f"{text}: make examples.")
                continue
            break
    return (
        {**shared, "scenes": [{"id": name, **scene} for name, scene in found.items()]}
        if found
        else {}
    )


def fit(named: Sequence[tuple[str, dict[str, Any]]], room: int, remarks: Skipped) -> None:
    """Of each (dataset, gallery), keep as many scenes as fit into `room` characters.

    The first scene of every gallery comes first, then the second, and so on; what does not fit is named.
    """
    galleries = [gallery for _, gallery in named]
    kept: list[list[Any]] = [[] for _ in galleries]
    for nth in range(max((len(one.get("scenes", [])) for one in galleries), default=0)):
        for (data, one), chosen in zip(named, kept, strict=True):
            for scene in one.get("scenes", [])[nth : nth + 1]:
                if (size := len(json.dumps(scene))) <= room:
                    room -= size
                    chosen.append(scene)
                else:
                    place = f"Pictures of {data}, scene {scene['id']}"
                    remarks.add(f"{place}: the page would become too large.")
    for one, chosen in zip(galleries, kept, strict=True):
        if not chosen:
            one.clear()
        else:
            one["scenes"] = chosen


def _index(folder: Path) -> dict[str, Any] | None:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return index if isinstance(index, dict) else None


def _legend(index: dict[str, Any]) -> dict[str, Any]:
    scored = set(index["outputs"])
    return {
        "classes": [
            {"name": str(entry["name"]), "color": list(entry["color"])}
            for entry in index["classes"]
        ],
        "unlabelled": list(index["unlabelled"]),
        "unscored": [
            list(entry["color"]) for entry in index["classes"] if entry["id"] not in scored
        ],
        "letters": dict(index["letters"]),
    }


def _add_run(
    found: dict[str, dict[str, Any]], folder: Path, index: dict[str, Any], group: str, seed: int
) -> None:
    """Add the pictures of one run to the scenes; nothing is added if one of them cannot be read."""
    read = []
    for scene in index["scenes"]:
        here = folder / _plain(scene["folder"])
        subsets = {str(name): _address(here / f"{_plain(name)}.png") for name in scene["subsets"]}
        common = {
            "modalities": {
                str(name): _address(here / f"{_plain(name)}.jpg") for name in scene["modalities"]
            },
            "label": _address(here / "label.png"),
            "pixels": [int(number) for number in scene["pixels"]],
            "step": int(scene["step"]),
        }
        read.append((str(scene["id"]), common, {"seed": seed, "subsets": subsets}))
    for name, common, predicted in read:
        found.setdefault(name, {**common, "rows": {}})["rows"][group] = predicted


def _plain(name: Any) -> str:
    """A file name without folders, so that a foreign index cannot put other files into the page."""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    return name


def _address(path: Path) -> str:
    return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
