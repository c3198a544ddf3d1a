"""StitchFusion against its equations taken literally, sample by sample (dossier 7.1, 7.5)."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.backbones import create_pyramid
from methods.stitchfusion.adapters import Adapter, Layout, Stitch
from methods.stitchfusion.fusion import FusionBlock
from methods.stitchfusion.network import PlainStreams, StitchedStreams
from methods.stitchfusion.stitched_encoder import run_pvt_stage
from tests.support.method_checks import (
    CHANNELS,
    THREE,
    images,
    subsets,
)
from usererror import UserError

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
ALIKE = {"a": 3, "b": 3, "c": 3}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(kind: Any = StitchedStreams, sensors: dict[str, int] = THREE, **options: Any) -> Any:
    """In eval mode, with adapters of a size that matters and settled batch statistics."""
    torch.manual_seed(0)
    if kind is StitchedStreams:
        options = {"parallel": False, **options}
    built = kind(sensors, 4, **{"backbone": "pvt_v2_b0", "head_width": 8, **options})
    for part in built.modules():
        if isinstance(part, Adapter):
            for parameter in part.parameters():
                nn.init.normal_(parameter, 0, 0.3)
    with torch.no_grad():
        built.train().fuse(built.encode(images(sensors, size=(64, 64))))
    return built.eval()


def adapt(stitch: Stitch, i: int, j: int, x: Tensor) -> Tensor:
    down, middle, _, _, up = stitch.adapters[f"{min(i, j)}_{max(i, j)}"]
    return up(F.gelu(middle(down(x))))


def stitched(stitch: Stitch, norm: Any, streams: dict[int, Tensor]) -> dict[int, Tensor]:
    """Steps 2 and 4: stream i gives to all others what it holds at the start of its round."""
    streams = dict(streams)
    for i in streams:
        given = norm(streams[i])
        streams.update({j: streams[j] + adapt(stitch, i, j, given) for j in streams if j != i})
    return streams


def stitched_at_once(stitch: Stitch, norm: Any, streams: dict[int, Tensor]) -> dict[int, Tensor]:
    result = {}
    for j, own in streams.items():
        result[j] = own + sum(adapt(stitch, i, j, norm(streams[i])) for i in streams if i != j)
    return result


def literal_features(
    built: StitchedStreams, given: dict[str, Tensor], literal: Any
) -> list[Tensor]:
    """The four fused maps of one sample's three-channel images (1, 3, H, W); PVT-v2."""
    pyramid, features = built.encoder.pyramid, []
    streams = {built.modalities.index(m): pyramid["patch_embed"](x) for m, x in given.items()}
    for scale, fusion in enumerate(built.fusion):
        stage, stitches = pyramid[f"stages_{scale}"], iter(built.stitches[scale])
        if scale:
            streams = {i: stage.downsample(x) for i, x in streams.items()}
        sides = next(iter(streams.values())).shape[1:3]
        streams = {i: x.flatten(1, 2) for i, x in streams.items()}
        for block in stage.blocks:
            streams = {i: x + block.attn(block.norm1(x), sides) for i, x in streams.items()}
            streams = literal(next(stitches), block.norm1, streams)
            streams = {i: x + block.mlp(block.norm2(x), sides) for i, x in streams.items()}
            streams = literal(next(stitches), block.norm2, streams)
        maps = {i: stage.norm(x).transpose(1, 2).unflatten(2, sides) for i, x in streams.items()}
        blank = torch.zeros_like(next(iter(maps.values())))
        slots = [maps.get(i, blank) for i in range(len(built.modalities))]
        features.append(literal_block(fusion, torch.cat(slots, 1)))
        streams = maps
    return features


def literal_block(block: FusionBlock, concatenated: Tensor) -> Tensor:
    c = block.merge(concatenated)
    t = block.mix(block.enter(c))
    t = block.join(t + sum(branch(t) for branch in block.branches))
    narrow, _, wide, _ = block.gate
    gate = torch.sigmoid(F.linear(torch.relu(F.linear(c.mean((2, 3)), narrow.weight)), wide.weight))
    return block.leave(F.gelu(t)) + c * gate[..., None, None]


