"""CMGFNet: the contract, the dossier's counts, and its equations written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.two_stream.cmgfnet import CMGFNetNetwork, Gate, UpBlock
from methods.two_stream.module import CMGFNet
from tests.support.method_checks import (
    THREE,
    TWO,
    images,
    training_batch,
)
from tests.support.streams import StreamContract, build_on_meta
from usererror import UserError


class TestCMGFNet(StreamContract):
    method = CMGFNet
    options = {"backbone": "test_resnet", "pretrained": False}
    fewest = 2


make = TestCMGFNet.make


def block_size(channels: int) -> int:
    return channels**2 + 57 * channels + 64


def closed_form(channels: list[int], classes: int) -> int:
    """The dossier's P(M)."""
    count = len(channels)
    encoders = sum(21_275_264 + 3_136 * c for c in channels)
    gates = 80 * (count - 1) * (16 * count + 1) + 528
    decoders = 17_024 + 5 * block_size(16 * (count + 1))
    return encoders + 24_672 * count + decoders + gates + 73 * classes


@pytest.mark.parametrize(
    ("channels", "total"),
    [([3, 1], 42_658_566), ([3, 1, 1], 63_980_358), ([3, 1, 3, 3], 85_319_814)],
)
def test_parameters_of_the_dossier(channels, total):
    assert count_parameters(build_on_meta(CMGFNetNetwork, channels))["total"] == total
    assert closed_form(channels, 6) == total


def test_closed_form_of_other_channels_and_classes():
    found = count_parameters(build_on_meta(CMGFNetNetwork, [4, 2, 5], 11))["total"]
    assert found == closed_form([4, 2, 5], 11)


def test_parameters_of_the_parts():
    network = build_on_meta(CMGFNetNetwork, [3, 1])
    found = count_parameters(network)
    trunks = [
        count_parameters(encoder.first)["total"] + count_parameters(encoder.trunk)["total"]
        for encoder in network.encoders.values()
    ]
    sides = [count_parameters(encoder.sides)["total"] for encoder in network.encoders.values()]
    assert trunks == [21_284_672, 21_278_400] and sides == [24_672] * 2
    assert (found["main_decoder"], found["cross_decoder"]) == (15_792, 26_752)
    assert (found["gates"], found["last_gate"]) == (5 * 528, 528)
    assert (found["head"], found["heads"]) == (210, 2 * 114)
    sizes = [count_parameters(UpBlock(width))["total"] for width in (16, 32, 48)]
    assert sizes == [1_232, 2_912, 5_104] == [block_size(width) for width in (16, 32, 48)]


def test_table_iii_counts_two_classifiers_that_nothing_calls():
    classifier = count_parameters(torchvision.models.resnet34().fc)["total"]
    network = count_parameters(build_on_meta(CMGFNetNetwork, [3, 1]))["total"]
    assert classifier == 513_000
    assert network + 2 * classifier == 43_684_566


def test_multiply_accumulates():
    network = build_on_meta(CMGFNetNetwork, [3, 1])
    given = {"sensor0": torch.empty(1, 3, 256, 256, device="meta")}
    given["sensor1"] = torch.empty(1, 1, 256, 256, device="meta")
    # the release evaluates all three heads in inference, too
    side_heads = 2 * 256**2 * 16 * 6 / 1e9
    assert count_gmac(lambda: network(given)) + side_heads == pytest.approx(10.226, abs=1e-3)
    # all that is left for a subset once the sensors are encoded
    encoded = network.encode(given)
    assert count_gmac(lambda: network.fuse(encoded)) == pytest.approx(0.47, abs=0.015)


# ---- an independent twin ---------------------------------------------------------------------


