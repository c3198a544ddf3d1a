"""CMFNet: the contract, the dossier's counts, and attention between channels by loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.vgg16.channel_transformer import ChannelTransformer, Patches
from methods.vgg16.cmfnet import CMFNetNetwork
from methods.vgg16.module import CMFNet
from tests.support.method_checks import (
    THREE,
)
from tests.support.streams import StreamContract, build_on_meta, doubled
from tests.support.vgg16 import highest, run_block, run_decoder, settle
from usererror import UserError

WIDTHS = (64, 128, 256, 512)


class TestCMFNet(StreamContract):
    method = CMFNet
    options = {"backbone": "vgg16_w8", "pretrained": False, "patch": 8}
    fewest = 2


make = TestCMFNet.make


# ---- counts: released, less what is never used ---------------------------------------------------

GATES = sum(width**2 + width for width in WIDTHS)  # of four scales, per stream: never called
PROJECTION = 240**2  # a head's keys or values
# of 4 layers, heads 2 to 4, keys and values: all heads use those of the first
HEADS = 4 * 3 * 2 * PROJECTION
# of a stream's last layer across streams all but its keys and the norm they need
LAST = 3_691_840 - 3 * 2 * PROJECTION - PROJECTION - 2 * 960
REBUILD = sum(width**2 + 3 * width for width in WIDTHS)  # its maps, made anew and not read


def released(channels: list[int], classes: int) -> int:
    """The dossier's P(M)."""
    encoders = sum(576 * c + 14_721_408 for c in channels)
    streams = len(channels) * (262_656 + 349_120 + 19_559_424)
    return encoders + streams + 1_920 + 19_561_344 + 577 * classes + 14_719_872


def never_used(count: int) -> int:
    """What a released network of `count` streams holds and never reads."""
    return count * (GATES + HEADS) + HEADS + (count - 1) * (LAST + REBUILD) + PROJECTION


@pytest.mark.parametrize(
    ("channels", "built", "in_use"),
    [
        ([3, 1], 104_074_118, 95_533_318),
        ([3, 1, 1], 138_967_302, 125_057_222),
        ([3, 1, 3, 3], 173_862_790, None),
    ],
)
def test_parameters_of_the_dossier(channels, built, in_use):
    found = count_parameters(build_on_meta(CMFNetNetwork, channels))["total"]
    assert released(channels, 6) == built
    assert found == built - never_used(len(channels))
    assert in_use in (found, None)


def test_what_the_release_never_uses():
    assert (2 * GATES, 2 * HEADS, HEADS) == (698_240, 2_764_800, 1_382_400)
    assert (LAST + PROJECTION, REBUILD) == (3_344_320, 351_040)
    assert never_used(2) == 8_540_800


def test_closed_form_of_other_channels_and_classes():
    found = count_parameters(build_on_meta(CMFNetNetwork, [4, 2, 5], 11))["total"]
    assert found == released([4, 2, 5], 11) - never_used(3)


def test_parameters_of_the_parts():
    network = build_on_meta(CMFNetNetwork, [3, 1])
    found = count_parameters(network)
    assert found["encoders"] == 14_723_136 + 14_721_984
    assert found["gates"] == 525_312 == 2 * 262_656
    assert found["own"] + found["own_patches"] == 19_561_344 - HEADS
    crossed = found["cross"] + found["patches"]
    assert crossed == 39_120_768 - 2 * HEADS - LAST - REBUILD - PROJECTION
    assert found["decoder"] == 14_723_334


def test_multiply_accumulates():
    network = build_on_meta(CMFNetNetwork, [3, 1])
    sizes = {"sensor0": 3, "sensor1": 1}
    given = {m: torch.empty(1, count, 256, 256, device="meta") for m, count in sizes.items()}
    squares, tokens = sum(width**2 for width in WIDTHS), 256
    # what the release computes without reading it: maps made anew from the heights' tokens, the
    # last layer of their stream, and the keys that it would have taken
    rebuilt = sum(w**2 * (256 >> level) ** 2 for level, w in enumerate(WIDTHS))
    linear = squares / 4 + squares + 8 * squares
    attention = 4 * PROJECTION + 2 * 960 * 240
    unread = rebuilt + tokens * (linear + attention) + tokens * 4 * PROJECTION
    found = count_gmac(lambda: network(given))
    assert found + unread / 1e9 == pytest.approx(79.339, abs=1e-3)


# ---- an independent twin -------------------------------------------------------------------------


