"""scenes.csv as spreadsheets write it, and columns that could be meant in two ways."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.splits.tables import read_text_table
from usererror import UserError

PLAIN = "id,split,rgb,label\ns0,train,rgb/s0.tif,label/s0.tif\ns1,test,rgb/s1.tif,label/s1.tif\n"
LINES = PLAIN.splitlines()


@pytest.fixture
def source(tmp_path, write_folder):
    write_folder(tmp_path / "source", splits=("train", "test"))
    (tmp_path / "source" / "scenes.csv").write_text(PLAIN)
    return tmp_path / "source"


def load(source, tmp_path, store="store", **options):
    return import_named_dataset("mine", source, tmp_path / store, **options)


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + PLAIN.replace("\n", "\r\n")).encode(),
        PLAIN.replace(",", ";").encode(),
        b"sep=;\n" + PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.encode("utf-16-le").join([b"\xff\xfe", b""]),
        ",\n".join(LINES).encode() + b",\n,,,,\n\n",
        (LINES[0] + "\n" + ",,\n".join(LINES[1:])).encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", " , ").encode(),
        b"# my scenes, of 2024\n\n" + PLAIN.replace("\n", "\n\n").encode(),
        b'"id","split","rgb","label"\n' + "\n".join(LINES[1:]).encode(),
    ],
)
def test_what_spreadsheets_write_is_one_table(content):
    expected = [dict(zip(LINES[0].split(","), line.split(","), strict=True)) for line in LINES[1:]]
    assert read_text_table(content) == (LINES[0].split(","), expected)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (PLAIN.encode("utf-16-le"), "no text"),
        (PLAIN.replace("s0,", "K\xf6ln,").encode("latin-1"), "utf-8"),
        (PLAIN.replace("s0,", '"s0,').encode(), "quotation mark"),
        (PLAIN.replace("rgb/s1", "x,rgb/s1").encode(), "line 3 has 5 cells"),
        (PLAIN.replace("rgb,label", "rgb,rgb").encode(), "'rgb' occurs more than once"),
    ],
)
def test_what_is_no_table_is_named(content, text):
    with pytest.raises(ValueError, match=text):
        read_text_table(content)


def test_words_and_paths_of_other_systems(tmp_path, source):
    fingerprint = load(source, tmp_path).fingerprint
    text = (
        PLAIN.replace("train", "Train")
        .replace("rgb/s0", "rgb\\s0")
        .replace("label/s", ".\\label\\s")
    )
    (source / "scenes.csv").write_text(text)
    assert load(source, tmp_path, "other").fingerprint == fingerprint


def with_column(name: str, cell: str) -> str:
    return "\n".join(f"{line},{name if i == 0 else cell}" for i, line in enumerate(LINES)) + "\n"


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"condition_rgb": "fog"}, "'condition_rgb' and 'rgb' are both 'rgb' in the store"),
        ({"condition_sky": "a", "sky": "b"}, "'condition_sky' and 'sky' are both 'sky'"),
        ({"split_standard": "train"}, "'split' and 'split_standard' are both"),
        ({"height": "3"}, "'height' is a column of the store itself: rename"),
        ({"condition_id": "3"}, "'id' is a column of the store itself: rename the .*condition_id"),
        ({"rgb_sha256": "3"}, "both 'rgb_sha256'"),
        ({"RGB": "rgb/s0.tif"}, "'rgb' and 'RGB' are both 'RGB'"),
        ({"heat": "heat/s0.img"}, "'heat' holds 'heat/s0.img', no TIFF.*'attribute_heat'"),
        ({"heat": "s0.npy"}, "'heat' holds 's0.npy', no TIFF.*gdal_translate"),
        ({"heat": "rgb/bare"}, "'heat' holds 'rgb/bare', no TIFF"),
        ({"sar": "yes"}, "sar is 'yes', which is no raster path"),
        ({"heat": ""}, "the column 'heat' has no file in any scene: fill it or take it out"),
    ],
)  # fmt: skip
def test_columns_that_could_be_meant_in_two_ways_are_asked_for(columns, text, tmp_path, source):
    shutil.copy(source / "rgb" / "s0.tif", source / "rgb" / "bare")
    lines = LINES
    for name, cell in columns.items():
        lines = [f"{line},{cell if i else name}" for i, line in enumerate(lines)]
    (source / "scenes.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=text) as told:
        load(source, tmp_path)
    assert str(told.value).isprintable()


def test_notes_stay_notes(tmp_path, source):
    cells = {
        "day": "12/05/2020", "speed": "3 km/h", "page": "https://town.org/a.html", "mean": "3.5",
        "attribute_heat": "heat/s0.img", "about": "~nobody knows", "long": "a/" * 5000,
    }  # fmt: skip
    lines = [",".join([line, *(cells.values() if i else cells)]) for i, line in enumerate(LINES)]
    (source / "scenes.csv").write_text("\n".join(lines))
    store = load(source, tmp_path)
    assert list(store.modalities) == ["rgb"]
    assert store.scenes[0].attributes == {
        name.removeprefix("attribute_"): cell for name, cell in cells.items()
    }


def test_of_two_tables_none_is_taken(tmp_path, source):
    both = tmp_path / "both"
    both.mkdir()
    shutil.move(source, both / "a")
    shutil.copytree(both / "a", both / "b")
    for place in (both, shutil.make_archive(str(tmp_path / "packed"), "zip", both)):
        with pytest.raises(UserError, match=r"2 tables, .*a/scenes\.csv and .*b/scenes\.csv: name"):
            load(place, tmp_path)
    # the one that lies in SOURCE itself is the one that is meant
    shutil.copytree(both / "a", both / "b" / "old")
    assert len(load(both / "b", tmp_path).scenes) == 2


@pytest.mark.parametrize("cell", ["/vsicurl/http://localhost/s0.tif", "file:///tmp/s0.tif"])
def test_cells_that_lead_to_no_file_of_this_machine(cell, tmp_path, source):
    (source / "scenes.csv").write_text(PLAIN.replace("rgb/s0.tif", cell))
    with pytest.raises(UserError, match="scene s0: rgb is .*no file on a disk"):
        load(source, tmp_path)


def test_about_json_with_a_mark_and_for_a_table_in_a_folder(tmp_path, source):
    outer = tmp_path / "outer"
    outer.mkdir()
    shutil.move(source, outer / "town")
    about = '{"title": "Town", "modalities": {"rgb": {"unit": "reflectance"}}}'
    (outer / "about.json").write_bytes(about.encode("utf-8-sig"))
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", outer)
    store = load(packed, tmp_path)
    assert store.info["title"] == "Town" and store.modalities["rgb"].unit == "reflectance"
    assert np.isfinite(store.statistics["s0"]["rgb"]["mean"]).all()


def test_names_of_tables_as_spreadsheets_give_them(tmp_path, source):
    expected = load(source, tmp_path).fingerprint
    for name in ("scenes", "classes"):
        (source / f"{name}.csv").rename(source / f"{name.title()}.CSV")
    assert load(source, tmp_path, "other").fingerprint == expected
    (source / "Scenes.CSV").rename(source / "scenes.xlsx")
    with pytest.raises(UserError, match=r"No scenes\.csv .*Save scenes\.xlsx as scenes\.csv"):
        load(source, tmp_path, "third")


def test_an_import_that_stops_says_how_to_go_on(tmp_path, source):
    (source / "label" / "s1.tif").write_bytes(b"none")
    with pytest.raises(UserError, match=r"s1\.tif is no TIFF.*run the same command again"):
        load(source, tmp_path)
