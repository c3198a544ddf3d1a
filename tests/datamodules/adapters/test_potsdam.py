from __future__ import annotations

import csv
import itertools
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.isprs import decode_label_colours, isprs_classes
from datamodules.adapters.registry import import_named_dataset
from datamodules.miniature.potsdam import potsdam_scene
from datamodules.splits.tables import SPLITS_FOLDER
from tests.support.quirks import POTSDAM_QUIRKS, write_potsdam
from tests.support.removed_files import check_removed_file
from usererror import UserError

SIZE = 64
DATASET = "potsdam"
TILES = [
    "2_10",
    "3_13",
    "4_12",
    "6_7",
]  # one of the validation tiles, and every tile with a defect of its own


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("potsdam")
    write_potsdam(root, size=SIZE, tiles=TILES)
    return root


def one(root: Path, pattern: str) -> Path:
    return next(root.rglob(pattern))


def check_labels(store, pixels):
    for scene in store.scenes:
        truth = potsdam_scene(SIZE, 0, scene.id).label
        np.testing.assert_array_equal(pixels(scene.paths["label"])[0], truth)
        eroded = pixels(scene.paths["label_eroded"])[0]
        np.testing.assert_array_equal(eroded[eroded != 255], truth[eroded != 255])
        assert 0 < (eroded == 255).sum() < eroded.size
        assert {(*pixels(path).shape[1:],) for path in scene.paths.values()} == {(SIZE, SIZE)}


@pytest.mark.parametrize(
    "quirks",
    [[], *[[quirk] for quirk in POTSDAM_QUIRKS], POTSDAM_QUIRKS],
    ids=lambda q: "+".join(q[:2]) or "none",
)
def test_every_quirk_gives_the_true_labels(quirks, tmp_path, load, pixels):
    write_potsdam(tmp_path / "source", size=SIZE, tiles=TILES, quirks=quirks)
    store = load(tmp_path / "source")
    assert [scene.id for scene in store.scenes] == TILES
    assert list(store.modalities) == ["rgb", "dsm", "nir", "irrg", "ndsm"]
    assert store.labels == ["label", "label_eroded"]
    assert store.info["gsd_m"] == 0.25  # from the world file, not the real archive's 0.05
    assert not store.info["incomplete"] and store.verify() == []
    check_labels(store, pixels)


@pytest.mark.parametrize("packing", ["flat", "zip", "zips", "nested"])
def test_packing_does_not_change_the_data(packing, plain, tmp_path, load):
    source = tmp_path / "packed"
    if packing == "flat":
        source.mkdir()
        for path in plain.rglob("*.*"):
            shutil.copy(path, source)
    elif packing == "zip":
        source = Path(shutil.make_archive(str(source), "zip", plain))
    else:
        for folder in plain.iterdir():
            shutil.make_archive(str(source / folder.name), "zip", folder)
        if packing == "nested":
            source = Path(shutil.make_archive(str(tmp_path / "Potsdam"), "zip", source))
    store = load(source)
    assert store.fingerprint == load(plain).fingerprint
    assert store.info["gsd_m"] == 0.25
    assert not (store.root / "scratch").exists()
    assert store.verify() == []


def test_bands_come_from_whatever_file_has_them(copy, load, pixels):
    four = {tile: pixels(one(copy, f"top_potsdam_{tile}_RGBIR.tif")) for tile in TILES}
    for variant in ("RGB and IRRG", "RGBIR"):
        for path in list(copy.rglob("*_RGBIR.*" if variant != "RGBIR" else "*.none")):
            path.unlink()
        for scene in load(copy).scenes:
            bands = four[scene.id]
            np.testing.assert_array_equal(pixels(scene.paths["rgb"]), bands[:3])
            np.testing.assert_array_equal(pixels(scene.paths["nir"]), bands[3:])
            np.testing.assert_array_equal(pixels(scene.paths["irrg"]), bands[[3, 0, 1]])


