"""M3L as its equations read: explicit streams, explicit weights, nothing cached (dossier sections
2.1, 5.1 - 5.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from methods.m3l.network import BlockM3L, M3LNetwork, StageM3L
from methods.parts.backbones import create_pyramid, pad_to_multiple, to_three_channels
from methods.parts.heads import AllMLPHead


def mix(streams: Sequence[Tensor], ratio: float) -> list[Tensor]:
    """G_m = r Z_m + (1 - r) / (M - 1) * sum of the others."""
    if len(streams) == 1:
        return list(streams)
    return [
        ratio * own
        + sum((1 - ratio) / (len(streams) - 1) * z for n, z in enumerate(streams) if n != m)
        for m, own in enumerate(streams)
    ]


def textbook(head: AllMLPHead, maps: Sequence[Tensor]) -> Tensor:
    """SegFormer: project, upsample_bilinear, concatenate, fuse, norm, ReLU, classify."""
    size = maps[0].shape[-2:]
    wide = [
        F.interpolate(p(x), size=size, mode="bilinear")
        for p, x in zip(head.projections, maps, strict=True)
    ]
    return head.classifier(F.relu(head.norm(head.fusion(torch.cat(wide, 1)))))


def literal_head(network: StageM3L, features: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
    """{modality: four maps F_m}; absent where the key is: the prediction of every configured
    modality's stream.
    """
    shapes = [feature.shape for feature in next(iter(features.values()))]
    fused = []
    for scale, shape in enumerate(shapes):
        streams = []
        for m in network.modalities:
            if m in features:
                norm = network.norms[m][scale]
                rows = features[m][scale].permute(0, 2, 3, 1)
                normed = F.layer_norm(rows, rows.shape[-1:], norm.weight, norm.bias, norm.eps)
                streams.append(normed.permute(0, 3, 1, 2))
            else:
                streams.append(network.tokens[scale][None, :, None, None].expand(shape))
        fused.append(mix(streams, network.fusion.ratio))
    return [textbook(network.head, maps) for maps in zip(*fused, strict=True)]


def literal_stage(network: StageM3L, images: Mapping[str, Tensor]) -> list[Tensor]:
    """Images of a subset -> the streams' predictions at stride 4."""
    return literal_head(network, {m: network.encoder({m: image})[m] for m, image in images.items()})


def without_drop_path(network: M3LNetwork) -> M3LNetwork:
    """The network with a stochastic depth of 0: the equations have no draws."""
    for module in network.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    return network


def plain_pyramids(network: BlockM3L, backbone: str) -> list[Any]:
    """One untouched timm encoder per stream, with the shared weights and the stream's own norms."""
    state = network.encoder.pyramid.state_dict()
    plain = []
    for stream in range(len(network.modalities)):
        mine = {}
        for key, value in state.items():
            if ".copies." in key:
                layer, rest = key.split(".copies.")
                number, leaf = rest.split(".")
                if int(number) != stream:
                    continue
                key = f"{layer}.{leaf}"
            for ours, theirs in (
                (".attn.attention.", ".attn."),
                (".bn3.0.", ".bn3."),
                (".bn2.0.", ".bn2."),
            ):
                key = key.replace(ours, theirs)
            mine[key] = value
        pyramid = create_pyramid(backbone)
        pyramid.load_state_dict(mine)
        plain.append(pyramid.train(network.training))
    return plain


def pvt_in_lockstep(
    plain: Sequence[Any], images: Sequence[Tensor | None], token: Tensor, ratio: float
) -> list:
    """Per scale the maps of all streams; None = a stream of tokens. One block after the other,
    streams side by side.
    """
    embedded = [
        None if x is None else p["patch_embed"](x) for p, x in zip(plain, images, strict=True)
    ]
    shape = next(x for x in embedded if x is not None).shape
    states = [token.expand(shape) if x is None else x for x in embedded]
    scales = []
    for stage in range(4):
        layers = [p[f"stages_{stage}"] for p in plain]
        if stage:
            states = [layer.downsample(x) for layer, x in zip(layers, states, strict=True)]
        batch, height, width, channels = states[0].shape
        rows = [x.reshape(batch, height * width, channels) for x in states]
        for blocks in zip(*(layer.blocks for layer in layers), strict=True):
            attended = [
                b.attn(b.norm1(x), (height, width)) for b, x in zip(blocks, rows, strict=True)
            ]
            rows = [x + a for x, a in zip(rows, mix(attended, ratio), strict=True)]
            rows = [
                x + b.mlp(b.norm2(x), (height, width)) for b, x in zip(blocks, rows, strict=True)
            ]
        rows = [layer.norm(x) for layer, x in zip(layers, rows, strict=True)]
        states = [x.reshape(batch, height, width, channels).permute(0, 3, 1, 2) for x in rows]
        scales.append(states)
    return scales


def resnet_in_lockstep(
    plain: Sequence[Any], images: Sequence[Tensor | None], token: Tensor, ratio: float
) -> list:
    """As `pvt_in_lockstep`, for bottleneck blocks."""
    stem = [
        p.maxpool(p.act1(p.bn1(p.conv1(x)))) if x is not None else None
        for p, x in zip(plain, images, strict=True)
    ]
    shape = next(x for x in stem if x is not None).shape
    states = [token[:, None, None].expand(shape) if x is None else x for x in stem]
    scales = []
    for name in ("layer1", "layer2", "layer3", "layer4"):
        for blocks in zip(*(p[name] for p in plain), strict=True):
            shortcuts = [
                x if b.downsample is None else b.downsample(x)
                for b, x in zip(blocks, states, strict=True)
            ]
            branches = []
            for block, x in zip(blocks, states, strict=True):
                x = F.relu(block.bn1(block.conv1(x)))
                x = F.relu(block.bn2(block.conv2(x)))
                branches.append(block.bn3(block.conv3(x)))
            mixed = mix(branches, ratio)
            states = [F.relu(x + shortcut) for x, shortcut in zip(mixed, shortcuts, strict=True)]
        scales.append(states)
    return scales


def literal_block(
    network: BlockM3L, plain: Sequence[Any], images: Mapping[str, Tensor]
) -> list[Tensor]:
    """Images of a subset -> the streams' predictions at stride 4; `plain` as `plain_pyramids` gives
    it.
    """
    given = [
        pad_to_multiple(to_three_channels(images[m])) if m in images else None
        for m in network.modalities
    ]  # a stream without an image is one of tokens
    steps = pvt_in_lockstep if "patch_embed" in plain[0] else resnet_in_lockstep
    scales = steps(plain, given, network.token, network.fusion.ratio)
    if network.encoder.reduction is not None:
        reductions: Sequence[nn.Module] = network.encoder.reduction
        scales = [
            [layer(x) for x in states] for layer, states in zip(reductions, scales, strict=True)
        ]
    return [textbook(network.head, maps) for maps in zip(*scales, strict=True)]
