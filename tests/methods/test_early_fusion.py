"""Early fusion fulfils the contract; it is smp's own model on concatenated channels."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional as F

from benchmark.experiment.models import build_model
from methods.early_fusion.module import EarlyFusion
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    THREE,
    images,
    training_batch,
)
from usererror import UserError

SMALL = {"backbone": "tu-mobilenetv3_small_050"}


class TestUNet(MethodContract):
    method = EarlyFusion
    options = SMALL


class OneImage(MethodContract):
    """What stands behind the one image that the sensors make, however many they are."""

    method = EarlyFusion
    counts = (3,)


class TestDropout(OneImage):
    options = {**SMALL, "subsets": "any_subset"}


class TestUNetPlusPlus(OneImage):
    options = {**SMALL, "architecture": "unetplusplus"}


class TestDeepLabV3Plus(OneImage):
    options = {**SMALL, "architecture": "deeplabv3plus"}


class TestFPN(OneImage):
    options = {**SMALL, "architecture": "fpn", "subsets": "any_subset"}


class TestUPerNet(OneImage):
    options = {**SMALL, "architecture": "upernet", "subsets": "any_subset"}


class TestSegFormer(OneImage):
    options = {"backbone": "mit_b0", "architecture": "segformer", "subsets": "any_subset"}


make = TestUNet.make


@pytest.mark.parametrize(
    ("row", "network", "encoder", "subsets"),
    [
        ("unet", smp.Unet, "resnet34", "full"),
        ("unet_dropout", smp.Unet, "resnet34", "any_subset"),
        ("unetplusplus_dropout", smp.UnetPlusPlus, "resnet34", "any_subset"),
        ("deeplabv3plus", smp.DeepLabV3Plus, "resnet34", "full"),
        ("deeplabv3plus_dropout", smp.DeepLabV3Plus, "resnet34", "any_subset"),
        ("fpn_dropout", smp.FPN, "resnet34", "any_subset"),
        ("upernet_dropout", smp.UPerNet, "resnet34", "any_subset"),
        ("segformer_early", smp.Segformer, "mit_b2", "full"),
        ("segformer_early_dropout", smp.Segformer, "mit_b2", "any_subset"),
    ],
)
def test_a_row_is_the_network_of_its_name(row, network, encoder, subsets):
    with torch.device("meta"):
        model = build_model(row, {"rgb": 3, "dsm": 1, "nir": 1}, 6)
    with torch.device("cpu"):
        same = network(encoder, encoder_weights=None, in_channels=5, classes=6)
    assert type(model.network.model) is network and model.subsets == subsets
    shapes = {name: tuple(weight.shape) for name, weight in same.state_dict().items()}
    ours = model.network.model.state_dict()
    assert {name: tuple(weight.shape) for name, weight in ours.items()} == shapes


def test_network_is_smps_own_on_channels_side_by_side():
    module, given = make(backbone="resnet18").eval(), images(THREE, size=(40, 64))
    oracle = smp.Unet("resnet18", encoder_weights=None, in_channels=6, classes=CLASSES).eval()
    oracle.load_state_dict(module.network.model.state_dict())
    padded = {m: F.pad(image, (0, 0, 0, 24), mode="replicate") for m, image in given.items()}
    side_by_side = torch.cat([padded["rgb"], torch.zeros(2, 1, 64, 64), padded["sar"]], 1)
    with torch.inference_mode():
        expected = oracle(side_by_side)[..., :40, :]
        assert torch.equal(module({m: given[m] for m in ("rgb", "sar")}), expected)


@pytest.mark.parametrize(
    ("architecture", "backbone"),
    [("deeplabv3plus", "resnet18"), ("segformer", "pvt_v2_b0"), ("fpn", "resnet18")],
)
def test_other_architectures_train_at_any_size(architecture, backbone):
    module = make(architecture=architecture, backbone=backbone).train()
    loss = module.weighted_sum(module.training_losses(training_batch(THREE)))
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "wnet"},
        {"backbone": "resnet19"},
        {"backbone": "tu-hf-hub:someone/else"},
        {"architecture": "dpt"},
    ],
)
def test_what_smp_cannot_build_is_named(options):
    words = {"backbone": "resnet18", **options}
    with pytest.raises(UserError, match="cannot build"):
        make(**words)


@pytest.mark.parametrize("rule", ["full", "any_subset"])
def test_training_depends_on_the_drawn_modalities_only(rule):
    module, seen = make(subsets=rule).train(), set()
    for seed in range(6):
        batch = training_batch(THREE, batch=4, seed=seed)
        given = {m: image.requires_grad_() for m, image in batch["image"].items()}
        torch.manual_seed(seed)
        module.training_losses({**batch, "image": given})["seg"].backward()
        for sample in range(4):
            seen.add(frozenset(m for m, image in given.items() if image.grad[sample].any()))
    assert frozenset() not in seen
    assert seen == {frozenset(THREE)} if rule == "full" else len(seen) > 3


def test_it_is_built_on_the_default_device():
    """Costs are counted without values."""
    with torch.device("meta"):
        assert {weight.device.type for weight in make().parameters()} == {"meta"}
