"""MuSS by concatenation: shared encoder, linear fusion of concatenated features, all-MLP head.

The reading of MultiSenseSeg (IEEE TGRS 62, 2024, art. 4703724) in SGMA's tables; dossier section
4.1. The first 1x1 convolution acts on a concatenation, hence is a sum with one product per
modality: encoding ends with the products.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.muss.experts import FeatureExpert, phase_offsets
from methods.parts.backbones import STRIDES
from methods.parts.heads import to_image_size
from methods.parts.kernel_folding import FoldCache
from methods.parts.network import Fused, Present, SharedEncoderNetwork, as_mask
from methods.parts.precision import at_least_float32

Missing = Literal["zero_feature", "zero_image", "mean_feature"]
AUX_WIDTH, AUX_SCALE = 256, 2
MEAN_MOMENTUM = 0.1


class AuxHead(nn.Sequential):
    """3x3 to 256, BN, ReLU, 1x1 to K on the map at stride 16; training only (dossier 2.4)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        smooth = nn.Conv2d(channels, AUX_WIDTH, 3, padding=1, bias=False)
        super().__init__(
            smooth, nn.BatchNorm2d(AUX_WIDTH), nn.ReLU(), nn.Conv2d(AUX_WIDTH, num_classes, 1)
        )


class ConcatFusion(nn.Module):
    """G = 1x1(ReLU(BN(1x1(concat F_m)))) at one scale; the order of the modalities is fixed."""

    def __init__(
        self,
        modalities: Sequence[str],
        channels: int,
        experts: bool = False,
        trained_phases: bool = False,
    ) -> None:
        super().__init__()
        self.place = {m: index for index, m in enumerate(modalities)}
        self.first = nn.Conv2d(channels * len(self.place), channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 1)
        phases = phase_offsets(len(self.place)) if experts else []
        pairs = zip(self.place, phases, strict=False)
        self.experts = nn.ModuleDict(
            {m: FeatureExpert(channels, phase, trained_phases) for m, phase in pairs}
        )

    def expert_features(self, modality: str, features: Tensor) -> Tensor:
        """What enters the concatenation, (B, C, h, w)."""
        return self.experts[modality](features) if self.experts else features

    def partial_product(self, modality: str, features: Tensor) -> Tensor:
        """The modality's part of the first convolution, (B, C, h, w)."""
        channels = self.first.out_channels
        # a 1x1 convolution of a concatenation is a sum of products, one per modality
        start = self.place[modality] * channels
        return F.conv2d(features, self.first.weight[:, start : start + channels])

    def forward(self, products: Sequence[Tensor]) -> Tensor:
        """Sum of the parts -> G."""
        return self.second(F.relu(self.norm(sum(products))))


