"""`imss show`: an imported dataset on one picture, with its class shares and statistics as text and tables."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usererror import UserError

if TYPE_CHECKING:
    from datamodules.store.class_frequencies import ClassShares
    from datamodules.store.scene_store import Scene, SceneStore

MOST_ROWS = 40
KEYS = ("mean", "std", "min", "max", "p05", "p95")
Statistics = list[dict[str, Any]]


def named_scenes(store: SceneStore, wanted: Sequence[str]) -> list[Scene]:
    """The scenes the user named, in that order; a UserError for a name the store does not have."""
    known = {scene.id: scene for scene in store.scenes}
    if len(wanted) > MOST_ROWS:
        raise UserError(
            f"A contact sheet holds at most {MOST_ROWS} scenes; {len(wanted)} are named."
        )
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {near[0]}? All" if near else f"for example {store.scenes[0].id}; all"
            )
            raise UserError(
                f"{store.name} has no scene {name!r}; {hint} {len(known)} are in {store.root}/scenes.csv."
            )
    return [known[name] for name in wanted]


def chosen_scenes(store: SceneStore, split: str, rows: int) -> list[Scene]:
    """Up to `rows` scenes that show the dataset's range, the same ones at every call.

    Parts of the split take turns; within a part, those values of the conditions (weather) come first that have been
    shown least. One scene that lacks a raster is preferred, where there is one, and others like it avoided. Among
    equals the one farthest from all chosen ones in the order of scenes.csv is taken, because neighbours look alike.
    Unused scenes are left out, unless there are no others.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise UserError(f"A contact sheet holds 1 to {MOST_ROWS} scenes, not {rows}.")
    columns = (*store.modalities, *store.labels)
    used = [scene for scene in store.scenes if scene.splits[split] != "unused"] or store.scenes
    facts = [
        [(name, scene.attributes.get(name, "")) for name in store.info["conditions"]]
        for scene in used
    ]
    lacking = [any(column not in scene.paths for column in columns) for scene in used]
    seen: dict[tuple[str, str], int] = {}
    gaps = [len(used)] * len(used)  # to the nearest chosen scene
    unwelcome = -1  # what a lacking raster counts: wanted once, then not again
    chosen: list[int] = []
    while len(chosen) < min(rows, len(used)):
        best = min(
            (index for index in range(len(used)) if gaps[index]),
            key=lambda index: (
                seen.get(("part", used[index].splits[split]), 0),
                sum(seen.get(fact, 0) for fact in facts[index]) + unwelcome * lacking[index],
                -gaps[index],
                index,
            ),
        )
        chosen.append(best)
        unwelcome = 1 if lacking[best] else unwelcome
        for fact in (("part", used[best].splits[split]), *facts[best]):
            seen[fact] = seen.get(fact, 0) + 1
        gaps = [min(gap, abs(index - best)) for index, gap in enumerate(gaps)]
    order = ("train", "val", "test", "unused")
    return [
        used[index]
        for index in sorted(
            chosen, key=lambda index: (order.index(used[index].splits[split]), index)
        )
    ]


def all_shares(store: SceneStore, split: str) -> dict[str, dict[str, ClassShares]]:
    """{label column: {part: class shares}} of the parts that have scenes."""
    from datamodules.store.class_frequencies import count_classes

    parts = [part for part, scenes in store.split(split).items() if scenes]
    return {
        label: {part: count_classes(store, split, part, label) for part in parts}
        for label in store.labels
    }


