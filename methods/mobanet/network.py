"""The MoBaNet network: streams through a frozen ViT, prompts between them, gated fusion.

Parameter-Efficient Modality-Balanced Symmetric Fusion for Multimodal Remote Sensing Semantic
Segmentation, arXiv 2603.17705v1. Written from an analysis of the paper and of the released code
(sauryeo/MoBaNet, without a licence of its own), of which nothing is copied. Ours: more than two
streams, per-sample masks, caching between subsets.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.frozen_vit import STAGES, FrozenViT
from methods.mobanet.decoder import LEVEL_WIDTH, AuxiliaryHead, UPerHead
from methods.mobanet.fusion import CPIA, DGFM
from methods.parts.backbones import to_three_channels
from methods.parts.heads import ChannelNorm
from methods.parts.kernel_folding import FoldCache
from methods.parts.network import AnyModalityNetwork, Fused, Present, as_mask, main_modality
from usererror import UserError

Prompts = Literal["code", "paper_eq9", "none"]


class MoBaNetNetwork(AnyModalityNetwork):
    """MoBaNet.

    Every configured modality is a stream; a missing one is an image of zeros, which after
    standardisation is the mean colour or height and what MCRM writes into its rectangles. The first
    modality with three channels (else the first) goes through the frozen patch embedding, every
    other one through a trainable copy.

    Args:
        cpia: `code` adds the prompt to the tokens, `paper_eq9` feeds it through an adapter, `none`
            leaves it out.
        dgfm: gated fusion; false averages the streams.
        heads: auxiliary head per stream, evaluated in training only.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        backbone: str = "vit_base_patch14_dinov2",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        seed: int = 0,
        cpia: Prompts = "code",
        dgfm: bool = True,
        heads: bool = True,
    ) -> None:
        super().__init__(modalities)
        if cpia not in ("code", "paper_eq9", "none"):
            raise UserError(f"cpia {cpia!r} is none of code, paper_eq9, none.")
        count = len(modalities)
        self.optical = main_modality(modalities)
        self.backbone = FrozenViT(backbone, pretrained, pretrained_path, seed)
        self.stride, width = self.backbone.patch, self.backbone.width
        # the frozen patch embedding knows colour images only
        others = [m for m in self.modalities if m != self.optical]
        self.embeddings = nn.ModuleList(self.backbone.trainable_patch_embedding() for _ in others)
        self._embedding_of = {m: index for index, m in enumerate(others)}
        self.cpia: nn.ModuleList | None = None
        if cpia != "none":
            self.cpia = nn.ModuleList(
                CPIA(count, width, cpia == "paper_eq9") for _ in range(STAGES)
            )
        self.dgfm: nn.ModuleList | None = None
        if dgfm and count > 1:
            self.dgfm = nn.ModuleList(DGFM(count, width) for _ in range(STAGES))
            self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(STAGES))
        self.projections = nn.ModuleList(
            nn.Conv2d(width, LEVEL_WIDTH, 1, bias=False) for _ in range(STAGES)
        )
        self.head = UPerHead(num_classes)
        self.heads: nn.ModuleList | None = None
        if heads:
            self.heads = nn.ModuleList(AuxiliaryHead(num_classes) for _ in self.modalities)
        self._blanks = {m: FoldCache() for m in self.modalities}

    def pad_to_patch(self, image: Tensor) -> Tensor:
        """Pad with zeros below and right to multiples of the patch, as published."""
        bottom, right = (-image.shape[-2]) % self.stride, (-image.shape[-1]) % self.stride
        return F.pad(image, (0, right, 0, bottom)) if bottom or right else image

    def encoding_modules(self) -> list[nn.Module]:
        """The frozen blocks: prompts and fusion lie between them."""
        return list(self.backbone.model.blocks)

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Any]:
        """{modality: (B, C, H, W)} -> what it alone determines.

        With CPIA that is its patch tokens (B, h, w, C) only, since the streams meet before the
        first block. Without, it is the whole stream: its features (B, C, h, w) after each stage.
        """
        encoded = {}
        for m in self.ordered_names(images):
            encoded[m] = self._alone(m, self.pad_to_patch(to_three_channels(images[m])))
        return encoded

    def _alone(self, modality: str, image: Tensor) -> Any:
        index = self._embedding_of.get(modality)
        embedding = None if index is None else self.embeddings[index]
        tokens = self.backbone.embed_patches(image, embedding)
        return tokens if self.cpia is not None else [stage[0] for stage in self._stages([tokens])]

    def _stages(self, given: Sequence[Tensor]) -> list[list[Tensor]]:
        """Patch tokens (B, h, w, C) of the streams -> per stage their features (B, C, h, w)."""
        # stages are frozen, prompts and fusion between them are not
        streams = list(given)
        tokens = [self.backbone.class_token(len(patches)) for patches in streams]
        features = []
        for number in range(STAGES):
            if self.cpia is not None:
                streams = self.cpia[number](streams)
            for index, patches in enumerate(streams):
                after = self.backbone.run_stage(number, tokens[index], patches)
                tokens[index], streams[index] = after
            maps = [self.backbone.stage_feature(patches) for patches in streams]
            features.append([each.permute(0, 3, 1, 2) for each in maps])
        return features

    def _blank(self, modality: str, grid: Sequence[int]) -> Any:
        """Encode one image of zeros; in eval mode kept until weights or grid change."""
        proj = self.backbone.model.patch_embed.proj
        size = (grid[0] * self.stride, grid[1] * self.stride)

        def make_blank() -> Any:
            return self._alone(modality, proj.weight.new_zeros(1, 3, *size))

        sources = [*self.embeddings.parameters(), *self.backbone.buffers()]
        return self._blanks[modality].get(sources, make_blank, grid)

    def _present(self, encoded: Mapping[str, Any], present: Present | None) -> list[Any]:
        """Entries of all configured modalities; absent and masked ones are those of zeros."""
        first = next(iter(encoded.values()))
        if isinstance(first, Tensor):
            batch, grid = len(first), (first.shape[1], first.shape[2])
        else:
            batch, grid = len(first[0]), (first[0].shape[2], first[0].shape[3])
        entries = []
        for m in self.modalities:
            if m in encoded and present is None:
                entries.append(encoded[m])
                continue
            blank = self._blank(m, grid)
            keep = present[m] if present is not None and m in encoded else None
            if isinstance(blank, Tensor):
                entries.append(_where(keep, encoded.get(m), blank, batch))
            else:
                given = encoded.get(m) or [None] * STAGES
                pairs = zip(given, blank, strict=True)
                entries.append([_where(keep, own, other, batch) for own, other in pairs])
        return entries

    def _per_stage(self, encoded: Mapping[str, Any], present: Present | None) -> list[list[Tensor]]:
        """After each stage the features (B, C, h, w) of every configured modality."""
        entries = self._present({m: encoded[m] for m in self.ordered_names(encoded)}, present)
        if self.cpia is not None:
            return self._stages(entries)
        return [list(stage) for stage in zip(*entries, strict=True)]

    def fused_maps(self, encoded: Mapping[str, Any]) -> list[Tensor]:
        """What leaves the gated fusion after each stage, (B, C, h, w), for any non-empty subset."""
        stages = self._per_stage(encoded, None)
        return [self._fused(number, streams) for number, streams in enumerate(stages)]

    def fuse(self, encoded: Mapping[str, Any], present: Present | None = None) -> Fused:
        """Predict logits (B, K, h, w) at the patches' stride, in training those of `heads` too."""
        stages = self._per_stage(encoded, present)
        levels = []
        for number, streams in enumerate(stages):
            levels.append(self.projections[number](self._fused(number, streams)))
        logits = self.head(levels)
        if self.heads is None or not self.training:
            return logits, {}
        # auxiliary heads share the first projection (dossier 2.7)
        shallow = zip(self.modalities, self.heads, stages[0], strict=True)
        heads = {m: head(self.projections[0](features)) for m, head, features in shallow}
        return logits, {"heads": heads}

    def _fused(self, number: int, streams: Sequence[Tensor]) -> Tensor:
        if self.dgfm is None:
            total: Any = sum(streams)
            return total / len(streams)
        return self.norms[number](self.dgfm[number](streams))


def _where(keep: Tensor | None, given: Tensor | None, blank: Tensor, batch: int) -> Tensor:
    """Take `given` where `keep` says so, else the one `blank`, expanded to the batch."""
    if keep is None or given is None:
        return blank.expand(batch, -1, -1, -1)
    return torch.where(as_mask(keep), given, blank)
