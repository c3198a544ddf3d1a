from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from datamodules.adapters.dfc2023 import read_tiles
from datamodules.adapters.registry import import_named_dataset
from datamodules.miniature.dfc2023 import (
    BLACK_CORNER,
    SIZES,
    dfc2023_tile,
)
from datamodules.store.scene_store import SceneStore
from tests.support.quirks import DFC2023_QUIRKS, write_dfc2023
from usererror import UserError

SIZE = 64
DATASET = "dfc2023"
TILES = [*SIZES["test"]["stems"], BLACK_CORNER]
EMPTY = "SV_Brasilia_-15.8334_-47.8950"  # of the block that has no building
JSON = "buildings_only_train.json"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("dfc2023")
    write_dfc2023(root, size=SIZE, stems=TILES)
    return root


def one(root: Path, pattern: str) -> Path:
    return next(root.rglob(pattern))


def edit(root: Path, change) -> Path:
    """Change the JSON of a copy; `change` gets its content."""
    path = one(root, JSON)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def scene(store: SceneStore, stem: str = TILES[0]):
    return next(s for s in store.scenes if s.id == stem)


def check(store, pixels):
    """Labels are the generator's truth, rasters stay where they are, all have one place."""
    import rasterio

    assert sorted(s.id for s in store.scenes) == sorted(TILES)
    assert list(store.modalities) == ["rgb", "dsm", "sar"] and store.labels == ["label"]
    assert store.info["gsd_m"] == 1.0 and not store.info["incomplete"] and store.verify() == []
    for s in store.scenes:
        np.testing.assert_array_equal(
            pixels(s.paths["label"])[0], dfc2023_tile(SIZE, 0, s.id).truth
        )
        assert all(not s.paths[raster].is_relative_to(store.root) for raster in store.modalities)
        places = set()
        for path in s.paths.values():
            with rasterio.open(path) as dataset:
                places.add((dataset.crs.to_epsg(), dataset.transform, dataset.shape))
        assert len(places) == 1 and places.pop()[0] == int(read_tiles()[s.id]["epsg"])


@pytest.mark.parametrize(
    "quirks", [[], *[[quirk] for quirk in DFC2023_QUIRKS]], ids=lambda q: "+".join(q) or "none"
)
def test_every_quirk_gives_the_true_labels(quirks, tmp_path, load, pixels):
    write_dfc2023(tmp_path / "source", size=SIZE, stems=TILES, quirks=quirks)
    check(load(tmp_path / "source"), pixels)


def test_all_quirks_at_once(tmp_path, load, pixels):
    write_dfc2023(
        tmp_path / "source", size=SIZE, stems=TILES, quirks=set(DFC2023_QUIRKS) - {"bare_folders"}
    )
    check(load(tmp_path / "source"), pixels)
    shutil.copytree(tmp_path / "source", tmp_path / "bare" / "DFC_Track_1")
    with pytest.raises(UserError, match="No training tile of DFC2023 track 2"):
        load(tmp_path / "bare")  # below a folder of track 1 nothing counts


@pytest.mark.parametrize("packing", ["zip", "nested", "by folder"])
def test_packing_does_not_change_the_data(packing, plain, tmp_path, load):
    source = tmp_path / "packed"
    if packing == "by folder":  # rgb.zip holds the files themselves
        for folder in (plain / "track2" / "train").iterdir():
            shutil.make_archive(str(source / folder.name), "zip", folder)
        shutil.copy(one(plain, JSON), source)
    else:
        source = Path(shutil.make_archive(str(tmp_path / "track2"), "zip", plain))
    if packing == "nested":
        (tmp_path / "outer").mkdir()
        shutil.move(source, tmp_path / "outer")
        source = Path(
            shutil.make_archive(str(tmp_path / "DFC23_IEEE-DataPort"), "zip", tmp_path / "outer")
        )
    store = load(source)
    assert store.fingerprint == load(plain).fingerprint
    assert store.verify() == [] and not (store.root / "scratch").exists()


def test_copies_of_folders_and_inventory(copy, load, pixels):
    shutil.copytree(copy / "track2", copy / "backup" / "old" / "track2")
    shutil.copytree(copy / "track2" / "train" / "dsm", copy / "track2" / "train" / "dsm_uint8")
    text = io.StringIO()
    store = load(copy, console=Console(file=text, width=200))
    check(store, pixels)
    said = text.getvalue()
    assert "9 of 9 tiles have rgb, dsm, sar, label" in said
    assert (
        "12 without reference (val, test)" in said
    )  # val and test hold 4 each, and val has been copied
    assert "9 in other folders" in said
    assert (
        "split_standard: 4 train, 3 val, 2 test (whole dataset: 1268 train, 151 val, 354 test)"
        in said
    )
    assert "split_random: " in said and "(whole dataset: 1419 train, 354 test)" in said


def test_a_source_inside_a_folder_called_test(copy, tmp_path, load, pixels):
    check(load(Path(shutil.move(copy, tmp_path / "sources" / "test" / "val")).parents[1]), pixels)


