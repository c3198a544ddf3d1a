"""Class counts against the pixels themselves, and class weights against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datamodules.adapters.registry import import_named_dataset
from datamodules.store.class_frequencies import RULES, ClassShares, class_shares, class_weights
from usererror import UserError

# 10 + 30 + 60 labelled pixels; the first class occurs in a scene with 40 labelled pixels only, the last one nowhere
HAND = ClassShares(("a", "b", "c", "never"), (10, 30, 60, 0), (40, 100, 100, 0), 7, 2)


@pytest.fixture
def store(tmp_path, write_folder, write_raster):
    """Five scenes; class 2 (tree) is absent from training, s1 has no class 1, and some pixels are 255."""
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
    shares = class_shares(store, "split_standard", part, "label")
    together = np.concatenate(labels)
    assert shares.names == ("road", "roof", "tree") and shares.scenes == len(labels)
    assert shares.ignored == (together == 255).sum() > 0
    for id_ in range(3):
        assert shares.pixels[id_] == (together == id_).sum()
        assert shares.shares[id_] == pytest.approx(
            (together == id_).sum() / (together != 255).sum()
        )
        assert shares.surroundings[id_] == sum(
            (one != 255).sum() for one in labels if (one == id_).any()
        )
        within = np.concatenate(
            [one[one != 255] for one in labels if (one == id_).any()] or [np.zeros(1)]
        )
        assert shares.frequencies[id_] == pytest.approx(
            (within == id_).mean() if shares.pixels[id_] else 0
        )
    assert shares.shares.sum() == pytest.approx(1)


def test_classes_left_out_count_as_ignored(store, pixels):
    together = np.concatenate(read(store, pixels, "test"))
    shares = class_shares(store, part="test", classes=[0, 2])
    assert shares.names == ("road", "tree")
    assert shares.pixels == ((together == 0).sum(), (together == 2).sum())
    assert shares.ignored == np.isin(together, (1, 255)).sum()
    labelled = [np.isin(one, (0, 2)).sum() for one in read(store, pixels, "test")]
    assert shares.surroundings == (sum(labelled), sum(labelled))


def test_a_class_absent_from_training_gets_a_finite_weight(store):
    shares = class_shares(store)
    assert shares.pixels[2] == 0 and shares.shares[2] == shares.frequencies[2] == 0
    for rule in RULES:
        assert np.isfinite(class_weights(shares, rule)).all()
    assert class_weights(shares, "inverse")[2] == class_weights(shares, "median")[2] == 0


def test_weights_by_hand():
    assert class_weights(HAND, "none").tolist() == [1, 1, 1, 1]
    assert class_weights(HAND, "inverse") == pytest.approx([10 / 3, 10 / 9, 5 / 9, 0])
    # frequencies 1/4, 3/10, 6/10: the median is 3/10
    assert class_weights(HAND, "median") == pytest.approx([1.2, 1.0, 0.5, 0])
    expected = [1 / math.log(1.02 + share) for share in (0.1, 0.3, 0.6, 0)]
    assert class_weights(HAND, "enet") == pytest.approx(expected)
    assert class_weights(HAND, "enet")[3] == pytest.approx(50.5, abs=0.01)


def test_median_of_an_even_number_of_classes_lies_between_the_middle_ones():
    shares = ClassShares(("a", "b"), (20, 80), (100, 100), 0, 1)
    assert class_weights(shares, "median") == pytest.approx([2.5, 0.625])


def test_inverse_weights_are_one_on_average_over_labelled_pixels():
    counts = np.random.default_rng(0).integers(1, 10_000, 25)
    shares = ClassShares(
        tuple(map(str, range(25))), tuple(counts.tolist()), (int(counts.sum()),) * 25, 0, 1
    )
    weights = class_weights(shares, "inverse")
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    assert np.ptp(weights * counts) == pytest.approx(
        0, abs=1e-6
    )  # every class weighs the same in sum


def test_balanced_weights_of_another_library():
    utils = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.repeat([0, 1, 2], HAND.pixels[:3])
    theirs = utils.compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights(HAND, "inverse")[:3] == pytest.approx(theirs)


def test_mistakes_are_one_sentence(store):
    for arguments, text in (
        (("split_big",), "no split 'split_big'"),
        (("split_standard", "training"), "'training' is no part"),
        (
            ("split_standard", "train", "label_eroded"),
            "no label column 'label_eroded'; it has: label",
        ),
        (("split_standard", "train", "label", [0, 9]), "no class 9; it has: 0, 1, 2"),
    ):
        with pytest.raises(UserError, match=text) as caught:
            class_shares(store, *arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no rule 'sqrt'.*none, inverse, median, enet"):
        class_weights(HAND, "sqrt")
    with pytest.raises(UserError, match="at least one labelled pixel"):
        class_weights(ClassShares(("a", "b"), (0, 0), (0, 0), 5, 0), "none")
