"""DELIVER: from the folders of the release to scenes, one per frame (dataset dossier, section 6).

    DELIVER/{img|depth|hha|event|lidar|semantic}/{weather}/{split}/{scene}/{frame}_{suffix}_front.png

A frame is known by its path below the modality's folder, because base names repeat. Kept in the store, each if the
source has it: `rgb`, `depth` (HHA: what published code calls depth), `depth_grey`, `event`, `lidar`, `label`. The
pictures stay where they are unless they have to be changed; planning opens only a few, because there are 47,000.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from datamodules.adapters.dataset_card import read_about
from datamodules.ingest.plan import (
    Adapter,
    ImportOptions,
    ImportPlan,
    Missing,
    RasterJob,
    ScenePlan,
    share_out,
)
from datamodules.ingest.sources import SourceFile, SourceIndex, sizes
from datamodules.store.scene_store import IGNORE, PARTS, Modality, SceneClass
from usererror import UserError

SPLITS = Path(__file__).parents[1] / "splits"
WEATHERS = ("cloud", "fog", "night", "rain", "sun")
CASES = ("normal", "motionblur", "overexposure", "underexposure", "lidarjitter", "eventlowres")
FOLDERS = {  # raster of the store: folder of the release, suffix of its files
    "rgb": ("img", "rgb"),
    "depth": ("hha", "depth"),
    "depth_grey": ("depth", "depth"),
    "event": ("event", "event"),
    "lidar": ("lidar", "lidar"),
    "label": ("semantic", "semantic"),
}
RASTERS = {folder: raster for raster, (folder, _) in FOLDERS.items()}
FILE = re.compile(r"(\d{6})_(rgb|depth|event|lidar|semantic)_front\.png$", re.IGNORECASE)
SEQUENCE = re.compile(rf"MAP_(\d+)_point(\d+)(?:_({'|'.join(CASES[1:])}))?$", re.IGNORECASE)
MODALITIES = (
    Modality("rgb", "R", 3, "uint8", "counts", "optical"),
    Modality("depth", "D", 3, "uint8", "counts", "depth"),
    Modality("depth_grey", "D", 1, "uint8", "counts", "depth"),
    Modality("event", "E", 3, "uint8", "counts", "event"),
    Modality("lidar", "L", 3, "uint8", "counts", "lidar"),
)
CASE_COUNTS = {  # frames per case (dossier 6.3); those per weather are in deliver_counts.csv
    "train": {"normal": 2585, "motionblur": 600, "overexposure": 200, "underexposure": 199, "lidarjitter": 199,
              "eventlowres": 200},
    "val": {"normal": 1298, "motionblur": 299, "overexposure": 100, "underexposure": 99, "lidarjitter": 100,
            "eventlowres": 109},
    "test": {"normal": 1198, "motionblur": 300, "overexposure": 100, "underexposure": 100, "lidarjitter": 99,
             "eventlowres": 100},
}  # fmt: skip
SGMA_PART = {
    "train": "train",
    "val": "test",
    "test": "unused",
}  # SGMA evaluates on val (dossier 6.3)
NAMED = 20  # lines of the inventory for one kind of trouble

IDS = np.full(256, IGNORE, np.uint8)
IDS[1:26] = np.arange(25)
UNKNOWN = np.zeros(256, bool)
UNKNOWN[26:255] = True


def decode_label(red: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ids (h x w uint8) and where a value means nothing, from the red channel (1 x h x w uint8).

    Raw 1-25 are classes 0-24, 0 and 255 are unlabelled, 26-254 do not occur (dossier 6.4, 12.4).
    """
    return IDS[red[0]], UNKNOWN[red[0]]


def one_of_equal(bands: np.ndarray) -> np.ndarray:
    """Return the first of three bands, 1 x h x w; raises ValueError where they differ: that is not grey depth."""
    if not (bands[0] == bands[1]).all() or not (bands[0] == bands[2]).all():
        raise ValueError(
            "its three bands differ, so it is no grey depth; HHA pictures belong into the folder hha"
        )
    return bands[:1]


