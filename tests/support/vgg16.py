"""VGG-16's layers in plain operations, for the twins of the networks on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def settle(module: nn.Module) -> None:
    """Draw the norms, so that none of their numbers is without effect."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight, part.bias, part.running_mean, part.running_var):
                nn.init.uniform_(values, 0.5, 1.5)


def run_block(block: Any, maps: Tensor, order: str) -> Tensor:
    """Convolutions, norms and ReLUs of a block in evaluation."""
    norms = [part for part in block if isinstance(part, nn.BatchNorm2d)]
    convolutions = [part for part in block if isinstance(part, nn.Conv2d)]
    for conv, norm in zip(convolutions, norms, strict=True):
        maps = F.conv2d(maps, conv.weight, conv.bias, padding=1)
        if order == "relu_bn":
            maps = maps.clamp(min=0)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        maps = maps * scale[:, None, None] + shift[:, None, None]
        if order == "bn_relu":
            maps = maps.clamp(min=0)
    return maps


def put_back(pooled: Tensor, places: Tensor) -> Tensor:
    """Unpool by scattering values to their flat indices."""
    height, width = 2 * pooled.shape[2], 2 * pooled.shape[3]
    empty = pooled.new_zeros(*pooled.shape[:2], height * width)
    return empty.scatter(2, places.flatten(2), pooled.flatten(2)).unflatten(2, (height, width))


def highest(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Pool by comparing the four pixels of each window: values, and flat indices."""
    width = maps.shape[3]
    numbers = torch.arange(maps.shape[2] * width).reshape(1, 1, -1, width).expand_as(maps)
    values, places = (
        torch.stack([part[..., i::2, j::2] for i in (0, 1) for j in (0, 1)])
        for part in (maps, numbers)
    )
    best = values.argmax(0, keepdim=True)
    return values.gather(0, best)[0], places.gather(0, best)[0]


def run_decoder(
    decoder: Any, state: Tensor, places: Sequence[Tensor], skips: Any, order: str
) -> Tensor:
    """The mirrored decoder, deepest level first."""
    for number, block in enumerate(decoder.blocks):
        state = put_back(state, places[4 - number])
        if skips is not None:
            state = state + skips[4 - number]
        state = run_block(block, state, order)
    return F.conv2d(state, decoder.classifier.weight, decoder.classifier.bias, padding=1)
