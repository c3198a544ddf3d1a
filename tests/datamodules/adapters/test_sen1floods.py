"""A real radar and optical chip through the folder adapter, cut into four scenes.

Needs the samples beside the project. Independent figures (description of the samples):
label -1 on 99 px, 0 on 192,010, 1 on 70,035; 512 x 512, EPSG:4326;
water has VV -17.0 dB and band-8 reflectance 899, land -9.3 dB and 2246 (medians or means).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

CHIP = Path(__file__).resolve().parents[4] / "shared" / "samples" / "sen1floods11"
FOLDERS = {"sar": "S1", "optical": "S2", "label": "Labels"}
QUADRANTS = {
    "nw": (0, 0, "train"),
    "ne": (0, 256, "train"),
    "sw": (256, 0, "val"),
    "se": (256, 256, "test"),
}
HOLE = (
    slice(None),
    slice(0, 40),
    slice(0, 60),
)  # where the swath's edge is planted: NaN in both bands

pytestmark = pytest.mark.skipif(not CHIP.is_dir(), reason="the real samples are not here")


def whole(raster: str) -> np.ndarray:
    import rasterio

    with rasterio.open(next((CHIP / FOLDERS[raster]).glob("*.tif"))) as source:
        return source.read()


def cut(root: Path, hole: bool) -> None:
    """Write the quadrants with type, nodata tag, coordinate system and place of the original."""
    import rasterio
    from rasterio.windows import Window

    root.mkdir()
    lines = ["id,split,sar,optical,label"]
    for name, (row, col, split) in QUADRANTS.items():
        for raster, folder in FOLDERS.items():
            with rasterio.open(next((CHIP / folder).glob("*.tif"))) as source:
                place = Window(col, row, 256, 256)
                pixels, form = source.read(window=place), source.profile
                form |= {"height": 256, "width": 256, "transform": source.window_transform(place)}
            for key in ("blockxsize", "blockysize"):
                form.pop(key, None)
            if hole and raster == "sar" and name == "nw":
                pixels[HOLE] = np.nan
            with rasterio.open(root / f"{name}_{raster}.tif", "w", **form) as target:
                target.write(pixels)
        lines.append(f"{name},{split},{name}_sar.tif,{name}_optical.tif,{name}_label.tif")
    (root / "scenes.csv").write_text("\n".join(lines) + "\n")
    (root / "classes.csv").write_text("id,name,r,g,b\n0,land,120,150,60\n1,water,0,60,200\n")
    optical = {"kind": "optical", "letter": "O", "unit": "reflectance x 10000"}
    (root / "about.json").write_text(json.dumps({"gsd_m": 10, "modalities": {"optical": optical}}))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A directory with the stores `chip`, as it is, and `swath`, with a hole in scene nw."""
    from datamodules.adapters.registry import import_named_dataset

    root = tmp_path_factory.mktemp("floods")
    for name in ("chip", "swath"):
        cut(root / f"{name}_source", hole=name == "swath")
        import_named_dataset(
            "folder", root / f"{name}_source", root / "stores", name=name, workers=1
        )
    return root / "stores"


def opened(stores, name="chip"):
    from datamodules.store.scene_store import SceneStore

    return SceneStore.open(stores / name)


def together(store, raster, pixels):
    """The four scenes put back into one C x 512 x 512 array."""
    found = {scene.id: pixels(scene.paths[raster]) for scene in store.scenes}
    upper, lower = (
        np.concatenate([found[a], found[b]], axis=2) for a, b in (("nw", "ne"), ("sw", "se"))
    )
    return np.concatenate([upper, lower], axis=1)


def test_what_the_store_says(stores):
    store = opened(stores)
    form = {
        name: (m.letter, m.channels, m.dtype, m.kind, m.unit)
        for name, m in store.modalities.items()
    }
    assert form == {
        "sar": ("S", 2, "float32", "sar", "dB"),
        "optical": ("O", 13, "int16", "optical", "reflectance x 10000"),
    }
    assert {part: len(scenes) for part, scenes in store.split("split_standard").items()} == {
        "train": 2, "val": 1, "test": 1
    }  # fmt: skip
    assert store.info["warnings"] == [] and store.verify() == []


