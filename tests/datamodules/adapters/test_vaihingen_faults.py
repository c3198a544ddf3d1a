"""Folders of ISPRS Vaihingen in which something is missing or wrong: named, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.miniature.vaihingen import COMPLETE
from tests.support.quirks import write_vaihingen
from tests.support.removed_files import check_removed_file
from usererror import UserError

SIZE = 64
DATASET = "vaihingen"
TILES = ["area2", "area3", "area7", "area30", "area38"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("vaihingen_faults")
    write_vaihingen(root, size=SIZE, tiles=TILES)
    return root


def one(root: Path, pattern: str) -> Path:
    return next(iter(sorted(root.rglob(pattern))))


@pytest.mark.parametrize(
    ("pattern", "raster"),
    [
        ("top/*area7.tif", "irrg"),
        ("dsm_*area7.tif", "dsm"),
        ("*_area7_noBoundary.tif", "label_eroded"),
    ],
)
def test_a_removed_file_is_named(pattern, raster, copy, load):
    removed = one(copy, pattern)
    removed.unlink()
    said, store = check_removed_file(load, copy, removed.name, "area7", raster)
    assert "\n" not in said and "isprs.org" in said
    assert store.info["missing"] == [f"area7: {raster}"]


@pytest.mark.parametrize(
    ("pattern", "values", "text"),
    [
        ("top/*area7.tif", np.zeros((4, SIZE, 47), np.uint8), "has 4 band"),
        ("top/*area7.tif", np.zeros((3, SIZE, 47), np.uint16), "data type uint16"),
        ("dsm_*area7.tif", np.zeros((1, SIZE, 47), np.uint8), "data type uint8"),
        ("dsm_*area7.tif", np.full((1, SIZE, 47), np.nan, np.float32), "no valid pixel"),
        (f"{COMPLETE}/*area7.tif", np.zeros((1, SIZE, 47), np.uint8), "has 1 band"),
        (f"{COMPLETE}/*area7.tif", np.zeros((3, SIZE, 47), np.uint8), "not one valid label pixel"),
        (
            f"{COMPLETE}/*area7.tif",
            np.full((3, SIZE, 47), 100, np.uint8),
            "100.00 % of the label pixels",
        ),
    ],
)
def test_swapped_and_re_encoded_files(pattern, values, text, copy, load, write_raster):
    path = one(copy, pattern)
    write_raster(path, values)
    with pytest.raises(UserError, match=text) as caught:
        load(copy)
    assert path.name in str(caught.value)


def test_an_unreadable_undecided_file_is_named(tmp_path, load):
    write_vaihingen(tmp_path / "source", size=SIZE, tiles=TILES, quirks=["undecided_folders"])
    path = tmp_path / "source" / "b" / "top_mosaic_09cm_area7.tif"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"b/top_mosaic_09cm_area7\.tif is cut short"):
        load(tmp_path / "source")
    load(tmp_path / "source", tiles=["area2", "area3"])  # what nobody asks for is not looked into


def test_nothing_of_vaihingen(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "top_potsdam_2_10_RGB.tif").write_bytes(b"x")
    with pytest.raises(
        UserError, match="No file of Vaihingen among the 1 below .*ground_truth_COMPLETE"
    ):
        import_named_dataset("vaihingen", tmp_path / "source", tmp_path / "store")
    assert not (tmp_path / "store" / "vaihingen").exists()


def test_half_of_the_benchmark_is_a_list_of_missing_files(plain, tmp_path):
    with pytest.raises(UserError) as caught:
        import_named_dataset("vaihingen", plain, tmp_path)
    assert str(caught.value).startswith("112 needed file(s)")  # 28 tiles: image, DSM, two labels
    assert "\n" not in str(caught.value)
