from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.class_table import decode_class_ids
from datamodules.adapters.registry import import_named_dataset
from datamodules.store.scene_store import SceneStore
from usererror import UserError

SAMPLES = Path(__file__).parents[4] / "shared" / "samples"


@pytest.fixture
def source(tmp_path, write_folder):
    write_folder(tmp_path / "source")
    return tmp_path / "source"


def load(source, tmp_path, store="store", **options):
    return import_named_dataset("mine", source, tmp_path / store, **options)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def add_column(source: Path, name: str, *cells: str) -> None:
    lines = (source / "scenes.csv").read_text().splitlines()
    (source / "scenes.csv").write_text(
        "\n".join(f"{a},{b}" for a, b in zip(lines, (name, *cells), strict=True))
    )


def test_a_folder_becomes_a_store(tmp_path, write_folder, pixels):
    truth = write_folder(tmp_path / "source")
    store = load(tmp_path / "source", tmp_path)
    assert store.name == "mine" and store.info["adapter"] == "folder"
    assert [(m.name, m.letter, m.channels, m.dtype, m.kind) for m in store.modalities.values()] == [
        ("rgb", "R", 3, "uint8", "optical"),
        ("dsm", "D", 1, "float32", "height_absolute"),
    ]
    assert [(c.id, c.name, c.color) for c in store.classes] == [
        (0, "road", (90, 90, 90)),
        (1, "roof", (200, 30, 30)),
        (2, "tree", (0, 110, 0)),
    ]
    parts = store.split("split_standard")
    assert {part: [scene.id for scene in scenes] for part, scenes in parts.items()} == {
        "train": ["s0"], "val": ["s1"], "test": ["s2"]
    }  # fmt: skip
    for scene in store.scenes:
        assert (scene.height, scene.width) == (40, 50)
        for raster, values in truth[scene.id].items():
            np.testing.assert_array_equal(pixels(scene.paths[raster]), values)
        assert (
            scene.paths["rgb"].parent == tmp_path / "source" / "rgb"
        )  # small, so it stays; the label never does
        assert scene.paths["label"].is_relative_to(store.root)


def test_a_zip_file_gives_the_same_store(tmp_path, source):
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", source)
    store = load(packed, tmp_path, "packed_store")
    assert store.fingerprint == load(source, tmp_path).fingerprint
    assert all(
        path.is_relative_to(store.root) for scene in store.scenes for path in scene.paths.values()
    )


def test_paths_may_lead_elsewhere(tmp_path, source):
    fingerprint = load(source, tmp_path).fingerprint
    shutil.move(source / "dsm", tmp_path / "heights")
    edit(source / "scenes.csv", "dsm/s0", "../heights/s0")
    edit(source / "scenes.csv", "dsm/", f"{tmp_path}/heights/")
    assert load(source, tmp_path, "other").fingerprint == fingerprint


def test_class_ids_with_gaps_become_contiguous(tmp_path, source, write_raster, pixels):
    (source / "classes.csv").write_text(
        "id,name,r,g,b,clutter\n7,b,0,0,1,0\n2,a,0,0,2,0\n255,ignore,0,0,0,0\n90,c,0,0,3,1\n"
    )
    for i in range(3):
        write_raster(
            source / f"label/s{i}.tif", np.resize(np.array([7, 2, 90, 255], np.uint8), (1, 40, 50))
        )
    store = load(source, tmp_path)
    assert [(c.id, c.name, c.clutter) for c in store.classes] == [
        (0, "a", False),
        (1, "b", False),
        (2, "c", True),
    ]
    assert pixels(store.scenes[0].paths["label"])[0, 0, :4].tolist() == [1, 0, 2, 255]


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8"])
def test_label_values_against_a_plain_loop(dtype):
    ids = (0, 3, 4)
    values = np.arange(-3, 300).astype(dtype)[None, None]
    decoded, unknown = decode_class_ids(values, tuple(zip(ids, range(3), strict=True)))
    for value, id_, strange in zip(values[0, 0].tolist(), decoded[0], unknown[0], strict=True):
        assert id_ == (ids.index(value) if value in ids else 255)
        assert strange == (value >= 0 and value != 255 and value not in ids)


