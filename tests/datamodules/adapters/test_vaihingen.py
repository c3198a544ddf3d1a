"""ISPRS Vaihingen: images and labels of one name, habits of unpacking, published splits."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.adapters.vaihingen import folder_role
from datamodules.miniature.vaihingen import COMPLETE, vaihingen_scene, vaihingen_shape
from datamodules.splits.tables import SPLITS_FOLDER
from tests.support.quirks import VAIHINGEN_QUIRKS, write_vaihingen
from usererror import UserError

SIZE = 64
DATASET = "vaihingen"
TILES = [
    "area2",
    "area3",
    "area7",
    "area30",
    "area38",
]  # test, train, both of validation, test; area2 is odd one out
COMBINED = [
    ("official_nesting", "labels_in_root", "ndsm_bmp", "one_pixel_dsm"),
    (
        "official_nesting",
        "nested_twice",
        "copies",
        "capital_extension",
        "ndsm_folder",
        "dsm_world_files",
    ),
    ("official_nesting", "labels_on_desktop", "tiff_extension", "ndsm_jpg"),
    ("undecided_folders", "copies", "one_pixel_dsm"),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("vaihingen")
    write_vaihingen(root, size=SIZE, tiles=TILES)
    return root


def one(root: Path, pattern: str) -> Path:
    return next(iter(sorted(root.rglob(pattern))))


def scene(store, tile):
    return next(scene for scene in store.scenes if scene.id == tile)


def check_pixels(store, source, pixels):
    """Labels are the generator's truth; images have the bytes of the files in `top`."""
    for scene in store.scenes:
        truth = vaihingen_scene(SIZE, 0, scene.id).label
        eroded = pixels(scene.paths["label_eroded"])[0]
        np.testing.assert_array_equal(eroded[eroded != 255], truth[eroded != 255])
        assert 0 < (eroded == 255).sum() < eroded.size
        if "label" in scene.paths:
            np.testing.assert_array_equal(pixels(scene.paths["label"])[0], truth)
        assert (scene.height, scene.width) == truth.shape
        assert {pixels(path).shape[1:] for path in scene.paths.values()} == {truth.shape}
        np.testing.assert_array_equal(
            pixels(scene.paths["irrg"]), pixels(source / f"top/top_mosaic_09cm_{scene.id}.tif")
        )


@pytest.mark.parametrize(
    "quirks",
    [(), *((quirk,) for quirk in VAIHINGEN_QUIRKS), *COMBINED],
    ids=lambda q: "+".join(q)[:60] or "none",
)
def test_every_quirk_gives_the_true_pixels(quirks, plain, tmp_path, load, pixels):
    write_vaihingen(tmp_path / "source", size=SIZE, tiles=TILES, quirks=quirks)
    store = load(tmp_path / "source")
    assert [scene.id for scene in store.scenes] == TILES
    normalised = any(quirk.startswith("ndsm") for quirk in quirks)
    assert list(store.modalities) == ["irrg", "dsm", "ndsm"] if normalised else ["irrg", "dsm"]
    assert store.labels == (
        ["label_eroded"] if "mobanet_folders" in quirks else ["label", "label_eroded"]
    )
    assert store.info["gsd_m"] == 0.09 and not store.info["incomplete"] and store.verify() == []
    check_pixels(store, plain, pixels)
    zipped = load(Path(shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "source")))
    assert zipped.fingerprint == store.fingerprint


@pytest.mark.parametrize("packing", ["zips", "nested"])
def test_the_official_archives(packing, tmp_path, plain, load, pixels):
    """Dossier 4.2: labels without a folder in an archive called like `semantic_labeling`."""
    write_vaihingen(tmp_path / "source", size=SIZE, tiles=TILES, quirks=["official_nesting"])
    packed = tmp_path / "Vaihingen"
    for folder in (tmp_path / "source").iterdir():
        shutil.make_archive(str(packed / folder.name), "zip", folder)
    assert sorted(path.name for path in packed.iterdir()) == [
        "ISPRS_semantic_labeling_Vaihingen.zip",
        f"{COMPLETE}.zip",
        "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip",
    ]
    if packing == "nested":
        packed = Path(shutil.make_archive(str(tmp_path / "download"), "zip", tmp_path, "Vaihingen"))
    store = load(packed)
    check_pixels(store, plain, pixels)
    assert store.fingerprint == load(plain).fingerprint