def norm(layer: Any, rows: Tensor) -> Tensor:
    mean = rows.mean(-1, keepdim=True)
    deviation = (rows.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    return (rows - mean) / deviation * layer.weight + layer.bias


def quarters_of(part: Any, tokens: list[Tensor], head: int) -> Tensor:
    """A head's channels of all scales, (B, N, sum / 4)."""
    scales = norm(part.norm_all, torch.cat(tokens, 2)).split([t.shape[2] for t in tokens], 2)
    return torch.cat([scale.chunk(4, 2)[head] for scale in scales], 2)


def attend(part: Any, tokens: list[Tensor], keys_of: list[tuple[Any, list[Tensor]]]) -> Any:
    """One stream of one layer, head by head and channel by channel."""
    total, found = sum(given.shape[2] for given in tokens), []
    for scale, given in enumerate(tokens):
        mixed, width = torch.zeros_like(given), given.shape[2] // 4
        queries = norm(part.norms[scale], given)
        for head in range(4):
            own = queries[..., head * width : (head + 1) * width]
            own = own @ part.queries[scale][head]
            values = quarters_of(part, tokens, head) @ part.value.weight.T
            keys = sum(quarters_of(o, t, head) @ o.key.weight.T for o, t in keys_of) / len(keys_of)
            rows = [(own[..., c, None] * keys).sum(1) / total**0.5 for c in range(width)]
            likeness = torch.stack(rows, 1)
            mean = likeness.mean((1, 2), keepdim=True)
            spread = likeness.var((1, 2), correction=0, keepdim=True)
            shares = ((likeness - mean) / (spread + 1e-5).sqrt()).exp()
            shares = shares / shares.sum(2, keepdim=True)
            for c in range(width):
                mixed[..., 4 * c + head] = (shares[:, None, c] * values).sum(2)
        state = given + mixed @ part.projections[scale].weight.T
        first, wide, _, back = part.mlps[scale]
        inner = F.gelu(norm(first, state) @ wide.weight.T + wide.bias)
        found.append(state + inner @ back.weight.T + back.bias)
    return found


def embed(patches: Patches, maps: list[Tensor]) -> list[Tensor]:
    found = []
    for conv, table, given in zip(patches.convolutions, patches.positions, maps, strict=True):
        tokens = F.conv2d(given, conv.weight, conv.bias, stride=conv.kernel_size)
        tokens = tokens + F.interpolate(table, tokens.shape[2:], mode="bilinear")
        found.append(tokens.flatten(2).transpose(1, 2))
    return found


def transform(block: Any, maps: list[Tensor], streams: list[list[Tensor]]) -> list[Tensor]:
    for layer in block.layers:
        after = []
        for number, (part, tokens) in enumerate(zip(layer, streams, strict=True)):
            pairs = list(zip(layer, streams, strict=True))
            others = [pair for place, pair in enumerate(pairs) if place != number] or pairs
            after.append(attend(part, tokens, others) if hasattr(part, "value") else tokens)
        streams = after
    found = []
    for level, given in enumerate(maps):
        side = given.shape[2] // 8  # of a patch: the image has 8 x 12 of them
        grid = norm(block.norms[level], streams[0][level]).transpose(1, 2).unflatten(2, (8, 12))
        grid = grid.repeat_interleave(side, 2).repeat_interleave(side, 3)
        conv, batch_norm, _ = block.rebuild[level]
        rebuilt = batch_norm(F.conv2d(grid, conv.weight, conv.bias)).clamp(min=0)
        found.append(given + rebuilt)
    return found


@torch.no_grad()
def test_it_is_the_published_network():
    network, given = make().eval().double().network, doubled((64, 96))
    settle(network)
    for part in (*network.patches.values(), network.own_patches):
        for table in part.positions:
            torch.nn.init.normal_(table)
    maps = {m: [given[m]] for m in THREE}
    deepest = 0
    for m, encoder in network.encoders.items():
        for level, block in enumerate(encoder.blocks):
            below = maps[m][-1] if level == 0 else highest(maps[m][-1])[0]
            maps[m].append(run_block(block, below, "bn_relu"))
        last, gate = maps[m].pop(), network.gates[m].weigh
        shares = F.conv2d(last.mean((2, 3), True), gate.weight, gate.bias).sigmoid()
        deepest = deepest + last * shares
        maps[m] = maps[m][1:]
    streams = [embed(network.patches[m], maps[m]) for m in ("rgb", "dsm", "sar")]
    crossed = transform(network.cross, maps["rgb"], streams)
    attended = transform(network.own, crossed, [embed(network.own_patches, crossed)])
    pooled, place = highest(deepest)
    places = [*(highest(part)[1] for part in maps["rgb"]), place]
    skips = [own + more for own, more in zip(maps["rgb"], attended, strict=True)]
    expected = run_decoder(network.decoder, pooled, places, [*skips, deepest], "bn_relu")
    torch.testing.assert_close(network(given), expected, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_equal_keys_leave_nothing_to_attend_to():
    """Keys that are the same in every channel make all shares equal, whatever is asked."""
    torch.manual_seed(0)
    block = ChannelTransformer(2, (8, 16, 32, 64), 8).eval()
    maps = [torch.randn(1, 8 << level, 32 >> level, 32 >> level) for level in range(4)]
    streams = [[torch.randn(1, 8 << level, 4, 4) for level in range(4)] for _ in range(2)]
    varied = block(maps, streams)
    for layer in block.layers:
        layer[1].key.weight.copy_(layer[1].key.weight[:1].expand_as(layer[1].key.weight))
    uniform = block(maps, streams)
    for layer in block.layers:
        for weights in layer[0].queries:
            weights.normal_()
    torch.testing.assert_close(block(maps, streams), uniform, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(varied[0], uniform[0], atol=1e-2)


@torch.no_grad()
def test_heights_reach_the_result_in_two_ways():
    network, given = make().eval().double().network, doubled((64, 64))
    settle(network)
    encoded = network.encode(given)
    whole = network.fuse(encoded)[0]
    other = [torch.randn_like(part) for part in encoded["dsm"]]
    # by the patches, hence the keys, and by the deepest maps
    for parts in ([*other[:4], encoded["dsm"][4]], [*encoded["dsm"][:4], other[4]]):
        assert not torch.allclose(network.fuse({**encoded, "dsm": parts})[0], whole, atol=1e-6)


def test_what_it_cannot_be_built_of():
    with pytest.raises(UserError, match="at least two"):
        make({"rgb": 3})
    with pytest.raises(UserError, match="8 or 16"):
        make(patch=4)
