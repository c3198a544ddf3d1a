"""DC-Swin: contract, counts, its encoder beside a textbook Swin, and its decoder written out."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import timm
import torch
from torch.nn import functional as F

from benchmark.profiling.complexity import count_parameters, count_trainable
from methods.single_stream.dc_swin import NANO, SMALL, DCSwin
from tests.support.method_checks import (
    THREE,
    training_batch,
)
from tests.support.single_stream import (
    SingleStreamContract,
    Twin,
    leave_no_path_out,
    randomise,
    silent_at_the_start,
)
from usererror import UserError

WINDOW = 7


class TestDCSwin(SingleStreamContract):
    options = {"architecture": "dc_swin", "backbone": SMALL}

    @classmethod
    def make(cls, *arguments, **options):
        with patch.dict(NANO, embed_dim=8):
            return super().make(*arguments, **options)


def test_counts_of_parts():
    with torch.device("meta"):
        model = DCSwin([3], 6, "swin_base_patch4_window7_224")
        frozen, small, tiny = (
            DCSwin([3], 6, f"swin_{size}_patch4_window7_224", freeze=True)
            for size in ("base", "small", "tiny")
        )
    found = count_parameters(model)
    assert found["first"] + found["pyramid"] + found["norms"] == 86_745_016
    assert (found["deepest"], found["finest"]) == (1_048_576, 16_384)
    assert (found["rise4"], found["rise3"]) == (670_720, 171_520)
    assert (found["pixels"], found["channels"]) == (328_321, 1)
    downs = [found[f"down{name}"] for name in ("12", "13", "23", "24")]
    assert downs == [1_181_184, 4_721_664, 4_721_664, 18_880_512]
    assert (found["rise2"], found["head"]) == (295_168, 148_480)
    assert found["total"] - count_trainable(frozen) == 536_520
    sizes = [sum(weight.numel() for weight in one.parameters()) for one in (small, tiny)]
    assert sizes == [66_949_484, 45_631_580]
    assert count_trainable(small) == 66_645_398


def test_what_is_frozen_stays_as_it_is():
    module = TestDCSwin.make(THREE, inputs="optical", freeze=True)
    model = module.network.model
    assert module.train() is module and model.training
    assert not model.pyramid.layers_0.training and model.pyramid.layers_1.blocks.training
    assert not model.pyramid.layers_1.downsample.training
    leave_no_path_out(module)
    module.weighted_sum(module.training_losses(training_batch(THREE))).backward()
    frozen = ("first.", "pyramid.patch_embed", "pyramid.layers_0", "pyramid.layers_1.downsample")
    for name, value in model.named_parameters():
        learns = value.grad is not None and bool(value.grad.any())
        assert learns != name.startswith(frozen), name
    assert module.eval() is module and not model.training


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"freeze": True}, "inputs: optical"),
        ({"backbone": "resnet18"}, "no Swin"),
        ({"pretrained": True}, "has no weights"),
    ],
)
def test_mistakes_are_named(options, match):
    with pytest.raises(UserError, match=match):
        TestDCSwin.make(THREE, **options)


def test_a_first_step_leaves_the_maps_of_the_linear_attention():
    expected = set()
    for part in ("query", "key", "value"):
        expected |= {f"pixels.{part}.weight", f"pixels.{part}.bias"}
    assert silent_at_the_start(TestDCSwin.options) == expected


class NetworkTwin(Twin):
    """A Swin Transformer by the book, padded before it is shifted, and the dossier's section 10."""

    def layer_norm(self, name, rows):
        mean = rows.mean(-1, keepdim=True)
        variance = rows.var(-1, unbiased=False, keepdim=True)
        rows = (rows - mean) / (variance + 1e-5).sqrt()
        return rows * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def linear(self, name, rows):
        rows = rows @ self.state[f"{name}.weight"].T
        return rows + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else rows

    def window_attention(self, name, rows, regions, heads):
        """Rows (B, 49, C) of one window; tokens of other regions are not looked at."""
        q, k, v = self.linear(f"{name}.qkv", rows).unflatten(-1, (3, heads, -1)).unbind(2)
        scores = torch.einsum("bihc,bjhc->bhij", q, k) / q.shape[-1] ** 0.5
        table = self.state[f"{name}.relative_position_bias_table"]
        places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
        steps = places[:, None] - places + WINDOW - 1
        scores = scores + table[steps[..., 0] * 13 + steps[..., 1]].permute(2, 0, 1)
        scores = scores.masked_fill(regions[:, None] != regions, float("-inf"))
        found = torch.einsum("bhij,bjhc->bihc", scores.softmax(-1), v)
        return self.linear(f"{name}.proj", found.flatten(2))

    def swin_block(self, name, maps, heads, shift):
        height, width = maps.shape[1:3]
        rows = self.layer_norm(f"{name}.norm1", maps)
        rows = F.pad(rows, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        rows = rows.roll((-shift, -shift), (1, 2))
        bands = []
        for side in rows.shape[1:3]:
            place = torch.arange(side)
            bands.append((place >= side - WINDOW).long() + (place >= side - shift))
        regions = 3 * bands[0][:, None] + bands[1]
        if not shift:
            regions = torch.zeros_like(regions)
        out = torch.zeros_like(rows)
        for top in range(0, rows.shape[1], WINDOW):
            for left in range(0, rows.shape[2], WINDOW):
                here = (slice(None), slice(top, top + WINDOW), slice(left, left + WINDOW))
                alike = regions[here[1:]].flatten()
                found = self.window_attention(
                    f"{name}.attn", rows[here].flatten(1, 2), alike, heads
                )
                out[here] = found.unflatten(1, (WINDOW, WINDOW))
        maps = maps + out.roll((shift, shift), (1, 2))[:, :height, :width]
        hidden = self.linear(f"{name}.mlp.fc1", self.layer_norm(f"{name}.norm2", maps))
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
        return maps + self.linear(f"{name}.mlp.fc2", hidden)

    def pyramid(self, image):
        maps = self.conv("first.0", image, stride=4).permute(0, 2, 3, 1)
        maps = self.layer_norm("pyramid.patch_embed.norm", maps)
        levels = []
        for stage, heads in enumerate(NANO["num_heads"]):
            name = f"pyramid.layers_{stage}"
            if stage:
                four = [maps[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
                maps = self.layer_norm(f"{name}.downsample.norm", torch.cat(four, -1))
                maps = self.linear(f"{name}.downsample.reduction", maps)
            for depth in range(2):
                maps = self.swin_block(f"{name}.blocks.{depth}", maps, heads, 3 * depth)
            levels.append(maps)
        return levels

    def down(self, name, maps):
        deep = self.cbr(f"{name}.deep.0", maps, padding=1)
        deep = self.norm(f"{name}.deep.2", self.conv(f"{name}.deep.1", deep, stride=2, padding=1))
        short = self.conv(f"{name}.short.0", maps, stride=2, padding=1)
        return (deep + self.norm(f"{name}.short.1", short)).clamp(min=0)

    def large(self, name, maps):
        for place, dilation in ((0, 6), (3, 12)):
            groups = maps.shape[1]
            maps = self.conv(
                f"{name}.{place}", maps, padding=dilation, dilation=dilation, groups=groups
            )
            maps = self.cbr(f"{name}.{place + 1}", maps)
            maps = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return maps

    def channel_attention(self, maps):
        """Dossier, 2.3, second form, with its sums as they stand there."""
        x = maps.flatten(2)
        u = x / x.square().sum(1, keepdim=True).sqrt()
        top = x.sum(1, keepdim=True) + torch.einsum(
            "bcm,bmn->bcn", torch.einsum("bcn,bmn->bcm", x, u), u
        )
        below = (u * (u.sum(1, keepdim=True) + 1e-6)).sum(2, keepdim=True) + x.shape[2]
        return maps + self.state["channels.gamma"] * (top / below).unflatten(2, maps.shape[2:])

    def pixel_attention(self, maps):
        return maps + self.attention("pixels", maps)

    def decode(self, levels):
        x1, x2, x3, x4 = (
            self.layer_norm(f"norms.{i}", level).permute(0, 3, 1, 2)
            for i, level in enumerate(levels)
        )
        o4 = self.conv("deepest", x4)
        o4 = o4 + self.down("down24", self.pixel_attention(self.down("down23", x2)))
        o3 = self.pixel_attention(x3)
        o3 = o3 + self.down("down13", self.channel_attention(self.down("down12", x1)))
        o2 = self.channel_attention(x2) + self.large("rise4", o4)
        o1 = self.large("rise3", o3) + self.conv("finest", x1)
        twice = self.cbr("rise2.0", o2, padding=1)
        both = o1 + twice.repeat_interleave(2, 2).repeat_interleave(2, 3)
        logits = self.conv("head.2", self.cbr("head.1", both, padding=1))
        return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=True)


@pytest.mark.parametrize("size", [(224, 224), (224, 448)])
def test_network_against_its_equations(size):
    """At sizes whose maps are multiples of a window: elsewhere timm pads after it has shifted."""
    torch.manual_seed(0)
    model = DCSwin([3, 1], 5, SMALL).eval()
    randomise(model)
    for name, weight in model.named_parameters():
        if name.endswith("table"):
            torch.nn.init.normal_(weight)
    image, twin = torch.randn(1, 4, *size), NetworkTwin(model)
    with torch.inference_mode():
        expected = twin.pyramid(image)
        response = model.first[0](image)
        for found, level in zip(model.pyramid(response), expected, strict=True):
            check_close(found, level)
        logits, none = model([response])
        assert logits.shape == (1, 5, *size) and none == []
        check_close(logits, twin.decode(expected))


def check_close(found, expected):
    largest = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * largest)


def test_maps_are_timms_of_a_network_that_was_built_for_the_size():
    """At 448 px timm's encoder is the released one, bit for bit (dossier, section 10)."""
    torch.manual_seed(0)
    with patch.dict(NANO, embed_dim=8):
        model = DCSwin([3], 5, SMALL).eval()
        options = {"features_only": True, "img_size": 448, **NANO}
        other = timm.create_model("swin_tiny_patch4_window7_224", **options).eval()
    first = {
        f"patch_embed.proj.{name}": value for name, value in model.first[0].state_dict().items()
    }
    other.load_state_dict({**model.pyramid.state_dict(), **first})
    image = torch.randn(1, 3, 448, 448)
    with torch.inference_mode():
        pairs = zip(model.pyramid(model.first[0](image)), other(image), strict=True)
        assert all(torch.equal(found, expected) for found, expected in pairs)
