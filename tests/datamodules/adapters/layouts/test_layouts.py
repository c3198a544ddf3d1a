"""Folders as MMSegmentation and torchgeo have them, against the same rasters with a scenes.csv."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.layouts.forms import FORMS
from datamodules.adapters.registry import import_named_dataset
from usererror import UserError

PARTS = {"s0": "train", "s1": "train", "s2": "val", "s3": "test", "s4": "test"}
FOLDERS = {
    "mmseg": [
        ("img_dir_rgb/{}", "img_dir_dsm/{}", "ann_dir/{}"),
        ("img_dir/rgb/{}", "img_dir/dsm/{}", "ann_dir/{}"),
        ("rgb/img_dir/{}", "dsm/img_dir/{}", "ann_dir/{}"),
        ("deep/down/rgb/img_dir/{}", "deep/down/dsm/img_dir/{}", "deep/down/ann_dir/{}"),
        ("IMG_DIR/RGB/{}", "IMG_DIR/DSM/{}", "ANN_DIR/{}"),
    ],
    "torchgeo": [
        ("{}/rgb", "{}/dsm", "{}/labels"),
        ("rgb/{}", "dsm/{}", "masks/{}"),
        ("town/{}/rgb", "town/{}/dsm", "town/{}/gt"),
        ("rgb/{}", "{}/dsm", "annotations/{}"),
    ],
}
FORMS_OF_TESTS = [(layout, form) for layout, forms in FOLDERS.items() for form in forms]
PLAIN = ("img_dir/rgb/{}", "img_dir/dsm/{}", "ann_dir/{}")


@pytest.fixture(scope="module")
def town(tmp_path_factory, write_folder):
    """Five scenes with a table; their ids are those that a layout gives."""
    root = tmp_path_factory.mktemp("town") / "table"
    write_folder(root, splits=tuple(PARTS.values()))
    table = (root / "scenes.csv").read_text()
    for id_, part in PARTS.items():
        table = table.replace(f"{id_},", f"{part}/{id_},")
    (root / "scenes.csv").write_text(table)
    return root


@pytest.fixture(scope="module")
def wanted(town):
    """Fingerprint of the town as its table has it: a hash of pixels, ids, parts and classes."""
    return import_named_dataset("mine", town, town.parent).fingerprint


@pytest.fixture
def arrange(town, tmp_path):
    """Return a function that lays the rasters of the town out in folders, without scenes.csv."""

    def arrange(folders=PLAIN, endings=("", "", ""), words=None, classes=True) -> Path:
        root = tmp_path / "laid_out"
        for id_, part in PARTS.items():
            for folder, raster, ending in zip(
                folders, ("rgb", "dsm", "label"), endings, strict=True
            ):
                place = root / folder.format((words or {}).get(part, part))
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(town / raster / f"{id_}.tif", place / f"{id_}{ending}.tif")
        if classes:
            shutil.copy(town / "classes.csv", (root / folders[2].format("x")).parents[1])
        return root

    return arrange


def load(source, tmp_path, layout="mmseg", store="store", **options):
    return import_named_dataset("mine", source, tmp_path / store, layout=layout, **options)


@pytest.mark.parametrize(("layout", "folders"), FORMS_OF_TESTS)
def test_a_layout_is_the_table_it_stands_for(layout, folders, wanted, arrange, tmp_path):
    root = arrange(folders)
    store = load(root, tmp_path, layout)
    assert store.fingerprint == wanted
    assert list(store.modalities) == ["rgb", "dsm"]
    assert [scene.id for scene in store.split("split_standard")["val"]] == ["val/s2"]


def test_a_zip_file(wanted, arrange, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", arrange())
    assert load(packed, tmp_path).fingerprint == wanted


@pytest.mark.parametrize(
    "endings",
    [
        ("", "", "_labelTrainIds"),
        ("_img", "_img", "_labelTrainIds"),
        ("_leftImg8bit", "_dsm", "_gtFine_labelTrainIds"),
        ("_rgb", "_S1", ""),
        ("_S2A", "_S1", "_1stHO"),
    ],
)
def test_what_all_names_end_in_is_no_part_of_a_name(endings, wanted, arrange, tmp_path):
    assert load(arrange(endings=endings), tmp_path).fingerprint == wanted


def test_labels_in_several_forms(wanted, arrange, tmp_path, write_raster):
    """Cityscapes has pictures and other ids beside the labels that MMSegmentation reads."""
    root = arrange(endings=("_img", "_img", "_gt_labelTrainIds"))
    for file in list((root / "ann_dir").rglob("*.tif")):
        for other in ("labelIds", "color"):
            name = file.name.replace("labelTrainIds", other)
            write_raster(file.with_name(name), np.full((3, 40, 50), 9, np.uint8))
    assert load(root, tmp_path).fingerprint == wanted


@pytest.mark.parametrize(
    "words", [("training", "validation", "testing"), ("Train", "valid", "Test")]
)
def test_words_of_parts(words, wanted, arrange, tmp_path):
    root = arrange(words=dict(zip(("train", "val", "test"), words, strict=True)))
    assert load(root, tmp_path).fingerprint == wanted


def test_folders_below_a_part_are_part_of_the_name(arrange, tmp_path):
    root = arrange()
    for raster in ("img_dir/rgb", "img_dir/dsm", "ann_dir"):
        shutil.move(root / raster / "train", root / "there")
        (root / raster / "train").mkdir()
        shutil.move(root / "there", root / raster / "train/aachen")
        # the same name elsewhere is another scene
        shutil.copytree(root / raster / "train/aachen", root / raster / "train/bochum")
    ids = [scene.id for scene in load(root, tmp_path).split("split_standard")["train"]]
    assert ids == ["train/aachen/s0", "train/aachen/s1", "train/bochum/s0", "train/bochum/s1"]


def test_a_folder_that_names_no_sensor(arrange, tmp_path):
    root = arrange()
    shutil.rmtree(root / "img_dir/dsm")
    for part in (root / "img_dir/rgb").iterdir():
        shutil.move(part, root / "img_dir")
    (root / "img_dir/rgb").rmdir()
    (root / "about.json").write_text(json.dumps({"modalities": {"image": {"kind": "optical"}}}))
    store = load(root, tmp_path)
    assert [(m.name, m.letter, m.kind) for m in store.modalities.values()] == [
        ("image", "I", "optical")
    ]


def test_classes_are_found_in_labels(arrange, tmp_path, write_raster, pixels, capsys):
    root = arrange(classes=False)
    values = np.array([7, 2, 255, 40], np.uint8)
    for number, file in enumerate(sorted((root / "ann_dir").rglob("*.tif"))):
        # one value is in one label only
        some = values if number == 2 else values[:3]
        write_raster(file, np.resize(some, (1, 40, 50)), nodata=7 if number == 1 else None)
    store = load(root, tmp_path)
    assert [(c.id, c.name) for c in store.classes] == [
        (0, "class_2"),
        (1, "class_7"),
        (2, "class_40"),
    ]
    assert len({c.color for c in store.classes}) == 3
    shown = capsys.readouterr().out
    assert "classes found: class_2, class_7, class_40" in shown
    for scene in store.scenes:
        found = set(np.unique(pixels(scene.paths["label"])).tolist())
        assert found <= {0, 1, 2, 255} and 255 in found
    # the whole decides, not the scenes that are wanted
    fewer = load(root, tmp_path, store="fewer", tiles=["train/s0", "test/s3"])
    assert [c.name for c in fewer.classes] == [c.name for c in store.classes]


def test_a_palette_of_found_classes_means_nothing(arrange, tmp_path, write_raster):
    """An 8-bit PNG with a palette, as MMSegmentation's converters write them."""
    import rasterio

    root = arrange(classes=False)
    colors = {0: (229, 69, 69, 255), 1: (229, 69, 69, 255), 2: (1, 2, 3, 255)}
    for file in sorted((root / "ann_dir").rglob("*.tif")):
        with rasterio.open(file) as label:
            values = label.read()
        file.unlink()
        png = file.with_suffix(".png")
        write_raster(png, values, driver="PNG")
        with rasterio.open(
            png, "w", driver="PNG", count=1, height=40, width=50, dtype="uint8"
        ) as out:
            out.write(values)
            out.write_colormap(1, colors)
    store = load(root, tmp_path)
    assert [c.name for c in store.classes] == ["class_0", "class_1", "class_2"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.ones((3, 40, 50), np.uint8), r"has 3 bands, which may be colours: add a classes\.csv"),
        (np.full((1, 40, 50), 0.5, np.float32), r"holds 0\.5, no class id"),
        (np.full((1, 40, 50), 70000, np.int32), "holds 70000, no class id"),
        (np.resize(np.arange(300, dtype=np.uint16), (1, 40, 50)), "hold more than 255 values"),
    ],
)
def test_labels_without_classes(values, text, arrange, tmp_path, write_raster):
    root = arrange(classes=False)
    write_raster(root / "ann_dir/train/s1.tif", values)
    with pytest.raises(UserError, match=text) as caught:
        load(root, tmp_path)
    assert "\n" not in str(caught.value)


