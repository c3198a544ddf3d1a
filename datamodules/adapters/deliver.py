"""DELIVER: from the folders of the release to scenes, one per frame (dataset dossier, section 6).

    {img|depth|hha|event|lidar|semantic}/{weather}/{split}/{scene}/{frame}_{suffix}_front.png

A frame is known by its path below the modality's folder, because base names repeat. Kept in the
store, each if the source has it: `rgb`, `depth` (HHA: what published code calls depth),
`depth_grey`, `event`, `lidar`, `label`. The pictures stay where they are unless they have to be
changed; planning opens only a few, because there are 47,000.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from datamodules.adapters import planning
from datamodules.adapters.dataset_card import read_dataset_card
from datamodules.ingest.archives.names import without_ending
from datamodules.ingest.plan import (
    Adapter,
    ImportOptions,
    ImportPlan,
    Missing,
    RasterJob,
    ScenePlan,
)
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import format_counts, read_split_table
from datamodules.store.scene_store import IGNORE, PARTS, Modality, SceneClass
from usererror import UserError

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
FILE = re.compile(r"(?i)(\d{6})_(rgb|depth|event|lidar|semantic)_front\.png$")
SEQUENCE = re.compile(rf"(?i)MAP_(\d+)_point(\d+)(?:_({'|'.join(CASES[1:])}))?$")
MODALITIES = (
    Modality("rgb", "R", 3, "uint8", "counts", "optical"),
    Modality("depth", "D", 3, "uint8", "counts", "depth"),
    Modality("depth_grey", "D", 1, "uint8", "counts", "depth"),
    Modality("event", "E", 3, "uint8", "counts", "event"),
    Modality("lidar", "L", 3, "uint8", "counts", "lidar"),
)
CASE_COUNTS = {  # frames per case, in the order of CASES (dossier 6.3)
    "train": dict(zip(CASES, (2585, 600, 200, 199, 199, 200), strict=True)),
    "val": dict(zip(CASES, (1298, 299, 100, 99, 100, 109), strict=True)),
    "test": dict(zip(CASES, (1198, 300, 100, 100, 99, 100), strict=True)),
}
# SGMA evaluates on val (dossier 6.3)
SGMA_PART = {"train": "train", "val": "test", "test": "unused"}
LICENCE = "Apache-2.0; commercial users are asked to contact the authors"
CITATION = "J. Zhang et al., Delivering Arbitrary-Modal Semantic Segmentation, CVPR 2023 (DELIVER)"

# raw 1-25 are classes 0-24, 0 and 255 are unlabelled, 26-254 do not occur (dossier 6.4, 12.4)
IDS = np.full(256, IGNORE, np.uint8)
IDS[1:26] = np.arange(25)
UNKNOWN = np.zeros(256, bool)
UNKNOWN[26:255] = True


def decode_label(red: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ids (h, w) uint8 and where a value means nothing, from the red channel (1, h, w).

    Example:
        >>> decode_label(np.array([[[1, 25, 0, 26]]], np.uint8))[0].tolist()
        [[0, 24, 255, 255]]
    """
    return IDS[red[0]], UNKNOWN[red[0]]


def take_one_of_equal(bands: np.ndarray) -> np.ndarray:
    """Return the first of three equal bands, (1, h, w); raises ValueError where they differ."""
    if not (bands == bands[:1]).all():
        raise ValueError("its three bands differ: no grey depth; HHA pictures belong into `hha`")
    return bands[:1]


# single-channel files stand for three equal ones and the other way round (dossier 6.4)
REPEATED = {1: ((1, 1, 1), None)}
GREY = {3: ((1, 2, 3), take_one_of_equal), 4: ((1, 2, 3), take_one_of_equal)}


@dataclass(frozen=True)
class Frame:
    """One frame: its id, the parts of it, and its files by raster."""

    id: str
    weather: str
    split: str
    case: str
    map: str
    files: dict[str, SourceFile]


def plan_deliver(index: SourceIndex, options: ImportOptions) -> ImportPlan:
    """Plan the import of a source; raises UserError without frames, or for a tile that is no id."""
    card = read_dataset_card(index)
    warnings: list[str] = []
    every = find_frames(index, warnings)
    if not every:
        nothing = f"No frame of DELIVER among the {len(index.files)} files below {index.root}"
        like = "paths like img/cloud/val/MAP_4_point12/157550_rgb_front.png are looked for"
        raise UserError(f"{nothing} ({like}). {ADAPTER.obtain}")
    frames, missing = select_frames(every, options)
    required = _required_rasters(frames, warnings)
    if options.tiles is None:
        missing += _lacking_frames(frames, warnings)
    files = {frame.id: frame.files for frame in frames}
    missing += planning.missing_rasters(files, required, _release_path)
    scenes = [_scene_plan(f) for f in frames if "label" in f.files and len(f.files) > 1]
    return ImportPlan(
        **card.or_else("DELIVER", LICENCE, CITATION),
        classes=deliver_classes(),
        modalities=planning.used_modalities(MODALITIES, scenes),
        labels=["label"],
        splits={"split_standard": PARTS, "split_official": PARTS, "split_sgma": ("train", "test")},
        scenes=scenes,
        nadir=False,
        conditions=["weather", "case"],
        attributes=["weather", "case", "map"],
        missing=missing,
        warnings=warnings,
        inventory=_describe(index, frames, required),
    )


