"""mmFormer in two dimensions, in plain torch, for any number of modalities.

Original: Y. Zhang et al., "mmFormer: Multimodal Medical Transformer for Incomplete Multimodal
Learning of Brain Tumor Segmentation", MICCAI 2022, arXiv 2206.02425; code YaoZhang93/mmFormer
(Apache-2.0), its rewritten version b18663a. Written anew from a description of that code (the
"dossier" of comments). Changed: two dimensions, any number and width of modalities, the number of
classes apart from that of modalities, tokens put back where they came from.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.parts.backbones import pad_to_multiple
from methods.parts.conv_unet import (
    LEAST,
    STRIDE,
    WIDTHS,
    FusedDecoder,
    NormKind,
    PyramidEncoder,
    UnimodalDecoder,
)
from methods.parts.network import AnyModalityNetwork, Fused, Present
from methods.parts.tokens import (
    LAYOUTS,
    Layout,
    TokenBlock,
    modality_major_map,
    resized_table,
    tokens_of,
)
from usererror import UserError


class Encoded(NamedTuple):
    """What one modality alone determines.

    Attributes:
        tokens: output of the modality's transformer as a map, (B, D, H/16, W/16).
        skips: at strides 1, 2, 4, 8 the modality's share of the fusion block's first convolution
            (norm `instance`), or its map itself (`layer`); (B, c_i, H/2^i, W/2^i).
        maps: all five maps of its encoder in training, for the unimodal decoder; else empty.
    """

    tokens: Tensor
    skips: list[Tensor]
    maps: list[Tensor]


def _kept(features: Tensor, present: Present | None, modality: str) -> Tensor:
    """(B, ...) with zeros in place of the samples that do not have the modality."""
    if present is None:
        return features
    return torch.where(present[modality].view(-1, *[1] * (features.ndim - 1)), features, 0)


class MMFormerNetwork(AnyModalityNetwork):
    """Transformers per modality and across modalities, convolutional decoder with skips.

    Args:
        width: D of the tokens.
        mlp: hidden width of the transformers' feed-forward part.
        grid: side of the position tables: 32 for windows of 512 px, 8 for 128; other sizes
            interpolate them.
        norm: `instance` (released), or `layer`, which normalises a sample as a whole.
        layout: how tokens become a map: `modality_major`, each at its own place, or `sequential`,
            the released view.
    """

    stride = 1

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        width: int = 512,
        mlp: int = 4096,
        heads: int = 8,
        dropout: float = 0.1,
        grid: int = 32,
        norm: NormKind = "instance",
        layout: Layout = "modality_major",
    ) -> None:
        super().__init__(modalities)
        if norm not in ("instance", "layer"):
            raise UserError(f"mmFormer's norm {norm!r} is neither instance nor layer.")
        if layout not in LAYOUTS:
            raise UserError(f"mmFormer's layout {layout!r} is none of {', '.join(LAYOUTS)}.")
        if width % heads:
            raise UserError(f"mmFormer's width {width} is not a multiple of its {heads} heads.")
        self.norm, self.to_map = norm, LAYOUTS[layout]
        count, last = len(self.modalities), WIDTHS[-1]
        self.encoders = nn.ModuleDict(
            {m: PyramidEncoder(channels, norm) for m, channels in modalities.items()}
        )
        self.tokenisers = nn.ModuleDict({m: nn.Conv2d(last, width, 1) for m in modalities})
        self.tables = nn.ParameterDict(
            {m: nn.Parameter(torch.zeros(1, grid * grid, width)) for m in modalities}
        )
        self.intra = nn.ModuleDict({m: TokenBlock(width, heads, mlp, dropout) for m in modalities})
        self.inter = TokenBlock(width, heads, mlp, dropout)
        self.reduction = nn.Conv2d(count * width, count * last, 1)
        self.decoder = FusedDecoder(count, num_classes, norm)
        self.unimodal_decoder = UnimodalDecoder(num_classes, norm)
        # released: Kaiming-normal for every convolution, drawn last
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return list(self.encoders.values())

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Encoded]:
        """Encode the images (B, C, H, W) of any non-empty subset, padded to multiples of 16."""
        return {
            m: self._encode(m, pad_to_multiple(images[m], STRIDE, LEAST))
            for m in self.ordered_names(images)
        }

    def _encode(self, modality: str, image: Tensor) -> Encoded:
        maps = self.encoders[modality](image)
        tokens = tokens_of(self.tokenisers[modality](maps[-1]))
        grid = maps[-1].shape[-2:]
        tokens = self.intra[modality](tokens, resized_table(self.tables[modality], grid))
        skips = maps[:-1]
        if self.norm == "instance":
            index = self.modalities.index(modality)
            # zip stops at the last skip: the coarsest block takes tokens
            pairs = zip(self.decoder.fusion, skips, strict=False)
            skips = [block.partial_sum(index, features) for block, features in pairs]
        return Encoded(modality_major_map(tokens, 1, grid), skips, maps if self.training else [])

    def fused_maps(
        self, encoded: Mapping[str, Encoded], present: Present | None = None
    ) -> list[Tensor]:
        """Outputs of the five fusion blocks, (B, c_i, H/2^i, W/2^i); arguments as for `fuse`."""
        # what is absent or masked is zero at every scale (dossier I.3)
        names = self.ordered_names(encoded)
        skips = []
        for scale in range(len(WIDTHS) - 1):
            kept = {m: _kept(encoded[m].skips[scale], present, m) for m in names}
            skips.append(self._skip(scale, kept))
        correlated = self._correlate({m: _kept(encoded[m].tokens, present, m) for m in names})
        return [*skips, self.decoder.fusion[-1](self.reduction(correlated))]

    def fuse(self, encoded: Mapping[str, Encoded], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H, W), in training `scales` at strides 16, 8, 4, 2 too."""
        maps = self.fused_maps(encoded, present)
        logits, scales = self.decoder.decode(maps, with_auxiliary=self.training)
        return logits, {"scales": scales} if self.training else {}

    def _with_zeros(self, given: Mapping[str, Tensor]) -> list[Tensor]:
        """One tensor per configured modality, zeros for those that are not given."""
        zeros = torch.zeros_like(next(iter(given.values())))
        return [given.get(m, zeros) for m in self.modalities]

    def _skip(self, scale: int, given: Mapping[str, Tensor]) -> Tensor:
        """The fusion block of a scale; with `instance` absent modalities add nothing to the sum."""
        block = self.decoder.fusion[scale]
        if self.norm == "instance":
            return block.finish_fusion(sum(given.values()))
        return block(torch.cat(self._with_zeros(given), 1))

    def _correlate(self, given: Mapping[str, Tensor]) -> Tensor:
        """The transformer across modalities: maps (B, D, h, w) -> (B, M*D, h, w)."""
        # tokens of absent modalities are their positions alone, a learned constant that takes part
        # in the attention: the sequence's length and positions never change
        everything = self._with_zeros(given)
        grid = everything[0].shape[-2:]
        positions = torch.cat([resized_table(self.tables[m], grid) for m in self.modalities], 1)
        tokens = self.inter(torch.cat([tokens_of(x) for x in everything], 1), positions)
        return self.to_map(tokens, len(self.modalities), grid)

    def decode_unimodal(self, encoded: Mapping[str, Encoded]) -> dict[str, Tensor]:
        """Predict (B, K, H, W) from each modality by itself, without its transformer."""
        if not all(entry.maps for entry in encoded.values()):
            raise RuntimeError("the unimodal decoder belongs to training: encode in training mode")
        return {m: self.unimodal_decoder(entry.maps) for m, entry in encoded.items()}
