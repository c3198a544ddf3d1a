"""MANet: its frozen encoder is timm's; two streams from patches to the decoder written out."""

from __future__ import annotations

import copy

import pytest
import torch
from timm import create_model
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn
from torch.nn import functional as F

from methods.frozen_vit import TINY, FrozenViT, build_vit
from methods.parts.backbones import to_three_channels
from methods.two_stream.manet import BlockAdapters, MANetNetwork
from methods.two_stream.module import MANet
from tests.support.method_checks import (
    CLASSES,
    THREE,
    TWO,
    images,
    training_batch,
)
from usererror import UserError

SAM, SMALL_SAM, LEAST_SAM = "samvit_base_patch16", "samvit_tiny_patch8", "samvit_micro_patch16"


def make(modalities: dict[str, int] = THREE, seed: int = 0, **options) -> MANet:
    torch.manual_seed(seed)
    plain = {"backbone": LEAST_SAM, "pretrained": False}
    return MANet(modalities, CLASSES, **{**plain, **options})


# ---- the frozen encoder ------------------------------------------------------------------------


def stir(module: nn.Module, scale: float = 0.1) -> None:
    """Move everything, relative positions and other zeros included."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("running_var"):
                value += noise.abs()
            else:
                value += scale * noise


def stir_positions(network: MANetNetwork) -> None:
    """Both kinds are zero in random weights."""
    with torch.no_grad():
        for name, value in network.backbone.model.named_buffers():
            if "pos" in name:
                nn.init.normal_(value, std=0.2)


def without_adapters(network: MANetNetwork) -> None:
    for part in network.modules():
        if isinstance(part, BlockAdapters):
            for adapter in (part.attention, part.exchange):
                nn.init.zeros_(adapter[2].weight)
                nn.init.zeros_(adapter[2].bias)


def timm_for(network: MANetNetwork, size: tuple[int, int]) -> nn.Module:
    """Timm's encoder for images of this size, with the weights of `network` at its sizes."""
    name, patch = network.backbone.name, network.backbone.patch
    options = {**TINY.get(name, {}), "img_size": size, "num_classes": 0}
    with torch.device("meta"):
        plain = VisionTransformerSAM(**options) if name in TINY else create_model(name, **options)
    grid, state = (size[0] // patch, size[1] // patch), {}
    for key, value in network.backbone.model.named_buffers():
        shape = plain.get_parameter(key).shape
        if value.shape != shape and key == "pos_embed":
            rows = value.permute(0, 3, 1, 2)
            value = F.interpolate(rows, size=grid, mode="bicubic", align_corners=False)
            value = value.permute(0, 2, 3, 1)
        elif value.shape != shape:
            value = F.interpolate(value.T[None], size=shape[0], mode="linear")[0].T
        state[key] = value
    plain.load_state_dict(state, assign=True)
    return plain.eval()


def necks(network: MANetNetwork, given: dict[str, Tensor]) -> list[Tensor]:
    """What enters the pyramids of the streams."""
    seen: list[Tensor] = []
    hooks = []
    for pyramid in network.pyramids:
        hooks.append(pyramid.register_forward_pre_hook(lambda _, given: seen.append(given[0])))
    network(given)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("backbone", "size"),
    [(SMALL_SAM, (128, 128)), (SMALL_SAM, (64, 64)), (SMALL_SAM, (64, 96)), (SAM, (64, 64))],
)
@torch.no_grad()
def test_without_adapters_every_stream_is_timms_encoder(backbone, size):
    network = make(TWO, backbone=backbone).eval().network
    stir_positions(network)
    without_adapters(network)
    given, plain = images(TWO, 1, size), timm_for(network, size)
    for m, found in zip(TWO, necks(network, given), strict=True):
        expected = plain.forward_features(to_three_channels(given[m]))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_adapters_alone_connect_the_streams():
    network, given, other = make().eval().network, images(THREE), images(THREE, seed=1)
    mixed = {**given, "dsm": other["dsm"]}
    first, second = necks(network, given), necks(network, mixed)
    assert not any(torch.allclose(a, b, atol=1e-4) for a, b in zip(first, second, strict=True))
    without_adapters(network)
    first, second = necks(network, given), necks(network, mixed)
    assert torch.equal(first[0], second[0]) and torch.equal(first[2], second[2])
    assert not torch.allclose(first[1], second[1], atol=1e-2)