def test_real_size_has_half_a_metre(tmp_path, pixels):
    stems = SIZES["real"]["stems"]
    write_dfc2023(tmp_path / "source", size=400, stems=stems)
    store = import_named_dataset("dfc2023", tmp_path / "source", tmp_path / "store", tiles=stems)
    assert store.info["gsd_m"] == 0.5 and store.info["nadir"]
    np.testing.assert_array_equal(
        pixels(store.scenes[0].paths["label"])[0], dfc2023_tile(400, 0, store.scenes[0].id).truth
    )


# What the scenes are ----------------------------------------------------------


def test_attributes_notes_and_classes(plain, load):
    store = load(plain)
    assert scene(store, EMPTY).attributes == {"sensor": "SV", "city": "Brasilia", "block": "9"}
    assert [(c.id, c.name) for c in store.classes] == [(0, "background"), (1, "building")]
    assert {m.name: (m.letter, m.kind, m.unit) for m in store.modalities.values()} == {
        "rgb": ("R", "optical", "counts"),
        "dsm": ("D", "height_normalised", "m"),
        "sar": ("S", "sar_linear", "linear"),
    }
    assert store.info["splits"] == ["split_standard", "split_spatial", "split_random", "split_sgma"]
    assert set(store.info["split_notes"]) == {"split_random", "split_sgma"}
    assert all("81 %" in note for note in store.info["split_notes"].values())


def test_odd_radar_is_kept_and_its_statistics_are_decibels(tmp_path, load, pixels):
    write_dfc2023(tmp_path / "source", size=SIZE, stems=TILES, quirks=["odd_radar"])
    store = load(tmp_path / "source")
    first = scene(store, sorted(TILES)[0])
    values = pixels(first.paths["sar"])[0]
    assert np.isnan(values).sum() == 15 and (values < 0).sum() == 14
    found = store.statistics[first.id]["sar"]
    kept = values[np.isfinite(values)].astype(float)
    decibels = np.clip(10 * np.log10(np.maximum(kept, 0) + 1e-7), -25, 0)  # dossier 5.3
    assert found["count"] == SIZE**2 - 15 or found["count"] == [SIZE**2 - 15]
    np.testing.assert_allclose(
        [found["mean"][0], found["std"][0]], [decibels.mean(), decibels.std()], rtol=1e-3
    )
    assert found["min"] == [-25.0]


