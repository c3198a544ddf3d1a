"""A label is ignored where another raster of its grid holds no value."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.ingest import raster_writer
from datamodules.ingest.importer import import_dataset
from datamodules.ingest.plan import Adapter, ImportPlan, RasterJob, ScenePlan
from datamodules.ingest.sources import SourceFile
from datamodules.store.scene_store import Modality, SceneClass
from usererror import UserError

HEIGHT, WIDTH = 70, 50
NORTH = {"crs": "EPSG:32632", "transform": (10, 0, 500000, 0, -10, 5700000)}
SOUTH = {"crs": "EPSG:32632", "transform": (10, 0, 500000, 0, 10, 5700000 - 10 * HEIGHT)}


def decode(raw):
    """Return ids and what is none; 77 stands for what a publisher writes outside."""
    return np.where(raw[0] == 77, 255, raw[0]).astype(np.uint8), raw[0] == 77


def adapter(valid: bool = True) -> Adapter:
    """Return a dataset of folders s1, dem and mask whose files have one name each."""

    def plan(index, options) -> ImportPlan:
        scenes = []
        for split in ("train", "test"):
            files = {f: index.file_at(f"{f}/{split}.tif") for f in ("s1", "dem", "mask")}
            where = files["s1"] if valid else None
            jobs = {"dem": RasterJob.measurement(files["dem"], "height_absolute")}
            jobs["label"] = RasterJob.label(files["mask"], decode, valid_where=where)
            scenes.append(ScenePlan(split, {"split_standard": split}, jobs, "dem"))
        classes = [SceneClass(0, "other", (0, 0, 0)), SceneClass(1, "flood", (0, 0, 255))]
        modalities = [Modality("dem", "D", 1, "float32", "m", "height_absolute")]
        splits = {"split_standard": ("train", "test")}
        return ImportPlan("T", "", "", classes, modalities, ["label"], splits, scenes)

    return Adapter("flood", "Flood", "Write it with a test.", plan)


@pytest.fixture
def source(tmp_path, write_raster):
    """Radar with NaN in one band here, in the other there, and infinite at one pixel."""
    draw = np.random.default_rng(3)
    for split in ("train", "test"):
        radar = draw.gamma(4, 0.02, (2, HEIGHT, WIDTH)).astype(np.float32)
        radar[0, 60:, 5:] = np.nan
        radar[1, :, :3] = np.nan
        radar[1, 7, 30] = np.inf
        mask = draw.integers(0, 2, (1, HEIGHT, WIDTH), dtype=np.uint8)
        mask[:, 65:, 5:] = 77  # outside, and once where there is no reason for it
        mask[0, 10, 10] = 77
        heights = draw.normal(80, 9, (1, HEIGHT, WIDTH)).astype(np.float32)
        for folder, values in {"s1": radar, "mask": mask, "dem": heights}.items():
            write_raster(tmp_path / "source" / folder / f"{split}.tif", values, **NORTH)
    return tmp_path / "source"


def expected(source: Path, pixels) -> dict[str, np.ndarray]:
    """Return the labels by numpy alone, from the files as they were written."""
    labels = {}
    for split in ("train", "test"):
        radar, mask = (pixels(source / folder / f"{split}.tif") for folder in ("s1", "mask"))
        hidden = ~np.isfinite(radar).all(axis=0) | (mask[0] == 77)
        labels[split] = np.where(hidden, 255, mask[0])
    return labels


def load(source, tmp_path, store="store", **options):
    return import_dataset(adapter(**options), source, tmp_path / store, workers=1)


def labels_of(store, pixels) -> dict[str, np.ndarray]:
    return {scene.id: pixels(scene.paths["label"])[0] for scene in store.scenes}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", [16, 1024])
def test_the_label_is_255_where_any_band_holds_no_value(
    rows, packed, tmp_path, source, pixels, monkeypatch
):
    monkeypatch.setattr(raster_writer, "ROWS", rows)
    truth = expected(source, pixels)
    place = shutil.make_archive(str(tmp_path / "all"), "zip", source) if packed else source
    store = load(Path(place), tmp_path)
    for scene, label in labels_of(store, pixels).items():
        np.testing.assert_array_equal(label, truth[scene])
        counts = store.statistics[scene]["label"]["counts"]
        assert counts == {str(v): int((truth[scene] == v).sum()) for v in (0, 1, 255)}
    said = [line for line in store.info["warnings"] if "unknown" in line]
    assert len(said) == 2 and all("1 label pixels of unknown value (77)" in line for line in said)


def test_what_a_file_calls_nodata_holds_no_value(tmp_path, source, write_raster, pixels):
    radar = np.ones((2, HEIGHT, WIDTH), np.float32)
    radar[0, :9], radar[1, 20:30] = -9999, -3.4e38
    truth = pixels(source / "mask/train.tif")[0]
    truth[truth == 77] = 0
    write_raster(source / "mask/train.tif", truth[None], **NORTH)
    truth[:9] = truth[20:30] = 255
    write_raster(source / "s1/train.tif", radar, nodata=-9999, **NORTH)
    np.testing.assert_array_equal(labels_of(load(source, tmp_path), pixels)["train"], truth)


def test_rows_that_run_the_other_way_lie_on_the_same_ground(tmp_path, source, write_raster, pixels):
    truth = expected(source, pixels)
    for folder in ("s1", "mask"):
        values = pixels(source / folder / "train.tif")[:, ::-1]
        write_raster(source / folder / "train.tif", values, **SOUTH)
    values = pixels(source / "mask/test.tif")[:, ::-1]
    write_raster(source / "mask/test.tif", values, **SOUTH)
    for scene, label in labels_of(load(source, tmp_path), pixels).items():
        np.testing.assert_array_equal(label, truth[scene])


def test_another_grid_is_refused(tmp_path, source, write_raster, pixels):
    radar = pixels(source / "s1/test.tif")
    write_raster(source / "s1/test.tif", radar[:, :-1], **NORTH)
    with pytest.raises(UserError, match=r"s1/test\.tif has 69 x 50 .*mask/test\.tif has 70 x 50"):
        load(source, tmp_path)
    write_raster(source / "s1/test.tif", radar, **{**NORTH, "transform": (10, 0, 5, 0, -10, 5)})
    with pytest.raises(UserError, match=r"s1/test\.tif and \S+mask/test\.tif do not share a grid"):
        load(source, tmp_path)
    (source / "s1/test.tif").write_bytes(b"text")
    with pytest.raises(UserError, match=r"s1/test\.tif is no TIFF"):
        load(source, tmp_path)


def test_a_changed_raster_makes_the_label_anew_and_nothing_else(
    tmp_path, source, write_raster, pixels
):
    store = load(source, tmp_path)
    paths = {(s.id, r): path for s in store.scenes for r, path in s.paths.items()}
    before = {key: path.stat().st_mtime_ns for key, path in paths.items()}
    radar = pixels(source / "s1/train.tif")
    radar[:, 40:45] = np.nan
    write_raster(source / "s1/train.tif", radar, **NORTH)
    truth = expected(source, pixels)
    np.testing.assert_array_equal(
        labels_of(load(source, tmp_path), pixels)["train"], truth["train"]
    )
    assert {k for k in paths if paths[k].stat().st_mtime_ns != before[k]} == {("train", "label")}


def test_a_job_without_it_has_the_text_it_always_had(source):
    mask = SourceFile.on_disk(source / "mask/test.tif", "m")
    plain = RasterJob.label(mask, decode)
    name = f"{decode.__module__}.{decode.__qualname__}[(), {{}}]"
    assert plain.recipe() == f"(1,) uint8 label False False {name}" and plain.other_files == ()
    radar = SourceFile.on_disk(source / "s1/test.tif", "s")
    limited = RasterJob.label(mask, decode, valid_where=radar)
    assert limited.other_files == (radar,) and radar.stamp in limited.recipe()
    assert limited.recipe() != RasterJob.label(mask, decode, depends_on=(radar,)).recipe()