@torch.no_grad()
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_every_subset_of_a_batch_is_its_equations(count: int, parallel: bool) -> None:
    """One batch whose samples have one subset each, and each subset by itself."""
    sensors = dict.fromkeys(list(CHANNELS)[:count], 3)
    built = network(sensors=sensors, parallel=parallel, absent="drop")
    literal = stitched_at_once if parallel else stitched
    every = list(subsets(list(sensors)))
    given = images(sensors, len(every), (64, 96))
    present = {m: torch.tensor([m in subset for subset in every]) for m in sensors}
    encoded = built.encode(given)
    batch = built.fuse(encoded, present)[1]["features"]
    for sample, subset in enumerate(every):
        few = {m: given[m][sample : sample + 1] for m in subset}
        expected = literal_features(built, few, literal)
        mine = {m: encoded[m][sample : sample + 1] for m in subset}
        torch.testing.assert_close(built.fuse(mine)[1]["features"], expected, rtol=1e-3, atol=1e-4)
        alone = [maps[sample : sample + 1] for maps in batch]
        torch.testing.assert_close(alone, expected, rtol=1e-3, atol=1e-4)


def shut(built: StitchedStreams) -> None:
    """Adapters that put out zero."""
    for part in built.modules():
        if isinstance(part, Adapter):
            nn.init.zeros_(part[-1].weight)
            nn.init.zeros_(part[-1].bias)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "resnet18"])
def test_adapters_that_say_nothing_leave_untouched_encoders(backbone: str) -> None:
    built, given = network(sensors=ALIKE, backbone=backbone), images(ALIKE, size=(64, 96))
    maps, layout = built.stream_maps(built.encode(given))
    plain = create_pyramid(backbone).eval()
    plain.load_state_dict(built.encoder.pyramid.state_dict())
    expected = [torch.cat(parts) for parts in zip(*map(plain, given.values()), strict=True)]
    assert layout.counts == [2, 2, 2]
    assert not torch.allclose(maps[0], expected[0], atol=1e-2)
    shut(built)
    torch.testing.assert_close(built.stream_maps(built.encode(given))[0], expected, **CLOSE)
    # and the whole is the network without adapters
    without = network(PlainStreams, ALIKE, backbone=backbone)
    without.load_state_dict(built.state_dict(), strict=False)
    torch.testing.assert_close(built(given), without(given), **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("parallel", [False, True])
def test_only_in_parallel_the_order_of_modalities_is_nothing(parallel: bool) -> None:
    stitch = network(parallel=parallel).stitches[0][0]
    streams, layout = [noise(2, 5, 32, seed=i) for i in range(3)], Layout([0, 1, 2], 2)
    expected = stitch(torch.cat(streams), layout, nn.Identity()).chunk(3)
    equal = []
    for order in permutations(range(3)):
        turned = Stitch(3, 32, parallel).eval()
        for i, j in ((0, 1), (0, 2), (1, 2)):
            one, other = sorted((order[i], order[j]))
            adapter = stitch.adapters[f"{one}_{other}"]
            turned.adapters[f"{i}_{j}"].load_state_dict(adapter.state_dict())
        found = turned(torch.cat([streams[i] for i in order]), layout, nn.Identity()).chunk(3)
        pairs = zip(found, order, strict=True)
        equal.append(all(torch.allclose(x, expected[i], atol=1e-4) for x, i in pairs))
    assert equal == ([True] * 6 if parallel else [True] + [False] * 5)


@torch.no_grad()
def test_the_first_block_of_two_streams_by_hand() -> None:
    """With adapters that multiply by 2 after attention and by 3 after the feed-forward part."""
    stage = create_pyramid("pvt_v2_b0").eval()["stages_0"]
    stage.blocks = stage.blocks[:1]
    stage.norm = nn.Identity()
    block, stitches = stage.blocks[0], [Stitch(2, 32), Stitch(2, 32)]
    for stitch, factor in zip(stitches, (2.0, 3.0), strict=True):
        stand_in = nn.Linear(32, 32, bias=False)
        stand_in.weight.copy_(factor * torch.eye(32))
        stitch.adapters["0_1"] = stand_in
    one, two = noise(1, 32, 8, 8), noise(1, 32, 8, 8, seed=1)
    maps = run_pvt_stage(stage, torch.cat([one, two]), stitches, Layout([0, 1], 1))
    x1, x2 = (x.flatten(2).transpose(1, 2) for x in (one, two))
    x1 = x1 + block.attn(block.norm1(x1), (8, 8))
    x2 = x2 + block.attn(block.norm1(x2), (8, 8))
    x2 = x2 + 2 * block.norm1(x1)
    x1 = x1 + 2 * block.norm1(x2)  # of what the first has just given
    x1 = x1 + block.mlp(block.norm2(x1), (8, 8))
    x2 = x2 + block.mlp(block.norm2(x2), (8, 8))
    x2 = x2 + 3 * block.norm2(x1)
    x1 = x1 + 3 * block.norm2(x2)
    found = maps.flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, torch.cat([x1, x2]), **CLOSE)