def test_heights_are_metres(plain, load, pixels):
    import rasterio

    store = load(plain)
    for scene in store.scenes:
        row, column = map(int, scene.id.split("_"))
        jpeg = one(plain, f"dsm_potsdam_{row:02}_{column:02}_normalized_lastools.jpg")
        with warnings.catch_warnings(action="ignore"), rasterio.open(jpeg) as dataset:
            expected = dataset.read(1) / 10
        np.testing.assert_allclose(pixels(scene.paths["ndsm"])[0], expected, atol=1e-5)
        ground = pixels(scene.paths["dsm"])[0] - pixels(scene.paths["ndsm"])[0]
        assert 25 < np.median(ground) < 45  # dossier 3.3: ground some 30-40 m above the datum


def test_narrow_heights_repeat_the_last_column(tmp_path, load, pixels):
    write_potsdam(tmp_path / "source", size=SIZE, tiles=["2_10", "3_13"], quirks=["narrow_3_13"])
    store = load(tmp_path / "source", tiles=["2_10", "3_13"])
    for raster in ("dsm", "ndsm"):
        values = pixels(store.scenes[1].paths[raster])[0]
        assert values.shape == (SIZE, SIZE)
        np.testing.assert_array_equal(values[:, -1], values[:, -2])


def test_empty_lastools_falls_back_to_ownapproach(copy, load, pixels, write_raster):
    empty = one(copy, "*02_10_normalized_lastools.jpg")
    write_raster(empty, np.zeros((1, SIZE, SIZE), np.uint8), "JPEG")
    store = load(copy)
    scene = store.scenes[TILES.index("2_10")]
    assert pixels(scene.paths["ndsm"]).max() > 1
    assert any("lastools" in line and "ownapproach" in line for line in store.info["warnings"])


@pytest.mark.parametrize(
    ("pattern", "raster"),
    [
        ("*_4_12_RGBIR.tif", "rgb"),
        ("dsm_*04_12.tif", "dsm"),
        ("*_4_12_label.tif", "label"),
        ("*_4_12_label_noBoundary.tif", "label_eroded"),
        ("dsm_*04_12_normalized_lastools.jpg", "ndsm"),
    ],
)
def test_a_removed_file_is_named(pattern, raster, copy, load):
    removed = one(copy, pattern)
    for path in copy.rglob(
        {"rgb": "*_4_12_RGB*.tif", "ndsm": "*04_12_normalized*"}.get(raster, removed.name)
    ):
        path.unlink()
    check_removed_file(load, copy, removed.name, "4_12", raster)


def test_a_scene_without_label_is_left_out_and_said(copy, load):
    for path in copy.rglob("*_4_12_label*"):
        path.unlink()
    store = load(copy, allow_incomplete=True)
    assert [scene.id for scene in store.scenes] == ["2_10", "3_13", "6_7"]
    assert store.info["missing"] == ["4_12: label", "4_12: label_eroded"]


def test_what_no_tile_has_is_not_missed(copy, load):
    for path in [*copy.rglob("*noBoundary.tif"), *copy.rglob("*normalized*")]:
        path.unlink()
    store = load(copy)
    assert not store.info["incomplete"]
    assert store.labels == ["label"]
    assert list(store.modalities) == ["rgb", "dsm", "nir", "irrg"]


def test_normalised_heights_and_eroded_labels_suffice(copy, load):
    for path in [*copy.rglob("*_label.tif"), *copy.rglob("dsm_potsdam_??_??.tif")]:
        path.unlink()
    store = load(copy)
    assert not store.info["incomplete"]
    assert store.labels == ["label_eroded"]
    assert list(store.modalities) == ["rgb", "nir", "irrg", "ndsm"]


def test_no_infrared_at_all(copy, load):
    for path in [*copy.rglob("*RGBIR.t*"), *copy.rglob("*IRRG.t*")]:
        path.unlink()
    with pytest.raises(UserError, match="top_potsdam_2_10_RGBIR.tif .or _RGB.tif and _IRRG.tif."):
        load(copy)
    assert list(load(copy, allow_incomplete=True).modalities) == ["rgb", "dsm", "ndsm"]