def test_gaps(arrange, tmp_path):
    root = arrange()
    (root / "img_dir/dsm/train/s1.tif").unlink()
    (root / "ann_dir/test/s4.tif").unlink()
    with pytest.raises(
        UserError, match=r"2 needed file.*no file: label of test/s4.*no file: dsm of train/s1"
    ):
        load(root, tmp_path)
    store = load(root, tmp_path, allow_incomplete=True)
    assert store.info["missing"] == ["test/s4: label", "train/s1: dsm"]
    assert len(store.scenes) == 4


def test_two_files_for_one_raster(arrange, tmp_path):
    root = arrange()
    shutil.copy(root / "ann_dir/val/s2.tif", root / "ann_dir/val/s2.png")
    with pytest.raises(
        UserError, match=r"val/s2 has two files for label, .*s2\.png and .*keep one"
    ):
        load(root, tmp_path)


@pytest.mark.parametrize(
    ("layout", "files", "text"),
    [
        # as in the test data of MMSegmentation: no parts
        ("mmseg", ["img_dir/0.png", "ann_dir/0.png"], "no images and no labels .*img_dir/<part>"),
        ("mmseg", ["imgs/00000_img.jpg", "gts/00000_gt.png"], "found the folders gts, imgs"),
        ("mmseg", ["img_dir/train/0.png"], "has no labels"),
        ("torchgeo", ["train/labels/0.png"], "has no images"),
        # as in the test data of torchgeo: a folder per city
        ("torchgeo", ["aachen/0_0_dem.tif", "aachen/0_0_rgb.jp2"], "found the folders aachen"),
        ("torchgeo", ["train/images/0.npy", "train/labels/0.npy"], "no images and no labels"),
    ],
)
def test_folders_of_another_kind_are_refused_with_one_line(layout, files, text, tmp_path):
    for name in files:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with pytest.raises(UserError, match=text) as caught:
        load(tmp_path / "source", tmp_path, layout)
    assert "\n" not in str(caught.value) and f"LAYOUT={layout}" in str(caught.value)
    assert not (tmp_path / "store/mine").exists()


