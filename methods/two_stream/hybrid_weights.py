"""Pretrained weights of R50+ViT-B/16 for every stream of FTransUNet."""

from collections.abc import Iterable
from typing import Any

import torch
from timm import is_model
from torch import Tensor
from torch.nn import functional as F

from methods.frozen_vit import build_vit
from methods.parts.backbones import widen
from methods.two_stream.stream_transformer import StreamTransformer
from usererror import UserError


@torch.no_grad()
def load_weights(
    trunks: Iterable[Any],
    transformer: StreamTransformer,
    positions: Tensor,
    backbone: str,
    path: str | None,
) -> None:
    """Give every stream, and the positions (1, D, g, g), the weights of timm's hybrid.

    Raises:
        UserError: there are none of this backbone, or they cannot be loaded.
    """
    if not is_model(backbone):
        raise UserError(f"There are no weights of {backbone}: set pretrained: false.")
    model: Any = build_vit(backbone, True, path, seed=0)
    resnet, embedding = model.patch_embed.backbone, model.patch_embed.proj
    for trunk in trunks:
        kernel = widen(resnet.stem.conv, [trunk.stem[0].in_channels], keep=True).weight
        trunk.stem[0].weight.copy_(kernel)
        trunk.stem[1].load_state_dict(resnet.stem.norm.state_dict())
        trunk.stages.load_state_dict(resnet.stages.state_dict())
        trunk.embedding.load_state_dict(embedding.state_dict())
    for number, blocks in enumerate(transformer.blocks):
        for block in blocks:
            block.load_state_dict(model.blocks[number].state_dict())
    for norm in transformer.norms:
        norm.load_state_dict(model.norm.state_dict())
    table = model.pos_embed[:, model.num_prefix_tokens :].transpose(1, 2)
    positions.copy_(resize_positions(table.unflatten(2, model.patch_embed.grid_size), positions))


def resize_positions(table: Tensor, like: Tensor) -> Tensor:
    """Resize positions (1, D, g, g) linearly, corners aligned, to the size of maps (B, D, h, w)."""
    if table.shape[2:] == like.shape[2:]:
        return table
    return F.interpolate(table, size=like.shape[2:], mode="bilinear", align_corners=True)
