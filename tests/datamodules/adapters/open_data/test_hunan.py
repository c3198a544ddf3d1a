"""Hunan: the generated copy as people may have it (dossier of open datasets, section 5)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.open_data.hunan import RELEASE
from datamodules.miniature.open_data.hunan import hunan_ids, write_hunan
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import SceneStore
from tests.support.quirks import copy as copy_file
from tests.support.quirks import move, read, rewrite
from usererror import UserError

DATASET = "hunan"
TILES = hunan_ids(tiles=2)
FIRST = "Hunan_Dataset/train/s2/s2_299.tif"
LABEL = FIRST.replace("s2", "lc")
# the README's table (section 5.5), written out
IDS = {
    0: 255, 1: 0, 2: 1, 3: 2, 4: 1, 5: 3, 6: 4, 7: 6, 8: 6, 9: 5, 10: 6, 11: 255, 12: 255,
    255: 255,
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hunan")
    write_hunan(root, size=40, tiles=2)

    def every_raw_value(raw: np.ndarray) -> np.ndarray:
        raw[0, 20, : len(IDS)] = list(IDS)
        return raw

    rewrite([root / LABEL], every_raw_value)
    return root


def doubled_folder(root: Path) -> None:
    move(root / "Hunan_Dataset", root / "again")
    move(root / "again", root / "Hunan_Dataset/Hunan_Dataset")


def labels_of_bytes(root: Path) -> None:
    rewrite(root.rglob("lc/*.tif"), lambda raw: raw.astype(np.uint8))


def floats_of_elevation(root: Path) -> None:
    rewrite(root.rglob("topo/*.tif"), lambda bands: bands.astype(np.float64))


def optical_of_floats(root: Path) -> None:
    rewrite(root.rglob("s2/*.tif"), lambda bands: bands.astype(np.float32))


def without_ruggedness(root: Path) -> None:
    shutil.rmtree(next(root.rglob("tri")))


def capital_extension(root: Path) -> None:
    for path in list(root.rglob("*.tif")):
        path.rename(path.with_suffix(".TIF"))


def zipped(root: Path) -> None:
    shutil.make_archive(str(root / "Hunan_Dataset"), "zip", root, "Hunan_Dataset")
    shutil.rmtree(root / "Hunan_Dataset")


HABITS = (
    doubled_folder, labels_of_bytes, floats_of_elevation, optical_of_floats, without_ruggedness,
    capital_extension, zipped,
)  # fmt: skip


def test_pixels_come_as_the_release_has_them(
    plain: Path,
    load: Callable[..., SceneStore],
    pixels: Callable[[Path], np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = load(plain)
    assert "of terrain ruggedness, which only training tiles have" in capsys.readouterr().out
    paths = next(scene.paths for scene in store.scenes if scene.id == "299")
    assert np.array_equal(pixels(paths["msi"]), read(plain / FIRST))
    assert np.array_equal(pixels(paths["sar"]), read(plain / FIRST.replace("s2", "s1")))
    topo = read(plain / FIRST.replace("s2", "topo"))
    # both bands are in the file that stays where it is, of which the store reads the first
    assert np.array_equal(pixels(paths["topo"])[:1], topo[:1])
    assert np.array_equal(pixels(paths["topo_2"]), topo[1:])
    raw = read(plain / LABEL)[0].astype(int)
    assert np.array_equal(pixels(paths["label"])[0], np.vectorize(IDS.get)(raw))
    names = [entry.name for entry in store.classes]
    assert names[5:] == ["unused land", "built-up area"]
    # brown and bare, by name and by colour
    assert store.classes[5].color == (225, 174, 110) and len(names) == 7
    assert store.modalities["sar"].kind == "sar" and store.info["warnings"] == []
    assert "tri" not in store.modalities and store.info["gsd_m"] == 10


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_same_dataset(
    habit: Callable[[Path], None], plain: Path, copy: Path, load: Callable[..., SceneStore]
) -> None:
    habit(copy)
    assert load(copy).fingerprint == load(plain).fingerprint


def test_linear_radar_is_told_from_decibels(copy: Path, load: Callable[..., SceneStore]) -> None:
    rewrite(copy.rglob("s1/*.tif"), lambda decibels: 10 ** (decibels / 10))
    modality = load(copy).modalities["sar"]
    assert (modality.kind, modality.unit) == ("sar_linear", "linear")
    assert modality.clip_db == ((-30, 0), (-35, -5))


def test_other_radar_is_refused_with_its_figures(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    rewrite(copy.rglob("s1/*.tif"), lambda decibels: 1000 * 10 ** (decibels / 20))
    with pytest.raises(UserError, match=r"neither in decibels .* median \d+.*; convert all s1"):
        load(copy)
    for folder in list(copy.rglob("s1")):
        shutil.rmtree(folder)
    assert list(load(copy).modalities) == ["msi", "topo", "topo_2"]


def test_one_unit_holds_for_all_files(copy: Path, load: Callable[..., SceneStore]) -> None:
    files = sorted(copy.rglob("s1/*.tif"))
    rewrite(files[:2], lambda decibels: 1000 * 10 ** (decibels / 10))
    with pytest.raises(UserError, match=rf"neither in decibels .*({files[0]}|{files[1]});"):
        load(copy)


def test_splits_are_the_folders(plain: Path, copy: Path, load: Callable[..., SceneStore]) -> None:
    table = read_split_table("hunan_split")
    for scene in load(plain).scenes:
        assert scene.splits["split_standard"] == table[scene.id]["split_standard"]
    for path in list((copy / "Hunan_Dataset/train").rglob("*_299.tif")):
        move(path, copy / "Hunan_Dataset/test" / path.parent.name / path.name)
    store = load(copy)
    assert "1 tile(s) lie in another part than published: 299" in str(store.info["warnings"])
    moved = next(scene for scene in store.scenes if scene.id == "299")
    assert moved.splits == {"split_standard": "test", "split_mfnet": "train", "split_evsr": "train"}


def test_the_table_has_the_parts_and_the_neighbours_that_the_notes_tell() -> None:
    table = read_split_table("hunan_split")
    assert len(table) == 500
    for column, counts in RELEASE.counts.items():
        roles = [row[column] for row in table.values()]
        assert {part: roles.count(part) for part in counts} == counts
        assert sum(counts.values()) == 500
        training = {int(tile) for tile, row in table.items() if row[column] == "train"}
        for part in set(counts) - {"train"}:
            others = [int(tile) for tile, row in table.items() if row[column] == part]
            beside = sum(bool({tile - 1, tile + 1} & training) for tile in others)
            assert f"{beside} of {counts[part]} " in RELEASE.split_notes[column]


def test_defects_end_in_one_line(copy: Path, load: Callable[..., SceneStore]) -> None:
    with pytest.raises(UserError, match=r"492 needed file.* the files of tile 418"):
        load(copy, tiles=None)
    copy_file(copy / FIRST, copy / FIRST.replace("train", "test"))
    with pytest.raises(UserError, match="Tile 299 lies in two parts"):
        load(copy)
    (copy / FIRST.replace("train", "test")).unlink()
    (copy / LABEL).unlink()
    with pytest.raises(UserError, match="1 needed file.*train/lc/lc_299.tif"):
        load(copy)
    with pytest.raises(UserError, match="No file of Hunan .*train/s2/s2_2604.tif"):
        load(copy / "Hunan_Dataset/train/tri")


def test_copies_that_were_converted_are_refused(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    label = copy / LABEL
    rewrite([label], lambda raw: raw.astype(np.int16) - 1)
    with pytest.raises(UserError, match=r"lc_299.tif: a label .*below 0 is a copy.*SSRS"):
        load(copy)
    rewrite([label], lambda raw: np.ones_like(raw, np.int8))
    with pytest.raises(UserError, match="type int8"):
        load(copy)
    label.rename(label.with_name("299.tif"))
    with pytest.raises(UserError, match=r"lc/299.tif has no name like lc_<tile>: a copy.*SSRS"):
        load(copy)


def test_values_of_no_class_and_other_bands_are_refused(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    rewrite([copy / LABEL], lambda raw: np.where(raw == 6, 13, raw))
    with pytest.raises(UserError, match=r"value that is no class \(13"):
        load(copy)
    rewrite([copy / FIRST], lambda bands: bands[:3])
    with pytest.raises(UserError, match=r"has 3 band\(s\), expected 13"):
        load(copy)