def test_half_of_the_benchmark_is_a_list_of_missing_files(plain, tmp_path):
    with pytest.raises(UserError) as caught:
        import_named_dataset("potsdam", plain, tmp_path)
    assert str(caught.value).startswith(
        "170 needed file(s)"
    )  # 34 tiles: RGBIR, DSM, nDSM, two labels
    assert "\n" not in str(caught.value) and "isprs.org" in str(caught.value)
    with pytest.raises(UserError, match="make data DATA=potsdam"):
        from datamodules.store.scene_store import SceneStore

        SceneStore.open(tmp_path / "potsdam")


def test_one_band_label_is_refused(copy, load, write_raster):
    path = one(copy, "*_4_12_label.tif")
    write_raster(path, np.zeros((1, SIZE, SIZE), np.uint8))
    with pytest.raises(UserError, match=r"top_potsdam_4_12_label\.tif has 1 band"):
        load(copy)


@pytest.mark.parametrize("colour", [(255, 0, 255), (255, 128, 0)])
def test_unknown_label_colours(colour, copy, load, pixels, write_raster):
    path = one(copy, "*_2_10_label.tif")
    image = pixels(path)
    image[:, 3, 7] = colour  # 1 of 4096 pixels: 0.02 %
    write_raster(path, image)
    store = load(copy)
    label = pixels(store.scenes[0].paths["label"])[0]
    truth = potsdam_scene(SIZE, 0, "2_10").label
    assert label[3, 7] == 255
    assert (label != truth).sum() == 1
    assert any("2_10" in line and str(colour) in line for line in store.info["warnings"])

    image[:, 3, :10] = np.array(colour)[:, None]  # 10 of 4096: 0.24 %
    write_raster(path, image)
    with pytest.raises(UserError, match=r"2_10_label\.tif: 0\.24 %") as caught:
        load(copy)
    assert str(colour) in str(caught.value)


def test_label_without_a_valid_pixel(copy, load, write_raster):
    write_raster(one(copy, "*_2_10_label.tif"), np.zeros((3, SIZE, SIZE), np.uint8))
    with pytest.raises(UserError, match=r"2_10_label\.tif has not one valid label pixel"):
        load(copy)


def test_dsm_of_another_size_names_both_files(copy, load, write_raster):
    write_raster(one(copy, "dsm_*04_12.tif"), np.zeros((1, SIZE, SIZE - 3), np.float32))
    with pytest.raises(
        UserError,
        match=r"dsm_potsdam_04_12\.tif has 64 x 61.*top_potsdam_4_12_RGBIR\.tif has 64 x 64",
    ):
        load(copy)


@pytest.mark.parametrize(
    ("pattern", "values", "text"),
    [
        ("*_2_10_RGBIR.tif", np.zeros((3, SIZE, SIZE), np.uint8), "has 3 band"),
        ("*_2_10_RGBIR.tif", np.zeros((4, SIZE, SIZE), np.uint16), "data type uint16"),
        ("dsm_*02_10.tif", np.zeros((1, SIZE, SIZE), np.uint8), "data type uint8"),
        ("dsm_*02_10.tif", np.full((1, SIZE, SIZE), np.nan, np.float32), "no valid pixel"),
    ],
)
def test_swapped_and_re_encoded_files(pattern, values, text, copy, load, write_raster):
    path = one(copy, pattern)
    write_raster(path, values)
    with pytest.raises(UserError, match=text) as caught:
        load(copy)
    assert path.name in str(caught.value)


def test_participants_label_yields_to_the_complete_set(tmp_path, load, pixels, write_raster):
    write_potsdam(tmp_path / "source", size=SIZE, tiles=TILES, quirks=["both_label_sets"])
    other = tmp_path / "source" / "5_Labels_for_participants" / "top_potsdam_2_10_label.tif"
    write_raster(other, np.full((3, SIZE, SIZE), 255, np.uint8), compress="deflate")
    store = load(tmp_path / "source")
    check_labels(store, pixels)
    assert any(
        "differ in size" in line and "5_Labels_for_participants" in line
        for line in store.info["warnings"]
    )


def test_nothing_of_potsdam(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"No file of Potsdam among the 1 below .*4_Ortho_RGBIR"):
        import_named_dataset("potsdam", tmp_path / "source", tmp_path / "store")
    assert not (tmp_path / "store" / "potsdam").exists()


