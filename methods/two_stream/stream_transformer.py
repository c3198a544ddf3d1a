"""Transformers side by side, one for each stream, that exchange what they see (FTransUNet)."""

from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from methods.two_stream.hybrid import Size

DROPOUT = 0.1  # of tokens and in perceptrons


class StreamTransformer(nn.Module):
    """A transformer in every stream; in the middle half of the layers streams see each other.

    There a stream sums what its queries find in every stream, with a weight for each pair.
    """

    def __init__(self, streams: int, size: Size) -> None:
        super().__init__()
        make_norm = partial(nn.LayerNorm, size.width, eps=1e-6)
        self.blocks: Any = nn.ModuleList()
        for _ in range(size.depth):
            self.blocks.append(nn.ModuleList(_make_block(size) for _ in range(streams)))
        quarter = size.depth // 4
        self.middle = range(quarter, size.depth - quarter)
        self.shares = nn.ParameterList(
            torch.full((streams, streams), 1 / streams) for _ in self.middle
        )
        self.norms = nn.ModuleList(make_norm() for _ in range(streams))

    def run_blocks(self, tokens: list[Tensor]) -> list[Tensor]:
        """Run all layers on the streams' tokens (B, N, D)."""
        for number, blocks in enumerate(self.blocks):
            if number in self.middle:
                tokens = exchange(blocks, self.shares[number - self.middle.start], tokens)
            else:
                tokens = [block(stream) for block, stream in zip(blocks, tokens, strict=True)]
        return tokens

    def forward(self, tokens: list[Tensor]) -> Tensor:
        """Tokens (B, N, D) of all streams -> the sum of their normed results."""
        results = zip(self.norms, self.run_blocks(tokens), strict=True)
        return torch.stack([norm(stream) for norm, stream in results]).sum(0)


def _make_block(size: Size) -> Any:
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    block = Block(size.width, size.heads, qkv_bias=True, proj_drop=DROPOUT, norm_layer=norm)
    # in the perceptron only
    block.attn.proj_drop = nn.Identity()
    return block


def exchange(blocks: Any, shares: Tensor, tokens: list[Tensor]) -> list[Tensor]:
    """Run one layer in which every stream (B, N, D) attends to all; `shares` are (M, M)."""
    packed = []
    for block, stream in zip(blocks, tokens, strict=True):
        layers = block.attn.qkv(block.norm1(stream)).unflatten(2, (3, block.attn.num_heads, -1))
        packed.append(layers.permute(2, 0, 3, 1, 4))
    found = []
    for block, stream, (queries, *_), row in zip(blocks, tokens, packed, shares, strict=True):
        seen = []
        for (_, keys, values), share in zip(packed, row, strict=True):
            seen.append(share * F.scaled_dot_product_attention(queries, keys, values))
        mixed = torch.stack(seen).sum(0).transpose(1, 2).flatten(2)
        # each of the attentions has the projection's bias
        output = block.attn.proj
        state = stream + F.linear(mixed, output.weight, row.sum() * output.bias)
        found.append(state + block.mlp(block.norm2(state)))
    return found