def training_statistics(store: SceneStore, split: str) -> Statistics:
    """One row per raster and band over the training scenes: raster, band, unit, scenes, pixels and `KEYS`.

    Mean and standard deviation are those of all pixels together; p05 and p95 are the scenes' own percentiles, averaged
    by number of pixels. Without a valid training pixel they are None.
    """
    import numpy as np

    from datamodules.loading.normalize import pooled_statistics
    from datamodules.store.units import SAR_LINEAR

    rows: Statistics = []
    for name, modality in store.modalities.items():
        found = {
            scene.id: store.statistics[scene.id][name]
            for scene in store.split(split)["train"]
            if name in scene.paths and store.statistics[scene.id][name]["count"]
        }
        values: dict[str, Any] = {key: [None] * modality.channels for key in KEYS}
        pixels = [entry["count"] for entry in found.values()]
        if found:
            column = {
                key: np.array([entry[key] for entry in found.values()], float) for key in KEYS
            }
            values["mean"], values["std"] = pooled_statistics(found)
            values["min"], values["max"] = column["min"].min(axis=0), column["max"].max(axis=0)
            # a constant band has no deviation, whatever it is divided by in training
            values["std"] = np.where(values["min"] == values["max"], 0, values["std"])
            values |= {
                key: np.average(column[key], axis=0, weights=pixels) for key in ("p05", "p95")
            }
        for band in range(modality.channels):
            rows.append(
                {
                    "raster": name,
                    "letter": modality.letter,
                    "kind": modality.kind,
                    "band": band + 1,
                    "unit": "dB" if modality.kind == SAR_LINEAR else modality.unit,
                    "scenes": len(found),
                    "pixels": sum(pixels),
                    **{
                        key: None if values[key][band] is None else float(values[key][band])
                        for key in KEYS
                    },
                }
            )
    return rows


def summary(store: SceneStore, split: str, shares: dict[str, ClassShares]) -> list[str]:
    """Lines of text: what the store is and its class shares per part in per cent."""
    parts = {part: len(scenes) for part, scenes in store.split(split).items()}
    info = store.info
    lines = [
        f"{store.name}: {info['title']}, {len(store.scenes)} scenes, fingerprint {store.fingerprint[:12]}",
        f"{split}: " + ", ".join(f"{number} {part}" for part, number in parts.items()),
        f"missing rasters: {len(info['missing'])}; warnings of the import: {len(info['warnings'])}",
    ]
    if note := info.get("split_notes", {}).get(split):
        lines.append(f"note on {split}: {note}")
    width = max(len("ignored"), *(len(entry.name) for entry in store.classes))
    head = [f"{part} %" for part in shares]
    lines += ["", f"{'class':{width}}" + "".join(f"{text:>13}" for text in head)]
    for number, entry in enumerate(store.classes):
        cells = [per_cent(one.shares[number]) for one in shares.values()]
        lines.append(f"{entry.name:{width}}" + "".join(f"{text:>13}" for text in cells))
    ignored = [per_cent(ignored_share(one)) for one in shares.values()]
    return [
        *lines,
        f"{'ignored':{width}}" + "".join(f"{text:>13}" for text in ignored) + "  of all pixels",
    ]


def ignored_share(shares: ClassShares) -> float:
    """The part of all pixels that has no class."""
    return shares.ignored / max(1, shares.ignored + sum(shares.pixels))


def per_cent(share: float) -> str:
    """A share of 0 to 1 in per cent: two digits after the point, `<0.01` for the rarest, `0` for what is not there."""
    return "0" if share == 0 else "<0.01" if share < 0.00005 else f"{100 * share:.2f}"


def _write_tables(
    store: SceneStore,
    split: str,
    shares: dict[str, dict[str, ClassShares]],
    statistics: Statistics,
    folder: Path,
) -> None:
    from datamodules.store.scene_store import write_text_whole

    rows = []
    for label, parts in shares.items():
        for part, one in parts.items():
            for number, entry in enumerate(store.classes):
                row = {
                    "split": split,
                    "label": label,
                    "part": part,
                    "id": entry.id,
                    "name": entry.name,
                }
                row |= {"pixels": one.pixels[number], "share": one.shares[number]}
                rows.append(row)
            ignored = {"split": split, "label": label, "part": part, "id": 255, "name": "ignored"}
            rows.append(ignored | {"pixels": one.ignored, "share": ignored_share(one)})
    write_text_whole(folder / "class_shares.csv", _table(rows))
    write_text_whole(folder / "statistics.csv", _table(statistics))


def _table(rows: Sequence[dict[str, Any]]) -> str:
    columns: Iterable[str] = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
