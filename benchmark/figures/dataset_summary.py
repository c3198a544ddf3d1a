"""An imported dataset in numbers: which scenes to show, class shares, statistics."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.store.scene_store import IGNORE
from usererror import UserError

if TYPE_CHECKING:
    import pandas as pd

    from datamodules.store.class_frequencies import ClassShares
    from datamodules.store.scene_store import Scene, SceneStore

MOST_ROWS = 40
KEYS = ("mean", "std", "min", "max", "p05", "p95")
PART_ORDER = ("train", "val", "test", "unused")
Statistics = list[dict[str, Any]]


def find_scenes(store: SceneStore, wanted: Sequence[str]) -> list[Scene]:
    """Find the scenes that the user named, in that order.

    Raises:
        UserError: a name that the store does not have, or too many of them.
    """
    known = {scene.id: scene for scene in store.scenes}
    if len(wanted) > MOST_ROWS:
        most = f"A contact sheet holds at most {MOST_ROWS} scenes"
        raise UserError(f"{most}; {len(wanted)} are named.")
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"for example {store.scenes[0].id}; all"
            if near:
                hint = f"did you mean {near[0]}? All"
            place = f"{len(known)} are in {store.root}/scenes.csv"
            raise UserError(f"{store.name} has no scene {name!r}; {hint} {place}.")
    return [known[name] for name in wanted]


def choose_scenes(store: SceneStore, split: str, rows: int) -> list[Scene]:
    """Choose up to `rows` scenes that show the dataset's range, the same ones at every call.

    Parts of the split take turns; within a part, those values of the conditions (weather) come
    first that have been shown least. One scene that lacks a raster is preferred, where there is
    one, and others like it avoided. Unused scenes are left out, unless there are no others.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise UserError(f"A contact sheet holds 1 to {MOST_ROWS} scenes, not {rows}.")
    columns = {*store.modalities, *store.labels}
    used = [scene for scene in store.scenes if scene.splits[split] != "unused"] or store.scenes
    # greedy: the next scene is the one that adds most to what is shown already
    parts, lacking, facts = [], [], []
    for scene in used:
        parts.append(scene.splits[split])
        lacking.append(not columns <= scene.paths.keys())
        facts.append([(name, scene.attributes.get(name)) for name in store.info["conditions"]])
    shown: Counter[Any] = Counter()
    gaps = np.full(len(used), len(used))  # to the nearest chosen scene
    unwelcome = -1  # what a lacking raster counts: wanted once, then not again
    chosen: list[int] = []

    def rank(index: int) -> tuple[int, int, int, int]:
        conditions = sum(shown[fact] for fact in facts[index])
        # among equals the one farthest from all chosen ones, because neighbours look alike
        repeated = conditions + unwelcome * lacking[index]
        return shown[parts[index]], repeated, -int(gaps[index]), index

    while len(chosen) < min(rows, len(used)):
        best = min(np.flatnonzero(gaps).tolist(), key=rank)
        chosen.append(best)
        unwelcome = 1 if lacking[best] else unwelcome
        shown.update([parts[best], *facts[best]])
        gaps = np.minimum(gaps, np.abs(np.arange(len(used)) - best))
    chosen.sort(key=lambda index: (PART_ORDER.index(parts[index]), index))
    return [used[index] for index in chosen]


def count_all_shares(store: SceneStore, split: str) -> dict[str, dict[str, ClassShares]]:
    """Count the classes: {label column: {part: class shares}} of the parts that have scenes."""
    from datamodules.store.class_frequencies import count_classes

    parts = [part for part, scenes in store.split(split).items() if scenes]
    shares: dict[str, dict[str, ClassShares]] = {}
    for label in store.labels:
        shares[label] = {part: count_classes(store, split, part, label) for part in parts}
    return shares


