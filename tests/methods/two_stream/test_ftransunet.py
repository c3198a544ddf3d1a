"""FTransUNet: the contract, the dossier's counts, and its equations written out."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import nn

from benchmark.profiling.complexity import count_parameters, evaluation_gmac
from methods.frozen_vit import build_vit
from methods.two_stream import hybrid, hybrid_weights
from methods.two_stream.ftransunet import FTransUNetNetwork
from methods.two_stream.hybrid import Size, Trunk
from methods.two_stream.hybrid_weights import resize_positions
from methods.two_stream.module import FTransUNet
from methods.two_stream.stream_transformer import StreamTransformer, exchange
from tests.support.method_checks import (
    THREE,
    TWO,
    images,
    training_batch,
)
from tests.support.reference_ftransunet import Twin
from tests.support.streams import StreamContract, build_on_meta, doubled
from usererror import UserError

# a unit for each stage, one layer alone, two in exchange, one alone
MICRO = "vit_micro_r50_w8"
SMALL = hybrid.SIZES[MICRO]


class TestFTransUNet(StreamContract):
    method = FTransUNet
    options = {"backbone": MICRO, "pretrained": False}
    fewest = 2
    # of a gate with one hidden unit, which may be shut
    silent = tuple(f"gates.0.weigh.{name}" for name in ("0.weight", "0.bias", "2.weight"))


make = TestFTransUNet.make


def closed_form(channels: list[int], classes: int) -> int:
    """The dossier's P(M)."""
    count = len(channels)
    roots = sum(3_136 * c + 128 for c in channels)
    streams = 97_903_028 * count + 6 * count**2
    return roots + streams + 196_608 + 7_387_200 + 145 * classes


@pytest.mark.parametrize(
    ("channels", "total"),
    [([3, 1], 203_403_558), ([3, 1, 1], 301_309_880), ([3, 1, 3, 3], 399_228_758)],
)
def test_parameters_of_the_dossier(channels, total):
    assert count_parameters(build_on_meta(FTransUNetNetwork, channels))["total"] == total
    assert closed_form(channels, 6) == total


def test_closed_form_of_other_channels_and_classes():
    for channels in ([4, 2], [4, 2, 5]):
        found = count_parameters(build_on_meta(FTransUNetNetwork, channels, 11))["total"]
        assert found == closed_form(channels, 11)


def test_parameters_of_the_parts():
    network = build_on_meta(FTransUNetNetwork, [3, 1])

    def count(*parts: nn.Module) -> int:
        return sum(count_parameters(part)["total"] for part in parts)

    trunks = list(network.trunks.values())
    assert [count(trunk.stem) for trunk in trunks] == [9_536, 3_264]
    assert [count(trunk.stages) for trunk in trunks] == [11_885_312] * 2
    assert [count(gate) for gate in trunks[0].gates] == [580, 8_464, 33_312, 132_160]
    assert count(trunks[0].gates, trunks[1].gates) == 349_032
    assert [count(trunk.embedding) for trunk in trunks] == [787_200] * 2
    assert network.positions.numel() == 196_608
    assert count(network.transformer) == 170_112_024
    assert count(network.transformer.blocks[3][1]) == 7_087_872
    assert [tuple(share.shape) for share in network.transformer.shares] == [(2, 2)] * 6
    assert count(network.decoder.head) == 870
    assert count(network.decoder) == 7_387_200 + 870


def test_multiply_accumulates():
    network = build_on_meta(FTransUNetNetwork, [3, 1])
    sizes = {"sensor0": 3, "sensor1": 1}
    given = {m: torch.empty(1, count, 256, 256, device="meta") for m, count in sizes.items()}
    # the release projects each of a stream's two attentions, ours their weighted sum
    projections = 2 * 6 * 256 * 768**2 / 1e9
    whole = evaluation_gmac(lambda: network(given))
    assert whole + projections == pytest.approx(69.607, abs=1e-3)
    # what is left for a subset once the sensors are encoded
    with torch.no_grad():
        encoded = network.encode(given)
    left = evaluation_gmac(lambda: network.fuse(encoded))
    assert left + projections == pytest.approx(64.3, abs=0.06)


