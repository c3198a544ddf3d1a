"""Generated datasets with defects of the real archives and habits of their users.

Each function writes the plain copy with the same arguments, then changes its files as `quirks` say.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.adapters.coco_masks import unpack_runs
from datamodules.miniature import deliver, dfc2023, potsdam, vaihingen
from datamodules.miniature.raster_io import write_raster
from datamodules.splits.tables import read_split_table

POTSDAM_QUIRKS = (
    "blend_4_12", "car_colour_6_7", "narrow_3_13", "empty_ownapproach", "unpadded_dsm",
    "capital_tfw", "flat_folders", "labels_in_root", "only_rgbir", "both_label_sets", "no_crs",
)  # fmt: skip
VAIHINGEN_QUIRKS = (
    "official_nesting", "labels_in_root", "labels_on_desktop", "only_participants_folder",
    "mobanet_folders", "undecided_folders", "nested_twice", "copies", "capital_extension",
    "tiff_extension", "one_pixel_dsm", "dsm_world_files", "ndsm_bmp", "ndsm_jpg", "ndsm_folder",
)  # fmt: skip
DFC2023_QUIRKS = (
    "height_folder", "ndsm_folder", "annotations_folder", "test_folder", "short_names",
    "bare_folders", "tiff_extension", "stray_file", "merged", "track_1", "plain_codes", "shuffled",
    "odd_radar",
)  # fmt: skip
DELIVER_QUIRKS = (
    "nested", "capital_extension", "no_hha", "no_depth", "grey_depth_three", "one_band", "all_rgba",
    "strays", "copies",
)  # fmt: skip


def read(path: Path) -> np.ndarray:
    import rasterio

    with warnings.catch_warnings(action="ignore"), rasterio.open(path) as file:
        return file.read()


def rewrite(paths: Iterable[Path], change: Callable[[np.ndarray], Any]) -> None:
    """Replace the pixels of files; their georeference goes, their format stays."""
    formats: dict[str, dict[str, Any]] = {
        ".tif": {},
        ".png": {"driver": "PNG", "zlevel": 1},
        ".jpg": {"driver": "JPEG", "quality": 90},
        ".jp2": {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"},
    }
    for path in list(paths):
        bands = read(path)
        path.unlink()
        write_raster(path, change(bands), **formats[path.suffix])


def move(path: Path, target: Path) -> None:
    """Move a file, or what a folder holds."""
    if path.is_dir():
        for inner in list(path.iterdir()):
            move(inner, target / inner.name)
        path.rmdir()
    elif path != target:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def rename_suffix(root: Path, old: str, new: str) -> None:
    for path in list(root.rglob(f"*{old}")):
        path.rename(path.with_suffix(new))


def known(quirks: Collection[str], all_quirks: Collection[str]) -> set[str]:
    assert set(quirks) <= set(all_quirks), quirks
    return set(quirks)


def write_potsdam(root: Path, *, quirks: Collection[str] = (), **arguments: Any) -> None:
    chosen = known(quirks, POTSDAM_QUIRKS)
    potsdam.write_potsdam(root, **arguments)
    full, heights = root / "5_Labels_all", root / "1_DSM_normalisation"
    eroded = root / "5_Labels_all_noBoundary"
    if "car_colour_6_7" in chosen:
        rewrite(full.glob("*_6_7_*"), _spoil_cars)
    if "blend_4_12" in chosen:
        for rgb in root.rglob("*_4_12_RGB.tif"):
            shade = 0.17 * read(rgb)
            labels = root.glob("5_*/*_4_12_*")
            rewrite(labels, lambda label: np.rint(0.83 * label + shade).astype(np.uint8))  # noqa: B023
    if "narrow_3_13" in chosen:
        rewrite(root.glob("1_DSM*/*/*_03_13*.[tj][ip][fg]"), lambda dsm: dsm[..., :-1])
    if "empty_ownapproach" in chosen:
        rewrite(heights.rglob("*ownapproach.jpg"), lambda counts: counts * 0)
    if "unpadded_dsm" in chosen:
        for path in list(root.glob("1_DSM*/*/*")):
            path.rename(path.with_name(path.name.replace("_0", "_")))
    if "no_crs" in chosen:
        rewrite(root.rglob("*_Ortho_*/*.tif"), lambda bands: bands)
    if "both_label_sets" in chosen:
        table, folder = read_split_table("potsdam"), root / "5_Labels_for_participants"
        bare = root / "5_Labels_for_participants_no_Boundary"
        for label in [*full.iterdir(), *eroded.iterdir()]:
            tile = "_".join(label.stem.split("_")[2:4])
            if table[tile]["split_official"] == "train":
                target = (folder if label.parent == full else bare) / label.name
                copy(label, target)
                copy(next(root.rglob(f"*_{tile}_RGBIR.tfw")), target.with_suffix(".tfw"))
    if "only_rgbir" in chosen:
        shutil.rmtree(root / "2_Ortho_RGB")
        shutil.rmtree(root / "3_Ortho_IRRG")
    if "labels_in_root" in chosen:
        move(full, root)
        move(eroded, root)
    if "capital_tfw" in chosen:
        rename_suffix(root, ".tfw", ".TFW")
    if "flat_folders" in chosen:
        for folder in [path for path in root.iterdir() if (path / path.name).is_dir()]:
            move(folder / folder.name, folder)


def _spoil_cars(label: np.ndarray) -> np.ndarray:
    cars = np.flatnonzero((label == np.array([255, 255, 0])[:, None, None]).all(0))
    # the real file keeps 2.7 % of its car pixels pure
    label[0].flat[np.delete(cars, np.s_[::37])] = 252
    return label


def write_vaihingen(root: Path, *, quirks: Collection[str] = (), **arguments: Any) -> None:
    chosen = known(quirks, VAIHINGEN_QUIRKS)
    vaihingen.write_vaihingen(root, **arguments)
    top, label, participants = (
        root / "top",
        root / vaihingen.COMPLETE,
        root / "gts_for_participants",
    )
    eroded = root / vaihingen.ERODED
    for path in list((root / "dsm").iterdir()):
        number = int(path.stem.split("area")[1])
        odd, name = number % 2 == 1, f"top_mosaic_09cm_area{number}.tif"
        if "one_pixel_dsm" in chosen:
            rewrite(
                [path],
                (lambda dsm: dsm[..., :-1])
                if odd
                else (lambda dsm: np.concatenate([dsm, dsm[:, -1:] - 3], axis=1)),
            )
        if "copies" in chosen and odd:
            copy(top / name, root / "old/top" / name)
            copy(label / name, root / "old/gt" / name)
        if "dsm_world_files" in chosen:
            west = 497074 + 300 * number  # dossier 4.3
            path.with_suffix(".tfw").write_text(f"0.09\n0\n0\n-0.09\n{west}\n5419772\n")
        # heights above ground, under the names that three groups of authors gave them
        size = arguments.get("size", 64)
        height = vaihingen.vaihingen_scene(size, arguments.get("seed", 0), f"area{number}").height
        counts = np.clip(np.rint(10 * height), 0, 255).astype(np.uint8)[None]
        if "ndsm_bmp" in chosen:
            write_raster(root / "ndsm" / f"n{path.stem}.bmp", counts, "BMP")
        if "ndsm_jpg" in chosen:
            write_raster(path.with_name(f"{path.stem}_normalized.jpg"), counts, "JPEG", quality=90)
        if "ndsm_folder" in chosen:
            write_raster(root / "NDSM" / f"{path.stem}.jpg", counts, "JPEG", quality=90)
    if {"mobanet_folders", "undecided_folders", "only_participants_folder"} & chosen:
        shutil.rmtree(participants)
    if "mobanet_folders" in chosen:
        shutil.rmtree(label)
    moved = {
        "official_nesting": {
            folder: root / "ISPRS_semantic_labeling_Vaihingen" / folder.name
            for folder in (top, root / "dsm", participants)
        },
        "labels_in_root": {label: root, eroded: root},
        "labels_on_desktop": {label: root / "Desktop", root / "dsm": root / "gtx"},
        "only_participants_folder": {label: participants},
        "mobanet_folders": {eroded: root / "label"},
        "undecided_folders": {top: root / "a", label: root / "b"},
    }
    places = {folder: folder for folder in root.iterdir()}
    for quirk, targets in moved.items():
        for folder, target in targets.items() if quirk in chosen else ():
            if folder.is_dir():
                # what was renamed is nested under its new name
                move(places[folder], target)
                places[folder] = target
    if "nested_twice" in chosen:
        for path in [path for path in root.rglob("*.*") if path.parent != root]:
            move(path, path.parent / path.parent.name / path.name)
    for quirk, suffix in {"capital_extension": ".TIF", "tiff_extension": ".tiff"}.items():
        if quirk in chosen:
            rename_suffix(root, ".tif", suffix)


def write_dfc2023(root: Path, *, quirks: Collection[str] = (), **arguments: Any) -> None:
    chosen = known(quirks, DFC2023_QUIRKS)
    dfc2023.write_dfc2023(root, **arguments)
    track, test = root / "track2", root / "track2_test_data"
    train, outlines = track / "train", track / "buildings_only_train.json"
    first = min((train / "sar").iterdir())
    noise = np.full((3, 32, 32), 9, np.uint8)
    content = json.loads(outlines.read_text())
    if "odd_radar" in chosen:
        _spoil_radar(first)
    if "merged" in chosen:
        (train / "dsmnpy").mkdir()
        for path in (train / "rgb").iterdir():
            bands = np.concatenate([read(path).astype(np.float32), read(train / "sar" / path.name)])
            write_raster(train / "merge" / path.name, bands)
            np.save(train / "dsmnpy" / f"{path.stem}.npy", read(train / "dsm" / path.name))
    if "plain_codes" in chosen:
        for record in content["annotations"]:
            if isinstance(record["segmentation"], dict):
                record["segmentation"]["counts"] = unpack_runs(record["segmentation"]["counts"])
    if "shuffled" in chosen:
        numbers = {image["id"]: 5000 - 2 * k for k, image in enumerate(content["images"])}
        for image in content["images"]:
            image["id"] = numbers[image["id"]]
        for record in content["annotations"]:
            record["image_id"] = numbers[record["image_id"]]
        content["images"].reverse()
        records = content["annotations"]
        content["annotations"] = records[::-3] + records[-2::-3] + records[-3::-3]
    outlines.write_text(json.dumps(content))
    if "stray_file" in chosen:
        write_raster(train / "rgb" / "SV_Berlin_52.0000_13.0000.tif", noise)
    if "track_1" in chosen:
        for name in (first.name, "P_0000.tif"):
            write_raster(root / "track1/train/rgb" / name, noise)
            write_raster(root / "track1/train/sar" / name, noise[:1].astype(np.float32))
        category = {"supercategory": "flat_roof", "id": 1, "name": "flat_roof"}
        image = {"file_name": first.name, "height": 32, "width": 32, "id": 0}
        other = {"images": [image], "annotations": [], "categories": [category]}
        for name in ("roof_fine_train.json", "buildings_only_train.json"):
            (root / "track1" / name).write_text(json.dumps(other))
    if "short_names" in chosen:
        for path in [*track.rglob("P_*.tif"), *test.rglob("P_*.tif")]:
            path.rename(path.with_name(path.name.replace("P_", "P")))
    if "bare_folders" in chosen:
        shutil.rmtree(test)
        shutil.rmtree(track / "val")
    if "tiff_extension" in chosen:
        for folder in ("rgb", "dsm", "sar"):
            rename_suffix(train / folder, ".tif", ".TIFF")
    if "height_folder" in chosen:
        move(train / "dsm", train / "height")
    elif "ndsm_folder" in chosen:
        move(train / "dsm", train / "ndsm")
    if "annotations_folder" in chosen:
        move(outlines, track / "annotations" / outlines.name)
    if "test_folder" in chosen and test.is_dir():
        move(test, track / "test")
    if "bare_folders" in chosen:
        move(train, root)
        move(track, root)


def _spoil_radar(path: Path) -> None:
    import rasterio

    with rasterio.open(path, "r+") as file:
        sar = file.read(1)
        sar[:3, :5], sar[-2:, :7] = np.nan, -0.5
        file.write(sar, 1)


def write_deliver(root: Path, *, quirks: Collection[str] = (), **arguments: Any) -> None:
    chosen = known(quirks, DELIVER_QUIRKS)
    deliver.write_deliver(root, **arguments)
    if "grey_depth_three" in chosen:
        rewrite((root / "depth").rglob("*.png"), lambda grey: np.repeat(grey, 3, 0))
    if "one_band" in chosen:
        rewrite((root / "event").rglob("*.png"), lambda event: event.max(0, keepdims=True))
        rewrite((root / "lidar").rglob("*.png"), lambda points: points[:1])
    if "all_rgba" in chosen:
        rewrite(
            (root / "img").rglob("*.png"),
            lambda rgb: np.concatenate([rgb[:3], np.full_like(rgb[:1], 255)]),
        )
    for quirk, folder in {"no_hha": "hha", "no_depth": "depth"}.items():
        if quirk in chosen:
            shutil.rmtree(root / folder)
    if "capital_extension" in chosen:
        rename_suffix(root, ".png", ".PNG")
    folders = [path for path in root.iterdir() if path.is_dir()]
    for path in [file for folder in folders for file in folder.rglob("*.*")]:
        name = path.relative_to(root)
        if "copies" in chosen and name.parts[1] == "night":
            copy(path, root / "old" / name)
        if "strays" in chosen:
            twin = root / "__MACOSX" / name.with_name(f"._{name.name}")
            twin.parent.mkdir(parents=True, exist_ok=True)
            for stray in (path.parent / "Thumbs.db", twin):
                stray.write_bytes(b"no picture")
    if "nested" in chosen:
        for folder in folders:
            move(folder, root / "DELIVER/DELIVER" / folder.name)
