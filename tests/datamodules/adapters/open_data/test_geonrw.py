"""GeoNRW: the generated copy as people may have it (dossier of open datasets, section 7)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from datamodules.adapters.open_data.geonrw import COUNTS, RELEASE
from datamodules.miniature.open_data.geonrw import geonrw_ids, write_geonrw
from datamodules.miniature.raster_io import write_raster
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import SceneStore
from tests.support.quirks import copy as copy_file
from tests.support.quirks import move, read, rewrite
from usererror import UserError

DATASET = "geonrw"
TILES = geonrw_ids()
FIRST, BORDER = "aachen/294_5628", "herne/373_5710"
KINDS = ("rgb.jp2", "dem.tif", "seg.tif")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("geonrw")
    write_geonrw(root, size=64)
    return root


def opaque(bands: np.ndarray) -> np.ndarray:
    return np.concatenate([bands[:3], np.full_like(bands[:1], 255)])


def repeat_border_tile(root: Path, *cities: str) -> None:
    for city in cities:
        for kind in KINDS:
            copy_file(root / f"{BORDER}_{kind}", root / f"{city}/373_5710_{kind}")


def zone_before_the_name(root: Path) -> None:
    for kind in KINDS:
        move(root / f"{FIRST}_{kind}", root / f"aachen/32294_5628_{kind}")


def inside_another_folder(root: Path) -> None:
    move(root / "essen", root / "download/nrw_dataset/Essen")


def packed(root: Path) -> None:
    """As it is downloaded."""
    archive = shutil.make_archive(str(root.parent / "nrw_dataset"), "gztar", root)
    shutil.rmtree(root)
    move(Path(archive), root / "nrw_dataset.tar.gz")


def label_of_32_bits(root: Path) -> None:
    rewrite(root.glob("*/*_seg.tif"), lambda raw: raw.astype(np.int32))


def pictures_elsewhere(root: Path) -> None:
    copy_file(root / f"{FIRST}_rgb.jp2", root / "paris/1_1_rgb.jp2")


HABITS = (
    zone_before_the_name, inside_another_folder, packed, label_of_32_bits, pictures_elsewhere,
)  # fmt: skip


def test_pixels_come_as_the_release_has_them(
    plain: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    store = load(plain)
    scene = next(scene for scene in store.scenes if scene.id == FIRST)
    picture = read(plain / f"{FIRST}_rgb.jp2")
    assert picture.shape == (4, 64, 64) and len(np.unique(picture[3])) > 20
    assert np.array_equal(pixels(scene.paths["rgb"]), picture[:3])
    assert np.array_equal(pixels(scene.paths["nir"]), picture[3:])
    heights = pixels(scene.paths["dem"])
    assert heights.dtype == np.float32 and heights[0, 0, 0] == 0 and heights.max() < 850
    # raw 1..10 are ids 0..9, raw 0 is no label (section 7.4)
    raw = read(plain / f"{FIRST}_seg.tif").astype(int)
    assert 0 in raw and 10 in raw
    assert np.array_equal(pixels(scene.paths["label"]), np.where(raw == 0, 255, raw - 1))
    assert [entry.name for entry in store.classes][::9] == ["forest", "buildings"]
    assert store.info["gsd_m"] == 1 and not store.info["warnings"]
    assert list(store.modalities) == ["rgb", "dem", "nir"]


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_same_dataset(
    habit: Callable[[Path], None], plain: Path, copy: Path, load: Callable[..., SceneStore]
) -> None:
    habit(copy)
    store = load(copy)
    assert store.fingerprint == load(plain).fingerprint
    assert not store.info["warnings"]


def test_a_fourth_band_is_infrared_unless_it_is_transparency(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    whole = load(copy)
    names = list(whole.modalities)
    rewrite([copy / f"{FIRST}_rgb.jp2"], lambda bands: bands[:3])
    some = load(copy)
    assert f"not all pictures have it: not {FIRST}_rgb.jp2" in str(some.info["warnings"])
    rewrite(copy.rglob("*_rgb.jp2"), opaque)
    transparent = load(copy)
    assert "255 throughout" in str(transparent.info["warnings"])
    rewrite(copy.rglob("*_rgb.jp2"), lambda bands: bands[:3])
    three = load(copy)
    assert not three.info["warnings"]
    for store in (some, transparent, three):
        assert list(store.modalities) == names[:2]
    # a store of the same three rasters
    assert transparent.fingerprint == three.fingerprint == some.fingerprint


def test_what_is_called_transparency_hides_nothing(
    copy: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    path = copy / f"{FIRST}_rgb.jp2"
    bands = read(path)
    # infrared of a lake with a shore: most of it 0, the rest alike
    bands[3] = 200 * (np.arange(64) > 50)
    path.unlink()
    write_raster(path, bands)
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3].name == "alpha"
    store = load(copy)
    scene = next(scene for scene in store.scenes if scene.id == FIRST)
    assert store.statistics[FIRST]["rgb"]["count"] == 64 * 64
    assert np.array_equal(pixels(scene.paths["rgb"]), bands[:3])
    assert np.array_equal(pixels(scene.paths["nir"]), bands[3:])


def test_radar_is_there_where_somebody_made_it(
    copy: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    amplitude = np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64)
    third = TILES[::3]
    for tile in third:
        write_raster(copy / f"{tile}_sar.tif", amplitude)
    store = load(copy)
    scenes = {scene.id: scene for scene in store.scenes}
    assert {tile for tile in TILES if "sar" in scenes[tile].paths} == set(third)
    decibels = pixels(scenes[FIRST].paths["sar"])
    # 20 dB a factor of ten; 0 is no data
    assert np.isnan(decibels[0, 0, 0]) and np.isnan(decibels).sum() == 1
    ten_thousandfold = decibels.flat[1000] - decibels.flat[1]
    assert decibels.flat[1] == 0 and ten_thousandfold == pytest.approx(60)
    assert store.statistics[FIRST]["sar"]["count"] == 64 * 64 - 1
    # no gap that INCOMPLETE=1 would have to allow
    assert not store.info["missing"]


def test_splits_are_by_city(plain: Path, load: Callable[..., SceneStore]) -> None:
    parts = {}
    for scene in load(plain).scenes:
        parts[scene.attributes["city"]] = tuple(scene.splits.values())
    assert parts == {
        "aachen": ("train", "train"), "bonn": ("train", "train"), "essen": ("train", "train"),
        "koeln": ("val", "train"), "herne": ("test", "test"),
    }  # fmt: skip
    table = read_split_table("geonrw_split")
    assert len(table) == 43
    official = [row["split_official"] for row in table.values()]
    assert (official.count("train"), official.count("test")) == (40, 3)
    # 20 % of the training cities validate (section 7.5)
    standard = [row["split_torchgeo"] for row in table.values()]
    assert (standard.count("train"), standard.count("val"), standard.count("test")) == (32, 8, 3)
    assert str(sum(RELEASE.counts["split_official"].values())) in COUNTS


def test_validation_cities_are_those_that_torchgeo_draws() -> None:
    """GeoNRWDataModule leaves 20 % of the training cities, sorted, out of a draw with seed 0."""
    table = read_split_table("geonrw_split")
    cities = sorted(city for city, row in table.items() if row["split_official"] == "train")
    kept = np.random.default_rng(0).choice(cities, len(cities) - len(cities) // 5, replace=False)
    for city, row in table.items():
        drawn = "test" if city not in cities else "train" if city in kept else "val"
        assert row["split_torchgeo"] == drawn


def test_ground_of_two_parts_is_left_out_of_the_earlier(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    repeat_border_tile(copy, "aachen", "bonn", "koeln")
    for kind in KINDS:  # of val and train, and twice in train
        copy_file(copy / f"koeln/355_5645_{kind}", copy / f"essen/355_5645_{kind}")
        copy_file(copy / f"{FIRST}_{kind}", copy / f"bonn/294_5628_{kind}")
    store = load(copy, tiles=["aachen", "bonn", "koeln", "essen", "herne"])
    unused: dict[str, set[str]] = {}
    for column in ("split_standard", "split_official"):
        unused[column] = {s.id for s in store.scenes if s.splits[column] == "unused"}
    three = {"aachen/373_5710", "bonn/373_5710", "koeln/373_5710"}
    assert unused == {"split_standard": {*three, "essen/355_5645"}, "split_official": three}
    said = str(store.info["warnings"])
    assert "split_standard: 3 train, 1 val tiles are left out" in said
    assert "split_official: 3 train tiles are left out" in said
    # no ground is in two parts
    for column in unused:
        seen: dict[str, set[str]] = {}
        for scene in store.scenes:
            seen.setdefault(scene.id.split("/")[1], set()).add(scene.splits[column])
        assert all(len(parts - {"unused"}) <= 1 for parts in seen.values())


def test_heights_in_a_compound_system_are_compared_by_their_ground(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    path = copy / f"{FIRST}_dem.tif"
    with rasterio.open(path) as dataset:
        assert dataset.crs.to_epsg() == 5555
    elsewhere = Affine(1, 0, 295000, 0, -1, 5629000)
    write_raster(path, read(path), crs="EPSG:5555", transform=elsewhere)
    with pytest.raises(UserError, match="do not share a grid"):
        load(copy)


def test_a_rasterio_without_jpeg_2000_is_told_at_the_start(
    plain: Path, load: Callable[..., SceneStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Environment:
        def drivers(self) -> dict[str, str]:
            return {"GTiff": "GeoTIFF"}

    monkeypatch.setattr(rasterio, "Env", lambda: nullcontext(Environment()))
    with pytest.raises(UserError, match="JPEG 2000, which this rasterio cannot read"):
        load(plain)


def test_defects_end_in_one_line(copy: Path, load: Callable[..., SceneStore]) -> None:
    with pytest.raises(UserError, match=r"38 needed file.* bergisch"):
        load(copy, tiles=None)
    (copy / f"{FIRST}_dem.tif").unlink()
    with pytest.raises(UserError, match=f"1 needed file.*{FIRST}_dem.tif"):
        load(copy)
    with pytest.raises(UserError, match="no tile 'berlin' here"):
        load(copy, tiles=["berlin"])
    rewrite([copy / "bonn/365_5620_seg.tif"], lambda raw: np.where(raw == 0, 11, raw))
    with pytest.raises(UserError, match=r"value that is no class \(11"):
        load(copy, tiles=["bonn", "herne"])
    rewrite([copy / "herne/374_5710_rgb.jp2"], lambda bands: bands[:, :32, :32])
    with pytest.raises(UserError, match="374_5710_rgb.jp2 has 32 x 32"):
        load(copy, tiles=["essen", "herne"])
    # as in the pictures that torchgeo tests with
    rewrite([copy / "essen/361_5702_dem.tif"], lambda heights: heights.astype(np.uint8))
    with pytest.raises(UserError, match="data type uint8, expected float32 or float64"):
        load(copy, tiles=["essen", "herne/373_5710"])


def test_a_picture_that_differs_within_its_city_is_named(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    rewrite([copy / "aachen/295_5628_rgb.jp2"], lambda bands: bands[:3])
    with pytest.raises(UserError, match=r"295_5628_rgb.jp2 has 3 band\(s\), expected 4"):
        load(copy)


def test_pictures_cut_short_are_named(copy: Path, load: Callable[..., SceneStore]) -> None:
    for name in (f"{FIRST}_rgb.jp2", "aachen/295_5628_rgb.jp2"):
        path = copy / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=f"{name} is cut short"):
            load(copy)
        path.write_bytes(whole)


def test_what_torchgeo_tests_with_is_refused(
    tmp_path: Path, load: Callable[..., SceneStore]
) -> None:
    draw = np.random.default_rng(0)
    for city in ("aachen", "duesseldorf"):
        for tile in ("0_0", "1_1"):
            bands = {kind: draw.integers(0, 256, (1, 100, 100), np.uint8) for kind in KINDS}
            bands["rgb.jp2"] = draw.integers(0, 256, (3, 100, 100), np.uint8)
            for kind, values in bands.items():
                driver = "JP2OpenJPEG" if kind == "rgb.jp2" else "GTiff"
                write_raster(tmp_path / f"GeoNRW/{city}/{tile}_{kind}", values, driver)
    # its tiles have the same names in all cities, so that nothing is left to train on
    with pytest.raises(UserError, match="No split of GeoNRW has train and test scenes"):
        load(tmp_path / "GeoNRW", tiles=None, allow_incomplete=True)
