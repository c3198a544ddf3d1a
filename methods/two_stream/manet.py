"""MANet: streams through a frozen SAM encoder, with adapters that exchange features in each block.

Ma, Zhang, Pun, Huang, IEEE TGRS 63 (2025), arXiv 2410.11160 (also MFNet), the version with
adapters. Ours: more than two streams, and any subset of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.models.vision_transformer_sam import window_partition, window_unpartition
from torch import Tensor, nn

from methods.frozen_vit import FrozenViT
from methods.parts.backbones import to_three_channels
from methods.parts.heads import ChannelNorm
from methods.parts.network import Fused
from methods.single_stream.unetformer import UNetFormerDecoder
from methods.streams import StreamNetwork, check_several
from methods.two_stream.squeeze import Squeeze
from usererror import UserError


def make_adapter(width: int) -> nn.Sequential:
    """A bottleneck of a quarter of the width, without a residual."""
    return nn.Sequential(nn.Linear(width, width // 4), nn.GELU(), nn.Linear(width // 4, width))


class BlockAdapters(nn.Module):
    """A stream's part of one block: two adapters, and the weight of its own features."""

    def __init__(self, width: int, streams: int) -> None:
        super().__init__()
        self.attention, self.exchange = make_adapter(width), make_adapter(width)
        self.own = nn.Parameter(torch.tensor(1 / streams))


def attend(block: Any, tokens: Tensor) -> Tensor:
    """Norm and attention of a block of timm's SAM, (B, h, w, C) -> the same, without a residual."""
    normed, size = block.norm1(tokens), (tokens.shape[1], tokens.shape[2])
    if not block.window_size:
        return block.attn(normed)
    windows, padded = window_partition(normed, block.window_size)
    return window_unpartition(block.attn(windows), block.window_size, size, padded)


def run_block(
    block: Any, adapters: Sequence[BlockAdapters], streams: Sequence[Tensor]
) -> list[Tensor]:
    """Run one frozen block on all streams (B, h, w, C).

    Behind the perceptron a stream adds what its second adapter makes, and the mean of what those of
    the others make, with weights that sum to 1.
    """
    states = []
    for part, tokens in zip(adapters, streams, strict=True):
        # per token, hence outside the windows: what the release adapts of their padding is dropped
        attended = attend(block, tokens)
        states.append(tokens + attended + part.attention(attended))
    normed = [block.norm2(state) for state in states]
    made = [part.exchange(tokens) for part, tokens in zip(adapters, normed, strict=True)]
    found = []
    for number, (part, state) in enumerate(zip(adapters, states, strict=True)):
        others: Any = torch.stack(made[:number] + made[number + 1 :]).mean(0)
        mixed = part.own * made[number] + (1 - part.own) * others
        found.append(state + block.mlp(normed[number]) + mixed)
    return found


class Pyramid(nn.Module):
    """One map at the patches' stride -> four, from four times to half of its size."""

    def __init__(self, channels: int, norm: nn.Module) -> None:
        super().__init__()

        def double() -> nn.Module:
            return nn.ConvTranspose2d(channels, channels, 2, 2)

        self.finest = nn.Sequential(double(), norm, nn.GELU(), double())
        self.finer = double()
        self.coarser = nn.MaxPool2d(2)

    def forward(self, maps: Tensor) -> list[Tensor]:
        """(B, C, h, w) -> [(B, C, 4h, 4w), (B, C, 2h, 2w), (B, C, h, w), (B, C, h/2, w/2)]."""
        return [self.finest(maps), self.finer(maps), maps, self.coarser(maps)]


class MANetNetwork(StreamNetwork):
    """MANet.

    Args:
        backbone: a SAM encoder of timm, frozen.
        pretrained_path: local weight file instead of the cache.
        seed: of the frozen weights where they are random.
        lost_positions: relative positions are zero, as the release loses them without a word.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "samvit_base_patch16",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        seed: int = 0,
        lost_positions: bool = False,
    ) -> None:
        super().__init__(modalities)
        check_several(modalities, "MANet")
        self.backbone = FrozenViT(
            backbone, pretrained, pretrained_path, seed, neck=True, lost_positions=lost_positions
        )
        if not self.backbone.sam:
            raise UserError(f"MANet needs a SAM encoder, samvit_base_patch16; got {backbone}.")
        self.first_stride = self.backbone.patch
        self.stride = self.backbone.patch // 4
        count, width = len(modalities), self.backbone.width
        self.adapters: Any = nn.ModuleList()
        for _ in range(self.backbone.depth):
            self.adapters.append(nn.ModuleList(BlockAdapters(width, count) for _ in range(count)))
        channels = self.backbone.neck_width
        norms = [ChannelNorm(channels, 1e-6), *(nn.BatchNorm2d(channels) for _ in self.others)]
        self.pyramids = nn.ModuleList(Pyramid(channels, norm) for norm in norms)
        self.gates: Any = nn.ModuleList()
        for _ in range(4):
            self.gates.append(nn.ModuleList(Squeeze(channels) for _ in range(count)))
        self.decoder = UNetFormerDecoder([channels] * 4, num_classes, auxiliary=False)

    def run_alone(self, modality: str, image: Tensor) -> list[Tensor]:
        """Patch tokens with positions as a map: streams meet in the first block."""
        return [self.backbone.embed_patches(to_three_channels(image)).permute(0, 3, 1, 2)]

    def run_trunk(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Streams (B, h, w, C) through all blocks and the neck: [(B, C', h, w)]."""
        streams = list(tokens)
        for block, adapters in zip(self.backbone.model.blocks, self.adapters, strict=True):
            streams = run_block(block, adapters, streams)
        return [self.backbone.run_neck(stream) for stream in streams]

    def fuse_streams(self, main: list[Tensor], others: list[list[Tensor]]) -> Fused:
        """Predict logits (B, K, h, w) at a quarter of the patches' stride; no extras."""
        streams = self.run_trunk([entry[0].permute(0, 2, 3, 1) for entry in (main, *others)])
        pairs = zip(self.pyramids, streams, strict=True)
        pyramids = [pyramid(maps) for pyramid, maps in pairs]
        levels = []
        for number, gates in enumerate(self.gates):
            scaled = [gate(maps[number]) for gate, maps in zip(gates, pyramids, strict=True)]
            levels.append(torch.stack(scaled).sum(0))
        return self.decoder(levels)[0], {}
