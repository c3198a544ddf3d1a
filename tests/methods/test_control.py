"""The control fulfils the contract, is a plain mean, and trains on the subsets its rule draws."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.control.module import Control
from methods.control.network import ControlNetwork
from methods.parts.backbones import pad_to_multiple, to_three_channels
from methods.parts.losses import cross_entropy
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    SMALL,
    THREE,
    check_trains_and_stays_exact,
    images,
    subsets,
    training_batch,
)


class TestControl(MethodContract):
    method = Control
    options = {**SMALL, "backbone": "pvt_v2_b0"}


class TestDropout(MethodContract):
    method = Control
    options = {**SMALL, "subsets": "any_subset"}
    counts = (3,)


make = TestControl.make


def test_features_are_the_mean_of_the_encoders_maps():
    module, given = make().eval(), images(THREE)
    with torch.inference_mode():
        encoded = module.encode(given)
        alone = {m: module.network.encoder({m: image})[m] for m, image in given.items()}
        for subset in subsets(list(THREE)):
            features = module.network.fuse({m: encoded[m] for m in subset})[1]["features"]
            for scale, feature in enumerate(features):
                expected = sum(alone[m][scale] for m in subset) / len(subset)
                torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-5)


def test_nothing_knows_the_sensors_apart():
    module, given = make({"a": 3, "b": 3, "c": 3}).eval(), images({"a": 3, "b": 3, "c": 3})
    with torch.inference_mode():
        expected = module(given)
        turned = module({"a": given["c"], "b": given["a"], "c": given["b"]})
        torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-5)
        # three times the same image is that image
        torch.testing.assert_close(
            module(dict.fromkeys("abc", given["b"])),
            module({"c": given["b"]}),
            atol=1e-5,
            rtol=1e-4,
        )


def reached(module: Control, batch: dict) -> list[set[str]]:
    """Per sample the modalities whose pixels the training loss depends on."""
    given = {m: image.requires_grad_() for m, image in batch["image"].items()}
    module.training_losses({**batch, "image": given})["seg"].backward()
    return [
        {m for m, image in given.items() if image.grad[sample].any()}
        for sample in range(len(batch["mask"]))
    ]


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_training_depends_on_the_drawn_modalities_only(per):
    module, seen = make(subsets="any_subset", subsets_per=per).train(), set()
    for seed in range(6):
        torch.manual_seed(seed)
        found = reached(module, training_batch(THREE, batch=4, seed=seed))
        assert all(found) and (per == "sample" or len(set(map(frozenset, found))) == 1)
        seen |= set(map(frozenset, found))
    assert len(seen) > 3


def test_full_sets_use_everything():
    assert reached(make().train(), training_batch(THREE)) == [set(THREE)] * 2


@pytest.mark.parametrize("rule", ["full", "any_subset"])
def test_a_batch_that_lacks_a_modality_trains_with_the_others(rule):
    batch = training_batch(THREE, batch=4)
    del batch["image"]["dsm"]
    batch["available"]["dsm"] = torch.zeros(4, dtype=torch.bool)
    found = reached(make(subsets=rule).train(), batch)
    assert all(found) and set().union(*found) <= {"rgb", "sar"}
    assert rule == "any_subset" or found == [{"rgb", "sar"}] * 4


def test_the_loss_is_cross_entropy_of_the_full_set():
    module, batch = make(head_dropout=0.0).train(), training_batch(THREE)
    with torch.no_grad():
        expected = cross_entropy(module(batch["image"]), batch["mask"])
        torch.testing.assert_close(
            module.training_losses(batch)["seg"], expected, rtol=1e-4, atol=1e-5
        )


def test_one_modality_is_segformer():
    module, given = make({"rgb": 3}).eval(), images({"rgb": 3}, size=(64, 64))
    network = module.network
    with torch.inference_mode():
        logits = network.head(network.encoder.pyramid_of(given["rgb"]))
        expected = F.interpolate(logits, size=(64, 64), mode="bilinear")
        torch.testing.assert_close(module(given), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_cost_is_that_of_encoder_and_head(count):
    """PVT-v2-b2 and head as in SGMA's dossier (sections 12 and 16), whatever the number of
    modalities.
    """
    names = [f"m{number}" for number in range(count)]
    with torch.device("meta"):
        network = ControlNetwork(names, 5).eval()
        given = {m: torch.zeros(1, 3, 512, 512) for m in names}
    assert count_parameters(network) == {
        "total": 25_376_965,
        "encoder": 24_849_856,
        "head": 527_109,
    }
    assert count_gmac(lambda: network.encode(given)) == pytest.approx(
        count * 24.182259712, rel=1e-12
    )


def test_resnet_trains_and_stays_exact():
    module = make(backbone="resnet50", subsets="any_subset")
    assert module.network.encoder.channels == (64, 128, 320, 512)
    check_trains_and_stays_exact(module)


def test_what_cannot_be_done():
    with pytest.raises(ValueError, match="expected a rule"):
        make(subsets="some").training_losses(training_batch(THREE))


def test_batch_statistics_are_of_the_images_at_hand():
    """A ResNet's norms: as if the gaps' images had not been in the batch."""
    batch = training_batch(THREE)
    present = {**batch["available"], "dsm": torch.tensor([False, True])}
    encoder = make(backbone="resnet50").train().network.encoder
    rows = [batch["image"]["rgb"], batch["image"]["dsm"][1:].expand(-1, 3, -1, -1)]
    rows.append(to_three_channels(batch["image"]["sar"]))
    encoder.pyramid_of(pad_to_multiple(torch.cat(rows)))
    module = make(backbone="resnet50").train()
    module.training_losses({**batch, "available": present})
    for expected, found in zip(encoder.buffers(), module.network.encoder.buffers(), strict=True):
        torch.testing.assert_close(found, expected)
