"""The GEMMNet network: generate what is missing, fuse all modalities at five scales, decode.

GEMMNet: DICTA 2025, arXiv 2509.11102, section 3. Written anew from a description of the released
layers (nhikieu/GEMMNet, MIT), of which nothing is copied. Ours: more than two modalities, any image
size.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from methods.gemmnet.generators import Discriminator, Generator
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
from methods.parts.network import AnyModalityNetwork, Fused, Present, as_mask
from methods.parts.tokens import LAYOUTS, Layout, TokenBlock, resized_table, tokens_of
from usererror import UserError

ScaleHeads = Literal["unified", "decoder"]
Condition = Literal["source", "target"]


class Encoded(NamedTuple):
    """What one modality alone determines.

    `image` (B, c, H, W) within [-1, 1], padded; `maps` five of them, strides 1 to 16; `tokens` (B,
    h*w, D) of the last one, after the modality's transformer, or None without transformers.
    """

    image: Tensor
    maps: list[Tensor]
    tokens: Tensor | None


class GEMMNetwork(AnyModalityNetwork):
    """Generators, discriminators and the trunk behind them; at least two modalities.

    Args:
        hyfex: transformers behind each encoder and at the bottom of each generator (section 3.1).
        hyfma: the transformer over all modalities' tokens (section 3.2).
        coloss: build the heads that the complementary losses need (section 3.3).
        adversarial: build the discriminators.
        norm: `instance` as the paper says, `layer` as the released layers really do.
        layout: how the tokens of all modalities become a map again.
        scale_heads: supervise the `unified` features u_1..u_4 (eq. 6) or, as released, z and the
            `decoder`'s maps.
        condition: what a discriminator sees beside the picture: the `source`, or as released the
            `target`.
        input_range: standard deviations that the network's [-1, 1] stands for; the rest is clamped.
        table_grid: side of the position tables; at best that of the image at stride 16.
    """

    stride = 1

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        hyfex: bool = True,
        hyfma: bool = True,
        coloss: bool = True,
        adversarial: bool = True,
        norm: NormKind = "instance",
        layout: Layout = "modality_major",
        scale_heads: ScaleHeads = "unified",
        condition: Condition = "source",
        input_range: float = 3.0,
        table_grid: int = 32,
        token_width: int = 256,
        heads: int = 8,
        dropout: float = 0.1,
        generator_width: int = 32,
        discriminator_width: int = 64,
    ) -> None:
        super().__init__(modalities)
        if token_width % heads or 8 * generator_width % heads:
            raise UserError(
                f"{heads} heads do not divide token_width {token_width} and 8 x {generator_width}."
            )
        self.channels = dict(modalities)
        self.layout, self.condition, self.input_range = LAYOUTS[layout], condition, input_range
        count, width = len(self.channels), token_width
        # the trunk's transformers have a hidden width of 2D, the generators' have D = 8g
        wide = (heads, 2 * width, dropout)
        # with two modalities a generator has one possible source; nothing needs to say which it got
        self.planes = count - 1 if count > 2 else 0

        self.encoders = nn.ModuleDict(
            {m: PyramidEncoder(c, norm) for m, c in self.channels.items()}
        )
        tokenised = hyfex or hyfma
        names = self.channels if tokenised else ()
        self.tokenisers = nn.ModuleDict({m: nn.Conv2d(WIDTHS[-1], width, 1) for m in names})
        self.tables = nn.ParameterDict(
            {m: nn.Parameter(torch.zeros(1, table_grid**2, width)) for m in names}
        )
        self.blocks = nn.ModuleDict({m: TokenBlock(width, *wide) for m in self.channels if hyfex})
        self.inter = TokenBlock(width, *wide) if hyfma else None
        self.reduction = nn.Conv2d(count * width, count * WIDTHS[-1], 1) if tokenised else None

        self.decoder = FusedDecoder(
            count, num_classes, norm, auxiliary=coloss and scale_heads == "decoder"
        )
        unified = WIDTHS[:-1] if coloss and scale_heads == "unified" else ()
        self.scale_heads = nn.ModuleList(nn.Conv2d(c, num_classes, 1) for c in unified)
        self.unimodal = UnimodalDecoder(num_classes, norm) if coloss else None

        own = (generator_width, hyfex, heads, table_grid, dropout)
        self.generators, self.discriminators = nn.ModuleDict(), nn.ModuleDict()
        for m, c in self.channels.items():
            self.generators[m] = Generator(self.source_channels(m), c, *own)
        # a loop of its own: the order of construction decides the random draws
        for m, c in self.channels.items() if adversarial else ():
            seen = c if condition == "target" else self.source_channels(m)
            self.discriminators[m] = Discriminator(seen + c, discriminator_width)

    def source_channels(self, target: str) -> int:
        """Count a generator's input channels: the other modalities and, for M > 2, M - 1 planes."""
        return sum(c for m, c in self.channels.items() if m != target) + self.planes

    # ---- painting --------------------------------------------------------------------------------

    def scale_images(self, image: Tensor) -> Tensor:
        """Scale z-scores (B, c, H, W) to the generators' [-1, 1], padded to multiples of 16."""
        return (pad_to_multiple(image, STRIDE, LEAST) / self.input_range).clamp(-1.0, 1.0)

    def generator_source(self, target: str, images: Mapping[str, Tensor], seen: Present) -> Tensor:
        """List what `target` is painted from: the others in order, zeros where not seen.

        With more than two, a constant plane for each of them follows, 1 where it is seen.
        `images` (B, c, H, W) lie within [-1, 1], `seen` is bool (B,) for each of them; the result
        is (B, source_channels(target), H, W).
        """
        some = next(iter(images.values()))
        parts, planes = [], []
        for m, channels in self.channels.items():
            if m == target:
                continue
            here = as_mask(seen[m] if m in images else some.new_zeros(len(some), dtype=torch.bool))
            zeros = some.new_zeros(len(some), channels, *some.shape[-2:])
            image = images.get(m, zeros)
            parts.append(torch.where(here, image, 0.0))
            planes.append(here.to(some.dtype).expand(-1, 1, *some.shape[-2:]))
        return torch.cat([*parts, *planes[: self.planes]], 1)

    def synthesise(
        self, encoded: Mapping[str, Encoded], present: Present | None = None
    ) -> dict[str, Tensor]:
        """Paint what is missing, {modality: (B, c, H, W) within (-1, 1), padded}."""
        images = {m: encoded[m].image for m in self.ordered_names(encoded)}
        some = next(iter(images.values()))
        seen = present or {m: some.new_ones(len(some), dtype=torch.bool) for m in images}
        # a modality that only some samples lack is generated for all of them
        painted = {}
        for m in self.channels:
            if m not in images or (present is not None and not present[m].all()):
                painted[m] = self.generators[m](self.generator_source(m, images, seen))
        return painted

    # ---- the trunk -------------------------------------------------------------------------------

    def encode_image(self, modality: str, image: Tensor) -> Encoded:
        """Encode a real or generated image (B, c, H, W) as maps and tokens (HyFEx, eq. 2)."""
        maps = self.encoders[modality](image)
        if not self.tokenisers:
            return Encoded(image, maps, None)
        tokens = tokens_of(self.tokenisers[modality](maps[-1]))
        if self.blocks:
            tokens = self.blocks[modality](tokens, self._positions(modality, maps[-1]))
        return Encoded(image, maps, tokens)

    def _positions(self, modality: str, last: Tensor) -> Tensor:
        return resized_table(self.tables[modality], (last.shape[-2], last.shape[-1]))

    def _joined(self, entries: Mapping[str, Encoded]) -> list[Tensor]:
        """Join the modalities' maps, the last one through HyFMA (eqs. 3 and 4)."""
        levels = zip(*(entry.maps for entry in entries.values()), strict=True)
        maps = [torch.cat(level, 1) for level in levels]
        if self.reduction is None:
            return maps
        last = next(iter(entries.values())).maps[-1]
        own: Any = [entry.tokens for entry in entries.values()]
        tokens = torch.cat(own, 1)
        if self.inter is not None:
            # the modalities' own tables once more, as released
            tokens = self.inter(tokens, torch.cat([self._positions(m, last) for m in entries], 1))
        grid = (last.shape[-2], last.shape[-1])
        return [*maps[:-1], self.reduction(self.layout(tokens, len(entries), grid))]

    def fused_maps(self, entries: Mapping[str, Encoded]) -> list[Tensor]:
        """Fuse an entry of each configured modality at five scales, (B, c_i, H/2^i, W/2^i)."""
        # configured order: the fusion's weights are bound to positions
        joined = self._joined({m: entries[m] for m in self.channels})
        return [block(x) for block, x in zip(self.decoder.fusion, joined, strict=True)]

    def segment_complete(
        self, entries: Mapping[str, Encoded], with_auxiliary: bool = False
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Predict (B, K, H, W) from a complete set of modalities, real and painted.

        `with_auxiliary` adds what only the losses need: logits at four coarser or equal scales, and
        one (B, K, H, W) per modality.
        """
        fused = self.fused_maps(entries)
        logits, coarse = self.decoder.decode(fused, with_auxiliary)
        if not with_auxiliary or self.unimodal is None:
            return logits, [], []
        if self.scale_heads:
            coarse = [head(u) for head, u in zip(self.scale_heads, fused[:-1], strict=True)]
        return logits, coarse, [self.unimodal(entries[m].maps) for m in self.channels]

    # ---- the contract ----------------------------------------------------------------------------

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return list(self.encoders.values())

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Encoded]:
        """Encode the z-scores (B, C, H, W) of any non-empty subset of one size."""
        names = self.ordered_names(images)
        return {m: self.encode_image(m, self.scale_images(images[m])) for m in names}

    def fuse(self, encoded: Mapping[str, Encoded], present: Present | None = None) -> Fused:
        """Predict (B, K, H, W), padded: what is missing is generated, then read like an image."""
        painted, entries = self.synthesise(encoded, present), dict(encoded)
        for m, image in painted.items():
            if m in encoded and present is not None:
                image = torch.where(as_mask(present[m]), encoded[m].image, image)
            entries[m] = self.encode_image(m, image)
        return self.segment_complete(entries)[0], {"synthesised": painted}