def test_it_is_built_of_what_the_pretrained_network_has():
    with torch.device("meta"):
        published = build_vit("vit_base_r50_s16_224", False, None, seed=0)
        trunk = Trunk(3, hybrid.SIZES["vit_base_r50_s16_224"], None)
    found, theirs = count_parameters(trunk), published.patch_embed
    assert count_parameters(theirs.backbone)["total"] == 11_894_848
    assert found["stem"] + found["stages"] == 11_894_848
    assert count_parameters(theirs)["total"] == 11_894_848 + found["embedding"]
    assert count_parameters(published.blocks)["total"] == 85_054_464


# ---- an independent twin ---------------------------------------------------------------------


def shaken(network: nn.Module) -> Any:
    """Move every weight, so that none is where it started."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator).to(weight.dtype)
    return network


@pytest.mark.parametrize("groups", [None, 8])
@torch.no_grad()
def test_it_is_the_published_network_for_two_sensors(groups):
    module = make(TWO, projection_groups=groups)
    module.train().training_losses(training_batch(TWO))
    network, given = shaken(module.eval().double().network), doubled((64, 96))
    expected = Twin(network, SMALL, groups).logits(given["rgb"], given["dsm"])
    found = network({m: given[m] for m in TWO})
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


# ---- parts -------------------------------------------------------------------------------------


@torch.no_grad()
def test_only_the_main_stream_sees_the_others_in_the_resnets():
    network, given, other = make(THREE).eval().network, images(THREE), images(THREE, seed=1)
    first = network.encode(given)
    changed = network.encode({**other, "dsm": given["dsm"]})
    assert all(map(torch.equal, first["dsm"], changed["dsm"]))
    trunk, found = network.trunks["rgb"], []
    for dsm in (given["dsm"], other["dsm"]):
        encoded = network.encode({**given, "dsm": dsm})
        sums, tokens = trunk.finish(encoded["rgb"][0], [encoded["dsm"], encoded["sar"]])
        found.append([*sums, tokens])
    assert not any(map(torch.equal, *found))


def test_images_of_zeros_do_not_train_the_streams_that_see_nothing_else():
    module, batch = make(THREE).train(), training_batch(THREE)
    batch["available"]["dsm"][:] = False
    module.training_losses(batch)["seg"].backward()
    trunks = module.network.trunks
    moved = {m: any(p.grad.any() for p in trunks[m].parameters()) for m in THREE}
    assert moved == {"rgb": True, "dsm": False, "sar": True}


@torch.no_grad()
def test_without_shares_of_others_the_token_streams_are_apart():
    torch.manual_seed(0)
    transformer = shaken(StreamTransformer(3, SMALL)).eval()
    for shares in transformer.shares:
        shares.copy_(torch.eye(3))
    tokens = [torch.randn(2, 10, SMALL.width) for _ in range(3)]
    found = transformer.run_blocks(tokens)
    changed = transformer.run_blocks(
        [tokens[0], *(torch.randn_like(other) for other in tokens[1:])]
    )
    assert torch.equal(found[0], changed[0]) and not torch.equal(found[1], changed[1])
    # each is timm's transformer alone
    for number, stream in enumerate(tokens):
        for blocks in transformer.blocks:
            stream = blocks[number](stream)
        torch.testing.assert_close(found[number], stream, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_equal_streams_stay_equal():
    torch.manual_seed(0)
    transformer = StreamTransformer(3, SMALL).eval()
    assert torch.equal(transformer.shares[0], torch.full((3, 3), 1 / 3))
    for blocks in transformer.blocks:
        for block in blocks[1:]:
            block.load_state_dict(blocks[0].state_dict())
    tokens = torch.randn(2, 10, SMALL.width)
    found = transformer.run_blocks([tokens] * 3)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    # shares that sum to 1 are then those of plain attention
    for blocks in transformer.blocks:
        tokens = blocks[0](tokens)
    torch.testing.assert_close(found[0], tokens, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_exchange_of_three_streams_is_the_sum_of_all_pairs():
    torch.manual_seed(0)
    blocks = shaken(StreamTransformer(3, SMALL)).double().eval().blocks[1]
    tokens = [torch.randn(2, 10, SMALL.width).double() for _ in range(3)]
    shares = torch.randn(3, 3).double()
    found = exchange(blocks, shares, tokens)
    packed = []
    for block, stream in zip(blocks, tokens, strict=True):
        packed.append(block.attn.qkv(block.norm1(stream)).chunk(3, 2))
    for place, block in enumerate(blocks):
        state, query = tokens[place], packed[place][0]
        for other in range(3):
            heads = []
            for head in range(SMALL.heads):
                part = slice(head * 16, head * 16 + 16)
                q, k, v = query[..., part], packed[other][1][..., part], packed[other][2][..., part]
                heads.append((q @ k.transpose(1, 2) / 4).softmax(2) @ v)
            state = state + shares[place, other] * block.attn.proj(torch.cat(heads, 2))
        expected = state + block.mlp(block.norm2(state))
        torch.testing.assert_close(found[place], expected, rtol=1e-9, atol=1e-9)


def test_dropout_is_of_tokens_and_perceptrons():
    network = make(TWO).network
    block = network.transformer.blocks[0][0]
    assert (network.dropout.p, block.mlp.drop1.p, block.mlp.drop2.p) == (0.1, 0.1, 0.1)
    drawing = [part for part in block.modules() if isinstance(part, nn.Dropout) and part.p]
    assert len(drawing) == 2


def test_positions_are_resized_with_their_corners():
    table, like = torch.arange(4.0).reshape(1, 1, 2, 2), torch.empty(1, 1, 3, 4)
    rows = [[0, 1 / 3, 2 / 3, 1], [1, 4 / 3, 5 / 3, 2], [2, 7 / 3, 8 / 3, 3]]
    torch.testing.assert_close(resize_positions(table, like), torch.tensor([[rows]]))
    assert resize_positions(table, table) is table


# ---- pretrained weights ------------------------------------------------------------------------


def timm_hybrid(size: Size) -> Any:
    """A small R50-ViT as timm builds the large one, with its 14 x 14 positions."""
    resnet = ResNetV2(
        list(size.units),
        num_classes=0,
        global_pool="",
        stem_chs=size.first,
        channels=size.widths[1:],
        preact=False,
        stem_type="same",
    )
    model = VisionTransformer(
        img_size=224,
        patch_size=1,
        embed_layer=partial(HybridEmbed, backbone=resnet),
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        num_classes=0,
    )
    return shaken(model).eval()


@torch.no_grad()
def test_every_stream_starts_from_the_pretrained_weights(monkeypatch):
    # 32 groups have to divide all widths
    size = Size(32, (1, 1, 1), 32, 4, 2)
    torch.manual_seed(0)
    source = timm_hybrid(size)
    monkeypatch.setattr(hybrid_weights, "build_vit", lambda *_, **__: source)
    monkeypatch.setitem(hybrid.SIZES, "vit_base_r50_s16_224", size)
    options = {"backbone": "vit_base_r50_s16_224.orig_in21k", "pretrained": True}
    network = make(THREE, projection_groups=32, **options).eval().network
    kernel = source.patch_embed.backbone.stem.conv.weight
    kernels = {m: network.trunks[m].stem[0].weight for m in THREE}
    assert torch.equal(kernels["rgb"], kernel)
    mean = kernel.mean(1, keepdim=True)
    assert torch.equal(kernels["dsm"], mean)
    assert torch.equal(kernels["sar"], mean.expand(-1, 2, -1, -1))
    # behind the stem nothing but eps differs from timm's
    maps = torch.randn(1, 32, 16, 16)
    for trunk in network.trunks.values():
        expected = source.patch_embed.proj(source.patch_embed.backbone.stages(maps))
        found = trunk.embedding(trunk.stages(maps))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    tokens = torch.randn(1, 6, 32)
    expected = source.norm(source.blocks(tokens))
    for number, norm in enumerate(network.transformer.norms):
        found = tokens
        for blocks in network.transformer.blocks:
            found = blocks[number](found)
        torch.testing.assert_close(norm(found), expected, rtol=1e-5, atol=1e-5)
    table = source.pos_embed[0, 1:].unflatten(0, (14, 14)).permute(2, 0, 1)[None]
    resized = nn.UpsamplingBilinear2d(size=(16, 16))(table)
    torch.testing.assert_close(network.positions.data, resized)
    assert torch.equal(network.positions[..., 0, 0], source.pos_embed[:, 1])


def test_what_it_cannot_be_built_of():
    with pytest.raises(UserError, match="at least two"):
        make({"rgb": 3})
    with pytest.raises(UserError, match="not 'resnet50'"):
        make(backbone="resnet50")
    with pytest.raises(UserError, match="7 does not divide 32"):
        make(projection_groups=7)
    with pytest.raises(UserError, match="0 does not divide 32"):
        make(projection_groups=0)
    with pytest.raises(UserError, match="set pretrained: false"):
        make(pretrained=True)
