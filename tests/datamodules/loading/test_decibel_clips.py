"""Linear radar with a clip of its own per channel: one range wherever its decibels are used."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from datamodules.base import SceneDataModule
from datamodules.damage.scenario import Scenario
from datamodules.ingest.importer import import_dataset
from datamodules.ingest.plan import Adapter, ImportPlan, RasterJob, ScenePlan
from datamodules.loading.inference_rasters import ModalitySpec, open_scene
from datamodules.store.reader import Window
from datamodules.store.rendering import render_modality
from datamodules.store.scene_store import Modality, SceneClass
from usererror import UserError

OWN = ((-30, 0), (-35, -5))
FIXED = ((-25, 0), (-25, 0))
SAR = Modality("sar", "S", 2, "float32", "linear", "sar_linear")
SIDE = 32


def decode(raw):
    return raw[0], raw[0] > 1


def load(tmp_path, modality: Modality, store: str = "store"):
    """Import two scenes of radar and a label."""

    def plan(index, options) -> ImportPlan:
        scenes = []
        for split in ("train", "test"):
            radar, mask = (index.file_at(f"{split}_{name}.tif") for name in ("sar", "mask"))
            jobs = {
                "sar": RasterJob(radar, (1, 2), "float32", "sar_linear", may_reference=True),
                "label": RasterJob.label(mask, decode),
            }
            scenes.append(ScenePlan(split, {"split_standard": split}, jobs, "sar"))
        classes = [SceneClass(0, "other", (0, 0, 0)), SceneClass(1, "flood", (0, 0, 255))]
        parts = {"split_standard": ("train", "test")}
        return ImportPlan("T", "", "", classes, [modality], ["label"], parts, scenes)

    adapter = Adapter("flood", "Flood", "Write it with a test.", plan)
    return import_dataset(adapter, tmp_path / "source", tmp_path / store, workers=1)


@pytest.fixture
def radar(tmp_path, write_raster) -> dict[str, np.ndarray]:
    """Backscatter from -45 to 5 dB, with nothing at one place and no value at another."""
    draw, scenes = np.random.default_rng(0), {}
    for split in ("train", "test"):
        linear = 10 ** (draw.uniform(-45, 5, (2, SIDE, SIDE)) / 10)
        linear[:, 0, 0], linear[:, 1, 1] = 0, np.nan
        scenes[split] = linear.astype(np.float32)
        write_raster(tmp_path / "source" / f"{split}_sar.tif", scenes[split])
        label = draw.integers(0, 2, (1, SIDE, SIDE), dtype=np.uint8)
        write_raster(tmp_path / "source" / f"{split}_mask.tif", label)
    return scenes


def decibels(linear: np.ndarray, clip) -> np.ndarray:
    """Return the definition in double precision, channel by channel."""
    parts = []
    for channel, (low, high) in zip(linear.astype(np.float64), clip, strict=True):
        values = 10 * np.log10(channel + 1e-7)
        parts.append(np.minimum(np.maximum(values, low), high))
    return np.stack(parts)


@pytest.mark.parametrize(("given", "clip"), [(OWN, OWN), (None, FIXED)])
def test_statistics_input_picture_and_damage_share_one_range(given, clip, tmp_path, radar):
    modality = replace(SAR, clip_db=given)
    store = load(tmp_path, modality)
    told = json.loads((store.root / "dataset.json").read_text())["modalities"]["sar"]
    assert told.get("clip_db") == (None if given is None else [[-30, 0], [-35, -5]])
    assert store.modalities["sar"] == modality
    truth = {split: decibels(linear, clip) for split, linear in radar.items()}
    for split, values in truth.items():
        there = values[:, np.isfinite(radar[split][0])]
        found = store.statistics[split]["sar"]
        assert found["count"] == SIDE * SIDE - 1
        assert found["min"] == [low for low, _ in clip] and found["max"] == [h for _, h in clip]
        np.testing.assert_allclose(found["mean"], there.mean(1), atol=1e-5)
        np.testing.assert_allclose(found["std"], there.std(1), atol=1e-5)
        low = np.percentile(there, 5, axis=1, method="inverted_cdf")
        np.testing.assert_allclose(found["p05"], low, atol=1e-5)

    options = {"window": SIDE, "batch_size": 1, "num_workers": 0}
    data = SceneDataModule("flood", str(store.root.parent), **options)
    wrong = {"version": 1, "group": "own", "about": "", "damage": "calibration"}
    wrong["severities"] = {"down": {"decibels": -9}, "up": {"decibels": 9}}
    data.scenario = Scenario.parse("wrong", wrong)
    sample = data.evaluation_windows("test")[0, 0]
    trained, tested = store.statistics["train"]["sar"], store.statistics["test"]["sar"]
    mean, std = (np.array(trained[key])[:, None, None] for key in ("mean", "std"))
    filled = truth["test"].copy()
    filled[:, 1, 1] = tested["p05"]
    np.testing.assert_allclose(sample["image"]["sar"], (filled - mean) / std, atol=1e-4)
    low, high = (np.array(bounds)[:, None, None] for bounds in zip(*clip, strict=True))
    for version, off in zip(sample["damaged"]["sar"], (-9, 9), strict=True):
        expected = (np.clip(filled + off, low, high) - mean) / std
        np.testing.assert_allclose(version, expected, atol=1e-4)

    shown = render_modality(radar["test"], store.modalities["sar"])
    black, white = np.nanpercentile(truth["test"][0], (2, 98))
    np.testing.assert_allclose((shown.low, shown.high), (black, white), atol=1e-4)


@pytest.mark.parametrize(("given", "clip"), [(OWN, OWN), (None, FIXED)])
def test_maps_take_the_range_of_the_run(given, clip, tmp_path, radar):
    spec = ModalitySpec(replace(SAR, clip_db=given), [-15.0, -20.0], [4.0, 5.0], False)
    content = json.loads(json.dumps(spec.to_json()))
    assert ModalitySpec.from_json(content) == spec and ("clip_db" in content) == (given is not None)
    files = {"sar": (tmp_path / "source/test_sar.tif", ())}
    with warnings.catch_warnings(action="ignore"), open_scene(files, {"sar": spec}) as (rasters, _):
        pixels, says = rasters["sar"].read(Window(0, 0, SIDE, SIDE))
    expected = (decibels(radar["test"], clip) - [[[-15]], [[-20]]]) / [[[4]], [[5]]]
    assert not says[1, 1] and says.sum() == SIDE * SIDE - 1
    np.testing.assert_allclose(pixels[:, says], expected[:, says], atol=1e-4)


def test_another_clip_is_another_dataset_and_none_leaves_no_trace(tmp_path, radar):
    plain, own = load(tmp_path, SAR), load(tmp_path, replace(SAR, clip_db=OWN), "own")
    assert plain.fingerprint != own.fingerprint
    keys = {"letter", "channels", "dtype", "unit", "kind"}
    assert set(plain.info["modalities"]["sar"]) == keys
    # the pixels are the same, their statistics are made anew
    (own.root / "dataset.json").unlink()
    again = load(tmp_path, replace(SAR, clip_db=((-20, 0), (-20, 0))), "own")
    assert again.statistics["train"]["sar"]["min"] == [-20, -20]
    pixels = [store.statistics["train"]["sar"]["pixels_sha256"] for store in (plain, own, again)]
    assert len(set(pixels)) == 1


def test_a_job_without_a_clip_has_the_text_it_always_had():
    """Finished rasters of imports from before there were clips stay finished."""
    job = RasterJob(None, (1, 2), "float32", "sar_linear")
    assert job.recipe() == "(1, 2) float32 sar_linear False False "
    assert replace(job, clip_db=OWN).recipe() != job.recipe()


def test_a_clip_that_fits_nothing_is_refused(tmp_path, radar):
    for change in ({"kind": "sar"}, {"channels": 3}, {"clip_db": ((0, -30), (-35, -5))}):
        with pytest.raises(ValueError, match="clip_db of sar"):
            replace(SAR, **{"clip_db": OWN, **change})
    store = load(tmp_path, replace(SAR, clip_db=OWN))
    path = store.root / "dataset.json"
    path.write_text(path.read_text().replace("-35.0", "35.0"))
    with pytest.raises(UserError, match=r"damaged .*clip_db of sar"):
        type(store).open(store.root)