def test_unknown_label_values(tmp_path, source, write_raster, pixels):
    label = np.ones((1, 40, 50), np.int16)
    label[0, 5, :2] = [77, -1]  # one of 2000 pixels is unknown: 0.05 %
    write_raster(source / "label/s1.tif", label)
    store = load(source, tmp_path)
    assert pixels(store.scenes[1].paths["label"])[0, 5, :3].tolist() == [255, 255, 1]
    assert any("s1.tif" in line and "77" in line for line in store.info["warnings"])
    label[0, 6, :2] = [78, 300]
    write_raster(source / "label/s1.tif", label)
    with pytest.raises(UserError, match=r"s1\.tif: 0\.15 % of the label pixels .*77, 78, 300"):
        load(source, tmp_path, "other")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.full((1, 40, 50), 255, np.uint8), "has not one valid label pixel"),
        (np.full((1, 40, 50), -1, np.int16), "has not one valid label pixel"),
        (np.zeros((2, 40, 50), np.uint8), r"has 2 band\(s\), expected 1"),
        (np.full((1, 40, 50), 0.5, np.float32), r"100.00 % .*0\.5"),
        (np.zeros((1, 40, 47), np.uint8), r"has 40 x 47 .*rgb/s1\.tif has 40 x 50"),
    ],
)
def test_labels_that_cannot_be(values, text, tmp_path, source, write_raster):
    write_raster(source / "label/s1.tif", values)
    with pytest.raises(UserError, match=rf"label/s1\.tif.*{text}|label/s1\.tif {text}"):
        load(source, tmp_path)


def test_attributes_conditions_and_further_splits(tmp_path, source):
    add_column(source, "condition_weather", "fog", "sun", "")
    add_column(source, "city", "Bern", "Ulm", "Bonn")
    add_column(source, "split_small", "test", "unused", "train")
    store = load(source, tmp_path)
    assert store.info["conditions"] == ["weather"]
    assert store.scenes[0].attributes == {"weather": "fog", "city": "Bern"}
    assert store.scenes[2].attributes["weather"] == ""
    assert [scene.id for scene in store.split("split_small")["test"]] == ["s0"]
    with pytest.raises(
        UserError, match="no split 'split_big'; it has: split_standard, split_small"
    ):
        store.split("split_big")


def test_unknown_modalities_get_a_free_letter(tmp_path, source, write_raster):
    for name in ("radar", "thermal"):
        add_column(source, name, *(f"{name}/s{i}.tif" for i in range(3)))
        for i in range(3):
            write_raster(
                source / name / f"s{i}.tif", np.random.default_rng(i).normal(size=(2, 40, 50))
            )
    (source / "about.json").write_text(
        json.dumps(
            {
                "title": "T",
                "gsd_m": 0.5,
                "nadir": False,
                "modalities": {"thermal": {"letter": "T", "unit": "K"}},
            }
        )
    )
    store = load(source, tmp_path)
    letters = [m.letter for m in store.modalities.values()]
    assert len(set(letters)) == 4 and letters[:2] == ["R", "D"] and letters[3] == "T"
    assert store.modalities["radar"].kind == "other"
    assert (store.modalities["thermal"].dtype, store.modalities["thermal"].unit) == (
        "float32",
        "K",
    )  # float64 narrowed
    assert (store.info["title"], store.info["gsd_m"], store.info["nadir"]) == ("T", 0.5, False)


