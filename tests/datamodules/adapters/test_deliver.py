"""DELIVER: the layout as folders and zips, habits of unpacking, defects that stop an import."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio")

from datamodules.adapters.deliver import (
    CASE_COUNTS,
    decode_label,
    deliver_classes,
    expected_counts,
    plan_deliver,
)
from datamodules.adapters.registry import import_named_dataset
from datamodules.ingest.plan import ImportOptions
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.miniature.deliver import deliver_ids, deliver_street
from tests.support.quirks import DELIVER_QUIRKS, write_deliver
from usererror import UserError

SIZE = 40
IDS = deliver_ids(SIZE)
# one frame of every case, all three splits, one scene and frame number in two weathers
DATASET = "deliver"
TILES = [
    "cloud/train/MAP_1_point10/001550", "rain/train/MAP_1_point10/001550",
    *(next(i for i in IDS if case in i) for case in ("motionblur", "overexposure")),
    *(next(i for i in IDS if case in i) for case in ("underexposure", "lidarjitter")),
    "sun/val/MAP_2_point11_eventlowres/002050", "night/test/MAP_1_point10/001550",
]  # fmt: skip
LOWRES = "sun/val/MAP_2_point11_eventlowres/002050"
PLAIN = "night/test/MAP_1_point10/001550"
LABEL = "semantic/{}_semantic_front.png"
RASTERS = {
    "rgb": "img",
    "depth": "hha",
    "depth_grey": "depth",
    "event": "event",
    "lidar": "lidar",
    "label": "semantic",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("deliver")
    write_deliver(root, size=SIZE, ids=TILES)
    return root


def file(root: Path, folder: str, id_: str) -> Path:
    suffix = {"img": "rgb", "hha": "depth"}.get(folder, folder)
    return root / folder / f"{id_}_{suffix}_front.png"


def check_labels(store, pixels):
    for scene in store.scenes:
        np.testing.assert_array_equal(
            pixels(scene.paths["label"])[0], deliver_street(SIZE, 0, scene.id).label
        )


# ---- what is read


@pytest.mark.parametrize(
    "quirks",
    [[], *[[q] for q in DELIVER_QUIRKS], sorted(set(DELIVER_QUIRKS) - {"no_hha"})],
    ids=lambda q: "+".join(q[:2]),
)
def test_every_quirk_gives_the_true_labels(quirks, tmp_path, load, pixels):
    write_deliver(tmp_path / "source", size=SIZE, ids=TILES, quirks=quirks)
    store = load(tmp_path / "source")
    assert sorted(s.id for s in store.scenes) == sorted(TILES)
    absent = {"no_hha": "depth", "no_depth": "depth_grey"}
    expected = [r for r in RASTERS if r not in {absent.get(q) for q in quirks} and r != "label"]
    assert list(store.modalities) == expected and store.labels == ["label"]
    assert not store.info["incomplete"] and not store.info["nadir"] and store.verify() == []
    assert store.info["conditions"] == ["weather", "case"]
    check_labels(store, pixels)
    for scene in store.scenes:
        for name, modality in store.modalities.items():
            assert pixels(scene.paths[name])[: modality.channels].shape == (
                modality.channels,
                SIZE,
                SIZE,
            )
    said = " ".join(store.info["warnings"])
    assert ("depth_grey" in said) == bool({"no_hha", "no_depth"} & set(quirks))


@pytest.mark.parametrize("packing", ["zip", "zips", "contents", "tars", "nested"])
def test_archives_hold_the_same_data(packing, plain, tmp_path, load):
    source = tmp_path / "packed"
    if packing == "zip":
        source = Path(shutil.make_archive(str(source), "zip", plain))
    else:
        for folder in plain.iterdir():
            # img.zip holds img/..., or only what is in it
            top = (
                {"root_dir": folder}
                if packing in ("contents", "tars")
                else {"root_dir": plain, "base_dir": folder.name}
            )
            form = "gztar" if packing == "tars" else "zip"
            shutil.make_archive(str(source / folder.name), form, **top)
        if packing == "nested":
            source = Path(shutil.make_archive(str(tmp_path / "DELIVER"), "zip", source))
    store = load(source)
    assert store.fingerprint == load(plain).fingerprint
    assert all(
        path.is_relative_to(store.root) for scene in store.scenes for path in scene.paths.values()
    )
    assert store.verify() == [] and not (store.root / "scratch").exists()


def test_pictures_stay_in_place_and_keep_their_first_bands(plain, load, pixels):
    store = load(plain)
    bands = Counter()
    for scene in store.scenes:
        for raster, folder in RASTERS.items():
            original = file(plain, folder, scene.id)
            stays = raster != "label" and not (raster == "event" and "eventlowres" in scene.id)
            assert (scene.paths[raster] == original) == stays
        bands[len(pixels(scene.paths["rgb"]))] += 1
    assert set(bands) == {3, 4}


def test_low_resolution_events_fill_the_frame(plain, load, pixels):
    """512 / 1042 of the side; every pixel shows the one below it in the small picture."""
    torch = pytest.importorskip("torch")
    small = pixels(file(plain, "event", LOWRES))
    assert small.shape == (3, SIZE * 512 // 1042, SIZE * 512 // 1042)
    stored = pixels(next(s for s in load(plain).scenes if s.id == LOWRES).paths["event"])
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(small)[None].float(), size=(SIZE, SIZE), mode="nearest"
    )
    np.testing.assert_array_equal(stored, expected[0].numpy())


def test_one_band_stands_for_three(copy, load, pixels, write_raster):
    lidar, event = file(copy, "lidar", PLAIN), file(copy, "event", LOWRES)
    write_raster(lidar, pixels(lidar)[:1], "PNG")
    write_raster(event, pixels(event)[:1], "PNG")
    before, after = load(copy, tiles=["night", "sun", "cloud"]), {}
    for scene in before.scenes:
        after[scene.id] = {r: pixels(scene.paths[r]) for r in ("lidar", "event")}
    assert after[PLAIN]["lidar"].shape == (3, SIZE, SIZE)
    for raster, id_ in (("lidar", PLAIN), ("event", LOWRES)):
        bands = after[id_][raster]
        assert (bands == bands[0]).all() and bands.any()
    np.testing.assert_array_equal(after[PLAIN]["lidar"][0], pixels(lidar)[0])


def test_decoding_of_every_value():
    """Dossier 6.4 and 12.4: 1-25 are 0-24; 0 and 255 are ignored; all else is unknown."""
    ids, unknown = decode_label(np.arange(256, dtype=np.uint8)[None, None])
    expected = [255, *range(25), *[255] * 230]
    assert ids[0].tolist() == expected
    assert np.flatnonzero(unknown[0]).tolist() == list(range(26, 255))


def test_classes_and_counts_are_the_published_ones():
    names = (
        "Building Fence Other Pedestrian Pole RoadLine Road SideWalk Vegetation Cars Wall "
        "TrafficSign Sky Ground "
        "Bridge RailTrack GroundRail TrafficLight Static Dynamic Water Terrain TwoWheeler Bus Truck"
    )
    assert [c.name for c in deliver_classes()] == names.split()
    totals = {split: sum(counts.values()) for split, counts in expected_counts().items()}
    assert totals == {"train": 3983, "val": 2005, "test": 1897}
    assert {split: sum(counts.values()) for split, counts in CASE_COUNTS.items()} == totals


def test_splits_and_conditions(plain, load):
    store = load(plain)
    for scene in store.scenes:
        weather, split, name, _ = scene.id.split("/")
        case = name.split("_")[3] if name.count("_") == 3 else "normal"
        assert scene.attributes == {
            "weather": weather,
            "case": case,
            "map": "_".join(name.split("_")[:2]),
        }
        sgma = {"train": "train", "val": "test", "test": "unused"}[split]
        assert scene.splits == {
            "split_standard": split,
            "split_official": split,
            "split_sgma": sgma,
        }
    for column in store.info["splits"]:
        parts = store.split(column)
        ids = [scene.id for part in parts.values() for scene in part]
        assert len(ids) == len(set(ids))


# ---- names


def test_folders_above_the_root_mean_nothing(plain, tmp_path, load):
    root = tmp_path / "img" / "rain" / "train" / "MAP_1_point1" / "fog"
    shutil.copytree(plain, root)
    store = load(root)
    assert Counter(s.attributes["weather"] for s in store.scenes) == Counter(
        i.split("/")[0] for i in TILES
    )
    assert store.scenes[0].paths["lidar"].is_relative_to(root / "lidar")


def test_tiles_are_whole_components(plain, load):
    def ids(*tiles):
        index = SourceIndex(plain, plain / "none")
        return [scene.id for scene in plan_deliver(index, ImportOptions(tiles)).scenes]

    assert ids("rain") == sorted(
        i for i in TILES if i.startswith("rain/")
    )  # `rain` is a part of `train`
    assert ids("cloud/train", PLAIN) == sorted(
        [*(i for i in TILES if i.startswith("cloud/train/")), PLAIN]
    )
    for wrong in (
        "ain",
        "train",
        "night/tes",
        "night/test/MAP_1",
        "",
        "night/test/MAP_1_point10/001550/x",
    ):
        with pytest.raises(UserError, match="DELIVER has no frames"):
            ids(wrong)
    with pytest.raises(UserError, match=r"every file of fog/val"):
        load(plain, tiles=["night", "fog/val"])


def test_strange_names_are_said_and_left_out(copy, load):
    wrong = copy / "img" / PLAIN.rpartition("/")[0] / "000001_depth_front.png"
    shutil.copy(file(copy, "img", PLAIN), wrong)
    store = load(copy)
    assert any(
        "another kind" in line and "MAP_1_point10" in line for line in store.info["warnings"]
    )
    assert len(store.scenes) == len(TILES)


# ---- what must stop it


@pytest.mark.parametrize("folder", RASTERS.values())
def test_a_removed_file_is_named(folder, copy, load):
    removed = file(copy, folder, PLAIN)
    removed.unlink()
    with pytest.raises(UserError, match=removed.relative_to(copy).as_posix()):
        load(copy)
    store = load(copy, allow_incomplete=True)
    raster = next(r for r, f in RASTERS.items() if f == folder)
    assert store.info["incomplete"] and store.info["missing"] == [f"{PLAIN}: {raster}"]
    left = next((s for s in store.scenes if s.id == PLAIN), None)
    assert left is None if folder == "semantic" else raster not in left.paths


def test_neither_hha_nor_depth(copy, load):
    shutil.rmtree(copy / "hha")
    shutil.rmtree(copy / "depth")
    with pytest.raises(UserError, match=r"hha/.*_depth_front\.png"):
        load(copy)


def test_fewer_frames_than_there_are(plain, tmp_path):
    with pytest.raises(UserError, match=r"79\d frames of cloud/train \(\d of 794 found\)"):
        import_named_dataset("deliver", plain, tmp_path)
    store = import_named_dataset("deliver", plain, tmp_path, allow_incomplete=True)
    assert store.info["incomplete"] and "fog/val: frames" in store.info["missing"]


@pytest.mark.parametrize(
    ("folder", "change", "text"),
    [
        ("lidar", lambda p: p[:, :-3], "has 37 x 40 pixels"),
        ("event", lambda p: p[:, :20, :20], "has 20 x 20 pixels"),
        ("semantic", lambda p: p[:1], "has 1 band"),
        ("img", lambda p: p[:1], "has 1 band"),
        ("hha", lambda p: p.astype(np.uint16), "data type uint16"),
        (
            "depth",
            lambda p: np.repeat(p, 3, 0) + np.arange(3, dtype=np.uint8)[:, None, None],
            "its three bands differ",
        ),
        ("semantic", lambda p: p * 0 + 77, "100.00 % of the label pixels"),
        ("semantic", lambda p: p * 0, "not one valid label pixel"),
    ],
)
def test_wrong_pictures(folder, change, text, copy, load, pixels, write_raster):
    path = file(copy, folder, PLAIN)
    write_raster(path, change(pixels(path)), "PNG")
    with pytest.raises(UserError, match=text) as caught:
        load(copy)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("folder", RASTERS.values())
def test_every_picture_has_to_decode(folder, copy, load):
    path = file(copy, folder, PLAIN)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for harm in (
        whole[:middle],
        b"",
        b"<html>quota exceeded</html>",
        whole[: middle - 9] + bytes(18) + whole[middle + 9 :],
    ):
        path.write_bytes(harm)
        with pytest.raises(UserError, match=path.name) as caught:
            load(copy)
        assert "\n" not in str(caught.value)


def test_a_few_unknown_values_are_ignored_and_said(copy, load, pixels, write_raster):
    path = file(copy, "semantic", PLAIN)
    picture = pixels(path)
    picture[0, 0, 0] = 99  # 1 of 1600: 0.06 %
    write_raster(path, picture, "PNG")
    store = load(copy)
    label = pixels(next(s for s in store.scenes if s.id == PLAIN).paths["label"])[0]
    assert label[0, 0] == 255 and (label != deliver_street(SIZE, 0, PLAIN).label).sum() <= 1
    assert any(path.name in line and "99" in line for line in store.info["warnings"])


def test_nothing_of_deliver(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "000000_rgb_front.png").write_bytes(
        b"x"
    )  # without its folders it is nobody's
    with pytest.raises(UserError, match=r"No frame of DELIVER among the 1 files .*12\.2 GB"):
        import_named_dataset("deliver", tmp_path / "source", tmp_path / "store")


# ---- size


def test_the_whole_dataset_is_planned_in_seconds_with_its_counts(tmp_path):
    """47,310 names without files: planning may open none of them."""
    import time

    names = []
    for split, weathers in expected_counts().items():
        cases = [case for case, n in CASE_COUNTS[split].items() for _ in range(n)]
        for k, weather in enumerate(w for w, n in weathers.items() for _ in range(n)):
            case = "" if cases[k] == "normal" else f"_{cases[k]}"
            names.append(f"{weather}/{split}/MAP_{k % 10}_point{k // 40}{case}/{k:06d}")
    assert len(names) == 7885
    index = object.__new__(SourceIndex)
    index.root, index.warnings = tmp_path, []
    index.files = [
        SourceFile(tmp_path / "x.zip", path, path, 1, "", member=path)
        for id_ in names
        for path in (str(file(Path(), folder, id_).as_posix()) for folder in RASTERS.values())
    ]
    index._by_rel = {}
    start = time.process_time()
    plan = plan_deliver(index, ImportOptions())
    assert time.process_time() - start < 20
    assert len(plan.scenes) == 7885 and not plan.missing and not plan.warnings
    assert any("train: 3983/3983 frames" in line for line in plan.inventory)
    assert Counter(s.splits["split_sgma"] for s in plan.scenes) == {
        "train": 3983,
        "test": 2005,
        "unused": 1897,
    }