@pytest.mark.parametrize(
    ("folder", "role"),
    [
        ("top", "irrg"),
        ("TOP", "irrg"),
        ("ISPRS_semantic_labeling_Vaihingen/top", "irrg"),
        ("ISPRS_semantic_labeling_Vaihingen.zip/top", "irrg"),
        ("ISPRS_semantic_labeling_Vaihingen", ""),
        ("ISPRS 2D Semantic Labeling/IRRG", "irrg"),
        (f"{COMPLETE}", "label"),
        (f"{COMPLETE}.zip", "label"),
        ("gts_for_participants", "label"),
        ("gts_for_participants/top", "irrg"),
        ("top/gt", "label"),
        ("gt_eroded", "label_eroded"),
        ("ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE", "label_eroded"),
        ("Vaihingen/train/images", "irrg"),
        ("Vaihingen/train/masks", "label"),
        ("SEM", "label"),
        ("Desktop", ""),
        ("Desktop/gtx", ""),
        ("laptop/semester", ""),
        (".", ""),
    ],
)
def test_the_nearest_folder_decides(folder, role):
    assert folder_role(folder) == role


def test_folders_above_the_source_never_count(plain, tmp_path, load, pixels):
    for above in ("gt/labels", "top/images"):
        source = tmp_path / above / "Desktop"
        source.mkdir(parents=True)
        for path in plain.glob("top/*.tif"):
            shutil.copy(path, source)
        for folder in ("dsm", COMPLETE, COMPLETE.replace("COMPLETE", "eroded_COMPLETE")):
            shutil.copytree(plain / folder, source / folder)
        check_pixels(load(source), plain, pixels)


def test_image_and_label_in_one_folder_under_two_extensions(copy, plain, load, pixels):
    for path in copy.glob("gts_for_participants/*"):
        path.unlink()
    for folder, suffix in (("top", ".tif"), (COMPLETE, ".TIFF")):
        for path in (copy / folder).iterdir():
            path.replace(copy / (path.stem + suffix))
    check_pixels(load(copy), plain, pixels)


def test_labels_alone_are_never_taken_for_images(copy, load):
    """Participants' labels and loose complete ones, no images: the loose ones are labels."""
    shutil.rmtree(copy / "top")
    for path in (copy / COMPLETE).iterdir():
        path.replace(copy / path.name)
    with pytest.raises(
        UserError, match=r"top/top_mosaic_09cm_area2\.tif, top/top_mosaic_09cm_area3\.tif"
    ):
        load(copy)
    assert list(load(copy, allow_incomplete=True).modalities) == ["dsm"]


def test_complete_labels_win_over_the_participants(copy, plain, load, pixels, write_raster):
    other = copy / "gts_for_participants" / "top_mosaic_09cm_area3.tif"
    write_raster(other, np.full_like(pixels(other), 255), compress="deflate")
    store = load(copy)
    check_pixels(store, plain, pixels)
    assert any(
        "differ in size" in line and "gts_for_participants" in line
        for line in store.info["warnings"]
    )


def test_participants_labels_alone_name_what_is_missing(copy, load):
    shutil.rmtree(copy / COMPLETE)
    with pytest.raises(
        UserError, match=r"area2\.tif of the complete ground truth, .*area38\.tif of the complete"
    ):
        load(copy)


def test_the_stray_label_is_said_and_ignored(plain, load):
    store = load(plain)
    strays = [line for line in store.info["warnings"] if "area9" in line]
    assert len(strays) == 1 and "eroded_COMPLETE/top_mosaic_09cm_area9_noBoundary.tif" in strays[0]
    assert "area9" not in [scene.id for scene in store.scenes]


def test_one_pixel_of_difference(tmp_path, plain, load, pixels):
    """Rule 3: a missing last column is repeated, a row too many is cut."""
    write_vaihingen(tmp_path / "source", size=SIZE, tiles=TILES, quirks=["one_pixel_dsm"])
    store = load(tmp_path / "source")
    for tile in TILES:
        raw = pixels(one(tmp_path / "source", f"dsm_*{tile}.tif"))[0]
        whole = pixels(one(plain, f"dsm_*{tile}.tif"))[0]
        values = pixels(scene(store, tile).paths["dsm"])[0]
        if tile in ("area3", "area7"):
            assert raw.shape == (whole.shape[0], whole.shape[1] - 1)
            np.testing.assert_array_equal(
                values, np.concatenate([whole[:, :-1], whole[:, -2:-1]], axis=1)
            )
        else:
            assert raw.shape == (whole.shape[0] + 1, whole.shape[1])
            np.testing.assert_array_equal(values, whole)


def test_three_pixels_of_difference_name_both_files(copy, load, pixels, write_raster):
    path = one(copy, "dsm_*area7.tif")
    write_raster(path, pixels(path)[..., :-3])
    with pytest.raises(
        UserError, match=r"matching_area7\.tif has 64 x 44 .*top_mosaic_09cm_area7\.tif has 64 x 47"
    ):
        load(copy)