def training_statistics(store: SceneStore, split: str) -> Statistics:
    """Describe every raster and band over the training scenes.

    Returns:
        One row each: raster, band, unit, scenes, pixels and `KEYS`. Mean and standard deviation are
        those of all pixels together; p05 and p95 are the scenes' own percentiles, averaged by
        number of pixels. Without a valid training pixel they are None.
    """
    from datamodules.loading.normalize import pooled_statistics
    from datamodules.store.units import SAR_LINEAR

    rows: Statistics = []
    for name, modality in store.modalities.items():
        found = {}
        for scene in store.split(split)["train"]:
            if name in scene.paths and store.statistics[scene.id][name]["count"]:
                found[scene.id] = store.statistics[scene.id][name]
        pixels = [entry["count"] for entry in found.values()]
        values: dict[str, Any] = {key: [None] * modality.channels for key in KEYS}
        if found:
            # scenes differ in size, so the mean of means is not the mean of the pixels
            column = {key: np.array([one[key] for one in found.values()], float) for key in KEYS}
            values["mean"], values["std"] = pooled_statistics(found)
            values["min"], values["max"] = column["min"].min(axis=0), column["max"].max(axis=0)
            # a constant band has no deviation, whatever it is divided by in training
            values["std"] = np.where(values["min"] == values["max"], 0, values["std"])
            for key in ("p05", "p95"):
                values[key] = np.average(column[key], axis=0, weights=pixels)
        unit = "dB" if modality.kind == SAR_LINEAR else modality.unit
        facts = {"raster": name, "letter": modality.letter, "kind": modality.kind}
        for band in range(modality.channels):
            row = {**facts, "band": band + 1, "unit": unit}
            row |= {"scenes": len(found), "pixels": sum(pixels)}
            for key in KEYS:
                value = values[key][band]
                row[key] = None if value is None else float(value)
            rows.append(row)
    return rows


def share_table(
    store: SceneStore, split: str, shares: Mapping[str, Mapping[str, ClassShares]]
) -> pd.DataFrame:
    """List pixels and share of every class: a row per label column, part and class."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for label, parts in shares.items():
        for part, one in parts.items():
            place = split, label, part
            for number, entry in enumerate(store.classes):
                rows.append((*place, entry.id, entry.name, one.pixels[number], one.shares[number]))
            rows.append((*place, IGNORE, "ignored", one.ignored, ignored_share(one)))
    columns = ["split", "label", "part", "id", "name", "pixels", "share"]
    return pd.DataFrame(rows, columns=columns)


def describe_dataset(store: SceneStore, split: str, shares: Mapping[str, ClassShares]) -> list[str]:
    """Say in lines of text what a store is, with the class shares of every part in per cent."""
    scenes = store.split(split)
    info = store.info
    known = f"{len(store.scenes)} scenes, fingerprint {store.fingerprint[:12]}"
    missing, warnings = len(info["missing"]), len(info["warnings"])
    lines = [
        f"{store.name}: {info['title']}, {known}",
        f"{split}: " + ", ".join(f"{len(own)} {part}" for part, own in scenes.items()),
        f"missing rasters: {missing}; warnings of the import: {warnings}",
    ]
    if note := info.get("split_notes", {}).get(split):
        lines.append(f"note on {split}: {note}")
    names = [*(entry.name for entry in store.classes), "ignored"]
    width = max(map(len, names))
    lines += ["", f"{'class':{width}}" + "".join(f"{part + ' %':>13}" for part in shares)]
    for number, name in enumerate(names):
        cells = ""
        for one in shares.values():
            share = ignored_share(one) if name == "ignored" else one.shares[number]
            cells += f"{per_cent(share):>13}"
        lines.append(f"{name:{width}}{cells}")
    lines[-1] += "  of all pixels"
    return lines


def ignored_share(shares: ClassShares) -> float:
    """Compute the part of all pixels that has no class."""
    return shares.ignored / max(1, shares.ignored + sum(shares.pixels))


def per_cent(share: float) -> str:
    """Write a share of 0 to 1 in per cent.

    Example:
        >>> [per_cent(share) for share in (0, 0.00001, 0.00006, 0.25, 1)]
        ['0', '<0.01', '0.01', '25.00', '100.00']
    """
    return "0" if share == 0 else "<0.01" if share < 0.00005 else f"{100 * share:.2f}"