REPEATED = {1: ((1, 1, 1), None)}  # single-channel files stand for three equal ones (dossier 6.4)
GREY = {3: ((1, 2, 3), one_of_equal), 4: ((1, 2, 3), one_of_equal)}


@dataclass(frozen=True)
class Frame:
    """One frame: its id, the parts of it, and its files by raster."""

    id: str
    weather: str
    split: str
    case: str
    map: str
    files: dict[str, SourceFile]

    @property
    def reference(self) -> str:
        """The raster that says the size: never low-resolution events, if need be the label."""
        order = (
            "rgb",
            "depth",
            "depth_grey",
            "lidar",
            *(("event",) if self.case != "eventlowres" else ()),
            "label",
        )
        return next((raster for raster in order if raster in self.files), "")


def plan_deliver(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Return the import plan of a source; raises UserError when it has no frame of DELIVER or a tile is no id."""
    about = read_about(index)
    warnings: list[str] = []
    every = _frames(index, warnings)
    if not every:
        raise UserError(
            f"No frame of DELIVER among the {len(index.files)} files below {index.root} (paths like "
            f"img/cloud/val/MAP_4_point12/157550_rgb_front.png are looked for). {ADAPTER.obtain}"
        )
    frames, missing = _wanted(every, options)
    required = _required(frames, warnings)
    if options.tiles is None:
        missing += _lacking_frames(frames, warnings)
    missing += [
        Missing(f.id, r, _path(r, f.id)) for r in required for f in frames if r not in f.files
    ]
    scenes = [_scene(f) for f in frames if "label" in f.files and len(f.files) > 1]
    used = {raster for scene in scenes for raster in scene.jobs}
    plan = ImportPlan(
        title=about.get("title", "DELIVER"),
        licence=about.get(
            "licence", "Apache-2.0; commercial users are asked to contact the authors"
        ),
        citation=about.get(
            "citation",
            "J. Zhang et al., Delivering Arbitrary-Modal Semantic Segmentation, CVPR 2023 (DELIVER)",
        ),
        classes=deliver_classes(),
        modalities=[m for m in MODALITIES if m.name in used],
        labels=["label"],
        splits={"split_standard": PARTS, "split_official": PARTS, "split_sgma": ("train", "test")},
        scenes=scenes,
        nadir=False,
        conditions=["weather", "case"],
        attributes=["weather", "case", "map"],
        missing=missing,
        warnings=warnings,
    )
    plan.inventory = _inventory(index, frames, required)
    return plan


def deliver_classes() -> list[SceneClass]:
    """Return the 25 classes with their colours (dossier 6.5)."""
    with (SPLITS / "classes_deliver.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if int(row["id"]) != IGNORE]
    return [
        SceneClass(int(r["id"]), r["name"], (int(r["r"]), int(r["g"]), int(r["b"]))) for r in rows
    ]


def expected_counts() -> dict[str, dict[str, int]]:
    """Return {split: {weather: frames}} of the whole dataset (dossier 6.3)."""
    with (SPLITS / "deliver_counts.csv").open(encoding="utf-8", newline="") as stream:
        return {row["split"]: {w: int(row[w]) for w in WEATHERS} for row in csv.DictReader(stream)}


def _frames(index: SourceIndex, warnings: list[str]) -> list[Frame]:
    """Return every frame of the source, sorted by id; path components are compared whole, never as substrings."""
    candidates: list[tuple[tuple[str, str], SourceFile]] = []
    parts: dict[str, tuple[str, str, str, str]] = {}
    strange: Counter[str] = Counter()
    for file in index.files:
        components = file.rel.split("/")
        match = FILE.match(components[-1])
        # an archive per folder counts as that folder, whether it holds it or only its content
        above = [part.removesuffix(".zip").lower() for part in components[-5:-1]]
        if match is None or len(above) < 4 or "__macosx" in above or "__MACOSX" in components:
            continue
        folder, weather, split, _ = above
        if weather not in WEATHERS or split not in PARTS or folder not in RASTERS:
            continue
        sequence = SEQUENCE.match(components[-2])
        if sequence is None or match[2].lower() != FOLDERS[RASTERS[folder]][1]:
            strange["/".join(components[:-1])] += 1
            continue
        case = (sequence[3] or "normal").lower()
        place, point = f"MAP_{sequence[1]}", f"point{sequence[2]}"
        scene = f"{place}_{point}" + (f"_{case}" if sequence[3] else "")
        id_ = f"{weather}/{split}/{scene}/{match[1]}"
        parts[id_] = (weather, split, case, place)
        candidates.append(((id_, RASTERS[folder]), file))
    warnings += [
        f"{n} file(s) in {folder} have a name of another kind than their folder: ignored"
        for folder, n in sorted(strange.items())
    ]
    files: dict[str, dict[str, SourceFile]] = {id_: {} for id_ in sorted(parts)}
    for (id_, raster), file in index.choose(candidates).items():
        files[id_][raster] = file
    return [Frame(id_, *parts[id_], found) for id_, found in files.items()]


def _wanted(frames: list[Frame], options: ImportOptions) -> tuple[list[Frame], list[Missing]]:
    """Return the frames below the ids and prefixes asked for, and those asked for that are not there."""
    if options.tiles is None:
        return frames, []
    if not options.tiles:
        raise UserError("No frame is asked for: name some, or leave the choice out for all.")
    asked = [tile.replace("\\", "/").strip("/") for tile in options.tiles]
    for tile in asked:
        if not _plausible(tile.split("/")):
            raise UserError(
                f"DELIVER has no frames {tile!r}: give whole components of weather/split/scene/frame, for example "
                f"night, cloud/val or {frames[0].id}; weathers are {', '.join(WEATHERS)}."
            )
    found: set[str] = set()
    chosen = []
    wanted = set(asked)
    for frame in frames:
        above = wanted.intersection(accumulate(frame.id.split("/"), "{}/{}".format))
        if above:
            chosen.append(frame)
            found |= above
    missing = [
        Missing(tile, "frames", f"every file of {tile}")
        for tile in dict.fromkeys(asked)
        if tile not in found
    ]
    return chosen, missing


def _plausible(components: list[str]) -> bool:
    weather, split, scene, frame, *more = [*components, "", "", ""]
    return (
        weather in WEATHERS
        and split in (*PARTS, "")
        and (not scene or SEQUENCE.match(scene) is not None)
        and (not frame or re.fullmatch(r"\d{6}", frame) is not None)
        and not any(more)
    )


def _required(frames: Iterable[Frame], warnings: list[str]) -> tuple[str, ...]:
    """Return the rasters every frame should have; one kind of depth may be absent altogether, which is said."""
    have = Counter(raster for frame in frames for raster in frame.files)
    if have["depth"] and not have["depth_grey"]:
        warnings.append(
            "there is no folder `depth`: grey depth (raster depth_grey) is not in the store"
        )
    elif have["depth_grey"] and not have["depth"]:
        warnings.append(
            "there is no folder `hha`: only grey depth is in the store; use it with "
            "--data.rasters '{depth: depth_grey}'"
        )
    dropped = (
        "depth"
        if have["depth_grey"] and not have["depth"]
        else "depth_grey"
        if not have["depth_grey"]
        else ""
    )
    return tuple(raster for raster in FOLDERS if raster != dropped)


def _lacking_frames(frames: Iterable[Frame], warnings: list[str]) -> list[Missing]:
    """Return an entry per weather and split that has fewer frames than the dataset; more are worth a warning."""
    found = Counter((f.weather, f.split) for f in frames)
    cases = Counter((f.case, f.split) for f in frames)
    missing = []
    for split, counts in expected_counts().items():
        for weather, n in counts.items():
            have = found[weather, split]
            text = f"frames of {weather}/{split} ({have} of {n} found)"
            if have < n:
                missing.append(Missing(f"{weather}/{split}", "frames", f"{n - have} {text}"))
            elif have > n:
                warnings.append(f"{have - n} more {text}")
    if not missing:
        for split, counts in CASE_COUNTS.items():
            warnings += [
                f"{cases[case, split]} frames of {case} in {split}, expected {n}"
                for case, n in counts.items()
                if cases[case, split] != n
            ]
    return missing


def _path(raster: str, id_: str) -> str:
    folder, suffix = FOLDERS[raster]
    return f"{folder}/{id_}_{suffix}_front.png"


def _scene(frame: Frame) -> ScenePlan:
    splits = {
        "split_standard": frame.split,
        "split_official": frame.split,
        "split_sgma": SGMA_PART[frame.split],
    }
    jobs = {raster: _job(raster, file, frame.case) for raster, file in frame.files.items()}
    attributes = {"weather": frame.weather, "case": frame.case, "map": frame.map}
    return ScenePlan(frame.id, splits, jobs, frame.reference, attributes)


def _job(raster: str, file: SourceFile, case: str) -> RasterJob:
    """Return how a file is read (dossier 6.4): channel 4 is dropped, one channel stands for three."""
    kind, counts = ("optical" if raster == "rgb" else raster.partition("_")[0]), ("uint8",)
    three = (1, 2, 3)
    if raster == "label":
        return RasterJob(file, (1,), "uint8", "label", (3, 4), counts, decode_label)
    if raster == "depth_grey":
        return RasterJob(file, (1,), "uint8", kind, (1, 2, 3, 4), counts, stay=True, by_bands=GREY)
    if raster in ("rgb", "depth"):
        return RasterJob(file, three, "uint8", kind, (3, 4), counts, stay=True)
    if raster == "event" and case == "eventlowres":
        return RasterJob(
            file, three, "uint8", kind, (1, 3, 4), counts, whole=True, by_bands=REPEATED, resize=True
        )  # fmt: skip
    return RasterJob(file, three, "uint8", kind, (1, 3, 4), counts, stay=True, by_bands=REPEATED)


def _inventory(index: SourceIndex, frames: list[Frame], required: Collection[str]) -> list[str]:
    lacking = {raster: [f.id for f in frames if raster not in f.files] for raster in required}
    whole = len(frames) - len({id_ for ids in lacking.values() for id_ in ids})
    lines = [f"DELIVER in {index.root}: {whole} of {len(frames)} frames have {', '.join(required)}"]
    for raster in FOLDERS:
        files = [f.files[raster] for f in frames if raster in f.files]
        lines.append(
            f"  {raster} ({FOLDERS[raster][0]}): {len(files)} files, {sum(f.size for f in files) / 1e6:.1f} MB"
        )
    lines.append("  sizes: " + sizes([f.files["rgb"] for f in frames if "rgb" in f.files]))
    weathers = Counter((f.split, f.weather) for f in frames)
    cases = Counter((f.split, f.case) for f in frames)
    for split, counts in expected_counts().items():
        found = {w: weathers[split, w] for w in WEATHERS}
        text = ", ".join(f"{w} {found[w]}/{n}" for w, n in counts.items())
        lines.append(
            f"  {split}: {sum(found.values())}/{sum(counts.values())} frames (found/expected: {text})"
        )
        lines.append(
            "    cases: "
            + ", ".join(f"{c} {cases[split, c]}/{n}" for c, n in CASE_COUNTS[split].items())
        )
    sgma = Counter({SGMA_PART[split]: sum(weathers[split, w] for w in WEATHERS) for split in PARTS})
    lines.append(f"  split_sgma: {share_out(sgma) or 'none'} (evaluated on the val frames)")
    for raster, ids in lacking.items():
        lines += [f"  missing: {_path(raster, id_)}" for id_ in ids[:NAMED]]
        if len(ids) > NAMED:
            lines.append(f"  missing: {len(ids) - NAMED} more of {FOLDERS[raster][0]}/")
    return lines


ADAPTER = Adapter(
    name="deliver",
    title="DELIVER",
    obtain=(
        "To obtain it: the repository DELIVER of J. Zhang et al. (github.com/jamycheung/DELIVER) links one archive of "
        "about 12.2 GB. Needed are its folders img, hha (or depth), event, lidar and semantic. Packed or unpacked, in "
        "any folder; unpacked, most pictures are used where they are: do not move them afterwards."
    ),
    plan=plan_deliver,
    modalities=MODALITIES,
    classes=deliver_classes,
)