@pytest.mark.parametrize("raster", ["sar", "optical"])
def test_values_are_those_of_the_chip(raster, stores, pixels):
    original = whole(raster)
    stored = together(opened(stores), raster, pixels)
    assert stored.dtype == original.dtype
    np.testing.assert_array_equal(stored, original)


def test_labels_and_their_99_ignored_pixels(stores, pixels):
    original = whole("label")
    stored = together(opened(stores), "label", pixels)
    np.testing.assert_array_equal(stored, np.where(original == -1, 255, original))
    counts = {key: 0 for key in ("0", "1", "255")}
    for entry in opened(stores).statistics.values():
        for key in counts:
            counts[key] += entry["label"]["counts"][key]
    assert counts == {"0": 192_010, "1": 70_035, "255": 99}


def test_sensors_and_labels_lie_on_one_another(stores, pixels):
    store = opened(stores)
    label, sar, optical = (
        together(store, raster, pixels) for raster in ("label", "sar", "optical")
    )
    for id_, decibel, band_8 in ((1, -17.0, 899), (0, -9.3, 2246)):
        here = label[0] == id_
        for values, expected, off in ((sar[0][here], decibel, 0.1), (optical[7][here], band_8, 1)):
            assert min(abs(np.mean(values) - expected), abs(np.median(values) - expected)) <= off


def test_the_place_on_earth_is_kept(stores):
    import rasterio

    with rasterio.open(next((CHIP / "S1").glob("*.tif"))) as source:
        crs, corner, side = source.crs, (source.bounds.left, source.bounds.top), source.transform.a
    for scene in opened(stores).scenes:
        row, col, _ = QUADRANTS[scene.id]
        for path in scene.paths.values():
            with rasterio.open(path) as file:
                assert file.crs == crs and file.crs.to_epsg() == 4326
                assert file.bounds.left == pytest.approx(corner[0] + col * side, abs=1e-9)
                assert file.bounds.top == pytest.approx(corner[1] - row * side, abs=1e-9)


def test_pixels_that_are_not_numbers_stay_out_of_the_statistics(stores):
    original = whole("sar")[:, :256, :256].astype(float)
    valid = np.ones((256, 256), bool)
    valid[HOLE[1:]] = False
    entry = opened(stores, "swath").statistics["nw"]["sar"]
    assert entry["count"] == 256 * 256 - 40 * 60
    for band in range(2):
        values = original[band][valid]
        assert entry["mean"][band] == pytest.approx(values.mean()) and entry["std"][
            band
        ] == pytest.approx(values.std())
        assert (entry["min"][band], entry["max"][band]) == (values.min(), values.max())
        for key, share in (("p05", 0.05), ("p95", 0.95)):
            assert entry[key][band] == np.percentile(values, 100 * share, method="inverted_cdf")


@pytest.mark.parametrize("name", ["chip", "swath"])
def test_batches_are_finite_everywhere(name, stores):
    import torch

    from datamodules.base import SceneDataModule

    data = SceneDataModule(name, str(stores), window=128, batch_size=2, num_workers=0)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            assert set(batch["image"]) == {"sar", "optical"}
            for image in batch["image"].values():
                assert image.dtype == torch.float32 and torch.isfinite(image).all()
                assert image.abs().mean() < 3  # standardised, not raw counts
            assert set(batch["mask"].unique().tolist()) <= {0, 1, 255}


def test_a_hole_takes_the_scene_s_low_value_in_each_band(stores):
    from datamodules.base import SceneDataModule
    from datamodules.store.reader import RasterReader, Window

    data = SceneDataModule("swath", str(stores), window=128, num_workers=0)
    layer = next(layer for layer in data.layers if layer.name == "sar")
    scene = next(scene for scene in data.splits["train"] if scene.id == "nw")
    raw = RasterReader().read(scene.paths["sar"], Window(0, 0, 128, 128))
    assert np.isnan(raw).sum() == 2 * 40 * 60
    clean = layer.normalizer.to_valid(raw, "nw")
    for band, low in enumerate(data.store.statistics["nw"]["sar"]["p05"]):
        np.testing.assert_array_equal(clean[band][HOLE[1:]], np.float32(low))
    outside = np.isfinite(raw)
    np.testing.assert_array_equal(clean[outside], raw[outside])
