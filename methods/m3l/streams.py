"""Linear fusion, and encoders rebuilt as parallel streams with fusion in every block.

The M streams travel packed along the batch, [stream 0, stream 1, ...] x B, through timm's own code.
Only modules are exchanged: each LayerNorm for M copies of itself, each attention (PVT-v2) or last
batch norm of a residual branch (ResNet) for itself followed by the fusion. Everything else is
shared as it stands.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from usererror import UserError


def fusion_weights(count: int, ratio: float) -> tuple[float, float]:
    """Weights own, other of G_m = own * Z_m + other * sum of all Z_n (dossier 5.1).

    A stream keeps the share r of its own and each of the others gives other = (1 - r) / (M - 1), so
    own = r - other. A lone stream keeps everything; the weights sum to one.
    """
    # released for two streams; for more the rest is shared out evenly
    other = (1 - ratio) / (count - 1) if count > 1 else 0.0
    return (ratio if count > 1 else 1.0) - other, other


class StreamFusion(nn.Module):
    """Linear fusion of `count` streams packed along the batch; no parameters."""

    def __init__(self, count: int, ratio: float = 0.8) -> None:
        super().__init__()
        if not 0 <= ratio <= 1:
            raise UserError(f"The ratio of M3L's linear fusion lies within 0 and 1; got {ratio}.")
        self.count, self.ratio = count, ratio
        self.weights = fusion_weights(count, ratio)

    def forward(self, packed: Tensor) -> Tensor:
        """(M*B, ...) -> (M*B, ...)"""
        own, other = self.weights
        streams = packed.unflatten(0, (self.count, -1))
        return torch.add(other * streams.sum(0), streams, alpha=own).flatten(0, 1)


class StreamNorm(nn.Module):
    """A LayerNorm per stream; all start as copies of the given, pretrained one."""

    def __init__(self, norm: nn.LayerNorm, count: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(deepcopy(norm) for _ in range(count))

    def forward(self, packed: Tensor) -> Tensor:
        """(M*B, ..., C), each stream by its own copy."""
        pairs = zip(self.copies, packed.chunk(len(self.copies)), strict=True)
        return torch.cat([copy(part) for copy, part in pairs])


class FusedAttention(nn.Module):
    """A block's attention and linear fusion: keys and values never mix, projected outputs do."""

    def __init__(self, attention: nn.Module, fusion: StreamFusion) -> None:
        super().__init__()
        self.attention, self.fusion = attention, fusion

    def forward(self, tokens: Tensor, feat_size: Sequence[int]) -> Tensor:
        """(M*B, N, C) -> (M*B, N, C)."""
        return self.fusion(self.attention(tokens, feat_size))


def interleave_streams(pyramid: Any, fusion: StreamFusion) -> None:
    """Rebuild a timm pyramid in place for `fusion.count` packed streams."""
    from timm.models.pvt_v2 import Block
    from timm.models.resnet import BasicBlock, Bottleneck

    if "patch_embed" not in dict(pyramid.named_children()):
        fused = 0
        for block in pyramid.modules():
            if isinstance(block, (BasicBlock, Bottleneck)):
                # behind the last norm of the residual branch, before the shortcut is added
                last = "bn3" if isinstance(block, Bottleneck) else "bn2"
                setattr(block, last, nn.Sequential(getattr(block, last), fusion))
                fused += 1
    else:
        blocks = [block for block in pyramid.modules() if isinstance(block, Block)]
        for block in blocks:
            block.attn = FusedAttention(block.attn, fusion)  # type: ignore[assignment]
        fused = len(blocks)
        # a list first: the copies are LayerNorms too
        for parent in list(pyramid.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.LayerNorm):
                    setattr(parent, name, StreamNorm(child, fusion.count))
    if not fused:
        raise UserError(
            "M3L's fusion in every block needs a PVT-v2 or ResNet backbone; use fusion: stage."
        )


def token_width(pyramid: Any) -> int:
    """Channels of the first embedding, which the token of a missing modality replaces."""
    if "patch_embed" in pyramid:
        return pyramid["patch_embed"].proj.out_channels
    return pyramid["bn1"].num_features


def first_embedding(
    pyramid: Any, packed: Tensor, indices: Sequence[int], counts: Sequence[int]
) -> list[Tensor]:
    """Run the first embedding of a rebuilt pyramid: PVT's patches and norm, or ResNet's stem.

    `packed` (N, 3, H, W) holds one modality after another, `counts` how many each, `indices` which
    stream each is; per modality the result is (counts[i], C, H/4, W/4).
    """
    if "patch_embed" in pyramid:
        layer = pyramid["patch_embed"]
        parts = layer.proj(packed).permute(0, 2, 3, 1).split(list(counts))
        normed = [layer.norm.copies[i](part) for i, part in zip(indices, parts, strict=True)]
        return [part.permute(0, 3, 1, 2) for part in normed]
    for name in ("conv1", "bn1", "act1", "maxpool"):
        packed = pyramid[name](packed)
    return list(packed.split(list(counts)))


def stages_of(pyramid: Any) -> list[nn.Module]:
    """List the four stages of a rebuilt pyramid."""
    return [part for name, part in pyramid.items() if name.startswith(("stages_", "layer"))]


def run_stages(pyramid: Any, embedded: Tensor) -> list[Tensor]:
    """The four stages of a rebuilt pyramid: (M*B, C, H/4, W/4) -> [(M*B, C_i, H_i, W_i]) * 4."""
    maps: list[Tensor] = []
    # PVT's first stage takes channels last and returns channels first
    state = embedded.permute(0, 2, 3, 1) if "patch_embed" in pyramid else embedded
    for stage in stages_of(pyramid):
        state = stage(state)
        maps.append(state)
    return maps