def deliver_classes() -> list[SceneClass]:
    """Return the 25 classes with their colours (dossier 6.5)."""
    return planning.read_classes("classes_deliver")


def expected_counts() -> dict[str, dict[str, int]]:
    """Return {split: {weather: frames}} of the whole dataset (dossier 6.3)."""
    counts = {}
    for split, row in read_split_table("deliver_counts").items():
        counts[split] = {weather: int(row[weather]) for weather in WEATHERS}
    return counts


def find_frames(index: SourceIndex, warnings: list[str]) -> list[Frame]:
    """Return every frame of the source, sorted by id."""
    candidates: list[tuple[tuple[str, str], SourceFile]] = []
    parts: dict[str, tuple[str, str, str, str]] = {}
    strange: Counter[str] = Counter()
    for file in index.files:
        components = file.rel.split("/")
        match = FILE.match(components[-1])
        # an archive per folder counts as that folder, whether it holds it or only its content
        above = [without_ending(part).lower() for part in components[-5:-1]]
        if match is None or len(above) < 4 or "__macosx" in above or "__MACOSX" in components:
            continue
        folder, weather, split, _ = above
        if weather not in WEATHERS or split not in PARTS or folder not in RASTERS:
            continue
        sequence = SEQUENCE.match(components[-2])
        if sequence is None or match[2].lower() != FOLDERS[RASTERS[folder]][1]:
            # counted by folder: one wrong folder has thousands of files
            strange["/".join(components[:-1])] += 1
            continue
        case = (sequence[3] or "normal").lower()
        place, point = f"MAP_{sequence[1]}", f"point{sequence[2]}"
        scene = f"{place}_{point}" + (f"_{case}" if sequence[3] else "")
        id_ = f"{weather}/{split}/{scene}/{match[1]}"
        parts[id_] = (weather, split, case, place)
        candidates.append(((id_, RASTERS[folder]), file))
    for folder, n in sorted(strange.items()):
        warnings.append(f"{n} file(s) in {folder} have a name of another kind: ignored")
    frames = {id_: Frame(id_, *parts[id_], {}) for id_ in sorted(parts)}
    for (id_, raster), file in index.choose_copies(candidates).items():
        frames[id_].files[raster] = file
    return list(frames.values())


def select_frames(frames: list[Frame], options: ImportOptions) -> tuple[list[Frame], list[Missing]]:
    """Return the frames below the ids and prefixes asked for, and what of those is not there."""
    if options.tiles is None:
        return frames, []
    if not options.tiles:
        raise UserError("No frame is asked for: name some, or leave the choice out for all.")
    asked = [tile.replace("\\", "/").strip("/") for tile in options.tiles]
    for tile in asked:
        if not _is_frame_prefix(tile.split("/")):
            form = "give whole components of weather/split/scene/frame"
            example = f"for example night, cloud/val or {frames[0].id}"
            weathers = f"weathers are {', '.join(WEATHERS)}"
            raise UserError(f"DELIVER has no frames {tile!r}: {form}, {example}; {weathers}.")
    # what is asked for and nowhere there is a gap like any other
    found: set[str] = set()
    chosen = []
    for frame in frames:
        # a, a/b, a/b/c, a/b/c/d: components are compared whole, never as substrings
        above = set(accumulate(frame.id.split("/"), "{}/{}".format)).intersection(asked)
        if above:
            chosen.append(frame)
            found |= above
    gaps = sorted(set(asked) - found, key=asked.index)
    return chosen, [Missing(tile, "frames", f"every file of {tile}") for tile in gaps]


def _is_frame_prefix(components: list[str]) -> bool:
    weather, split, scene, frame, *more = [*components, "", "", ""]
    return (
        weather in WEATHERS
        and split in (*PARTS, "")
        and (not scene or SEQUENCE.match(scene) is not None)
        and (not frame or re.fullmatch(r"\d{6}", frame) is not None)
        and not any(more)
    )


