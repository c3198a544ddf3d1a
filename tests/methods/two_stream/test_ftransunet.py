"""FTransUNet: the contract, the dossier's counts, and its equations written out."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn
from torch.nn import functional as F

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


class Twin:
    """The dossier's equations in plain operations on the weights of a network in eval mode."""

    def __init__(self, network: FTransUNetNetwork, size: Size, groups: int | None) -> None:
        self.weights, self.size, self.groups = network.state_dict(), size, groups

    def parameters(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def standard(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = self.weights[f"{name}.weight"]
        mean = kernel.mean((1, 2, 3), keepdim=True)
        variance = ((kernel - mean) ** 2).mean((1, 2, 3), keepdim=True)
        kernel = (kernel - mean) / (variance + 1e-5).sqrt()
        return F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2)

    def group_norm(self, name: str, x: Tensor, groups: int, eps: float) -> Tensor:
        gain, bias = self.parameters(name)
        split = x.reshape(len(x), groups, -1)
        mean, variance = split.mean(2, True), split.var(2, correction=0, keepdim=True)
        normed = ((split - mean) / (variance + eps).sqrt()).reshape(x.shape)
        return normed * gain[:, None, None] + bias[:, None, None]

    def conv_norm(self, conv: str, norm: str, x: Tensor, stride: int = 1) -> Tensor:
        x = self.standard(conv, x, stride)
        return self.group_norm(norm, x, min(32, x.shape[1]), 1e-6)

    def unit(self, name: str, x: Tensor, stride: int, first: bool) -> Tensor:
        y = self.conv_norm(f"{name}.conv1", f"{name}.norm1", x).clamp(min=0)
        y = self.conv_norm(f"{name}.conv2", f"{name}.norm2", y, stride).clamp(min=0)
        y = self.conv_norm(f"{name}.conv3", f"{name}.norm3", y)
        if first:
            x = self.standard(f"{name}.downsample.conv", x, stride)
            x = self.group_norm(f"{name}.downsample.norm", x, self.groups or x.shape[1], 1e-5)
        return (x + y).clamp(min=0)

    def step(self, modality: str, level: int, x: Tensor) -> Tensor:
        start = f"trunks.{modality}."
        if level == 0:
            return self.conv_norm(f"{start}stem.0", f"{start}stem.1", x, 2).clamp(min=0)
        if level == 1:
            x = F.max_pool2d(x, 3, 2, 0)
        for number in range(self.size.units[level - 1]):
            stride = 2 if level > 1 and number == 0 else 1
            name = f"{start}stages.{level - 1}.blocks.{number}"
            x = self.unit(name, x, stride, number == 0)
        return x

    def gated(self, modality: str, level: int, x: Tensor) -> Tensor:
        name = f"trunks.{modality}.gates.{level}.weigh"
        y = F.conv2d(x.mean((2, 3), True), *self.parameters(f"{name}.0")).clamp(min=0)
        return x * torch.sigmoid(F.conv2d(y, *self.parameters(f"{name}.2")))

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        gain, bias = self.parameters(name)
        mean, variance = x.mean(-1, True), x.var(-1, correction=0, keepdim=True)
        return (x - mean) / (variance + 1e-6).sqrt() * gain + bias

    def linear(self, name: str, x: Tensor) -> Tensor:
        matrix, bias = self.parameters(name)
        return x @ matrix.T + bias

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """With an explicit matrix for every head."""
        heads, found = self.size.heads, []
        for q, k, v in zip(*(part.chunk(heads, 2) for part in (query, key, value)), strict=True):
            found.append((q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(2) @ v)
        return torch.cat(found, 2)

    def layer(self, number: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        shares, names = torch.eye(2), [f"transformer.blocks.{number}.{stream}" for stream in (0, 1)]
        quarter = self.size.depth // 4
        if quarter <= number < self.size.depth - quarter:
            shares = self.weights[f"transformer.shares.{number - quarter}"]
        packed = []
        for name, stream in zip(names, (x, y), strict=True):
            normed = self.layer_norm(f"{name}.norm1", stream)
            packed.append(self.linear(f"{name}.attn.qkv", normed).chunk(3, 2))
        found = []
        for place, (name, stream) in enumerate(zip(names, (x, y), strict=True)):
            for other in (0, 1):
                seen = self.attend(packed[place][0], *packed[other][1:])
                # as published: each attention through the output map
                seen = self.linear(f"{name}.attn.proj", seen)
                stream = stream + shares[place, other] * seen
            inner = F.gelu(self.linear(f"{name}.mlp.fc1", self.layer_norm(f"{name}.norm2", stream)))
            found.append(stream + self.linear(f"{name}.mlp.fc2", inner))
        return found[0], found[1]

    def conv(self, name: str, number: int, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weights[f"{name}.{number}.weight"], padding=1)
        norm = f"{name}.{number + 1}"
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, variance, gain, bias = (self.weights[f"{norm}.{key}"][:, None, None] for key in keys)
        return ((x - mean) / (variance + 1e-5).sqrt() * gain + bias).clamp(min=0)

    def logits(self, rgb: Tensor, dsm: Tensor) -> Tensor:
        x, y, skips = rgb, dsm, []
        for level in range(4):
            x, y = self.step("rgb", level, x), self.step("dsm", level, y)
            x = self.gated("rgb", level, x) + self.gated("dsm", level, y)
            skips.append(x)
        grid, streams = x.shape[2:], []
        table = nn.UpsamplingBilinear2d(size=grid)(self.weights["positions"])
        for modality, maps in (("rgb", x), ("dsm", y)):
            maps = F.conv2d(maps, *self.parameters(f"trunks.{modality}.embedding")) + table
            streams.append(maps.flatten(2).transpose(1, 2))
        x, y = streams
        for number in range(self.size.depth):
            x, y = self.layer(number, x, y)
        x = self.layer_norm("transformer.norms.0", x) + self.layer_norm("transformer.norms.1", y)
        x = self.conv("decoder.start", 0, x.transpose(1, 2).reshape(len(x), -1, *grid))
        for number in range(4):
            x = nn.UpsamplingBilinear2d(scale_factor=2)(x)
            if number < 3:
                whole = torch.zeros(len(x), skips[2 - number].shape[1], *x.shape[2:]).double()
                height, width = skips[2 - number].shape[2:]
                whole[:, :, :height, :width] = skips[2 - number]
                x = torch.cat([x, whole], 1)
            x = self.conv(
                f"decoder.blocks.{number}", 3, self.conv(f"decoder.blocks.{number}", 0, x)
            )
        return F.conv2d(x, *self.parameters("decoder.head"), padding=1)


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