def test_no_frozen_tensor_is_trained_or_saved():
    module = make().train()
    before = {name: value.clone() for name, value in module.network.backbone.named_buffers()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module.weighted_sum(module.training_losses(training_batch(THREE))).backward()
    optimizer.step()
    for name, value in module.network.backbone.named_buffers():
        assert value.grad is None and not value.requires_grad
        assert torch.equal(value, before[name])
    assert not list(module.network.backbone.parameters())
    assert not [name for name in module.state_dict() if "backbone.model" in name]
    ignored = set(module._ddp_params_and_buffers_to_ignore)
    assert ignored == {f"network.backbone.{name}" for name in before}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """A file for the tiny encoder, with relative positions that are not zero."""
    model = build_vit(LEAST_SAM, False, None, seed=77, neck=True)
    stir(model, 0.05)
    file = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(model.state_dict(), file)
    return str(file)


@torch.no_grad()
def test_relative_positions_are_loaded_unless_they_shall_be_lost(weights):
    options, given = {"pretrained": True, "pretrained_path": weights}, images(THREE)
    kept, lost = make(**options).eval(), make(lost_positions=True, **options).eval()
    tables = [v for k, v in kept.network.backbone.named_buffers() if "rel_pos" in k]
    assert len(tables) == 2 * 4 and all(table.any() for table in tables)
    for (name, one), (_, other) in zip(
        kept.network.backbone.named_buffers(), lost.network.backbone.named_buffers(), strict=True
    ):
        assert not other.any() if "rel_pos" in name else torch.equal(one, other)
    assert not torch.allclose(kept(given), lost(given), rtol=1e-2, atol=0)
    # built for evaluation, the weights come with the checkpoint, less the positions
    rebuilt = make(pretrained_path=weights, lost_positions=True, seed=9)
    rebuilt.load_state_dict(lost.state_dict())
    assert torch.equal(rebuilt.eval()(given), lost(given))
    with pytest.raises(UserError, match="not those the checkpoint was trained on"):
        make(**options).load_state_dict(lost.state_dict())


def test_the_neck_is_part_of_what_a_checkpoint_compares():
    hashes = {FrozenViT(SMALL_SAM, neck=neck).hash for neck in (False, True)}
    assert len(hashes) == 2


def test_shares_start_even_and_each_of_them_learns():
    for modalities in (TWO, THREE):
        network = make(modalities).network
        for block in network.adapters:
            assert [part.own.item() for part in block] == [
                pytest.approx(1 / len(modalities))
            ] * len(modalities)
    module = make().train()
    module.weighted_sum(module.training_losses(training_batch(THREE))).backward()
    assert all(part.own.grad.all() for block in module.network.adapters for part in block)


# ---- an independent twin -----------------------------------------------------------------------


class Twin:
    """The dossier's equations for two streams in plain operations, at the encoder's own size.

    As released the first adapters see the padded windows.
    """

    def __init__(self, network: MANetNetwork) -> None:
        self.network = network
        self.frozen = dict(network.backbone.model.named_buffers())
        self.own = network.state_dict()

    def linear(self, weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(self, x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias

    def frozen_norm(self, name: str, x: Tensor) -> Tensor:
        gain, bias = self.frozen[f"{name}.weight"], self.frozen[f"{name}.bias"]
        return self.norm(x, gain, bias, 1e-6 if name.startswith("neck") else 1e-5)

    def attention(self, name: str, square: Tensor) -> Tensor:
        """(side, side, C) -> the same, every pair of tokens written out."""
        side, heads = len(square), 3
        qkv = self.linear(self.frozen, f"{name}.qkv", square.flatten(0, 1))
        q, k, v = qkv.unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
        places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        steps = places[:, None] - places[None] + side - 1
        by_row = self.frozen[f"{name}.rel_pos_h"][steps[..., 0]]
        by_column = self.frozen[f"{name}.rel_pos_w"][steps[..., 1]]
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        scores = scores + (q[:, :, None] * (by_row + by_column)).sum(-1)
        found = (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)
        return self.linear(self.frozen, f"{name}.proj", found).unflatten(0, (side, side))

    def adapter(self, name: str, x: Tensor) -> Tensor:
        return self.linear(self.own, f"{name}.2", F.gelu(self.linear(self.own, f"{name}.0", x)))

    def first_half(self, number: int, stream: int, tokens: Tensor) -> Tensor:
        name, normed = f"blocks.{number}", self.frozen_norm(f"blocks.{number}.norm1", tokens)
        side = len(tokens)
        window = side if number in (1, 3) else 7
        whole = -(-side // window) * window
        padded = tokens.new_zeros(whole, whole, tokens.shape[-1])
        padded[:side, :side] = normed
        for top in range(0, whole, window):
            for left in range(0, whole, window):
                part = (slice(top, top + window), slice(left, left + window))
                found = self.attention(f"{name}.attn", padded[part])
                padded[part] = found + self.adapter(f"adapters.{number}.{stream}.attention", found)
        return tokens + padded[:side, :side]

    def block(self, number: int, streams: list[Tensor]) -> list[Tensor]:
        name = f"blocks.{number}"
        x, y = (self.first_half(number, place, tokens) for place, tokens in enumerate(streams))
        p = self.adapter(f"adapters.{number}.0.exchange", self.frozen_norm(f"{name}.norm2", x))
        q = self.adapter(f"adapters.{number}.1.exchange", self.frozen_norm(f"{name}.norm2", y))
        share_x, share_y = (self.own[f"adapters.{number}.{place}.own"] for place in (0, 1))
        x = x + self.perceptron(name, x) + share_x * p + (1 - share_x) * q
        y = y + self.perceptron(name, y) + share_y * q + (1 - share_y) * p
        return [x, y]

    def perceptron(self, name: str, x: Tensor) -> Tensor:
        inner = F.gelu(
            self.linear(self.frozen, f"{name}.mlp.fc1", self.frozen_norm(f"{name}.norm2", x))
        )
        return self.linear(self.frozen, f"{name}.mlp.fc2", inner)

    def neck(self, tokens: Tensor) -> Tensor:
        """(h, w, C) -> (1, 128, h, w)."""
        x = tokens @ self.frozen["neck.0.weight"].flatten(1).T
        x = self.frozen_norm("neck.1", x).permute(2, 0, 1)[None]
        x = F.conv2d(x, self.frozen["neck.2.weight"], padding=1)
        return self.frozen_norm("neck.3", x.movedim(1, -1)).movedim(-1, 1)

    def embed(self, image: Tensor) -> Tensor:
        """(3, H, W) -> tokens; patches are multiplied row by row."""
        rows = image.unfold(1, 16, 16).unfold(2, 16, 16).permute(1, 2, 0, 3, 4).flatten(2)
        kernel = self.frozen["patch_embed.proj.weight"].flatten(1)
        return rows @ kernel.T + self.frozen["patch_embed.proj.bias"] + self.frozen["pos_embed"][0]

    def double(self, name: str, x: Tensor) -> Tensor:
        """A transposed convolution of 2x2 with stride 2: every pixel becomes four."""
        kernel, bias = self.own[f"{name}.weight"], self.own[f"{name}.bias"]
        big = torch.einsum("bchw,cdij->bdhiwj", x, kernel)
        return big.flatten(4, 5).flatten(2, 3) + bias[:, None, None]

    def pyramid(self, stream: int, x: Tensor) -> list[Tensor]:
        name = f"pyramids.{stream}"
        twice, norm = self.double(f"{name}.finest.0", x), f"{name}.finest.1"
        gain, bias = self.own[f"{norm}.weight"], self.own[f"{norm}.bias"]
        if stream == 0:
            twice = self.norm(twice.movedim(1, -1), gain, bias, 1e-6).movedim(-1, 1)
        else:
            mean, variance = self.own[f"{norm}.running_mean"], self.own[f"{norm}.running_var"]
            scale = gain / (variance + 1e-5).sqrt()
            twice = twice * scale[:, None, None] + (bias - mean * scale)[:, None, None]
        finest = self.double(f"{name}.finest.3", F.gelu(twice))
        coarsest = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        return [finest, self.double(f"{name}.finer", x), x, coarsest]

    def gated(self, level: int, stream: int, x: Tensor) -> Tensor:
        name, means = f"gates.{level}.{stream}.weigh", x.mean((2, 3))
        layers = {
            key: value.flatten(1) if value.ndim == 4 else value for key, value in self.own.items()
        }
        inner = self.linear(layers, f"{name}.0", means).clamp(min=0)
        return x * self.linear(layers, f"{name}.2", inner).sigmoid()[..., None, None]

    def logits(self, rgb: Tensor, dsm: Tensor) -> Tensor:
        """(3, H, W) and (1, H, W) -> the decoder's logits, which has a twin of its own."""
        streams = [self.embed(rgb), self.embed(torch.cat([dsm] * 3))]
        for number in range(4):
            streams = self.block(number, streams)
        maps = [self.neck(tokens) for tokens in streams]
        color, height = (self.pyramid(place, x) for place, x in enumerate(maps))
        levels = []
        for level, (x, y) in enumerate(zip(color, height, strict=True)):
            levels.append(self.gated(level, 0, x) + self.gated(level, 1, y))
        return self.network.decoder(levels)[0]


@torch.no_grad()
def test_it_is_the_published_network_for_two_sensors():
    network = copy.deepcopy(make(TWO).network).double().eval()
    stir(network)
    given = {m: image.double() for m, image in images(TWO, 1, (256, 256)).items()}
    expected = Twin(network).logits(given["rgb"][0], given["dsm"][0])
    found = network.fuse(network.encode(given))[0]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