def test_missing_files_and_empty_cells(tmp_path, source):
    (source / "rgb/s1.tif").unlink()
    edit(source / "scenes.csv", "dsm/s0.tif", "")
    with pytest.raises(UserError, match=r"^2 needed file\(s\) .*dsm of s0.*rgb/s1\.tif"):
        load(source, tmp_path)
    store = load(source, tmp_path, allow_incomplete=True)
    assert store.info["incomplete"] and store.info["missing"] == ["s0: dsm", "s1: rgb"]
    assert [sorted(scene.paths) for scene in store.scenes] == [
        ["label", "rgb"],
        ["dsm", "label"],
        ["dsm", "label", "rgb"],
    ]
    with pytest.raises(UserError, match="needed file"):  # what was allowed once is asked for again
        load(source, tmp_path)
    assert SceneStore.open(store.root).fingerprint == store.fingerprint


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("s1,val", "s0,val", "the id 's0' occurs 2 times"),
        (
            "s1,val",
            "s1,validation",
            "scene s1: split is 'validation', not one of train, val, test, unused",
        ),
        ("s2,test", "s2,train", "test part of split_standard is empty"),
        ("s0,train", "s0,unused", "train part of split_standard is empty"),
        ("id,split", "name,split", r"lacks the column\(s\) id"),
        ("rgb,dsm", "rgb,rgb", "column 'rgb' occurs more than once"),
        ("s1,val", "../s1,val", "'../s1' is no usable id"),
        ("rgb/s1.tif", "rgb/s1.las", "scene s1: rgb is 'rgb/s1.las', which is no raster path"),
        ("s1,val,", "s1,val,,", "header has 5 columns, line 3 has 6 cells"),
        ("s1,val", 's1,"val', "no CSV table .*quotation mark not closed"),
        ("rgb/s", "colour/s", r"none of the files of the column 'rgb' exists"),
    ],
)
def test_mistakes_in_scenes_csv(old, new, text, tmp_path, source):
    edit(source / "scenes.csv", old, new)
    with pytest.raises(UserError, match=text) as caught:
        load(source, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_column_without_files(tmp_path, source):
    add_column(source, "sar", "", "", "")
    with pytest.raises(UserError, match="the column 'sar' has no file in any scene"):
        load(source, tmp_path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("id,name,r,g,b\n0,road,90,90,90\n", "has 1 class"),
        ("id,name,r,g,b\n0,a,1,1,1\n0,b,1,1,1\n", "ids and names must be unique"),
        ("id,name,r,g,b\n0,a,1,1,1\n1,a,1,1,1\n", "ids and names must be unique"),
        ("id,name,r,g,b\n0,a,1,1,256\n1,b,1,1,1\n", "colours from 0 to 255"),
        ("id,name,r,g,b\nx,a,1,1,1\n1,b,1,1,1\n", "must be whole numbers"),
        ("id,name,r,g,b,ignore\n0,a,1,1,1,\n1,b,2,2,2,y\n", "ignore is 'y': write 1 for yes"),
        ("id,name\n0,a\n", "lacks the column"),
        ("", "no CSV table"),
    ],
)
def test_mistakes_in_classes_csv(text, error, tmp_path, source):
    (source / "classes.csv").write_text(text)
    with pytest.raises(UserError, match=rf"classes\.csv.*{error}"):
        load(source, tmp_path)


def test_tables_that_are_not_there_or_no_text(tmp_path, source):
    (source / "classes.csv").rename(source / "klassen.csv")
    with pytest.raises(UserError, match=r"No classes\.csv beside scenes\.csv"):
        load(source, tmp_path)
    (source / "scenes.csv").write_bytes(b"id,split,label\n\xff\xfe")
    with pytest.raises(UserError, match="is not UTF-8"):
        load(source, tmp_path)
    (source / "scenes.csv").unlink()
    with pytest.raises(UserError, match=r"No scenes\.csv below"):
        import_named_dataset("folder", source, tmp_path / "store", name="mine")