class Twin:
    """The dossier's equations in plain operations on the weights of a network in eval mode."""

    def __init__(self, network: CMGFNetNetwork) -> None:
        self.weights = network.state_dict()

    def conv(self, name: str, x: Tensor, **options: Any) -> Tensor:
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], **options)

    def norm(self, name: str, x: Tensor) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, gain, bias = (self.weights[f"{name}.{key}"][:, None, None] for key in keys)
        return (x - mean) / (variance + 1e-5).sqrt() * gain + bias

    def block(self, name: str, x: Tensor) -> Tensor:
        x = nn.UpsamplingBilinear2d(scale_factor=2)(x)
        y = self.norm(f"{name}.long.0", x)
        y = self.conv(f"{name}.long.1", y, padding=1, groups=x.shape[1])
        y = self.norm(f"{name}.long.3", self.conv(f"{name}.long.2", y)).clamp(min=0)
        y = self.conv(f"{name}.long.5", y, padding=1, groups=x.shape[1])
        y = self.norm(f"{name}.long.7", self.conv(f"{name}.long.6", y))
        return self.conv(f"{name}.short", x) + y

    def gate(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        share = torch.sigmoid(self.conv(f"{name}.logits", torch.cat([x, y], 1)))
        return torch.cat([(1 - share) * y, share * x], 1)

    def sides(self, modality: str, image: Tensor) -> list[Tensor]:
        """By torchvision's ResNet."""
        start = f"encoders.{modality}."
        resnet = torchvision.models.resnet18()
        resnet.conv1 = nn.Conv2d(image.shape[1], 64, 7, 2, 3, bias=False)
        trunk = {k: v for k, v in self.weights.items() if k.startswith(f"{start}trunk.")}
        trunk = {key.removeprefix(f"{start}trunk."): value for key, value in trunk.items()}
        trunk["conv1.weight"] = self.weights[f"{start}first.weight"]
        left = resnet.load_state_dict(trunk, strict=False)
        assert set(left.missing_keys) == {"fc.weight", "fc.bias"} and not left.unexpected_keys
        resnet.eval()
        x = torch.relu(resnet.bn1(resnet.conv1(image)))
        maps, x = [x], resnet.maxpool(x)
        for stage in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
            x = stage(x)
            maps.append(x)
        maps.append(F.max_pool2d(x, 2, 2))
        return [self.conv(f"{start}sides.{k}", features) for k, features in enumerate(maps)]

    def head(self, name: str, x: Tensor) -> Tensor:
        return torch.relu(self.norm(f"{name}.1", self.conv(f"{name}.0", x)))

    def logits(self, rgb: Tensor, dsm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        colour, height = self.sides("rgb", rgb), self.sides("dsm", dsm)
        a = self.block("main_decoder.first", colour[5])
        b = self.block("cross_decoder.first", height[5])
        for number, k in enumerate((4, 3, 2, 1, 0)):
            a = self.block(f"main_decoder.blocks.{number}", torch.cat([colour[k], a], 1))
            crossed = self.gate(f"gates.{k}", colour[k], height[k])
            b = self.block(f"cross_decoder.blocks.{number}", torch.cat([crossed, b], 1))
        fused = self.head("head", self.gate("last_gate", a, b))
        return fused, self.head("heads.main", a), self.head("heads.cross", b)


@torch.no_grad()
def test_it_is_the_published_network_for_two_sensors():
    module = make(TWO, backbone="resnet18")
    module.train().training_losses(training_batch(TWO))
    network, given = module.eval().network, images(TWO, size=(64, 128))
    fused, main, cross = Twin(network).logits(given["rgb"], given["dsm"])
    torch.testing.assert_close(network(given), fused, rtol=1e-5, atol=1e-5)
    encoded = network.encode(given)
    found = network.heads["main"](encoded["rgb"][-1])
    torch.testing.assert_close(found, main, rtol=1e-5, atol=1e-5)
    # every head ends in a ReLU
    assert fused.min() == 0 and main.min() == 0 and cross.min() == 0
    assert not torch.allclose(fused, main, atol=1e-2)


# ---- parts -------------------------------------------------------------------------------------


def test_a_gate_of_two_maps_is_a_sigmoid_and_of_more_a_softmax():
    torch.manual_seed(0)
    x, y, z = torch.randn(3, 2, 16, 5, 7)
    gate = Gate(2)
    share = torch.sigmoid(gate.logits(torch.cat([x, y], 1)))
    torch.testing.assert_close(gate([x, y]), torch.cat([(1 - share) * y, share * x], 1))
    # halves of equal maps sum to the map
    first, second = gate([x, x]).chunk(2, 1)
    torch.testing.assert_close(first + second, x)
    parts = Gate(3)([x, x, x]).chunk(3, 1)
    torch.testing.assert_close(sum(parts), x)
    # logits of 0: thirds, in reverse order
    even = Gate(3)
    nn.init.zeros_(even.logits.weight)
    nn.init.zeros_(even.logits.bias)
    torch.testing.assert_close(even([x, y, z]), torch.cat([z, y, x], 1) / 3)


@torch.no_grad()
def test_the_head_of_the_main_sensor_sees_nothing_else():
    module, given, other = make(THREE).train(), images(THREE), images(THREE, seed=1)
    found = []
    for dsm in (given["dsm"], other["dsm"]):
        network = make(THREE).train().network
        encoded = network.encode({**given, "dsm": dsm})
        found.append(network.fuse(encoded)[1]["heads"])
    assert torch.equal(found[0]["main"], found[1]["main"])
    assert not torch.equal(found[0]["cross"], found[1]["cross"])
    assert set(module.training_losses(training_batch(THREE))) == {"seg", "main", "cross"}


@torch.no_grad()
def test_the_main_head_predicts_where_the_main_sensor_is_alone():
    module, given = make(THREE, main_head=True).eval(), images(THREE)
    plain, network = make(THREE).eval(), module.network
    encoded = network.encode(given)
    own = network.heads["main"](encoded["rgb"][-1])
    assert torch.equal(network.fuse({"rgb": encoded["rgb"]})[0], own)
    assert torch.equal(module(given), plain(given))
    assert torch.equal(module({"sar": given["sar"]}), plain({"sar": given["sar"]}))
    # the first sample has the main sensor alone, the second another beside it
    present = {"rgb": torch.tensor([True, True]), "dsm": torch.tensor([False, True])}
    mixed = network.fuse({m: encoded[m] for m in present}, present)[0]
    both = plain.network.fuse({m: encoded[m] for m in present})[0]
    torch.testing.assert_close(mixed, torch.stack([own[0], both[1]]), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_logits_are_never_negative_unless_told():
    given = images(THREE, size=(64, 64))
    assert make().eval()(given).min() >= 0
    assert make(relu_logits=False).eval()(given).min() < 0


def test_the_main_sensor_is_the_first_with_three_channels():
    assert make({"dsm": 1, "irrg": 3, "rgb": 3}).network.main == "irrg"
    assert make({"dsm": 1, "sar": 2}).network.main == "dsm"


def test_pretrained_weights_of_another_number_of_channels(tmp_path):
    torch.manual_seed(5)
    resnet = torchvision.models.resnet18()
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    options = {"backbone": "resnet18", "pretrained": True}
    network = make(THREE, pretrained_path=str(tmp_path / "resnet18.pth"), **options).network
    kernels = {m: network.encoders[m].first.weight for m in THREE}
    assert torch.equal(kernels["rgb"], resnet.conv1.weight)
    mean = resnet.conv1.weight.mean(1, keepdim=True)
    assert torch.equal(kernels["dsm"], mean)
    assert torch.equal(kernels["sar"], mean.expand(-1, 2, -1, -1))
    stage = network.encoders["sar"].trunk.layer3[0].conv1.weight
    assert torch.equal(stage, resnet.layer3[0].conv1.weight)


def test_what_it_cannot_be_built_of():
    with pytest.raises(UserError, match="at least two"):
        make({"rgb": 3})
    with pytest.raises(UserError, match="no ResNet"):
        make(backbone="pvt_v2_b0")
