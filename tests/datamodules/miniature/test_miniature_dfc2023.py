"""The generated copy of DFC2023: layout, records, shared ground, and three sensors."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from datamodules.miniature.aerial.canvas import BUILDING, IMPERVIOUS, INDEX, TREE
from datamodules.miniature.aerial.city import Town, Window
from datamodules.miniature.dfc2023 import (
    SIZES,
    dfc2023_tile,
    write_dfc2023,
)
from datamodules.splits.tables import read_split_table
from tests.datamodules.miniature.test_coco_export import filled

STEMS = SIZES["test"]["stems"]
EMPTY = "SV_Brasilia_-15.8334_-47.8950"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dfc2023")
    write_dfc2023(root, **SIZES["test"])
    return root


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, str]]:
    return read_split_table("dfc2023")


def outlines(root: Path) -> dict[str, Any]:
    return json.loads(next(root.rglob("buildings_only_train.json")).read_text())


def digests(root: Path, pattern: str) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob(pattern)
    }


# ---- Layout ----


def test_layout_of_the_contest(small: Path, table: dict[str, dict[str, str]]) -> None:
    files = {str(p.relative_to(small)) for p in small.rglob("*") if p.is_file()}
    expected = {
        f"track2/train/{raster}/{stem}.tif" for raster in ("rgb", "sar", "dsm") for stem in STEMS
    }
    expected |= {f"track2/val/{r}/P_{n}.tif" for r in ("rgb", "sar") for n in ("0000", "0934")}
    expected |= {
        f"track2_test_data/{r}/P_{n}.tif" for r in ("rgb", "sar") for n in ("0420", "1166")
    }
    assert files == expected | {"track2/buildings_only_train.json"}
    forms = {"rgb": (3, "uint8"), "sar": (1, "float32"), "dsm": (1, "float32")}
    for name in expected:
        with rasterio.open(small / name) as file:
            raster, stem = name.split("/")[-2], Path(name).name.removesuffix(".tif")
            assert (
                (file.count, file.dtypes[0]) == forms[raster]
                and file.shape == (64, 64)
                and file.nodata is None
            )
            if stem.startswith("P_"):
                assert file.crs is None
                continue
            assert file.crs.to_epsg() == int(table[stem]["epsg"]) and file.res == (1.0, 1.0)


def test_tiles_lie_where_their_names_say(table: dict[str, dict[str, str]]) -> None:
    """At the real size distances are the real ones; the names are rounded to 5.6 m."""
    from rasterio.warp import transform

    stems = [s for s, row in table.items() if row["block"] == "27"][:8]
    tiles = [dfc2023_tile(400, 0, stem) for stem in stems[:2]]
    lat, lon = zip(*(map(float, stem.split("_")[-2:]) for stem in stems), strict=True)
    x, y = transform("EPSG:4326", "EPSG:32756", lon, lat)
    shrunk = 400 / 512  # a tile of 400 px of 0.5 m is 200 m wide
    assert tiles[0].corner[0] - tiles[1].corner[0] == pytest.approx(shrunk * (x[0] - x[1]), abs=2)
    assert tiles[0].corner[1] - tiles[1].corner[1] == pytest.approx(shrunk * (y[0] - y[1]), abs=2)


def test_a_tile_depends_on_seed_name_and_size_alone(small: Path, tmp_path: Path) -> None:
    dfc2023_tile.cache_clear()
    write_dfc2023(tmp_path / "one", size=64, stems=[STEMS[3]])
    alone = digests(tmp_path / "one", f"{STEMS[3]}.tif")
    assert len(alone) == 3 and alone.items() <= digests(small, "*.tif").items()
    write_dfc2023(tmp_path / "other", size=64, seed=1, stems=[STEMS[3]])
    assert not set(alone.values()) & set(digests(tmp_path / "other", "*.tif").values())
    ids = {image["file_name"]: image["id"] for image in outlines(small)["images"]}
    assert outlines(tmp_path / "one")["images"][0]["id"] == ids[f"{STEMS[3]}.tif"]


def test_sizes(table: dict[str, dict[str, str]]) -> None:
    for arguments in SIZES.values():
        stems = arguments["stems"]
        assert set(stems) <= set(table) and len(set(stems)) == len(stems)
        for column in ("split_standard", "split_spatial", "split_random")[
            : 3 if len(stems) > 2 else 1
        ]:
            assert {"train", "test"} <= {table[stem][column] for stem in stems}
    stems = SIZES["demonstration"]["stems"]
    parts = [table[stem]["split_standard"] for stem in stems]
    assert 90 <= len(stems) <= 120 and {table[stem]["city"] for stem in stems} == {
        r["city"] for r in table.values()
    }
    assert (
        parts.count("test") * 128**2 < 1e6
        and parts.count("train") * 128**2 > 1.2e6
        and parts.count("val") > 10
    )
    assert SIZES["real"]["size"] == 512


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown scene 'P_0000'"):
        write_dfc2023(tmp_path, stems=["P_0000"])
    with pytest.raises(ValueError, match="at least 32"):
        write_dfc2023(tmp_path, size=8)
    assert not list(tmp_path.iterdir())


# ---- Ground ----


def test_neighbours_show_the_same_ground(tmp_path: Path, table: dict[str, dict[str, str]]) -> None:
    """Two tiles that overlap by a third are equal there, in every raster and in the truth."""
    stems = [stem for stem, row in table.items() if row["block"] == "4"][:2]
    write_dfc2023(tmp_path, size=64, stems=stems)
    first, second = (dfc2023_tile(64, 0, stem).window for stem in stems)
    down, right = second.row - first.row, second.column - first.column
    assert max(abs(down), abs(right)) < 48
    rows, columns = 64 - abs(down), 64 - abs(right)

    def shared(values: np.ndarray, sign: int) -> np.ndarray:
        top, left = max(0, sign * down), max(0, sign * right)
        return values[..., top : top + rows, left : left + columns]

    truths = [dfc2023_tile(64, 0, stem).truth for stem in stems]
    np.testing.assert_array_equal(shared(truths[0], 1), shared(truths[1], -1))
    assert shared(truths[0], 1).any()
    for raster in ("rgb", "dsm", "sar"):
        pictures = []
        for stem in stems:
            with rasterio.open(tmp_path / "track2" / "train" / raster / f"{stem}.tif") as file:
                pictures.append(file.read())
        np.testing.assert_allclose(
            shared(pictures[0], 1), shared(pictures[1], -1), rtol=1e-4, atol=1e-4
        )


def test_any_window_of_a_town() -> None:
    town = Town((3, 1))
    wide, narrow = Window(-70, 40, 120, 1.0), Window(-50, 75, 40, 1.0)
    cut = (slice(20, 60), slice(35, 75))
    (scene, unknown), (part, lost) = town.paint_window(wide), town.paint_window(narrow)
    for whole, piece in ((scene.label, part.label), (scene.height, part.height), (unknown, lost)):
        np.testing.assert_array_equal(whole[cut], piece)
    np.testing.assert_array_equal(town.noise_on(wide, 2)[cut], town.noise_on(narrow, 2))
    assert abs(town.noise_on(wide, 2).std() - 1) < 0.05 and not np.array_equal(
        town.noise_on(wide, 2), town.noise_on(wide, 3)
    )
    green, _ = Town((3, 1), green=True).paint_window(wide)
    assert not (green.label == BUILDING).any() and (green.label == TREE).mean() > 0.1


def test_the_json_has_every_oddity(
    small: Path, tmp_path: Path, table: dict[str, dict[str, str]]
) -> None:
    write_dfc2023(tmp_path, size=128, stems=STEMS[:2])
    order = {f"{stem}.tif": number for number, stem in enumerate(sorted(table))}
    seen: dict[str, int] = dict.fromkeys(
        ("closed", "open", "parts", "point", "touching", "code", "overlap"), 0
    )
    for content in (outlines(small), outlines(tmp_path)):
        images, annotations = content["images"], content["annotations"]
        assert content["categories"] == [{"supercategory": "building", "id": 1, "name": "building"}]
        assert all(image["id"] == order[image["file_name"]] for image in images)
        assert [record["id"] for record in annotations] == list(range(len(annotations)))
        assert {*annotations[0]} == {
            "segmentation",
            "iscrowd",
            "image_id",
            "category_id",
            "bbox",
            "area",
            "id",
        }
        size = images[0]["height"]
        for image, group in itertools.groupby(annotations, lambda record: record["image_id"]):
            masks = []
            for record in group:
                shape = record["segmentation"]
                masks.append(filled(shape, (size, size)))
                if isinstance(shape, dict):
                    assert (ndimage.binary_fill_holes(masks[-1]) != masks[-1]).any()
                    seen["code"] += 1
                    continue
                assert all(
                    type(value) is int and 0 <= value < size for ring in shape for value in ring
                )
                for ring in shape:
                    points = list(zip(ring[::2], ring[1::2], strict=True))
                    closed = len(points) > 2 and points[0] == points[-1]
                    seen["closed" if closed else "open"] += 1
                    seen["point"] += len(set(points)) == 1
                    seen["touching"] += len(set(points)) < len(points) - closed
                seen["parts"] += sum(len(ring) > 4 for ring in shape) > 1
            seen["overlap"] += int((np.sum(masks, axis=0) > 1).any())
            stem = next(i["file_name"] for i in images if i["id"] == image).removesuffix(".tif")
            np.testing.assert_array_equal(np.any(masks, axis=0), dfc2023_tile(size, 0, stem).truth)
    assert all(seen.values()), seen
    with_records = {record["image_id"] for record in outlines(small)["annotations"]}
    assert [i["file_name"] for i in outlines(small)["images"] if i["id"] not in with_records] == [
        f"{EMPTY}.tif"
    ]
    assert not dfc2023_tile(64, 0, EMPTY).truth.any()


# ---- Sensors ----


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    """Pixels of four larger tiles; `unknown` marks buildings too new for the heights."""
    out: dict[str, list[np.ndarray]] = {}
    for stem in (STEMS[0], STEMS[3], STEMS[5], STEMS[7]):
        tile = dfc2023_tile(128, 0, stem)
        values = {
            "label": tile.cut_margin(tile.scene.label)[None],
            "material": tile.cut_margin(tile.scene.material)[None],
            "rgb": tile.rgb, "dsm": tile.dsm, "linear": tile.sar,
            "sar": 10 * np.log10(tile.sar + 1e-7),
            "unknown": tile.cut_margin(tile.unknown)[None],
        }  # fmt: skip
        for name, value in values.items():
            out.setdefault(name, []).append(value.reshape(len(value), -1).T.astype(float))
    return {name: np.concatenate(parts) for name, parts in out.items()}


def test_heights_and_radar_are_like_the_real_ones(seen: dict[str, np.ndarray]) -> None:
    """Dossier 5.3 and 9: 66.6 % of heights are 0, 30 % at least 2 m; radar about 10^-0.8."""
    dsm, linear = seen["dsm"], seen["linear"]
    assert np.isfinite(dsm).all() and dsm.min() == 0
    assert 0.5 < (dsm == 0).mean() < 0.8 and 0.2 < (dsm >= 2).mean() < 0.45
    assert np.isfinite(linear).all() and linear.min() >= 0
    assert (
        0.1 < linear.mean() < 0.25
        and -11 < seen["sar"].mean() < -6
        and 2.3 < seen["sar"].std() < 4.5
    )


def test_what_is_alike_in_one_sensor_is_apart_in_another(seen: dict[str, np.ndarray]) -> None:
    known = seen["unknown"][:, 0] == 0
    kinds = {
        "grey roof": (seen["material"][:, 0] == INDEX["bitumen"]) & known,
        "road": (seen["material"][:, 0] == INDEX["asphalt"]) & (seen["label"][:, 0] == IMPERVIOUS),
        "crown": seen["label"][:, 0] == TREE,
        "roof": (seen["label"][:, 0] == BUILDING) & known,
        "new roof": ~known,
    }
    assert all(kind.sum() > 100 for kind in kinds.values()), {
        name: kind.sum() for name, kind in kinds.items()
    }

    def apart(sensor: str, a: str, b: str) -> float:
        one, other = seen[sensor][kinds[a]], seen[sensor][kinds[b]]
        return float(
            np.max(
                abs(one.mean(0) - other.mean(0)) / np.sqrt((one.var(0) + other.var(0)) / 2 + 1e-9)
            )
        )

    assert apart("rgb", "grey roof", "road") < 1 < 2 < apart("dsm", "grey roof", "road")
    assert apart("sar", "grey roof", "road") > 0.4
    assert apart("dsm", "crown", "roof") < 1.5 and apart("rgb", "crown", "roof") > 1
    assert seen["dsm"][kinds["new roof"]].max() == 0, "too new for the heights"
    assert apart("rgb", "new roof", "crown") > 1


def test_walls_that_face_the_sensor_shine_and_shadows_follow() -> None:
    """One block on a lawn: bright before the wall that faces the sensor, dark behind."""
    from datamodules.miniature.aerial.sar import BACKSCATTER_DB, LOOKS, radar_backscatter
    from datamodules.miniature.aerial.scene import Scene

    label, height = np.full((60, 60), 2, np.uint8), np.zeros((60, 60), np.float32)
    label[20:40, 25:35], height[20:40, 25:35] = BUILDING, 12.0
    material = np.where(label == BUILDING, INDEX["bitumen"], INDEX["lawn"]).astype(np.uint8)
    scene = Scene(1.0, label, height, material, np.zeros((4, 60, 60), np.float32))
    speckle = np.random.default_rng(0).normal(0, 1, (2 * LOOKS, 60, 60))
    image = radar_backscatter(scene, np.radians(270), np.radians(40), speckle)
    lawn = image[:15].mean()
    assert lawn == pytest.approx(10 ** (BACKSCATTER_DB["lawn"] / 10), rel=0.1)
    assert image[:15].std() / lawn == pytest.approx(0.5, abs=0.05), "gamma speckle of four looks"
    assert image[22:38, 24].mean() > 5 * lawn, "corner of wall and ground"
    assert image[22:38, 14:23].mean() > 1.4 * lawn, "the wall laid over"
    assert image[22:38, 36:42].mean() < 0.5 * lawn, "shadow"
    assert image[22:38, 50:].mean() == pytest.approx(lawn, rel=0.1)
    east = radar_backscatter(scene, np.radians(90), np.radians(40), speckle)
    assert east[22:38, 35].mean() > 5 * lawn and east[22:38, 18:24].mean() < 0.5 * lawn
