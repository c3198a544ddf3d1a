"""MUSES: the generated copy as people may have it (dossier of open datasets, section 8)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.adapters.open_data import muses
from datamodules.miniature.open_data.muses import muses_ids, write_muses
from datamodules.miniature.raster_io import write_raster
from datamodules.splits.tables import read_split_table
from datamodules.store.scene_store import SceneStore
from tests.support.quirks import copy as copy_file
from tests.support.quirks import move, read, rewrite
from usererror import UserError

DATASET = "muses"
FRAMES = (1, 1, 1)
TILES = muses_ids(frames=FRAMES)
FIRST = TILES[0]
LIDAR = f"projected_to_rgb/lidar/{FIRST}_lidar.png"
EVENTS = f"projected_to_rgb/event_camera/{FIRST}_event_camera.png"
LABEL = f"gt_semantic/{FIRST}_gt_labelTrainIds.png"
SDK = r"scripts/project_sensors_to_rgb\.py .* --output_file_type \.png"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("muses")
    write_muses(root, size=96, frames=FRAMES)
    return root


def reverse(bands: np.ndarray) -> np.ndarray:
    return bands[::-1]


def names_of_cafuser(root: Path) -> None:
    for path in list(root.glob("projected_to_rgb/**/*.png")):
        path.rename(path.with_name(f"{path.stem}_projected.png"))


def bands_in_order(root: Path) -> None:
    rewrite(root.glob("projected_to_rgb/**/*.png"), reverse)


def events_of_16_bits(root: Path) -> None:
    events = root.glob("projected_to_rgb/event_camera/**/*.png")
    rewrite(events, lambda counts: (counts.astype(np.uint16) + 100) * 150)


def other_pictures(root: Path) -> None:
    """What lies beside the rest in a whole download."""
    noise = np.full((3, 54, 96), 7, np.uint8)
    for suffix in ("gt_labelIds", "gt_labelColor"):
        write_raster(root / f"gt_semantic/{FIRST}_{suffix}.png", noise, "PNG")
    write_raster(root / f"reference_frames/{FIRST}_frame_camera.png", noise, "PNG")
    write_raster(root / f"gt_panoptic/{FIRST}_gt_panoptic.png", noise, "PNG")
    write_raster(root / f"radar/{FIRST}_radar.png", noise[:1], "PNG")
    for name in (f"lidar/{FIRST}_lidar.bin", f"event_camera/{FIRST}_event_camera.h5"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"raw")


def below_a_folder_called_test(root: Path) -> None:
    for folder in ("frame_camera", "gt_semantic", "projected_to_rgb"):
        move(root / folder, root / "test/night/fog" / folder)


def zipped_by_sensor(root: Path) -> None:
    for folder, name in (("frame_camera", "RGB_Frame_Camera_trainvaltest"),
                         ("gt_semantic", "Semantic_Annotations_trainval")):  # fmt: skip
        shutil.make_archive(str(root / name), "zip", root, folder)
        shutil.rmtree(root / folder)


HABITS = (
    names_of_cafuser, bands_in_order, events_of_16_bits, other_pictures,
    below_a_folder_called_test, zipped_by_sensor,
)  # fmt: skip


def test_pixels_come_as_the_sensors_saw_them(
    plain: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    store = load(plain)
    scene = next(scene for scene in store.scenes if scene.id == FIRST)
    # Pillow reads pictures of 8 bits without GDAL
    camera = np.asarray(Image.open(plain / f"frame_camera/{FIRST}_frame_camera.png"))
    assert np.array_equal(pixels(scene.paths["rgb"]), np.moveaxis(camera, -1, 0))
    label = np.asarray(Image.open(plain / LABEL))
    assert np.array_equal(pixels(scene.paths["label"])[0], label)
    assert set(np.unique(label)) <= {*range(19), 255} and 255 in label
    events = np.asarray(Image.open(plain / EVENTS)).astype(int)
    assert not events[..., 0].any() and events[..., 1:].any((0, 1)).all()
    # OpenCV, with which the SDK writes, calls the last band of a file the first
    assert np.array_equal(pixels(scene.paths["event"]), np.moveaxis(events[..., :0:-1], -1, 0))
    stored = read(plain / LIDAR).astype(np.float64)
    found = pixels(scene.paths["lidar"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, stored[::-1] / 150 - 100, atol=2e-5)
    # no return is 0 exactly, and most pixels have none
    empty = (stored == 15000).all(axis=0)
    assert not found[:, empty].any() and (found[0] > 0).mean() == pytest.approx(1 - empty.mean())
    assert 0.01 < 1 - empty.mean() < 0.3
    distance, _, height = found
    assert (distance >= 0).all() and height.min() < -1 and (distance >= np.abs(height) - 0.01).all()
    assert store.info["nadir"] is False and not store.info["warnings"]


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_gives_the_same_dataset(
    habit: Callable[[Path], None], plain: Path, copy: Path, load: Callable[..., SceneStore]
) -> None:
    habit(copy)
    store = load(copy)
    assert store.fingerprint == load(plain).fingerprint
    assert not store.info["warnings"]


def test_parts_and_conditions_are_the_folders(plain: Path, load: Callable[..., SceneStore]) -> None:
    store = load(plain, tiles=None)
    for scene in store.scenes:
        part, weather, time, _ = scene.id.split("/")
        assert scene.splits["split_standard"] == part
        assert scene.splits["split_val"] == {"train": "train", "val": "test"}.get(part, "unused")
        assert scene.attributes == {
            "weather": weather, "time": time, "weather_time": f"{weather} {time}",
        }  # fmt: skip
    assert store.info["conditions"] == ["weather", "time", "weather_time"]
    assert len({scene.attributes["weather_time"] for scene in store.scenes}) == 8
    assert not store.info["split_notes"]
    assert len(store.classes) == 19 and len(read_split_table("classes_muses")) == 20
    assert store.classes[0].name == "road" and store.classes[18].name == "bicycle"


def test_without_test_labels_the_validation_frames_are_scored(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    shutil.rmtree(copy / "gt_semantic/test")
    store = load(copy, tiles=None)
    assert {scene.id.split("/")[0] for scene in store.scenes} == {"train", "val"}
    for scene in store.scenes:
        assert scene.splits["split_standard"] == scene.splits["split_val"]
    assert "withheld" in store.info["split_notes"]["split_standard"]
    assert "split_val" not in store.info["split_notes"]
    # without any label nothing is withheld: it is missing
    shutil.rmtree(copy / "gt_semantic")
    with pytest.raises(UserError, match=r"needed file.*gt_semantic/test/"):
        load(copy, tiles=["test"])


def test_projected_radar_is_read_and_its_own_picture_is_not(
    copy: Path, load: Callable[..., SceneStore], pixels: Callable[[Path], np.ndarray]
) -> None:
    other_pictures(copy)
    assert "radar" not in load(copy).modalities
    draw = np.random.default_rng(0)
    stored = np.full((3, 54, 96), 15000, np.uint16)
    stored[1:, ::5, ::5] = draw.integers(15000, 40000, (2, 11, 20))
    for frame in TILES:
        write_raster(copy / f"projected_to_rgb/radar/{frame}_radar.png", stored, "PNG")
    store = load(copy)
    assert [modality.letter for modality in store.modalities.values()] == ["R", "E", "L", "A"]
    scene = next(scene for scene in store.scenes if scene.id == FIRST)
    expected = stored[:0:-1].astype(np.float64) / 150 - 100
    np.testing.assert_allclose(pixels(scene.paths["radar"]), expected, atol=2e-5)


@pytest.mark.parametrize("ending", ["npz", "npy", "bin"])
def test_sensors_in_another_form_are_refused_with_the_option(
    ending: str, copy: Path, load: Callable[..., SceneStore]
) -> None:
    for path in list(copy.glob("projected_to_rgb/lidar/**/*.png")):
        path.rename(path.with_suffix(f".{ending}"))
    with pytest.raises(UserError, match=f"{len(TILES)} files of lidar are not .*{SDK} --lidar"):
        load(copy)
    # who says so goes on without
    assert list(load(copy, allow_incomplete=True).modalities) == ["rgb", "event"]


def test_raw_folders_alone_are_refused(copy: Path, load: Callable[..., SceneStore]) -> None:
    shutil.rmtree(copy / "projected_to_rgb")
    other_pictures(copy)
    with pytest.raises(UserError, match=f"event_camera are not .*{SDK} --event_camera"):
        load(copy)


def test_the_record_says_how_sensors_were_projected(
    copy: Path, load: Callable[..., SceneStore]
) -> None:
    assert load(copy).info["title"] == "MUSES (projection: SDK default)"
    (copy / "about.json").write_text('{"title": "MUSES, lidar enlarged"}')
    assert load(copy).info["title"] == "MUSES, lidar enlarged"


def test_defects_end_in_one_line(copy: Path, load: Callable[..., SceneStore]) -> None:
    (copy / LIDAR).unlink()
    with pytest.raises(UserError, match=f"1 needed file.*lidar/{FIRST}_lidar.png"):
        load(copy)
    pair = [FIRST, TILES[-1]]
    copy_file(copy / f"projected_to_rgb/lidar/{TILES[1]}_lidar.png", copy / LIDAR)
    lidar = read(copy / LIDAR)
    kinds: list[tuple[str, str, np.ndarray]] = [
        (LIDAR, "data type uint8, expected uint16", (lidar // 256).astype(np.uint8)),
        (LIDAR, "no band of it is a range", lidar - 15000),
        (LIDAR, "no band of it is a range", lidar[[1, 0, 2]] + np.uint16(150)),
        (LIDAR, "more than half of its pixels are returns", lidar * 0 + 30000),
        (EVENTS, "first or last band should be empty", read(copy / EVENTS) + 1),
        (EVENTS, "first or last band should be empty", read(copy / EVENTS).astype(np.uint16)),
        (LABEL, r"value that is no class \(19", read(copy / LABEL) * 0 + 19),
    ]
    for name, problem, wrong in kinds:
        whole = (copy / name).read_bytes()
        (copy / name).unlink()
        write_raster(copy / name, wrong, "PNG")
        with pytest.raises(UserError, match=problem) as caught:
            load(copy, tiles=pair)
        assert "\n" not in str(caught.value)
        (copy / name).write_bytes(whole)
    for part in ("train", "val", "test"):
        shutil.rmtree(copy / f"frame_camera/{part}/fog/night")
        for folder in ("gt_semantic", "projected_to_rgb/lidar", "projected_to_rgb/event_camera"):
            shutil.rmtree(copy / f"{folder}/{part}/fog/night")
    with pytest.raises(UserError, match="1 needed file.*: frames of fog night"):
        load(copy, tiles=None)


def test_decoding_inverts_what_the_sdk_stores() -> None:
    draw = np.random.default_rng(0)
    height = draw.uniform(-3, 9, (20, 30)) * (draw.random((20, 30)) < 0.2)
    distance = np.hypot(height, 8) * (height != 0)
    intensity = draw.uniform(0, 255, (20, 30)) * (height != 0)
    values = np.stack([distance, intensity, height])
    stored = ((values + 100) * 150).astype(np.uint16)
    for bands in (stored, stored[::-1]):
        decoded = muses.decode_lidar(bands)
        # a step is lost at most
        np.testing.assert_allclose(decoded, values, atol=1 / 150 + 1e-5)
        assert not decoded[values == 0].any()
    nothing = np.full((3, 4, 4), 15000, np.uint16)
    assert not muses.decode_lidar(nothing).any() and not muses.decode_radar(nothing).any()
    assert not muses.decode_event(nothing).any() and muses.decode_event(nothing).dtype == np.uint8
