"""Class counts against the pixels themselves."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.store.class_frequencies import count_classes
from usererror import UserError


@pytest.fixture
def store(tmp_path, write_folder, write_raster):
    """Five scenes; class 2 (tree) is absent from training, s1 has no class 1, some are 255."""
    truth = write_folder(tmp_path / "source", splits=("train", "train", "val", "test", "unused"))
    for name, scene in truth.items():
        label = scene["label"]
        if name in ("s0", "s1"):
            label[label == 2] = 0
        if name == "s1":
            label[label == 1] = 0
        label[0, :3, : int(name[1]) + 4] = 255
        write_raster(tmp_path / "source" / "label" / f"{name}.tif", label)
    return import_named_dataset("folder", tmp_path / "source", tmp_path / "stores", name="mine")


def read(store, pixels, part, column="split_standard"):
    return [pixels(scene.paths["label"]).ravel() for scene in store.split(column)[part]]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_counts_are_those_of_the_pixels(part, store, pixels):
    labels = read(store, pixels, part)
    shares = count_classes(store, "split_standard", part, "label")
    together = np.concatenate(labels)
    assert shares.names == ("road", "roof", "tree") and shares.scenes == len(labels)
    assert shares.ignored == (together == 255).sum() > 0
    for id_ in range(3):
        assert shares.pixels[id_] == (together == id_).sum()
        assert shares.shares[id_] == pytest.approx(
            (together == id_).sum() / (together != 255).sum()
        )
    assert shares.shares.sum() == pytest.approx(1)


def test_a_class_absent_from_training_has_no_share(store):
    shares = count_classes(store)
    assert shares.pixels[2] == 0 and shares.shares[2] == 0


def test_mistakes_are_one_sentence(store):
    for arguments, text in (
        (("split_big",), "no split 'split_big'"),
        (("split_standard", "training"), "'training' is no part"),
        (
            ("split_standard", "train", "label_eroded"),
            "no label column 'label_eroded'; it has: label",
        ),
    ):
        with pytest.raises(UserError, match=text) as caught:
            count_classes(store, *arguments)
        assert "\n" not in str(caught.value)
