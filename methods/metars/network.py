"""The MetaRS network: specific and content encoders, a prediction per sensor, and one of contents.

Y. Zhou et al., Remote Sensing of Environment 2025 (EarthMiss); released for SAR and RGB. Rules for
more sensors and for other encoders than ResNet-50 are ours, see the ledger.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from segmentation_models_pytorch.base.modules import SCSEModule
from torch import Tensor, nn
from torch.nn import functional as F

from methods.metars.content import ContentEncoder, split_sensors
from methods.metars.decoder import PyramidDecoder
from methods.parts.heads import AllMLPHead
from methods.parts.network import Fused, Present, SharedEncoderNetwork, as_mask


class GatedFusion(nn.Module):
    """scSE per slot, 1x1 convolution of all slots to C, BN, ReLU, scSE.

    The convolution acts on a concatenation, hence is a sum with a product per slot: a slot that is
    absent adds nothing.
    """

    def __init__(self, channels: int, slots: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(SCSEModule(channels) for _ in range(slots))
        self.mix = nn.Conv2d(slots * channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.gate = SCSEModule(channels)

    def product(self, slot: int, features: Tensor) -> Tensor:
        """Gate and mix one slot's map (B, C, h, w): its part of the sum."""
        weight = self.mix.weight.chunk(len(self.gates), dim=1)[slot]
        return F.conv2d(self.gates[slot](features), weight)

    def finish(self, total: Tensor) -> Tensor:
        """Apply what follows the sum."""
        return self.gate(F.relu(self.norm(total)))


class Entry(NamedTuple):
    """What one sensor determines, each map (B, ., h, w)."""

    logits: Tensor  # of the sensor alone, at stride 4
    products: list[Tensor]  # its parts of the fusion, four scales
    content: list[Tensor]  # four scales
    whitened: list[Tensor]  # the instance-normed maps; in training only


class MetaRSNetwork(SharedEncoderNetwork):
    """One sensor is predicted from both its encoders, several from their contents.

    Args:
        predict: of several sensors, from the fused contents, or as the mean of their own logits.
        decoder: the all-MLP head of other methods, or the released one, which `head_*` leave alone.
    """

    def __init__(
        self,
        modalities: Iterable[str],
        num_classes: int,
        predict: Literal["fused", "own_mean"] = "fused",
        decoder: Literal["mlp", "fpn"] = "mlp",
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        self.predict = predict
        encoder = self.make_encoder()
        widths = encoder.channels
        self.content = ContentEncoder(self.modalities, encoder)
        self.specific = nn.ModuleDict({m: self.make_encoder() for m in self.modalities})
        self.project = nn.ModuleList(GatedFusion(width, 2) for width in widths)
        self.fusion = nn.ModuleList(GatedFusion(width, len(self.modalities)) for width in widths)

        def make_decoder(factor: int) -> nn.Module:
            channels = [factor * width for width in widths]
            if decoder == "fpn":
                return PyramidDecoder(channels, num_classes)
            return AllMLPHead(channels, num_classes, *self._head_options)

        self.own_heads = nn.ModuleDict({m: make_decoder(2) for m in self.modalities})
        self.fused_head = make_decoder(1)

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        specific: Any = self.specific
        return [self.content, *(specific[m].pyramid for m in self.modalities)]

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Entry]:
        """Encode each modality as an `Entry`."""
        names = self.ordered_names(images)
        content, whitened = self.content({m: images[m] for m in names})
        specific = {}
        for m in names:
            # PVT-v2 does not take a batch of no images
            empty = not len(images[m])
            specific[m] = content[m] if empty else self.specific[m]({m: images[m]})[m]
        joined = []
        for scale, project in enumerate(self.project):
            own = torch.cat([specific[m][scale] for m in names])
            common = torch.cat([content[m][scale] for m in names])
            unified = project.finish(project.product(0, own) + project.product(1, common)) + own
            joined.append(torch.cat([unified, common], 1))
        counts = [len(images[m]) for m in names]
        entries = {}
        for m, maps in split_sensors(joined, names, counts).items():
            slot = self.modalities.index(m)
            pairs = zip(self.fusion, content[m], strict=True)
            products = [fusion.product(slot, features) for fusion, features in pairs]
            kept = whitened[m] if self.training else []
            entries[m] = Entry(self.own_heads[m](maps), products, content[m], kept)
        return entries

    def fuse_contents(self, encoded: Mapping[str, Entry], *views: Present | None) -> list[Tensor]:
        """Fuse what each of V views shows of the contents: four maps (V * B, C, h, w).

        They follow one another. In training the norms see all of them in one batch: two calls would
        normalise each by itself, and leave statistics that belong to neither.
        """
        names, fused = self.ordered_names(encoded), []
        for scale, fusion in enumerate(self.fusion):
            totals = []
            for present in views:
                total: Any = 0
                for m in names:
                    total = total + shown_rows(encoded[m].products[scale], present, m)
                totals.append(total)
            fused.append(fusion.finish(torch.cat(totals)))
        return fused

    def fuse(self, encoded: Mapping[str, Entry], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4); the extras are empty."""
        names = self.ordered_names(encoded)
        own: Any = 0
        for m in names:
            own = own + shown_rows(encoded[m].logits, present, m)
        masks = self.stack_present(names, present)
        count: Any = len(names) if masks is None else as_mask(masks.sum(0))
        if self.predict == "own_mean" or len(names) == 1:
            return own / count, {}
        fused = self.fused_head(self.fuse_contents(encoded, present))
        return fused if masks is None else torch.where(count == 1, own, fused), {}


def shown_rows(maps: Tensor, present: Present | None, modality: str) -> Tensor:
    """Set the rows (B, ...) of samples that lack the modality to 0."""
    return maps if present is None else torch.where(as_mask(present[modality]), maps, 0.0)
