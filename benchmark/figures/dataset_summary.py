"""An imported dataset in numbers: which scenes to show, class shares, statistics."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from datamodules.rasters.units import SAR_LINEAR
from datamodules.store.class_frequencies import ClassShares, count_classes
from datamodules.store.pooling import pooled_statistics
from datamodules.store.scene_store import IGNORE
from usererror import UserError

if TYPE_CHECKING:
    from datamodules.store.scene_store import Scene, SceneStore

MOST_ROWS = 40
KEYS = ("mean", "std", "min", "max", "p05", "p95")
PART_ORDER = ("train", "val", "test", "unused")
Statistics = list[dict[str, Any]]


def find_scenes(store: SceneStore, wanted: Sequence[str]) -> list[Scene]:
    """Find the scenes that the user named, in that order."""
    known = {scene.id: scene for scene in store.scenes}
    if len(wanted) > MOST_ROWS:
        most = f"A contact sheet holds at most {MOST_ROWS} scenes"
        raise UserError(f"{most}; {len(wanted)} are named.")
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            example = f"for example {store.scenes[0].id}; all"
            hint = f"did you mean {near[0]}? All" if near else example
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
        # among equals the one farthest from all chosen ones, because neighbours look alike
        repeated = sum(map(shown.__getitem__, facts[index])) + unwelcome * lacking[index]
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
    parts = [part for part, scenes in store.split(split).items() if scenes]
    shares: dict[str, dict[str, ClassShares]] = {}
    for label in store.labels:
        shares[label] = {part: count_classes(store, split, part, label) for part in parts}
    return shares


def training_statistics(store: SceneStore, split: str) -> Statistics:
    """Describe every raster and band over the training scenes in a row.

    Mean and standard deviation are those of all pixels together; p05 and p95 are the scenes' own
    percentiles, averaged by number of pixels. Without a valid training pixel they are None.
    """
    rows: Statistics = []
    for name, modality in store.modalities.items():
        found = {}
        for scene in store.split(split)["train"]:
            if name in scene.paths and store.statistics[scene.id][name]["count"]:
                found[scene.id] = store.statistics[scene.id][name]
        pixels = list(map(itemgetter("count"), found.values()))
        values: dict[str, list[Any]] = {key: [None] * modality.channels for key in KEYS}
        if found:
            own = {key: np.array([one[key] for one in found.values()], float) for key in KEYS}
            lowest, highest = own["min"].min(axis=0), own["max"].max(axis=0)
            # scenes differ in size, so the mean of means is not the mean of the pixels
            mean, std = pooled_statistics(found)
            # a constant band has no deviation, whatever it is divided by in training
            pooled = [mean, np.where(lowest == highest, 0, std), lowest, highest]
            pooled += [np.average(own[key], axis=0, weights=pixels) for key in ("p05", "p95")]
            values = dict(zip(KEYS, np.array(pooled, float).tolist(), strict=True))
        unit = "dB" if modality.kind == SAR_LINEAR else modality.unit
        facts = {"raster": name, "letter": modality.letter, "kind": modality.kind}
        for band in range(modality.channels):
            row = {**facts, "band": band + 1, "unit": unit}
            row |= {"scenes": len(found), "pixels": sum(pixels)}
            rows.append(row | {key: column[band] for key, column in values.items()})
    return rows


def share_table(
    store: SceneStore, split: str, shares: Mapping[str, Mapping[str, ClassShares]]
) -> pd.DataFrame:
    """List pixels and share of every class: a row per label column, part and class."""
    rows: list[tuple[Any, ...]] = []
    for label, parts in shares.items():
        for part, one in parts.items():
            place = split, label, part
            for number, entry in enumerate(store.classes):
                rows.append((*place, entry.id, entry.name, one.pixels[number], one.shares[number]))
            rows.append((*place, IGNORE, "ignored", one.ignored, one.ignored_share))
    columns = ["split", "label", "part", "id", "name", "pixels", "share"]
    return pd.DataFrame(rows, columns=columns)


def describe_dataset(store: SceneStore, split: str, shares: Mapping[str, ClassShares]) -> list[str]:
    """Say in lines of text what a store is, with the class shares of every part in per cent."""
    info, parts = store.info, store.split(split).items()
    known = f"{len(store.scenes)} scenes, fingerprint {store.fingerprint[:12]}"
    missing, warnings = len(info["missing"]), len(info["warnings"])
    lines = [
        f"{store.name}: {info['title']}, {known}",
        f"{split}: " + ", ".join(f"{len(own)} {part}" for part, own in parts),
        f"missing rasters: {missing}; warnings of the import: {warnings}",
    ]
    if note := info.get("split_notes", {}).get(split):
        lines.append(f"note on {split}: {note}")
    names = [*(entry.name for entry in store.classes), "ignored"]
    width = max(map(len, names))
    lines += ["", f"{'class':{width}}" + "".join(map("{:>11} %".format, shares))]
    columns = [[*one.shares, one.ignored_share] for one in shares.values()]
    for name, *row in zip(names, *columns, strict=True):
        lines.append(f"{name:{width}}" + "".join(f"{per_cent(share):>13}" for share in row))
    lines[-1] += "  of all pixels"
    return lines


def per_cent(share: float) -> str:
    """Write a share of 0 to 1 in per cent.

    Example:
        >>> [per_cent(share) for share in (0, 0.00001, 0.00006, 0.25, 1)]
        ['0', '<0.01', '0.01', '25.00', '100.00']
    """
    return "0" if share == 0 else "<0.01" if share < 0.00005 else f"{100 * share:.2f}"
