"""MANet: the contract, the dossier's counts, and blocks against timm's SAM encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.profiling.complexity import count_elements, count_parameters, evaluation_gmac
from methods.two_stream.manet import BlockAdapters, MANetNetwork, Pyramid, run_block
from methods.two_stream.module import MANet
from methods.two_stream.squeeze import Squeeze
from tests.support.method_checks import (
    THREE,
    TWO,
    images,
)
from tests.support.streams import StreamContract, build_on_meta, doubled
from usererror import UserError

TINY = {"backbone": "samvit_tiny_patch8", "pretrained": False}
MICRO = {**TINY, "backbone": "samvit_micro_patch16"}


class TestMANet(StreamContract):
    method = MANet
    options = MICRO
    fewest = 2


def make(modalities: dict[str, int] = THREE, **options: Any) -> Any:
    return TestMANet.make(modalities, **{**TINY, **options})


def trained(count: int, classes: int) -> int:
    """The dossier's closed form."""
    adapters, rest = 12 * count * 591_745, count * (787_712 + 33_856)
    return adapters + rest + 514_718 + 64 * classes


@pytest.mark.parametrize(
    ("channels", "total"),
    [([3, 1], 16_360_118), ([3, 1, 1], 24_282_626), ([3, 1, 3, 3], 32_205_134)],
)
def test_parameters_of_the_dossier(channels, total):
    network = build_on_meta(MANetNetwork, channels)
    assert count_parameters(network)["total"] == total == trained(len(channels), 6)
    frozen = count_elements(network.backbone.buffers())
    assert frozen == 89_670_912
    if len(channels) == 2:
        assert total + frozen == 106_031_030


def test_closed_form_of_other_classes():
    assert count_parameters(build_on_meta(MANetNetwork, [4, 2], 11))["total"] == trained(2, 11)


def test_parameters_of_the_parts():
    network = build_on_meta(MANetNetwork, [3, 1])
    found = count_parameters(network)
    assert count_parameters(network.adapters[0][1])["total"] == 2 * 295_872 + 1 == 591_745
    assert [count_parameters(part)["total"] for part in network.pyramids] == [787_712] * 2
    assert [count_parameters(part)["total"] for part in network.gates] == [16_928] * 4
    assert (found["adapters"], found["decoder"]) == (14_201_880, 515_102)
    sizes = [count_parameters(Squeeze(width))["total"] for width in (64, 256, 512, 1024)]
    assert sizes == [580, 8_464, 33_312, 132_160]


def test_table_iii_counts_two_parts_of_sam_that_nothing_calls():
    """SAM's prompt encoder and mask decoder by their layers, of width 256."""

    def linear(before: int, after: int) -> int:
        return before * after + after

    def attention(inner: int) -> int:
        return 3 * linear(256, inner) + linear(inner, 256)

    # points and boxes, no point, no mask; convolutions and norms that narrow a mask
    prompts = (4 + 1 + 1) * 256 + linear(4, 4) + 8 + linear(16, 16) + 32 + linear(16, 256)
    layer = attention(256) + 2 * attention(128) + linear(256, 2048) + linear(2048, 256) + 4 * 512
    transformer = 2 * layer + attention(128) + 512
    larger = 4 * 256 * 64 + 64 + 128 + 4 * 64 * 32 + 32
    heads = 4 * (2 * linear(256, 256) + linear(256, 32)) + 2 * linear(256, 256) + linear(256, 4)
    decoder = transformer + (1 + 4) * 256 + larger + heads
    assert (prompts, decoder) == (6_220, 4_058_340)
    network = count_parameters(build_on_meta(MANetNetwork, [3, 1]))["total"]
    assert network + prompts + decoder == 20_424_678


def test_multiply_accumulates():
    network = build_on_meta(MANetNetwork, [3, 1])
    sizes = {"sensor0": 3, "sensor1": 1}
    given = {m: torch.empty(1, count, 256, 256, device="meta") for m, count in sizes.items()}
    # the release adapts the windows' padding as well, which is cut off behind: 16 x 16 tokens are
    # 28 x 28 in the eight blocks with windows of 14
    padding = 2 * 8 * (28**2 - 16**2) * 2 * 768 * 192 / 1e9
    assert evaluation_gmac(lambda: network(given)) + padding == pytest.approx(76.561, abs=1e-3)


def silence(network: MANetNetwork) -> None:
    """Let every adapter return zeros."""
    for part in network.adapters.modules():
        if isinstance(part, BlockAdapters):
            for adapter in (part.attention, part.exchange):
                nn.init.zeros_(adapter[2].weight)
                nn.init.zeros_(adapter[2].bias)


