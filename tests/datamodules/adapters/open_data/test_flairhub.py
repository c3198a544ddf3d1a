"""FLAIR-HUB: the generated copy as people may have it (dossier of open datasets, section 4)."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.open_data.flairhub import FILE, path_of, place_file
from datamodules.ingest.sources import SourceFile
from datamodules.miniature.open_data.flairhub import flairhub_ids, write_flairhub, write_split_list
from datamodules.miniature.raster_io import write_raster
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import SceneStore
from tests.support.quirks import copy as copy_file
from tests.support.quirks import move, read, rewrite
from usererror import UserError

DATASET = "flairhub"
TILES = flairhub_ids()
FIRST, TEST = TILES[0], "D012-2019_FF-S1-14_1-5"
PACKAGE = "GLOBAL_ALL_MTD/GLOBAL_ALL_MTD_SPLIT.gpkg"
RASTERS = ("rgb", "nir", "ndsm", "dsm", "spot", "hist")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flairhub")
    write_flairhub(root)
    # all values that the release has, and terrain above the surface
    rewrite([root / path_of("label", FIRST)], with_all_values)
    rewrite([root / path_of("dsm", FIRST)], lambda bands: bands + np.array([[[-1.5]], [[0]]], "f4"))
    return root


def with_all_values(raw: np.ndarray) -> np.ndarray:
    raw[0, 0, :19] = range(19)
    return raw


def department_zips(root: Path) -> None:
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        shutil.make_archive(str(folder), "zip", root, folder.name)
        shutil.rmtree(folder)


def toy_folder(root: Path) -> None:
    for path in list(root.iterdir()):
        move(path, root / "FLAIR-HUB_TOY" / path.name)


def suffix_of_the_download_tool(root: Path) -> None:
    for path in list(root.glob("D*")):
        path.rename(path.with_name(f"{path.name}_IMS"))
    department_zips(root)


def other_products(root: Path) -> None:
    for token in ("ALL_LABEL-LPIS", "SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL2_MSK-SC"):
        name = path_of("rgb", FIRST).replace("AERIAL_RGBI", token)
        write_raster(root / name, np.zeros((6, 10, 10), np.uint16))


def semicolons(root: Path, delimiter: str = ";") -> None:
    for part in ("TRAIN", "VALID", "TEST"):
        with closing(sqlite3.connect(root / PACKAGE)) as database:
            query = "SELECT patch_id FROM GLOBAL_ALL_MTD_SPLIT WHERE split_1 = ?"
            patches = [row[0] for row in database.execute(query, (part.lower(),))]
        lines = [delimiter.join(("AERIAL_RGBI", "SPOT_RGBI"))]
        for patch in patches:
            lines.append(
                delimiter.join(f"../{path_of(raster, patch)}" for raster in ("rgb", "spot"))
            )
        table = root / "csv" / f"FLAIR-HUB_{part}.csv"
        table.parent.mkdir(exist_ok=True)
        table.write_text("\n".join(lines) + "\n")
    (root / PACKAGE).unlink()


def another_name_of_the_split(root: Path) -> None:
    with closing(sqlite3.connect(root / PACKAGE)) as database, database:
        table = "GLOBAL_ALL_MTD_SPLIT"
        database.execute(f"ALTER TABLE {table} RENAME COLUMN split_1 TO split_flairhub")


def commas_in_an_archive(root: Path) -> None:
    semicolons(root, ",")
    shutil.make_archive(str(root / "FLAIR-HUB_FULL"), "zip", root / "csv")
    shutil.rmtree(root / "csv")


HABITS = (
    department_zips, toy_folder, suffix_of_the_download_tool, other_products, semicolons,
    commas_in_an_archive, another_name_of_the_split,
)  # fmt: skip


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_same_dataset(
    habit: Callable[[Path], None], plain: Path, copy: Path, load: Callable[..., SceneStore],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    habit(copy)
    store = load(copy)
    assert store.fingerprint == load(plain).fingerprint and store.info["warnings"] == []
    ignored = "ignored: 1 crop types, 3 time series" in capsys.readouterr().out
    assert ignored == (habit is other_products)


def test_pixels_come_as_the_release_has_them(
    plain: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    store = load(plain)
    scene = next(scene for scene in store.scenes if scene.id == FIRST)
    got = {raster: pixels(path) for raster, path in scene.paths.items()}
    source = {raster: read(plain / path_of(raster, FIRST)) for raster in (*RASTERS, "label")}
    assert tuple(store.modalities) == RASTERS and store.info["gsd_m"] == 102.4 / 64
    assert np.array_equal(got["rgb"][:3], source["rgb"][:3])
    assert np.array_equal(got["nir"], source["rgb"][3:])
    surface, terrain = source["dsm"]
    assert (terrain > surface).any()
    assert np.array_equal(got["ndsm"][0], surface - terrain)
    assert np.array_equal(got["dsm"][0], surface)
    # what is repeated comes back by striding, and says nothing else (section 2.2)
    for raster, times in (("spot", 8), ("hist", 2)):
        assert np.array_equal(got[raster][:, ::times, ::times], source[raster])
        assert np.array_equal(got[raster], np.kron(source[raster], np.ones((1, times, times))))
    assert got["spot"].dtype == np.uint16 and source["spot"][3].mean() > 1000
    raw = source["label"]
    assert np.array_equal(got["label"], np.where(raw > 14, 255, raw))
    assert len(store.classes) == 15 and store.classes[14].name == "brushwood"
    assert scene.attributes == {"domain": "D006-2020", "region": "FF-S1-14"}


def test_void_heights_are_void_in_both_forms(
    copy: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    def spoil(bands: np.ndarray) -> np.ndarray:
        bands[:, 0, 0] = -9999
        bands[1, 0, 1] = np.nan
        return bands

    rewrite([copy / path_of("dsm", FIRST)], spoil)
    scene = next(scene for scene in load(copy).scenes if scene.id == FIRST)
    above = pixels(scene.paths["ndsm"])[0]
    assert np.argwhere(np.isnan(above)).tolist() == [[0, 0], [0, 1]]
    assert not np.isnan(pixels(scene.paths["dsm"])[0, 0, 1])


def test_parts_are_departments(plain: Path, load: Callable[..., SceneStore]) -> None:
    store = load(plain)
    parts = {scene.attributes["domain"]: scene.splits["split_standard"] for scene in store.scenes}
    assert parts == {
        "D006-2020": "train", "D024047-2021": "train", "D032-2019": "val", "D012-2019": "test",
    }  # fmt: skip
    drawn = [scene.splits["split_1"] for scene in store.scenes]
    assert [drawn.count(part) for part in ("train", "val", "test")] == [4, 1, 2]
    assert "val patches lie in the regions" in store.info["split_notes"]["split_1"]


def test_the_packaged_toy_list_is_as_analysed() -> None:
    toy = {patch: row["split"] for patch, row in read_split_table("flairhub_toy_split").items()}
    of = {part: [p for p in toy if toy[p] == part] for part in ("train", "val", "test")}
    assert [len(of[part]) for part in ("train", "val", "test")] == [150, 50, 50]
    domains = {part: {patch[:4] for patch in of[part]} for part in of}
    assert domains["test"] == {"D012", "D068", "D069", "D083", "D085"}
    assert domains["train"] == domains["val"] and not domains["train"] & domains["test"]
    regions = {part: {patch.rpartition("_")[0] for patch in of[part]} for part in of}
    assert (len(regions["val"] & regions["train"]), len(regions["val"])) == (24, 46)
    touching = set()
    for patch in of["val"]:
        region, _, place = patch.rpartition("_")
        i, j = map(int, place.split("-"))
        around = {f"{region}_{i + di}-{j + dj}" for di in (-1, 0, 1) for dj in (-1, 0, 1)}
        touching |= {patch} if around & set(of["train"]) else set()
    assert len(touching) == 3


def test_the_proposed_validation_is_every_fifth_department() -> None:
    table = read_split_table("flairhub_domains")
    codes = sorted({row["domain"] for row in table.values()})
    assert (len(table), len(codes), sum(len(code) == 7 for code in codes)) == (74, 70, 4)
    for prefix, row in table.items():
        assert prefix == f"{row['domain']}-{row['year']}"
    # the three others are in the official test part (section 4.5)
    fifth = codes[::5]
    proposed = {row["domain"] for row in table.values() if row["val_proposed"] == "1"}
    assert len(proposed) == 11 and proposed < set(fifth)
    assert set(fifth) - proposed == {"D071", "D076", "D083"}


def test_every_patch_is_found_under_its_own_name() -> None:
    patches = read_split_table("flairhub_toy_split")
    assert len(patches) == 250
    for patch in patches:
        domain, year, rest = re.split("[-_]", patch, maxsplit=2)
        years = {(domain, rest): {year}}
        for raster in (*RASTERS, "label"):
            rel = path_of(raster, patch)
            file = SourceFile(Path(rel), rel, rel, 0, "")
            match = FILE.match(file.name)
            assert match is not None and place_file(years, file, match)[0] == patch


def test_a_list_of_the_toy_wins_its_column(copy: Path, load: Callable[..., SceneStore]) -> None:
    toy = [p for p in read_split_table("flairhub_toy_split") if p.startswith(("D006", "D012"))]
    for patch in (toy[0], toy[1], toy[-1]):
        for raster in ("rgb", "dsm", "spot", "hist", "label"):
            source = FIRST if patch.startswith("D006") else TEST
            copy_file(copy / path_of(raster, source), copy / path_of(raster, patch))
    (copy / PACKAGE).unlink()
    tiles = [toy[0], toy[1], toy[-1]]
    store = load(copy, tiles=tiles)
    parts = [scene.splits["split_toy"] for scene in store.scenes]
    assert sorted(parts) == ["test", "train", "val"] and "split_1" not in store.info["splits"]
    assert {scene.splits["split_standard"] for scene in store.scenes} == {"train", "test"}
    assert "add D032-2019_*.zip, or a run" in " ".join(store.info["warnings"])


def test_a_sensor_that_lacks_a_department_is_a_gap(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    for path in copy.glob("D032-2019_SPOT_RGBI/*/*"):
        path.unlink()
    with pytest.raises(UserError, match=r"1 needed file.*D032-2019_SPOT_RGBI/"):
        load(copy)
    store = load(copy, allow_incomplete=True)
    lacking = {scene.id[:4] for scene in store.scenes if "spot" not in scene.paths}
    assert lacking == {"D032"} and len(store.info["missing"]) == 1


def test_only_two_sensors_are_a_dataset(copy: Path, load: Callable[..., SceneStore]) -> None:
    for token in ("DEM_ELEV", "SPOT_RGBI", "AERIAL-RLT_PAN"):
        for folder in copy.glob(f"*_{token}"):
            shutil.rmtree(folder)
    assert list(load(copy, tiles=None).modalities) == ["rgb", "nir"]


def test_an_old_picture_belongs_to_one_patch(copy: Path, load: Callable[..., SceneStore]) -> None:
    files = sorted(copy.rglob("D006*_FF-S1-14_1-5.tif"))
    assert len(files) == 5
    for file in files:
        for year in ("2018", "2021"):
            move_to = Path(str(file).replace("D006-2020", f"D017-{year}").replace("D006", "D017"))
            copy_file(file, move_to)
    patches = [f"D017-{year}_FF-S1-14_1-5" for year in ("2018", "2021")]
    write_split_list(copy / PACKAGE, [*TILES, *patches])
    with pytest.raises(UserError, match=f"may belong to {patches[0]} and {patches[1]}"):
        load(copy)
    for file in copy.glob("D017-2021*/*/*"):
        file.unlink()
    assert "hist" in load(copy, tiles=[*TILES, patches[0]]).scenes[-1].paths


def test_parts_that_nothing_tells_are_one_line(copy: Path, load: Callable[..., SceneStore]) -> None:
    (copy / PACKAGE).write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(UserError, match="cannot be read as a GeoPackage"):
        load(copy)
    (copy / PACKAGE).unlink()
    with pytest.raises(UserError, match=r"patches of D024047 are: add GLOBAL_ALL_MTD\.zip"):
        load(copy)
    for folder in copy.glob("D012*"):
        shutil.rmtree(folder)
    train = [tile for tile in TILES if tile.startswith("D006")]
    with pytest.raises(UserError, match=r"test part of FLAIR-HUB: add D012-2019_\*\.zip or D068"):
        load(copy, tiles=train)


def test_lists_that_contradict_themselves_are_refused(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    semicolons(copy)
    train, test = copy / "csv/FLAIR-HUB_TRAIN.csv", copy / "csv/FLAIR-HUB_TEST.csv"
    whole = train.read_text()
    train.write_text(whole + test.read_text().splitlines()[1])
    with pytest.raises(UserError, match=rf"FLAIR-HUB_T.* names {TEST}.* too: replace the lists"):
        load(copy)
    train.write_text("nothing\n")
    with pytest.raises(UserError, match=r"FLAIR-HUB_TRAIN\.csv names no patch"):
        load(copy)


def test_files_of_the_older_datasets_are_refused(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    label = copy / path_of("label", FIRST)
    whole = read(label)
    rewrite([label], lambda raw: np.where(np.arange(raw.size).reshape(raw.shape) == 70, 19, raw))
    with pytest.raises(UserError, match=f"{label.name}: the value 19 is of FLAIR #1 or #2"):
        load(copy)
    rewrite([label], lambda _: np.where(whole == 0, 20, whole))
    with pytest.raises(UserError, match=r"value that is no class \(20"):
        load(copy)
    old = copy / "D012_2019/Z10_UU/img/IMG_062613.tif"
    copy_file(copy / path_of("rgb", FIRST), old)
    with pytest.raises(UserError, match=r"IMG_062613\.tif is of FLAIR #1 or #2"):
        load(copy)


def test_copies_of_other_sizes_and_types_are_refused(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    spot = copy / path_of("spot", FIRST)
    rewrite([spot], lambda bands: np.kron(bands, np.ones((1, 8, 8))).astype(np.uint16))
    with pytest.raises(UserError, match=r"64 x 64 pixels .* span 8 of the scene's, but .* 64 x 64"):
        load(copy)
    rewrite([spot], lambda bands: bands[:, ::8, ::8].astype(np.uint8))
    with pytest.raises(UserError, match="data type uint8, expected uint16"):
        load(copy)


def test_a_department_that_the_release_has_not_is_named(
    copy: Path, load: Callable[..., SceneStore], capsys: pytest.CaptureFixture[str]
) -> None:
    strange = path_of("rgb", FIRST.replace("D006-2020", "D097-2020"))
    copy_file(copy / path_of("rgb", FIRST), copy / strange)
    load(copy)
    assert "ignored: 1 of D097-2020, which the release has not" in capsys.readouterr().out


def test_synthetic_files_of_another_library_are_refused_in_one_line(
    tmp_path: Path, load: Callable[..., SceneStore]
) -> None:
    """torchgeo's test data: noise, whole metres, one department with all sensors, three without."""
    draw = np.random.default_rng(0)
    patches = {
        "D006-2020_FF-S1-14_5-5": "train", "D012-2019_AF-S1-27_5-10": "valid",
        "D032-2019_AA-S1-V18_10-22": "test",
    }  # fmt: skip
    root = tmp_path / "FLAIR-HUB_TOY"
    forms = {
        "rgb": (4, np.uint8, 200, 64), "label": (1, np.uint8, 18, 64),
        "dsm": (2, np.uint16, 350, 64), "hist": (1, np.uint8, 200, 32),
    }  # fmt: skip
    for patch in patches:
        for raster, (bands, dtype, most, side) in forms.items():
            if patch.startswith("D006") or raster in ("rgb", "label"):
                values = draw.integers(0, most, (bands, side, side), dtype=dtype)
                write_raster(root / path_of(raster, patch), values)
    package = root / PACKAGE
    package.parent.mkdir()
    with closing(sqlite3.connect(package)) as database, database:
        database.execute("CREATE TABLE GLOBAL_ALL_MTD_SPLIT (patch_id TEXT, split_toy TEXT)")
        database.executemany("INSERT INTO GLOBAL_ALL_MTD_SPLIT VALUES (?, ?)", patches.items())
    with pytest.raises(UserError, match=r"needed file\(s\) of FLAIR-HUB are missing"):
        load(tmp_path, tiles=None)
    with pytest.raises(UserError, match="has data type uint16, expected float32"):
        load(tmp_path, tiles=None, allow_incomplete=True)