@pytest.mark.parametrize(
    "about",
    [
        "{",
        "[]",
        '{"titel": "x"}',
        '{"gsd_m": "1"}',
        '{"modalities": {"rgb": {"kind": "x"}}}',
        '{"modalities": {"rgb": 1}}',
        '{"modalities": {"rbg": {"kind": "optical"}}}',
        '{"modalities": {"label": {"kind": "optical"}}}',
    ],
)
def test_mistakes_in_about_json(about, tmp_path, source):
    (source / "about.json").write_text(about)
    with pytest.raises(UserError, match=r"about\.json"):
        load(source, tmp_path)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.zeros((4, 40, 50), np.uint8), r"4 band\(s\) of uint8, but .*s0\.tif has 3 of uint8"),
        (np.zeros((3, 40, 50), np.uint16), r"3 band\(s\) of uint16, but .*s0\.tif has 3 of uint8"),
    ],
)
def test_scenes_that_are_not_alike(values, text, tmp_path, source, write_raster):
    write_raster(source / "rgb/s1.tif", values)
    with pytest.raises(UserError, match=text):
        load(source, tmp_path)
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", source)
    with pytest.raises(UserError, match=r"rgb/s1\.tif has (4 band|data type uint16)"):
        load(packed, tmp_path)


def test_tiles_are_ids(tmp_path, source):
    assert [scene.id for scene in load(source, tmp_path, tiles=["s2", "s0"]).scenes] == ["s2", "s0"]
    with pytest.raises(UserError, match="no tile 's9'; it has: s0, s1, s2"):
        load(source, tmp_path, tiles=["s9"])


@pytest.mark.skipif(
    not (SAMPLES / "ign_rgb_nir_dsm").is_dir(), reason="the real samples are not here"
)
def test_real_aerial_scenes(tmp_path, pixels):
    """Sizes, pixel side and mean heights as the samples' own description states them."""
    store = import_named_dataset("ign", SAMPLES / "ign_rgb_nir_dsm", tmp_path)
    assert {scene.id: (scene.height, scene.width) for scene in store.scenes} == {
        "scene_a": (250, 250), "scene_b": (250, 250), "scene_c": (247, 250)
    }  # fmt: skip
    assert "".join(m.letter for m in store.modalities.values()) == "RND"
    assert [scene.id for scene in store.split("split_standard")["test"]] == ["scene_b"]
    assert store.info["gsd_m"] == 0.2
    label, height = (pixels(store.scenes[0].paths[raster])[0] for raster in ("label", "dsm"))
    assert (
        abs(height[label == 1].mean() - 5.6) < 0.05 and abs(height[label == 3].mean() - 6.3) < 0.05
    )
    assert store.verify() == []


@pytest.mark.skipif(not (SAMPLES / "sen1floods11").is_dir(), reason="the real samples are not here")
def test_real_radar_chip(tmp_path):
    """int16 label with -1, NaN and 0 as nodata tags: counts as the description states them."""
    folder = tmp_path / "source"
    folder.mkdir()
    chip = SAMPLES / "sen1floods11"
    cells = ",".join(str(next((chip / part).glob("*.tif"))) for part in ("S1", "S2", "Labels"))
    (folder / "scenes.csv").write_text(
        f"id,split,sar,optical,label\na,train,{cells}\nb,test,{cells}\n"
    )
    (folder / "classes.csv").write_text("id,name,r,g,b\n0,land,0,90,0\n1,water,0,0,200\n")
    store = import_named_dataset("floods", folder, tmp_path / "store")
    assert store.statistics["a"]["label"]["counts"] == {"0": 192_010, "1": 70_035, "255": 99}
    assert (store.modalities["sar"].channels, store.modalities["sar"].dtype) == (2, "float32")
    assert (store.modalities["optical"].channels, store.modalities["optical"].dtype) == (
        13,
        "int16",
    )
    assert (
        -17.0 < store.statistics["a"]["sar"]["mean"][0] < -9.3
    )  # between the medians of water and land
    assert re.fullmatch("[0-9a-f]{64}", store.fingerprint)


def test_more_columns_than_letters_is_one_line(tmp_path, source):
    table = source / "scenes.csv"
    columns = [f"b{number}" for number in range(30)]
    lines = table.read_text().splitlines()
    name = str(next(source.rglob("*.tif")).relative_to(source))
    wide = [f"{lines[0]},{','.join(columns)}"]
    wide += [f"{line},{','.join([name] * 30)}" for line in lines[1:]]
    table.write_text("\n".join(wide) + "\n")
    with pytest.raises(UserError, match="more than there are letters"):
        load(source, tmp_path)