@torch.no_grad()
def test_silent_adapters_leave_timms_encoder():
    network, given = make(TWO).eval().network, images(TWO, size=(128, 128))
    silence(network)
    encoded = network.encode(given)
    streams = [encoded[m][0].permute(0, 2, 3, 1) for m in TWO]
    found = network.run_trunk(streams)
    # built for this size, so that timm resizes nothing
    model = network.backbone.model
    dsm = given["dsm"].expand(-1, 3, -1, -1)
    for maps, image in zip(found, (given["rgb"], dsm), strict=True):
        expected = model.forward_features(image)
        torch.testing.assert_close(maps, expected, rtol=1e-5, atol=1e-5)
    # and the streams do not meet
    changed = network.run_trunk([streams[0], torch.randn_like(streams[1])])
    assert torch.equal(changed[0], found[0])


def normalise(layer: Any, tokens: Tensor) -> Tensor:
    mean, variance = tokens.mean(-1, True), tokens.var(-1, correction=0, keepdim=True)
    return (tokens - mean) / (variance + layer.eps).sqrt() * layer.weight + layer.bias


def adapt(adapter: Any, tokens: Tensor) -> Tensor:
    first, _, second = adapter
    inner = F.gelu(F.linear(tokens, first.weight, first.bias))
    return F.linear(inner, second.weight, second.bias)


@pytest.mark.parametrize("number", [0, 1])
@torch.no_grad()
def test_a_block_in_plain_operations(number):
    """Block 0 has windows, block 1 is global; of three streams each adds the others' mean."""
    network = make().eval().double().network
    block, adapters = network.backbone.model.blocks[number], network.adapters[number]
    streams = [torch.randn(2, 7, 14, 192).double() for _ in range(3)]
    shares = (0.2, 0.5, 0.9)
    for part, share in zip(adapters, shares, strict=True):
        part.own.fill_(share)
    found = run_block(block, adapters, streams)
    states, made = [], []
    for part, tokens in zip(adapters, streams, strict=True):
        normed = normalise(block.norm1, tokens)
        # windows of 7, or one of all
        whole = [block.attn(window) for window in normed.split(7 if number == 0 else 14, 2)]
        attended = torch.cat(whole, 2)
        states.append(tokens + attended + adapt(part.attention, attended))
        inner = F.layer_norm(
            states[-1], (192,), block.norm2.weight, block.norm2.bias, block.norm2.eps
        )
        made.append((block.mlp(inner), adapt(part.exchange, inner)))
    for place, share in enumerate(shares):
        others = [made[other][1] for other in range(3) if other != place]
        own = share * made[place][1] + (1 - share) * (others[0] + others[1]) / 2
        expected = states[place] + made[place][0] + own
        torch.testing.assert_close(found[place], expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_equal_streams_do_not_mind_the_weight():
    network = make(TWO).eval().network
    block, adapters = network.backbone.model.blocks[0], network.adapters[0]
    adapters[1].load_state_dict(adapters[0].state_dict())
    tokens, found = torch.randn(1, 7, 7, 192), []
    for share in (0.1, 0.8):
        for part in adapters:
            part.own.fill_(share)
        found += run_block(block, adapters, [tokens, tokens])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_pyramid_and_gates_in_plain_operations():
    network, given = make(TWO).eval().double().network, doubled((32, 64))
    encoded = network.encode({m: given[m] for m in TWO})
    seen: dict[str, Any] = {}
    network.decoder.register_forward_hook(lambda _, called, __: seen.update(maps=called[0]))
    network.fuse(encoded)
    trunk = network.run_trunk([encoded[m][0].permute(0, 2, 3, 1) for m in TWO])
    levels: list[Any] = [0, 0, 0, 0]
    for stream, (pyramid, maps) in enumerate(zip(network.pyramids, trunk, strict=True)):
        first, norm, _, second = pyramid.finest
        raised = F.conv_transpose2d(maps, first.weight, first.bias, 2)
        if stream == 0:
            mean, variance = raised.mean(1, True), raised.var(1, correction=0, keepdim=True)
            normed = (raised - mean) / (variance + 1e-6).sqrt()
        else:
            normed = raised / (1 + 1e-5) ** 0.5
        fine = F.conv_transpose2d(F.gelu(normed), second.weight, second.bias, 2)
        finer = F.conv_transpose2d(maps, pyramid.finer.weight, pyramid.finer.bias, 2)
        for level, part in enumerate((fine, finer, maps, F.max_pool2d(maps, 2))):
            down, _, up, _ = network.gates[level][stream].weigh
            inner = F.conv2d(part.mean((2, 3), True), down.weight, down.bias).clamp(min=0)
            levels[level] = levels[level] + part * F.conv2d(inner, up.weight, up.bias).sigmoid()
        assert norm.weight.shape == (192,) and isinstance(pyramid, Pyramid)
    torch.testing.assert_close(seen["maps"], levels, rtol=1e-9, atol=1e-9)


def test_nothing_frozen_is_a_parameter():
    network = make(TWO).network
    assert not list(network.backbone.parameters())
    assert [part.own.item() for part in network.adapters[0]] == [0.5, 0.5]


def test_what_it_cannot_be_built_of():
    with pytest.raises(UserError, match="at least two"):
        make({"rgb": 3})
    with pytest.raises(UserError, match="needs a SAM"):
        make(backbone="vit_tiny_patch8")