def test_black_corner_missing_heights_and_no_building_are_kept(plain, load, pixels):
    store = load(plain)
    black = pixels(scene(store, BLACK_CORNER).paths["rgb"])
    assert (black == 0).all(axis=0).mean() == 0.25
    label = pixels(scene(store, BLACK_CORNER).paths["label"])[0]
    assert label[: SIZE // 2, : SIZE // 2].any() and label.max() == 1  # nothing is masked
    assert not pixels(scene(store, EMPTY).paths["label"]).any()
    flat = [
        ((pixels(s.paths["dsm"])[0] == 0) & (pixels(s.paths["label"])[0] == 1)).sum() / SIZE**2
        for s in store.scenes
    ]
    assert max(flat) > 0.02, "a building without height"


def test_a_changed_json_is_burnt_again(copy, tmp_path, pixels):
    def load():
        return import_named_dataset("dfc2023", copy, tmp_path / "store", tiles=TILES)

    before = load()
    label = scene(before).paths["label"]
    assert pixels(label).any()
    untouched = scene(before, EMPTY).paths["label"].stat().st_mtime_ns
    edit(copy, lambda content: content["annotations"].clear())
    after = load()
    assert not pixels(label).any() and after.fingerprint != before.fingerprint
    assert load().fingerprint == after.fingerprint
    assert scene(after, EMPTY).paths["label"].stat().st_mtime_ns >= untouched


# What must stop the import ----------------------------------------------------


@pytest.mark.parametrize("raster", ["rgb", "sar", "dsm"])
def test_a_removed_file_is_named(raster, copy, load, pixels):
    one(copy, f"{raster}/{TILES[1]}.tif").unlink()
    with pytest.raises(
        UserError, match=rf"1 needed file.*train/{raster}/{re.escape(TILES[1])}\.tif"
    ) as caught:
        load(copy)
    assert str(copy) in str(caught.value) and "IEEE DataPort" in str(caught.value)
    store = load(copy, allow_incomplete=True)
    assert (
        store.info["missing"] == [f"{TILES[1]}: {raster}"]
        and raster not in scene(store, TILES[1]).paths
    )
    np.testing.assert_array_equal(
        pixels(scene(store, TILES[1]).paths["label"])[0],
        dfc2023_tile(SIZE, 0, TILES[1]).truth,
        "without the optical image",
    )


def test_no_json(copy, load):
    one(copy, JSON).rename(copy / "roof_fine_train.json")
    with pytest.raises(UserError, match=rf"1 needed file.*: {JSON}"):
        load(copy)
    with pytest.raises(UserError, match="No scene of"):
        load(copy, allow_incomplete=True)


def test_the_json_decides_what_a_training_image_is(copy, load):
    def drop(content):
        content["images"] = [
            i for i in content["images"] if not i["file_name"].startswith(TILES[0])
        ]
        ids = {i["id"] for i in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in ids]

    path = edit(copy, drop)
    with pytest.raises(
        UserError, match=rf"1 needed file.*{re.escape(TILES[0])}\.tif in {path.name}"
    ):
        load(copy)
    assert TILES[0] not in {s.id for s in load(copy, allow_incomplete=True).scenes}
    assert len(load(copy, tiles=TILES[1:]).scenes) == len(TILES) - 1


def test_images_that_the_contest_does_not_have(copy, tmp_path, load, monkeypatch):
    names = [f"SV_Atlantis_1.{i:04}_2.0000.tif" for i in range(7)]

    def add(content):
        content["images"] += [
            {"file_name": n, "height": SIZE, "width": SIZE, "id": 9000 + i}
            for i, n in enumerate(names)
        ]

    edit(copy, add)
    store = load(copy)  # some tiles are asked for by name: the rest is only said
    assert any(
        "7 image(s) of the JSON" in line and names[0] in line for line in store.info["warnings"]
    )
    text = io.StringIO()
    with pytest.raises(
        UserError, match=r"lists 7 image\(s\).*SV_Atlantis_1\.0000_2\.0000\.tif.* and 2 more"
    ) as caught:
        load(copy, tiles=None, console=Console(file=text, width=200))
    assert str(copy) in str(caught.value) and "9 of 1773 tiles" in text.getvalue()


def test_most_of_the_contest_is_a_list_of_missing_files(plain, tmp_path):
    with pytest.raises(UserError) as caught:
        import_named_dataset("dfc2023", plain, tmp_path)
    assert str(caught.value).startswith(f"{4 * (1773 - len(TILES))} needed file(s)")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000


def test_stray_files_are_said(tmp_path, load):
    write_dfc2023(tmp_path / "source", size=SIZE, stems=TILES, quirks=["stray_file", "track_1"])
    assert [line for line in load(tmp_path / "source").info["warnings"]] == [
        "1 file(s) are of no training tile: track2/train/rgb/SV_Berlin_52.0000_13.0000.tif: ignored"
    ]


@pytest.mark.parametrize(
    ("raster", "source", "text"),
    [("rgb", "sar", "has 1 band"), ("sar", "rgb", "has 3 band"), ("dsm", "merge", "has 4 band")],
)
def test_swapped_files(raster, source, text, copy, load, write_raster):
    path = one(copy, f"{raster}/{TILES[0]}.tif")
    if source == "merge":
        write_raster(path, np.zeros((4, SIZE, SIZE), np.float32))
    else:
        shutil.copy(one(copy, f"{source}/{TILES[0]}.tif"), path)
    with pytest.raises(UserError, match=text) as caught:
        load(copy)
    assert str(path) in str(caught.value)


def test_eight_bit_radar_is_refused(copy, load, write_raster):
    path = one(copy, f"sar/{TILES[0]}.tif")
    write_raster(path, np.zeros((1, SIZE, SIZE), np.uint8))
    with pytest.raises(UserError, match=rf"sar/{re.escape(TILES[0])}\.tif has data type uint8"):
        load(copy)


def test_sizes_must_agree(copy, load, write_raster):
    edit(copy, lambda content: content["images"][0].update(height=512, width=512))
    with pytest.raises(
        UserError, match=rf"{JSON}: .*\.tif is said to have 512 x 512 .* has 64 x 64"
    ) as caught:
        load(copy)
    assert sorted(TILES)[0] in str(caught.value)
    edit(copy, lambda content: content["images"][0].update(height=SIZE, width=SIZE))
    write_raster(one(copy, f"dsm/{TILES[0]}.tif"), np.ones((1, SIZE + 3, SIZE), np.float32))
    with pytest.raises(
        UserError,
        match=rf"dsm/{re.escape(TILES[0])}\.tif has 67 x 64.*rgb/{re.escape(TILES[0])}\.tif",
    ):
        load(copy)


def test_damaged_json_names_file_and_record(copy, load):
    edit(copy, lambda content: content["annotations"][3].update(image_id=-1))
    with pytest.raises(UserError, match=rf"{JSON}: annotations.3 .id 3. is of image -1"):
        load(copy)
    path = one(copy, JSON)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{JSON} is not whole"):
        load(copy)


def test_unknown_tiles_and_spellings(plain, load):
    with pytest.raises(UserError, match="no tile 'P_0001'; it has: GF2_Brasilia"):
        load(plain, tiles=["P_0001"])
    store = load(plain, tiles=[f"{TILES[0].lower()}.tif", *TILES[1:]])
    assert scene(store, TILES[0])


def test_nothing_of_the_contest(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "P_0001.tif").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"No training tile of DFC2023 track 2 among the 1 files .*DataPort"
    ):
        import_named_dataset("dfc2023", tmp_path / "source", tmp_path / "store")