def test_tiles_by_either_spelling_and_unknown_ones(plain, load):
    assert [scene.id for scene in load(plain, tiles=["02_10", "3_13"]).scenes] == ["2_10", "3_13"]
    with pytest.raises(UserError, match=r"no tile '9_9'; it has: 2_10"):
        load(plain, tiles=["9_9"])
    with pytest.raises(UserError, match="No split of"):
        load(plain, tiles=["2_10"])


def test_splits_are_the_published_ones():
    """Dossier 3.1 and 3.4 and the standard split, retyped here from the text."""
    with (SPLITS_FOLDER / "potsdam.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    part = {
        column: {
            value: {row["tile"] for row in rows if row[column] == value}
            for value in ("train", "val", "test", "unused")
        }
        for column in rows[0]
        if column.startswith("split_")
    }
    grid = {
        2: range(10, 15),
        3: range(10, 15),
        4: range(10, 16),
        5: range(10, 16),
        6: range(7, 16),
        7: range(7, 14),
    }
    everything = {f"{row}_{column}" for row, columns in grid.items() for column in columns}
    # the 14 test tiles are those east of column 12
    test = {f"{row}_{column}" for row, columns in grid.items() for column in columns if column > 12}
    validation = {"2_10", "5_11", "7_12"}
    assert len(everything) == len(rows) == 38
    for column in ("split_official", "split_sgma", "split_mobanet_paper", "split_gemmnet"):
        assert part[column] == {
            "train": everything - test,
            "val": set(),
            "test": test,
            "unused": set(),
        }
    assert part["split_standard"] == {
        "train": everything - test - validation, "val": validation, "test": test, "unused": set()
    }  # fmt: skip
    assert part["split_mobanet_code"]["train"] == everything - test - {"7_10"}
    assert part["split_geoseg"] == {
        "train": everything - test - {"7_10", "2_10"}, "val": {"2_10"}, "test": test,
        "unused": {"7_10"},
    }  # fmt: skip
    assert part["split_ssrs"]["test"] == {"4_10", "5_11", "2_11", "3_10", "6_11", "7_12"}
    assert part["split_ssrs"]["train"] == everything - test - part["split_ssrs"]["test"]


def test_decoding_of_every_colour():
    """Against the rule in words: channels to their nearer end, then the table of section 2."""
    table = {c.color: c.id for c in isprs_classes()}
    assert {name.split("_")[0]: i for i, name in enumerate(c.name for c in isprs_classes())} == {
        "impervious": 0, "building": 1, "low": 2, "tree": 3, "car": 4, "clutter": 5
    }  # fmt: skip
    levels = [0, 43, 86, 87, 126, 127, 128, 167, 168, 212, 252, 255]
    colours = np.array(list(itertools.product(levels, repeat=3)), np.uint8).T[:, None, :]
    ids, unknown = decode_label_colours(colours)
    for colour, id_, strange in zip(colours[:, 0].T.tolist(), ids[0], unknown[0], strict=True):
        corner = tuple(255 if value > 127 else 0 for value in colour)
        doubtful = any(abs(value - 127) <= 40 for value in colour) or corner == (255, 0, 255)
        assert strange == doubtful
        assert id_ == (255 if doubtful else table.get(corner, 255)), colour


def test_sources_are_left_alone(copy, load):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    load(copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_a_damaged_member_of_a_zip_is_named(plain, tmp_path, load):
    packed = tmp_path / "copy.zip"
    with zipfile.ZipFile(packed, "w") as archive:  # stored, so that a byte can be turned
        for path in plain.rglob("*.*"):
            archive.write(path, path.relative_to(plain))
    content = bytearray(packed.read_bytes())
    dsm = one(plain, "dsm_*04_12.tif").read_bytes()
    content[content.find(dsm) + len(dsm) // 2] ^= 255
    packed.write_bytes(content)
    with pytest.raises(UserError, match=r"dsm_potsdam_04_12\.tif is damaged inside its archive"):
        load(packed)