class MuSSNetwork(SharedEncoderNetwork):
    """MuSS by concatenation.

    A missing modality is presented as `missing` says, since the fusion's weights are bound to
    positions: `zero_feature`: its features are 0 (nothing is added); `zero_image`: the features of
    an image of zeros, kept between calls in eval; `mean_feature`: each channel's running mean in
    training.

    Args:
        trained_phases: constants of the experts as parameters.
    """

    seen: Tensor

    def __init__(
        self,
        modalities: Iterable[str],
        num_classes: int,
        missing: Missing = "zero_feature",
        experts: bool = False,
        trained_phases: bool = False,
        aux: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        self.missing = missing
        self.encoder = self.make_encoder()
        widths = self.encoder.channels
        self.fusion = nn.ModuleList(
            ConcatFusion(self.modalities, width, experts, trained_phases) for width in widths
        )
        self.head = self.make_head(num_classes)
        self.aux = AuxHead(widths[AUX_SCALE], num_classes) if aux else None
        self._zeros = FoldCache()
        if missing == "mean_feature":
            for scale, width in enumerate(widths):
                self.register_buffer(f"mean_{scale}", torch.zeros(len(self.modalities), width))
            self.register_buffer("seen", torch.zeros(len(self.modalities), dtype=torch.bool))

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """Encode each modality as its four parts of the first convolutions, (B, C_i, H_i, W_i)."""
        pyramids = self.encoder({m: images[m] for m in self.ordered_names(images)})
        encoded = {}
        for m, maps in pyramids.items():
            pairs = zip(self.fusion, maps, strict=True)
            features = [fusion.expert_features(m, feature) for fusion, feature in pairs]
            if self.training and self.missing == "mean_feature":
                self._follow(m, features)
            encoded[m] = self._products(m, features)
        return encoded

    def _products(self, modality: str, features: Sequence[Tensor]) -> list[Tensor]:
        pairs = zip(self.fusion, features, strict=True)
        return [fusion.partial_product(modality, feature) for fusion, feature in pairs]

    @torch.no_grad()
    def _follow(self, modality: str, features: Sequence[Tensor]) -> None:
        """Move the running means of a modality; its first batch sets them."""
        if not len(features[0]):
            return
        place = self.modalities.index(modality)
        # the first batch sets the mean, later ones move it
        share = torch.where(self.seen[place], MEAN_MOMENTUM, 1.0)
        for scale, feature in enumerate(features):
            mean = getattr(self, f"mean_{scale}")[place]
            mean += share * (at_least_float32(feature).mean((0, 2, 3)) - mean)
        self.seen[place] = True

    @torch.no_grad()
    def _features_of_zeros(self, height: int, width: int) -> dict[str, list[Tensor]]:
        """Compute each modality's features of an image of zeros, (1, C_i, H_i, W_i)."""
        parts = [self.encoder, *(fusion.experts for fusion in self.fusion)]
        sources = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]

        def make_features() -> dict[str, list[Tensor]]:
            # in eval mode in training too: a new encoder sends zeros through norm after norm, whose
            # gradients there grow beyond all bounds
            training = self.training
            for part in parts:
                part.eval()
            maps = self.encoder.pyramid_of(sources[0].new_zeros(1, 3, height, width))
            pairs = list(zip(self.fusion, maps, strict=True))
            features = {
                m: [fusion.expert_features(m, x) for fusion, x in pairs] for m in self.modalities
            }
            for part in parts:
                part.train(training)
            return features

        return self._zeros.get(sources, make_features, (height, width))

    def _stand_ins(self, modality: str, like: Sequence[Tensor]) -> list[Tensor] | None:
        """Compute what a missing modality adds at four scales; None for nothing."""
        if self.missing == "zero_feature":
            return None
        if self.missing == "zero_image":
            height, width = (side * STRIDES[0] for side in like[0].shape[-2:])
            features = self._features_of_zeros(height, width)[modality]
        else:
            place = self.modalities.index(modality)
            features = []
            for scale in range(len(self.fusion)):
                # cloned: the buffer moves in place while the graph still holds it
                mean = getattr(self, f"mean_{scale}")[place].clone()
                features.append(mean[None, :, None, None])
        parts = zip(self._products(modality, features), like, strict=True)
        return [part.to(other.dtype) for part, other in parts]

    def fuse(self, encoded: Mapping[str, list[Tensor]], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4); extras: fused `features`, in training `aux`."""
        like = encoded[self.ordered_names(encoded)[0]]
        per_modality = []
        for m in self.modalities:
            whole = m in encoded and present is None
            stand_ins = None if whole else self._stand_ins(m, like)
            products: Sequence[Tensor] | None
            if m not in encoded:
                products = stand_ins
            elif present is None:
                products = encoded[m]
            else:
                mask = as_mask(present[m])
                others = stand_ins or [feature.new_zeros(()) for feature in encoded[m]]
                pairs = zip(encoded[m], others, strict=True)
                products = [torch.where(mask, own, other) for own, other in pairs]
            if products is not None:
                per_modality.append(products)
        per_scale = zip(*per_modality, strict=True)
        maps = [fusion(products) for fusion, products in zip(self.fusion, per_scale, strict=True)]
        extras: dict[str, Any] = {"features": maps}
        if self.training and self.aux is not None:
            extras["aux"] = self.aux(maps[AUX_SCALE])
        return self.head(maps), extras

    def forward_train(
        self, images: Mapping[str, Tensor], present: Present, available: Present | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Predict logits and auxiliary logits (or None), (B, K, H, W); `present` as for `fuse`.

        `available` says which images are real (None = all); those not present are hidden only.
        """
        encoded = self.encode_present(images, available)
        return at_image_size(self.fuse(encoded, present), images)


def at_image_size(
    fused: tuple[Tensor, Mapping[str, Any]], images: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Logits and auxiliary logits of `fuse`, both brought to the size of the images."""
    size = next(iter(images.values())).shape[-2:]
    aux = fused[1].get("aux")
    if aux is not None:
        aux = to_image_size(aux, size, STRIDES[AUX_SCALE])
    return to_image_size(fused[0], size), aux