def test_every_layer_of_an_adapter_learns_from_the_first_step_on() -> None:
    """With the zeros of the released constructor none ever would."""
    torch.manual_seed(0)
    adapter = Adapter(64)
    adapter(noise(4, 64)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in adapter.parameters())
    weights = torch.cat([layer.weight.flatten() for layer in (adapter[0], adapter[1], adapter[4])])
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not any(layer.bias.any() for layer in (adapter[0], adapter[1], adapter[4]))
    for parameter in adapter.parameters():
        nn.init.zeros_(parameter)
    adapter.zero_grad()
    adapter(noise(4, 64)).sub(1).square().sum().backward()
    assert not adapter[0].weight.grad.any() and not adapter[4].weight.grad.any()


@torch.no_grad()
@pytest.mark.parametrize("kind", [StitchedStreams, PlainStreams])
def test_one_modality_alone_is_the_plain_encoder_with_empty_slots(kind: Any) -> None:
    built, given = network(kind, absent="drop"), images(THREE, size=(64, 96))
    for index, m in enumerate(THREE):
        maps = built.encoder({m: given[m]})[m]
        expected = []
        for block, own in zip(built.fusion, maps, strict=True):
            slots = [torch.zeros_like(own)] * 3
            slots[index] = own
            expected.append(literal_block(block, torch.cat(slots, 1)))
        found = built.fuse(built.encode({m: given[m]}))[1]["features"]
        torch.testing.assert_close(found, expected, **CLOSE)


@torch.no_grad()
def test_a_block_with_a_shut_gate_has_no_identity_path() -> None:
    """M = 1: what is left is a feed-forward part of c, and nothing without its last layer."""
    block, given = FusionBlock(1, 16).eval(), noise(2, 16, 5, 7)
    block.gate = nn.Sequential(nn.Linear(16, 16), nn.Hardtanh(0, 0.0001))
    nn.init.zeros_(block.gate[0].weight)
    nn.init.constant_(block.gate[0].bias, -1)
    c = block.merge(given)
    t = block.mix(block.enter(c))
    t = block.join(t + sum(branch(t) for branch in block.branches))
    torch.testing.assert_close(block.finish(block.part(0, given)), block.leave(F.gelu(t)), **CLOSE)
    nn.init.zeros_(block.leave.weight)
    nn.init.zeros_(block.leave.bias)
    assert not block.finish(block.part(0, given)).any()


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3])
def test_the_fusion_block_is_its_equations(count: int) -> None:
    torch.manual_seed(0)
    block, maps = FusionBlock(count, 32).eval(), [noise(2, 32, 9, 6, seed=i) for i in range(count)]
    found = block.finish(sum(block.part(index, each) for index, each in enumerate(maps)))
    torch.testing.assert_close(found, literal_block(block, torch.cat(maps, 1)), **CLOSE)


def test_what_cannot_be_configured() -> None:
    for options, word in (
        ({"absent": "mean"}, "zeros nor drop"),
        ({"backbone": "convnext_atto"}, "PVT-v2 or ResNet"),
    ):
        with pytest.raises(UserError, match=word):
            network(**options)