def _required_rasters(frames: Iterable[Frame], warnings: list[str]) -> list[str]:
    """Return the rasters every frame should have; one kind of depth may be absent."""
    have = Counter(raster for frame in frames for raster in frame.files)
    required = list(FOLDERS)
    if not have["depth_grey"]:
        required.remove("depth_grey")
        if have["depth"]:
            warnings.append("there is no folder `depth`: grey depth (depth_grey) is not imported")
    elif not have["depth"]:
        required.remove("depth")
        use = "use grey depth with --data.rasters '{depth: depth_grey}'"
        warnings.append(f"there is no folder `hha`: {use}")
    return required


def _lacking_frames(frames: Iterable[Frame], warnings: list[str]) -> list[Missing]:
    """Return an entry per weather and split that has too few frames; more are worth a warning."""
    found = Counter((frame.weather, frame.split) for frame in frames)
    cases = Counter((frame.case, frame.split) for frame in frames)
    missing = []
    for split, counts in expected_counts().items():
        for weather, n in counts.items():
            have = found[weather, split]
            text = f"frames of {weather}/{split} ({have} of {n} found)"
            if have < n:
                missing.append(Missing(f"{weather}/{split}", "frames", f"{n - have} {text}"))
            elif have > n:
                warnings.append(f"{have - n} more {text}")
    if missing:
        return missing  # the counts per case would only repeat it
    for split, counts in CASE_COUNTS.items():
        for case, n in counts.items():
            if cases[case, split] != n:
                warnings.append(f"{cases[case, split]} frames of {case} in {split}, expected {n}")
    return []


def _release_path(raster: str, id_: str) -> str:
    folder, suffix = FOLDERS[raster]
    return f"{folder}/{id_}_{suffix}_front.png"


def _scene_plan(frame: Frame) -> ScenePlan:
    # the release says the split, in its folders
    splits = dict.fromkeys(("split_standard", "split_official"), frame.split)
    splits["split_sgma"] = SGMA_PART[frame.split]
    jobs = {raster: _raster_job(raster, file, frame.case) for raster, file in frame.files.items()}
    # low-resolution events never say the size of a frame: if need be the label does
    event = () if frame.case == "eventlowres" else ("event",)
    order = ("rgb", "depth", "depth_grey", "lidar", *event, "label")
    reference = planning.first_present(frame.files, order)
    attributes = {"weather": frame.weather, "case": frame.case, "map": frame.map}
    return ScenePlan(frame.id, splits, jobs, reference, attributes)


def _raster_job(raster: str, file: SourceFile, case: str) -> RasterJob:
    """Return how a file is read: channel 4 is dropped (dossier 6.4)."""
    if raster == "label":
        return RasterJob.label(file, decode_label, file_bands=(3, 4))
    kind = "optical" if raster == "rgb" else raster.partition("_")[0]
    if raster == "depth_grey":
        how = {"may_reference": True, "variants_by_band_count": GREY}
        return RasterJob.image(file, (1,), (1, 2, 3, 4), kind=kind, **how)
    three = (1, 2, 3)
    if raster in ("rgb", "depth"):
        return RasterJob.image(file, three, (3, 4), kind=kind, may_reference=True)
    # events of this case are smaller than the other pictures of their frame
    small = raster == "event" and case == "eventlowres"
    how = {"may_reference": not small, "resize": small, "variants_by_band_count": REPEATED}
    return RasterJob.image(file, three, (1, 3, 4), kind=kind, **how)


def _describe(index: SourceIndex, frames: list[Frame], required: list[str]) -> list[str]:
    """Tell the files of a source, and its frames beside those of the release."""
    files = {frame.id: frame.files for frame in frames}
    lines = planning.describe_source(f"DELIVER in {index.root}", "frames", files, required, "rgb")
    weathers = Counter((frame.split, frame.weather) for frame in frames)
    cases = Counter((frame.split, frame.case) for frame in frames)
    here = Counter(frame.split for frame in frames)
    for split, counts in expected_counts().items():
        text = ", ".join(f"{w} {weathers[split, w]}/{n}" for w, n in counts.items())
        whole = sum(counts.values())
        lines.append(f"  {split}: {here[split]}/{whole} frames (found/expected: {text})")
        text = ", ".join(f"{c} {cases[split, c]}/{n}" for c, n in CASE_COUNTS[split].items())
        lines.append(f"    cases: {text}")
    sgma = {SGMA_PART[split]: here[split] for split in PARTS}
    lines.append(f"  split_sgma: {format_counts(sgma)} (evaluated on the val frames)")
    return lines


ADAPTER = Adapter(
    name="deliver",
    title="DELIVER",
    obtain=(
        "To obtain it: the repository DELIVER of J. Zhang et al. (github.com/jamycheung/DELIVER) "
        "links one archive of about 12.2 GB. Needed are its folders img, hha (or depth), event, "
        "lidar and semantic. Packed or unpacked, in any folder; unpacked, most pictures are used "
        "where they are: do not move them afterwards."
    ),
    plan=plan_deliver,
    modalities=MODALITIES,
    classes=deliver_classes,
)