@pytest.mark.parametrize("quirk", ["ndsm_bmp", "ndsm_jpg", "ndsm_folder"])
def test_normalised_heights_are_decimetres(quirk, tmp_path, load, pixels):
    write_vaihingen(tmp_path / "source", size=SIZE, tiles=TILES, quirks=[quirk])
    names = {
        "ndsm_bmp": "ndsm/ndsm_09cm_matching_area3.bmp",
        "ndsm_jpg": "dsm/dsm_09cm_matching_area3_normalized.jpg",
        "ndsm_folder": "NDSM/dsm_09cm_matching_area3.jpg",
    }
    store = load(tmp_path / "source")
    expected = pixels(tmp_path / "source" / names[quirk])[0] / 10
    values = pixels(scene(store, "area3").paths["ndsm"])[0]
    np.testing.assert_allclose(values, expected, atol=1e-5)
    truth = vaihingen_scene(SIZE, 0, "area3").label
    assert np.median(values[truth == 1]) > 2.5 > np.median(values[truth == 0])  # roofs, streets


def test_a_normalised_model_of_the_plain_name_in_its_folder(copy, load, pixels, write_raster):
    for tile in TILES:
        height, width = vaihingen_shape(SIZE, tile)
        write_raster(
            copy / "nDSM" / f"dsm_09cm_matching_{tile}.tif",
            np.full((1, height, width), 37, np.uint8),
        )
    store = load(copy)
    assert pixels(scene(store, "area2").paths["ndsm"])[0, 0, 0] == pytest.approx(3.7)
    assert pixels(scene(store, "area2").paths["dsm"]).min() > 200


def test_absolute_heights_stay(plain, load, pixels):
    for each in load(plain).scenes:
        values = pixels(each.paths["dsm"])
        np.testing.assert_array_equal(values, pixels(one(plain, f"dsm_*{each.id}.tif")))
        assert 240 < values.min() < values.max() < 360  # dossier 4.3


def test_a_scene_may_lack_clutter(plain, load):
    store = load(plain)
    clutter = {tile: store.statistics[tile]["label"]["counts"]["5"] for tile in TILES}
    assert clutter["area2"] == clutter["area30"] == 0
    assert [c.name for c in store.classes][5].startswith("clutter") and store.classes[5].clutter


def test_pixel_side_from_about_json(copy, load):
    (copy / "about.json").write_text('{"gsd_m": 0.25, "title": "painted"}')
    store = load(copy)
    assert store.info["gsd_m"] == 0.25 and store.info["title"] == "painted"


@pytest.mark.parametrize("side", ["0", "-0.09", "NaN", "Infinity", "true", '"9 cm"'])
def test_a_pixel_side_that_is_none(side, copy, load):
    (copy / "about.json").write_text(f'{{"gsd_m": {side}}}')
    with pytest.raises(UserError, match=r"about\.json: .*(gsd_m|the file)"):
        load(copy)


@pytest.mark.parametrize("spelling", ["area{}", "{}", "AREA{}", "Area0{}"])
def test_tiles_by_any_spelling(spelling, plain, load):
    store = load(plain, tiles=[spelling.format(n) for n in (7, 3, 2)])
    assert [each.id for each in store.scenes] == ["area7", "area3", "area2"]


@pytest.mark.parametrize("tile", ["9", "area9", "area99", "tile 7", "2_10", ""])
def test_unknown_tiles(tile, plain, load):
    with pytest.raises(UserError, match=f"no tile {tile!r}; it has: area1, area2"):
        load(plain, tiles=[tile])


def test_the_inventory_tells_counts(plain, tmp_path):
    from rich.console import Console

    with (tmp_path / "out").open("w") as stream:
        import_named_dataset(
            "vaihingen", plain, tmp_path / "store", tiles=TILES, console=Console(file=stream)
        )
    text = (tmp_path / "out").read_text()
    assert "5 of 5 tiles have irrg, dsm, label, label_eroded" in text
    assert "split_official: 3 train, 2 test (whole dataset: 16 train, 17 test)" in text
    assert "1 of 61 x 69" in text and "1 of 64 x 47" in text


def test_splits_are_the_published_ones():
    """Dossier 4.1 and 4.4 and the standard split, retyped here from the text."""
    with (SPLITS_FOLDER / "vaihingen.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    columns = [column for column in rows[0] if column.startswith("split_")]
    part = {
        column: {
            value: {int(row["tile"][4:]) for row in rows if row[column] == value}
            for value in ("train", "val", "test", "unused")
        }
        for column in columns
    }
    train = {1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37}
    test = {2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38}
    everything = {*range(1, 9), *range(10, 18), *range(20, 25), *range(26, 36), 37, 38}
    assert columns[0] == "split_standard" and len(rows) == 33 and train | test == everything
    for column in ("split_official", "split_mobanet", "split_gemmnet"):
        assert part[column] == {"train": train, "val": set(), "test": test, "unused": set()}
    assert part["split_standard"] == {
        "train": train - {7, 30},
        "val": {7, 30},
        "test": test,
        "unused": set(),
    }
    assert part["split_geoseg"] == {
        "train": train - {30},
        "val": {30},
        "test": test,
        "unused": set(),
    }
    ssrs = {5, 15, 21, 30}
    assert part["split_ssrs"] == {"train": train - ssrs, "val": set(), "test": ssrs, "unused": test}
