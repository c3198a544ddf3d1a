"""PSPNet: contract, counts, its trunk beside torchvision's, and its head written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from benchmark.profiling.complexity import count_parameters
from methods.single_stream.pspnet import PSPNet, PyramidPooling
from tests.support.method_checks import (
    THREE,
    training_batch,
)
from tests.support.single_stream import (
    RESNET,
    SingleStreamContract,
    Twin,
    randomise,
)


class TestPSPNet(SingleStreamContract):
    options = {**RESNET, "architecture": "pspnet"}


def test_counts_of_parts():
    with torch.device("meta"):
        found = count_parameters(PSPNet([3], 6, "resnet101"))
    assert found["first"] + found["pyramid"] == 42_500_160
    assert found["pooling"] == 4_198_400
    assert (found["head"], found["auxiliary"]) == (18_878_470, 2_361_350)


def test_trunk_is_torchvisions_with_the_dilation_of_the_paper():
    """Of all 3x3 convolutions of a stage: libraries leave its first unit at the stage before."""
    torch.manual_seed(0)
    model = PSPNet([3], 5, "resnet26").eval()
    other = ResNet(Bottleneck, [2] * 4, replace_stride_with_dilation=[False, True, True]).eval()
    for stage, before, dilation in ((other.layer3, 1, 2), (other.layer4, 2, 4)):
        assert stage[0].conv2.dilation == (before, before)
        assert stage[1].conv2.dilation == (dilation, dilation)
        stage[0].conv2.dilation = stage[0].conv2.padding = (dilation, dilation)
    weights = {f"conv1.{name}": value for name, value in model.first[0].state_dict().items()}
    missing = other.load_state_dict({**weights, **model.pyramid.state_dict()}, strict=False)
    assert missing.missing_keys == ["fc.weight", "fc.bias"] and not missing.unexpected_keys
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        maps = other.maxpool(other.relu(other.bn1(other.conv1(image))))
        for stage, found in zip(
            (other.layer1, other.layer2, other.layer3, other.layer4),
            model.pyramid(model.first[0](image)),
            strict=True,
        ):
            maps = stage(maps)
            torch.testing.assert_close(found, maps, rtol=1e-4, atol=1e-5)
    assert maps.shape[2:] == (8, 12)


def test_a_constant_map_passes_every_bin_unchanged():
    pooling = PyramidPooling(8).eval()
    maps = torch.randn(1, 8, 1, 1).expand(-1, -1, 7, 9)
    with torch.inference_mode():
        found = pooling(maps)
        expected = [maps]
        for branch in pooling.branches:
            expected.append(branch(maps))
        torch.testing.assert_close(found, torch.cat(expected, 1))


class NetworkTwin(Twin):
    """The equations of the dossier, section 14.1, behind the trunk."""

    def means(self, maps, side):
        height, width = maps.shape[2:]
        rows = [(i * height // side, -(-(i + 1) * height // side)) for i in range(side)]
        columns = [(i * width // side, -(-(i + 1) * width // side)) for i in range(side)]
        found = torch.zeros(*maps.shape[:2], side, side)
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                found[:, :, i, j] = maps[:, :, top:bottom, left:right].mean((2, 3))
        return found

    def head(self, name, maps):
        return self.conv(f"{name}.2", self.cbr(f"{name}.0", maps, padding=1))

    def __call__(self, image):
        *_, third, deepest = self.module.pyramid(self.module.first[0](image))
        parts = [deepest]
        for number, side in enumerate((1, 2, 3, 6)):
            mean = self.cbr(f"pooling.branches.{number}", self.means(deepest, side))
            size = deepest.shape[2:]
            parts.append(F.interpolate(mean, size, mode="bilinear", align_corners=True))
        return self.head("head", torch.cat(parts, 1)), self.head("auxiliary", third)


def test_network_against_its_equations():
    torch.manual_seed(0)
    model = PSPNet([3, 1], 5, RESNET["backbone"]).eval()
    randomise(model)
    image = torch.randn(2, 4, 64, 96)
    with torch.inference_mode():
        expected, auxiliary = NetworkTwin(model)(image)
        logits, none = model([model.first[0](image)])
        assert logits.shape == (2, 5, 8, 12) and none == []
        model.training = True
        (found,) = model([model.first[0](image)])[1]
    for ours, theirs in ((logits, expected), (found, auxiliary)):
        largest = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * largest)


def test_the_auxiliary_head_teaches_three_stages():
    module = TestPSPNet.make(THREE).train()
    module.training_losses(training_batch(THREE))["auxiliary"].backward()
    for name, weight in module.network.model.named_parameters():
        taught = name.startswith(("first.", "pyramid.", "auxiliary.")) and "layer4" not in name
        assert (weight.grad is not None and bool(weight.grad.any())) == taught, name


def test_one_sample_is_refused_in_training():
    module = TestPSPNet.make({"rgb": 3}).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module.training_losses(training_batch({"rgb": 3}, batch=1))
