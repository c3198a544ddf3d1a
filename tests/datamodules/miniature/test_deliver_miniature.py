"""The DELIVER miniature: what it writes, and that its sensors need one another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio")

from scipy import ndimage

from datamodules.adapters.deliver import CASE_COUNTS
from datamodules.miniature.deliver import (
    SIZES,
    deliver_ids,
    deliver_street,
    write_deliver,
)
from datamodules.miniature.street.sensors import lidar_image, take_photo

SIZE = 40
IDS = deliver_ids(SIZE)
PLAIN = "night/test/MAP_1_point10/001550"
FEW = [*IDS[::4], PLAIN]
FOLDERS = ("img", "hha", "depth", "event", "lidar", "semantic")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("deliver")
    write_deliver(root, size=SIZE, ids=FEW)
    return root


def file(root: Path, folder: str, id_: str) -> Path:
    suffix = {"img": "rgb", "hha": "depth"}.get(folder, folder)
    return root / folder / f"{id_}_{suffix}_front.png"


def test_every_weather_and_split_has_frames_and_every_split_each_case():
    for size in ("test", "demonstration"):
        ids = deliver_ids(**SIZES[size])
        assert len(set(ids)) == len(ids)
        parts = [i.split("/") for i in ids]
        assert len({(w, s) for w, s, *_ in parts}) == 15
        for split in ("train", "val", "test"):
            cases = {
                name.split("_")[3] for _, s, name, _ in parts if s == split and name.count("_") == 3
            }
            assert cases == set(CASE_COUNTS["train"]) - {"normal"}
        names = Counter((name, frame) for _, s, name, frame in parts if s == "train")
        assert max(names.values()) >= 2  # one name and number in several weathers


def test_training_frames_show_every_class():
    # half of the frames, small: what is in a frame does not depend on its size
    training = [id_ for id_ in deliver_ids(**SIZES["demonstration"]) if "/train/" in id_]
    seen = np.zeros(256, int)
    for id_ in training[::2]:
        seen += np.bincount(deliver_street(32, 0, id_).label.ravel(), minlength=256) > 0
    assert (seen[:25] >= 3).all() and seen[25:255].sum() == 0 and seen[255] > 0


def test_no_two_frames_show_the_same_place():
    truths = {deliver_street(SIZE, 0, id_).label.tobytes() for id_ in IDS}
    assert len(truths) == len(IDS)
    assert deliver_street(SIZE, 1, IDS[0]).label.tobytes() not in truths


def test_a_frame_depends_on_seed_id_and_size_alone(plain, tmp_path):
    write_deliver(tmp_path, size=SIZE, ids=[PLAIN])
    for folder in FOLDERS:
        assert file(tmp_path, folder, PLAIN).read_bytes() == file(plain, folder, PLAIN).read_bytes()
    write_deliver(tmp_path, size=SIZE, ids=[PLAIN], seed=1)
    assert file(tmp_path, "img", PLAIN).read_bytes() != file(plain, "img", PLAIN).read_bytes()


def test_pictures_are_encoded_as_in_the_release(plain, pixels):
    """Dossier 6.4."""
    for id_ in FEW:
        grey, event, lidar = (
            pixels(file(plain, folder, id_)) for folder in ("depth", "event", "lidar")
        )
        semantic, truth = pixels(file(plain, "semantic", id_)), deliver_street(SIZE, 0, id_).label
        assert len(grey) == 1 and grey.min() >= 1 and (grey[0][truth == 12] == 255).all()
        assert (
            set(np.unique(event)) <= {0, 255}
            and not event[1].any()
            and not (event[0] & event[2]).any()
        )
        assert (lidar == lidar[0]).all() and 0.01 < (lidar[0] > 0).mean() < 0.5
        assert len(semantic) == 4 and (semantic[0][truth != 255] == truth[truth != 255] + 1).all()
        assert set(np.unique(semantic[0][truth == 255])) <= {0, 255}
        # metres from the logarithmic picture, and disparity, which is inverse to them
        metres = 1000 * np.exp(5.70378 * (grey[0] / 255.0 - 1))
        road = (truth == 6) & (metres < 20) & (metres > 4)
        disparity = pixels(file(plain, "hha", id_))[0].astype(float)
        np.testing.assert_allclose(
            (disparity * metres)[road], np.median((disparity * metres)[road]), rtol=0.15
        )


def test_weather_hurts_the_camera_and_leaves_geometry_alone():
    """The same street: contrast sinks in fog, brightness and signal to noise by night."""
    street = deliver_street(96, 0, "sun/train/MAP_1_point10/001550")
    seen = {
        w: take_photo(street, w, "", np.random.default_rng(1)).astype(float)
        for w in ("sun", "fog", "night")
    }
    edges = {
        w: abs(np.diff(ndimage.gaussian_filter(p.mean(0), 0.7), axis=1))[~street.sky[:, 1:]].mean()
        for w, p in seen.items()
    }
    assert edges["fog"] < 0.7 * edges["sun"]
    assert seen["night"][:, ~street.sky].mean() < 0.5 * seen["sun"][:, ~street.sky].mean()
    for case in ("overexposure", "underexposure", "motionblur"):
        bad = take_photo(street, "sun", case, np.random.default_rng(1)).astype(float)
        assert abs(bad - seen["sun"]).mean() > 5
    dark = take_photo(street, "sun", "underexposure", np.random.default_rng(1))
    bright = take_photo(street, "sun", "overexposure", np.random.default_rng(1))
    assert dark.mean() < 0.5 * seen["sun"].mean() and (bright == 255).mean() > 0.3
    plain, moved = (
        lidar_image(street, "sun", np.random.default_rng(1), jitter) for jitter in (False, True)
    )
    assert ((plain[0] > 0) & (moved[0] == 0)).sum() > 0.4 * (plain[0] > 0).sum()
