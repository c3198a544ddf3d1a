"""UNetFormer: contract, counts, and its decoder written out with plain operations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmark.profiling.complexity import count_parameters
from methods.single_stream.unetformer import (
    GlobalLocalAttention,
    UNetFormerDecoder,
    WeightedFusion,
    WindowAttention,
    extend,
    spread_along_axes,
)
from tests.support.single_stream import (
    RESNET,
    SingleStreamContract,
    Twin,
    randomise,
)


class TestUNetFormer(SingleStreamContract):
    options = {**RESNET, "architecture": "unetformer"}


def test_counts_of_parts():
    with torch.device("meta"):
        decoder = UNetFormerDecoder((64, 128, 256, 512), 6)
        lean = UNetFormerDecoder((256,) * 4, 6, auxiliary=False)
    found = count_parameters(decoder)
    assert found["total"] == 548_382 and found["deepest"] == 32_896
    for block in decoder.blocks:
        assert count_parameters(block)["attention"] == 63_624
        assert count_parameters(block)["perceptron"] == 33_088
        assert count_parameters(block)["total"] == 96_968
    assert [count_parameters(one)["total"] for one in decoder.fusions] == [53_378, 45_186]
    assert (found["finest"], found["head"], found["auxiliary"]) == (51_266, 37_376, 37_376)
    # behind SAM's neck, section 12
    assert count_parameters(lean)["total"] == 514_718 + 64 * 6


def test_strips_lose_weight_at_the_border():
    found = spread_along_axes(torch.ones(1, 1, 16, 16))[0, 0]
    ones = torch.ones(16)
    ones[:3] = torch.tensor([0.625, 0.75, 0.875])
    # alike below and right: one mirrored row stands in for the strip's even length
    ones[-3:] = ones[:3].flip(0)
    torch.testing.assert_close(found, ones[:, None] + ones[None])


def mirror(place: int, side: int, wanted: int) -> int:
    """Where the pixel at `place` of a map that was extended to `wanted` comes from."""
    if place < side:
        return place
    return 2 * (side - 1) - place if wanted - side < side else side - 1


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (5, 11), (3, 1)])
def test_windows_against_loops(size):
    torch.manual_seed(0)
    width, heads, side = 8, 2, 8
    attention = WindowAttention(width, heads)
    torch.nn.init.normal_(attention.bias)
    maps = torch.randn(2, width, *size)
    qkv = attention.qkv(maps)
    high, wide = (-(-length // side) * side for length in size)
    rows = [mirror(place, size[0], high) for place in range(high)]
    columns = [mirror(place, size[1], wide) for place in range(wide)]
    whole = qkv[:, :, rows][..., columns]
    expected = torch.zeros(2, width, high, wide)
    each = width // heads
    for top in range(0, high, side):
        for left in range(0, wide, side):
            window = whole[:, :, top : top + side, left : left + side].flatten(2)
            for head in range(heads):
                q, k, v = (
                    window[:, part * width + head * each : part * width + (head + 1) * each]
                    for part in range(3)
                )
                scores = torch.einsum("bci,bcj->bij", q, k) / each**0.5
                for i in range(64):
                    for j in range(64):
                        step = (i // 8 - j // 8 + 7) * 15 + i % 8 - j % 8 + 7
                        scores[:, i, j] += attention.bias[step, head]
                found = torch.einsum("bij,bcj->bci", scores.softmax(-1), v)
                expected[:, head * each : (head + 1) * each, top : top + 8, left : left + 8] = (
                    found.unflatten(-1, (8, 8))
                )
    torch.testing.assert_close(
        attention(maps), expected[..., : size[0], : size[1]], rtol=1e-5, atol=1e-5
    )


def test_extension_mirrors_where_there_is_enough_to_mirror():
    row = torch.arange(4.0).expand(1, 1, 2, 4)
    assert extend(row, 3, 0)[0, 0, 0].tolist() == [0, 1, 2, 3, 2, 1, 0]
    assert extend(row, 4, 1)[0, 0, 0].tolist() == [0, 1, 2, 3, 3, 3, 3, 3]
    assert extend(row, 0, 0) is row


def test_shares_sum_to_one():
    fusion = WeightedFusion(4, 8)
    torch.testing.assert_close(fusion.shares(), torch.tensor([0.5, 0.5]))
    with torch.no_grad():
        fusion.weights.copy_(torch.tensor([3.0, 1.0]))
        torch.testing.assert_close(fusion.shares(), torch.tensor([0.75, 0.25]))
        fusion.weights.copy_(torch.tensor([-2.0, 1.0]))
        torch.testing.assert_close(fusion.shares(), torch.tensor([0.0, 1.0]))


class DecoderTwin(Twin):
    """The equations of the dossier, section 3."""

    def cbr(self, name, maps):
        return self.norm(f"{name}.1", self.conv(f"{name}.0", maps, padding=1)).clamp(0, 6)

    def block(self, name: str, maps):
        normed = self.norm(f"{name}.attention_norm", maps)
        inner = f"{name}.attention"
        local = self.norm(f"{inner}.point_norm", self.conv(f"{inner}.point", normed))
        local = local + self.norm(
            f"{inner}.local_norm", self.conv(f"{inner}.local", normed, padding=1)
        )
        # proven against loops above
        found = self.module.get_submodule(f"{inner}.attention")(normed)
        tall = F.pad(found, (0, 0, 0, 1), mode="reflect")
        broad = F.pad(found, (0, 1, 0, 0), mode="reflect")
        down = F.pad(tall, (0, 0, 3, 3)).unfold(2, 8, 1).mean(-1)
        across = F.pad(broad, (3, 3, 0, 0)).unfold(3, 8, 1).mean(-1)
        mixed = F.pad(down + across + local, (0, 1, 0, 1), mode="reflect")
        mixed = self.conv(f"{inner}.depthwise", mixed, padding=3, groups=mixed.shape[1])
        maps = maps + self.conv(f"{inner}.project", self.norm(f"{inner}.norm", mixed))
        hidden = self.conv(f"{name}.perceptron.0", self.norm(f"{name}.perceptron_norm", maps))
        return maps + self.conv(f"{name}.perceptron.2", hidden.clamp(0, 6))

    def weighted(self, name: str, coarse, fine):
        weights = self.state[f"{name}.weights"].clamp(min=0)
        weights = weights / (weights.sum() + 1e-8)
        twice = F.interpolate(coarse, scale_factor=2, mode="bilinear")
        mixed = weights[0] * self.conv(f"{name}.lift", fine) + weights[1] * twice
        return self.cbr(f"{name}.smooth", mixed)

    def __call__(self, maps):
        x4 = self.block("blocks.0", self.norm("deepest.1", self.conv("deepest.0", maps[3])))
        x3 = self.block("blocks.1", self.weighted("fusions.0", x4, maps[2]))
        x2 = self.block("blocks.2", self.weighted("fusions.1", x3, maps[1]))
        y = self.weighted("finest.fusion", x2, maps[0])
        pixels = self.conv("finest.by_pixel", y, padding=1, groups=y.shape[1]).sigmoid()
        mean = y.mean((2, 3), keepdim=True)
        channels = self.conv("finest.by_channel.1", mean).clamp(0, 6)
        channels = self.conv("finest.by_channel.3", channels).sigmoid()
        z = pixels * y + channels * y
        z = self.conv("finest.project.0", z, padding=1, groups=y.shape[1])
        z = self.conv("finest.project.2", self.norm("finest.project.1", z))
        short = self.norm("finest.shortcut.1", self.conv("finest.shortcut.0", y))
        logits = self.conv("head.2", self.cbr("head.0", (z + short).clamp(0, 6)))
        total = x2
        for part, factor in ((x4, 4), (x3, 2)):
            total = total + F.interpolate(
                part, scale_factor=factor, mode="bilinear", align_corners=True
            )
        return logits, self.conv("auxiliary.2", self.cbr("auxiliary.0", total))


def test_decoder_against_its_equations():
    torch.manual_seed(0)
    decoder = UNetFormerDecoder((8, 12, 16, 20), 5, width=16, heads=2)
    randomise(decoder)
    torch.nn.init.normal_(decoder.finest.fusion.weights)
    maps = [torch.randn(2, c, 48 >> i, 64 >> i) for i, c in enumerate((8, 12, 16, 20))]
    with torch.inference_mode():
        expected, auxiliary = DecoderTwin(decoder)(maps)
        logits, none = decoder.eval()(maps)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        assert none == []
        # its head in training, with the running statistics and without dropout
        decoder.training = True
        _, (found,) = decoder(maps)
        torch.testing.assert_close(found, auxiliary, rtol=1e-5, atol=1e-5)


def test_attention_keeps_small_maps():
    with torch.inference_mode():
        for size in ((1, 1), (2, 5), (8, 8)):
            found = GlobalLocalAttention(8, 2).eval()(torch.randn(1, 8, *size))
            assert found.shape == (1, 8, *size)