@pytest.mark.parametrize("dataset", ["potsdam", "folder", "miniature"])
def test_names_of_the_suite_are_refused(dataset, arrange, tmp_path):
    with pytest.raises(UserError, match="give a new DATA"):
        import_named_dataset(dataset, arrange(), tmp_path / "store", layout="mmseg")


def test_an_unknown_layout(arrange, tmp_path):
    with pytest.raises(UserError, match="no LAYOUT=yolo; known are mmseg, torchgeo"):
        load(arrange(), tmp_path, "yolo")


def test_the_command_that_imports_again_says_the_layout(arrange, tmp_path, capsys):
    root = arrange()
    load(root, tmp_path)
    load(root, tmp_path)
    again = f"make data DATA=mine SOURCE={root} LAYOUT=mmseg FORCE=1"
    assert again in capsys.readouterr().out
    (root / "img_dir/rgb/val/s2.tif").unlink()
    from datamodules.ingest.file_changes import check_unchanged
    from datamodules.store.scene_store import SceneStore

    with pytest.raises(UserError, match=re.escape(f"SOURCE={root} LAYOUT=mmseg")):
        check_unchanged(SceneStore.open(tmp_path / "store/mine"))


def test_the_command_line_knows_the_layouts():
    import argparse

    from benchmark.commands.data import Data

    parser = argparse.ArgumentParser()
    Data().add_arguments(parser)
    for layout in FORMS:
        assert parser.parse_args(["mine", "--layout", layout]).layout == layout
