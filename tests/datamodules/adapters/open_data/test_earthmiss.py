"""EarthMiss: the generated copy as people may have it (dossier of open datasets, section 3)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.adapters.open_data.earthmiss import RELEASE
from datamodules.miniature.open_data.earthmiss import earthmiss_ids, write_earthmiss
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import SceneStore
from tests.support.quirks import copy as copy_file
from tests.support.quirks import move, read, rewrite
from usererror import UserError

DATASET = "earthmiss"
TILES = earthmiss_ids()
FIRST = "America-Eugene/images/RGB/America-Eugene_clip_0_0.tif"
MASK = FIRST.replace("images/RGB", "masks")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("earthmiss")
    write_earthmiss(root)
    # what no camera of bytes could write, and what the release does not explain
    rewrite([root / FIRST], lambda bands: np.where(bands == bands.max(), 1490, bands))
    radar = root / FIRST.replace("RGB", "SAR")
    rewrite([radar], lambda bands: np.where(bands == bands.min(), -1, bands))
    rewrite([root / MASK], with_every_class)
    return root


def with_every_class(raw: np.ndarray) -> np.ndarray:
    raw[0, 20, :8] = range(1, 9)
    return raw


def with_suffixes(root: Path) -> None:
    for folder, suffix in (("SAR", "_SAR"), ("masks", "_mask")):
        for path in list(root.rglob(f"{folder}/*.tif")):
            path.rename(path.with_name(f"{path.stem}{suffix}.tif"))


def png_masks(root: Path) -> None:
    from datamodules.miniature.raster_io import write_raster

    for path in list(root.rglob("masks/*.tif")):
        write_raster(path.with_suffix(".png"), read(path), "PNG")
        path.unlink()


def second_copy(root: Path) -> None:
    copy_file(root / FIRST, root / FIRST.replace(".tif", "(1).tif"))


def only_second_copy(root: Path) -> None:
    move(root / FIRST, root / FIRST.replace(".tif", "(1).tif"))


def authors_pieces(root: Path) -> None:
    copy_file(root / FIRST, root / FIRST.replace("RGB", "RGB_512"))


def three_equal_bands(root: Path) -> None:
    rewrite(root.rglob("SAR/*.tif"), lambda bands: np.repeat(bands, 3, axis=0))


def inside_another_folder(root: Path) -> None:
    move(root / "Nanjing", root / "download/data/nanjing")


def zipped(root: Path) -> None:
    for city in list(root.iterdir()):
        if city.is_dir():
            shutil.make_archive(str(city), "zip", root, city.name)
            shutil.rmtree(city)


HABITS = (
    with_suffixes, png_masks, second_copy, only_second_copy, authors_pieces, three_equal_bands,
    inside_another_folder, zipped,
)  # fmt: skip


def test_pixels_come_as_the_release_has_them(
    plain: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    store = load(plain)
    scene = next(scene for scene in store.scenes if scene.id == TILES[0])
    rgb, sar = pixels(scene.paths["rgb"]), pixels(scene.paths["sar"])
    assert rgb.dtype == sar.dtype == np.float32 and rgb.max() == 1490 and sar.min() == -1
    assert np.array_equal(rgb, read(plain / FIRST))
    # raw 1..8 are ids 0..7, raw 0 is no label (section 3.4)
    raw = read(plain / MASK).astype(int)
    assert np.array_equal(pixels(scene.paths["label"]), np.where(raw == 0, 255, raw - 1))
    assert [entry.name for entry in store.classes][::7] == ["Background", "Playground"]
    assert scene.attributes == {"city": "America-Eugene"}


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_same_dataset(
    habit: Callable[[Path], None], plain: Path, copy: Path, load: Callable[..., SceneStore]
) -> None:
    habit(copy)
    store = load(copy)
    assert store.fingerprint == load(plain).fingerprint
    assert bool(store.info["warnings"]) == (habit is three_equal_bands)


def test_splits_are_by_city(plain: Path, load: Callable[..., SceneStore]) -> None:
    store = load(plain)
    parts = {scene.attributes["city"]: scene.splits["split_standard"] for scene in store.scenes}
    assert parts == {
        "America-Eugene": "train", "Nanjing": "train", "America-Pake": "val",
        "Japan-Hakodate": "test",
    }  # fmt: skip
    # the validation cities have no playground (section 3.5)
    playgrounds = dict.fromkeys(("train", "val", "test"), 0)
    for scene in store.scenes:
        counts = store.statistics[scene.id]["label"]["counts"]
        playgrounds[scene.splits["split_standard"]] += counts.get("7", 0)
    assert playgrounds["val"] == 0 < min(playgrounds["train"], playgrounds["test"])
    table = read_split_table("earthmiss_split")
    roles = [row["split_standard"] for row in table.values()]
    assert [roles.count(part) for part in ("train", "val", "test")] == [7, 3, 3]
    assert sum(RELEASE.counts["split_standard"].values()) == 3355
    # what the released code calls "val" are the test cities (section 3.5)
    unused = {city for city, row in table.items() if row["split_released_code"] == "unused"}
    assert unused == {city for city, row in table.items() if row["split_standard"] == "val"}
    assert "test cities" in store.info["split_notes"]["split_released_code"]


def test_a_copy_with_other_content_is_named(copy: Path, load: Callable[..., SceneStore]) -> None:
    second_copy(copy)
    rewrite([copy / FIRST.replace(".tif", "(1).tif")], lambda bands: bands + 1)
    assert "1 second files differ" in str(load(copy).info["warnings"])


def test_an_ignored_value_is_no_class(copy: Path, load: Callable[..., SceneStore]) -> None:
    rewrite([copy / MASK], lambda raw: np.where(raw == 0, 255, raw))
    store = load(copy)
    assert store.statistics[TILES[0]]["label"]["counts"]["255"] == 64


def test_defects_end_in_one_line(copy: Path, load: Callable[..., SceneStore]) -> None:
    other = copy / MASK.replace(".tif", "_mask.tif")
    copy_file(copy / MASK, other)
    rewrite([other], lambda raw: raw[:, ::-1])
    with pytest.raises(UserError, match="two different files of one tile"):
        load(copy)
    other.unlink()
    with pytest.raises(UserError, match=r"9 needed file.* Australia-PortHedland"):
        load(copy, tiles=None)
    (copy / FIRST).unlink()
    with pytest.raises(UserError, match=f"1 needed file.*{FIRST}"):
        load(copy)
    with pytest.raises(UserError, match="no tile 'Berlin' here"):
        load(copy, tiles=["Berlin"])


def test_values_of_no_class_and_bytes_are_refused(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    rewrite([copy / MASK], lambda raw: np.where(raw == 0, 9, raw))
    with pytest.raises(UserError, match=r"value that is no class \(9"):
        load(copy)
    rewrite([copy / FIRST], lambda bands: np.clip(bands, 0, 255).astype(np.uint8))
    with pytest.raises(UserError, match="data type uint8, expected float32"):
        load(copy)


def test_values_of_another_scale_are_noticed_in_a_whole_copy(
    plain: Path, load: Callable[..., SceneStore], tmp_path: Path
) -> None:
    """A copy divided by 255 looks like any other: only the published numbers tell."""
    # a copy counts as whole when no city lacks
    whole = Path(shutil.copytree(plain, tmp_path / "whole"))
    for city in read_split_table("earthmiss_split"):
        if not (whole / city).exists():
            shutil.copytree(whole / "Japan-Hakodate", whole / city)
    told = load(whole, tiles=None).info["warnings"]
    assert any(line.startswith("rgb: the training mean is") for line in told)
    draw = np.random.default_rng(0).normal(0, 1, (3, 64, 64))
    draw = (draw - draw.mean((1, 2), keepdims=True)) / draw.std((1, 2), keepdims=True)
    means, deviations = (np.array(one)[:, None, None] for one in RELEASE.published["rgb"])
    as_published = (means + draw * deviations).astype(np.float32)
    rewrite(whole.rglob("RGB/*.tif"), lambda bands: as_published)
    right = load(whole, tiles=None)
    assert not any(line.startswith("rgb") for line in right.info["warnings"])
