"""The Potsdam miniature: the official layout, and defects on demand."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from datamodules.miniature.isprs_labels import erode_label
from datamodules.miniature.potsdam import (
    POTSDAM_TILES,
    potsdam_scene,
    write_potsdam,
)
from tests.support import quirks as quirky
from tests.support.potsdam_layout import LAYOUT, TOWN, layer, path_of

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

# Dossier 3.1: the grid; section 2: the palette by name.
ROWS = {2: (10, 14), 3: (10, 14), 4: (10, 15), 5: (10, 15), 6: (7, 15), 7: (7, 13)}
COLOURS = {
    (255, 255, 255): 0,
    (0, 0, 255): 1,
    (0, 255, 255): 2,
    (0, 255, 0): 3,
    (255, 255, 0): 4,
    (255, 0, 0): 5,
}
TRAIN = {  # dossier 3.4
    *(
        "2_10",
        "2_11",
        "2_12",
        "3_10",
        "3_11",
        "3_12",
        "4_10",
        "4_11",
        "4_12",
        "5_10",
        "5_11",
        "5_12",
    ),
    *("6_7", "6_8", "6_9", "6_10", "6_11", "6_12", "7_7", "7_8", "7_9", "7_10", "7_11", "7_12"),
}
WORLD_FILES = [name[:-4] + ".tfw" for name in LAYOUT if "Ortho" in name or "1_DSM/" in name]


def files(root: Path) -> dict[str, str]:
    """Relative path -> checksum of every file."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def decode(image: np.ndarray) -> np.ndarray:
    """Ids by exact colour; 255 for any other colour."""
    out = np.full(image.shape[1:], 255, np.uint8)
    for colour, value in COLOURS.items():
        out[(image == np.array(colour)[:, None, None]).all(0)] = value
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 38 tiles, 64 px."""
    root = tmp_path_factory.mktemp("potsdam_small")
    write_potsdam(root, size=64)
    return root


def test_all_tiles_have_the_official_names_bands_and_georeference(small: Path) -> None:
    tiles = [
        f"{row}_{column}"
        for row, (first, last) in ROWS.items()
        for column in range(first, last + 1)
    ]
    assert len(tiles) == 38 and list(POTSDAM_TILES) == tiles
    expected = {path_of(name, tile) for name in [*LAYOUT, *WORLD_FILES] for tile in tiles}
    assert set(files(small)) == expected
    for name, (bands, dtype, crs) in LAYOUT.items():
        with rasterio.open(small / path_of(name, "7_13")) as file:
            assert (file.count, file.dtypes[0], file.shape) == (bands, dtype, (64, 64)), name
            assert (file.crs.to_string() if file.crs else None) == crs, name
            assert file.driver == ("JPEG" if name.endswith("jpg") else "GTiff")


def test_labels_decode_to_the_truth(small: Path) -> None:
    for tile in POTSDAM_TILES:
        assert np.array_equal(
            decode(layer(small, tile, "_label.tif")), potsdam_scene(64, 0, tile).label
        ), tile


def test_bands_are_the_same_sensor_in_all_three_files(small: Path) -> None:
    rgbir = layer(small, "6_7", "RGBIR")
    assert np.array_equal(layer(small, "6_7", "_RGB.tif"), rgbir[:3])
    assert np.array_equal(layer(small, "6_7", "IRRG"), rgbir[[3, 0, 1]])


def test_world_file_and_inner_transform_put_neighbours_side_by_side(small: Path) -> None:
    def world(tile: str) -> list[float]:
        text = (
            small / path_of("2_Ortho_RGB/2_Ortho_RGB/top_potsdam_{t}_RGB.tfw", tile)
        ).read_text()
        return [float(line) for line in text.split()]

    here, east, south = world("4_12"), world("4_13"), world("5_12")
    assert here[:4] == [0.25, 0, 0, -0.25]
    assert (east[4] - here[4], east[5] - here[5]) == (64 * 0.25, 0)
    assert (south[4] - here[4], south[5] - here[5]) == (0, -64 * 0.25)
    corner = inner_origin(
        small / path_of(next(name for name in LAYOUT if "_RGB.tif" in name), "4_12")
    )
    assert corner == (here[4] - 0.125, here[5] + 0.125), (
        "a world file names the centre of the first pixel"
    )


def inner_origin(path: Path) -> tuple[float, float]:
    """Upper left corner as the file itself has it, from memory, out of sight of its world file."""
    with rasterio.MemoryFile(path.read_bytes()) as memory, memory.open() as file:
        return file.transform.c, file.transform.f


def test_a_tile_depends_on_seed_tile_and_size_alone(small: Path, tmp_path: Path) -> None:
    write_potsdam(tmp_path / "again", size=64, tiles=["7_7", "2_10"])
    again, whole = files(tmp_path / "again"), files(small)
    assert len(again) == 24 and all(whole[name] == value for name, value in again.items())
    write_potsdam(tmp_path / "other", size=64, tiles=["2_10"], seed=1)
    assert all(
        whole[name] != value
        for name, value in files(tmp_path / "other").items()
        if not name.endswith("tfw")
    )
    assert len({potsdam_scene(64, 0, tile).label.tobytes() for tile in POTSDAM_TILES}) == 38


def test_another_process_paints_the_same(small: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, datamodules.miniature.potsdam as m;"
        "m.write_potsdam(pathlib.Path(sys.argv[1]), size=64, tiles=['5_13'])"
    )
    repository = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=repository)
    whole = files(small)
    assert all(whole[name] == value for name, value in files(tmp_path).items())


def test_eroded_label_is_black_within_three_pixels_of_another_class() -> None:
    label = potsdam_scene(64, 3, "3_12").label
    expected = label.copy()
    for row, column in np.ndindex(label.shape):
        top, left = max(row - 3, 0), max(column - 3, 0)
        around = label[top : row + 4, left : column + 4]
        dy = np.arange(top, top + around.shape[0])[:, None] - row
        dx = np.arange(left, left + around.shape[1])[None, :] - column
        if ((around != label[row, column]) & (dx * dx + dy * dy <= 9)).any():
            expected[row, column] = 6
    assert (expected == 6).any() and (expected != 6).any()
    assert np.array_equal(erode_label(label), expected)


def test_eroded_file_keeps_the_truth_or_black(small: Path) -> None:
    image, truth = layer(small, "4_14", "noBoundary"), potsdam_scene(64, 0, "4_14").label
    ids, black = decode(image), (image == 0).all(0)
    assert (
        black.any()
        and np.array_equal(ids == 255, black)
        and np.array_equal(ids[~black], truth[~black])
    )


def test_heights_of_surface_model_and_jpeg_agree(town: Path) -> None:
    """DSM minus JPEG heights leaves the terrain: smooth, about 35 m, gently sloping."""
    for tile in TOWN[:3]:
        dsm = layer(town, tile, "1_DSM/")[0].astype(float)
        assert dsm.min() > 25 and dsm.max() < 65 and 31 < np.percentile(dsm, 5) < 39
        for approach in ("lastools", "ownapproach"):
            counts = layer(town, tile, approach)[0].astype(float)
            ground = dsm - counts / 10
            y, x = np.mgrid[-1:1:256j, -1:1:256j]
            terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).reshape(-1, 6)
            above = (counts > 3).ravel()  # below zero the JPEG is cut off
            fit = terms @ np.linalg.lstsq(terms[above], ground.ravel()[above], rcond=None)[0]
            error = 10 * abs(fit - ground.ravel())[above]
            assert np.median(error) < 1 and (error <= 2).mean() > 0.9
            assert np.hypot(*np.gradient(fit.reshape(256, 256), 0.25)).max() < 0.04
            assert counts.max() > 50


def test_shares_are_those_of_a_town() -> None:
    counts = [
        np.bincount(potsdam_scene(256, 0, tile).label.ravel(), minlength=6)
        for tile in POTSDAM_TILES
    ]
    shares = np.array(counts) / 256**2
    real = np.array([0.296, 0.257, 0.226, 0.155, 0.018, 0.048])  # dossier, section 2
    assert (abs(shares.mean(0) - real) < [0.05, 0.05, 0.05, 0.04, 0.02, 0.03]).all(), shares.mean(0)
    assert (shares > 0).all(1).mean() > 0.9, "nearly every tile holds all six classes"


@pytest.mark.parametrize(("size", "least"), [(64, 2), (512, 6)])
def test_other_sizes_show_less_or_more_ground(size: int, least: int) -> None:
    scene = potsdam_scene(size, 0, "6_9")
    assert scene.label.shape == scene.height.shape == (size, size)
    assert len(np.unique(scene.label)) >= least and scene.label.max() < 6
    cars = scene.height[scene.label == 4]
    assert size == 64 or (
        abs(cars.mean() - 1.3) < 0.2 and 3 < np.percentile(scene.height[scene.label == 1], 95) < 18
    )


def test_heights_belong_to_their_classes() -> None:
    scene = potsdam_scene(256, 0, "4_10")
    roofs, crowns, ground = (scene.height[scene.label == kind] for kind in (1, 3, 0))
    assert roofs.min() > 2.5 and roofs.max() < 20
    assert crowns.min() > 0.8 and crowns.max() < 15 and 3 < np.median(crowns) < 10
    assert (ground == 0).all()


# Quirks ------------------------------------------------------------------------------------------


def write(root: Path, tile: str, *quirks: str, size: int = 64) -> Path:
    quirky.write_potsdam(root, size=size, tiles=[tile], quirks=quirks)
    return root


def test_blended_label_is_recovered_by_threshold_only(small: Path, tmp_path: Path) -> None:
    write(tmp_path, "4_12", "blend_4_12")
    for kind in ("_label.tif", "noBoundary"):
        clean, blended = layer(small, "4_12", kind), layer(tmp_path, "4_12", kind)
        assert (decode(blended) != 255).mean() < 0.01, "no colour is pure any more"
        assert len(np.unique(blended.reshape(3, -1), axis=1).T) > 100
        assert np.array_equal(np.where(blended > 127, 255, 0), clean)
        assert abs(blended.astype(int) - 127).min() >= 40


def test_cars_of_6_7_are_nearly_yellow(tmp_path: Path) -> None:
    write(tmp_path, "6_7", "car_colour_6_7", size=256)
    image, cars = layer(tmp_path, "6_7", "_label.tif"), potsdam_scene(256, 0, "6_7").label == 4
    off = (image == np.array([252, 255, 0])[:, None, None]).all(0)
    assert off.sum() > 0.9 * cars.sum() and not off[~cars].any()
    assert 0 < (decode(image)[cars] == 4).mean() < 0.1
    assert np.array_equal((image > 127).all(0) | (decode(image) != 0), np.ones_like(cars))


def test_narrow_heights_lack_the_last_column(small: Path, tmp_path: Path) -> None:
    write(tmp_path, "3_13", "narrow_3_13")
    for kind in ("1_DSM/", "lastools", "ownapproach"):
        assert layer(tmp_path, "3_13", kind).shape == (1, 64, 63)
    assert np.array_equal(
        layer(tmp_path, "3_13", "1_DSM/"), layer(small, "3_13", "1_DSM/")[:, :, :63]
    )
    assert layer(tmp_path, "3_13", "_RGB.tif").shape == (3, 64, 64)


def test_empty_ownapproach_leaves_lastools(tmp_path: Path) -> None:
    write(tmp_path, "2_10", "empty_ownapproach")
    assert (
        layer(tmp_path, "2_10", "ownapproach").max()
        == 0
        < layer(tmp_path, "2_10", "lastools").max()
    )


@pytest.mark.parametrize(
    ("quirk", "pattern", "replacement"),
    [
        ("unpadded_dsm", r"dsm_potsdam_02_10", "dsm_potsdam_2_10"),
        ("capital_tfw", r"\.tfw$", ".TFW"),
        ("flat_folders", r"^([^/]+)/\1/", r"\1/"),
        ("labels_in_root", r"^5_Labels_all(_noBoundary)?/", ""),
    ],
)
def test_renaming_quirks_rename_and_nothing_else(
    quirk: str, pattern: str, replacement: str, small: Path, tmp_path: Path
) -> None:
    ordinary = {name for name in files(small) if re.search(r"_0?2_10[_.]", name)}
    assert len(ordinary) == 12
    assert set(files(write(tmp_path, "2_10", quirk))) == {
        re.sub(pattern, replacement, name) for name in ordinary
    }
    assert sorted(files(tmp_path).values()) == sorted(files(small)[name] for name in ordinary)


def test_only_rgbir(tmp_path: Path) -> None:
    names = set(files(write(tmp_path, "2_10", "only_rgbir")))
    assert {name.split("/")[0] for name in names if "top_potsdam" in name and "Ortho" in name} == {
        "4_Ortho_RGBIR"
    }


def test_both_label_sets_hold_38_and_24(tmp_path: Path) -> None:
    quirky.write_potsdam(tmp_path, size=32, quirks=["both_label_sets"])
    count = {folder.name: len(list(folder.glob("*.tif"))) for folder in tmp_path.glob("5_*")}
    assert count == {
        "5_Labels_all": 38, "5_Labels_all_noBoundary": 38,
        "5_Labels_for_participants": 24, "5_Labels_for_participants_no_Boundary": 24,
    }  # fmt: skip
    participants = tmp_path / "5_Labels_for_participants"
    given = {
        re.sub(r"top_potsdam_(.*)_label", r"\1", path.stem) for path in participants.glob("*.tif")
    }
    assert given == TRAIN and len(list(participants.glob("*.tfw"))) == 24


def test_no_crs_leaves_only_world_files(tmp_path: Path) -> None:
    write(tmp_path, "2_10", "no_crs")
    for name in LAYOUT:
        path = tmp_path / path_of(name, "2_10")
        with rasterio.open(path) as file:
            assert file.crs is None
    assert (tmp_path / path_of(WORLD_FILES[0], "2_10")).is_file()
    assert inner_origin(tmp_path / path_of(next(iter(LAYOUT)), "2_10")) == (0.0, 0.0)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'1_1'.*2_10"):
        write_potsdam(tmp_path, tiles=["2_10", "1_1"])
    with pytest.raises(ValueError, match="at least 32"):
        write_potsdam(tmp_path, size=8)
    assert not list(tmp_path.iterdir()), "nothing is written before everything is checked"
