"""The CMNeXt network: a primary encoder and one light branch for all other modalities.

J. Zhang et al., "Delivering Arbitrary-Modal Semantic Segmentation", CVPR 2023, arXiv 2303.01480.
Written from an analysis of the released code (jamycheung/DELIVER, Apache-2.0), of which nothing is
copied. Changed: PVT-v2 and ResNet encoders, a rule for what is missing, per-sample masks.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any, Literal, get_args

import torch
from timm.models._features import FeatureListNet
from torch import Tensor, nn

from methods.cmnext.auxiliary import AuxiliaryStage
from methods.cmnext.exchange import CrossFusion, Rectification
from methods.parts.backbones import STRIDES, pad_to_multiple, to_three_channels
from methods.parts.kernel_folding import FoldCache
from methods.parts.network import Fused, Present, SharedEncoderNetwork, complete_entries
from usererror import UserError

RATIOS = (8, 8, 4, 4)  # hidden widths of the pooling blocks' feed-forward parts
EMBEDDINGS = (4, 2, 2, 2)  # strides of the auxiliaries' embeddings
Absent = Literal["zeros", "drop"]
Restore = Literal["aligned", "released"]


def stage_parts(pyramid: Any) -> list[list[str]]:
    """Name the parts of a timm pyramid stage by stage; run one after another they are its maps."""
    if not isinstance(pyramid, FeatureListNet):
        raise UserError("CMNeXt steps through the stages of an encoder: take PVT-v2 or ResNet.")
    stages: list[list[str]] = [[]]
    for name, _ in pyramid.named_children():
        stages[-1].append(name)
        if name in pyramid.return_layers:
            stages.append([])
    return stages[: len(STRIDES)]


def count_blocks(stage: Any) -> int:
    """Count the blocks of a stage of PVT-v2 or ResNet."""
    return len(stage.blocks if hasattr(stage, "blocks") else stage)


def initialise_weights(module: nn.Module) -> None:
    """Draw as CMNeXt does: N(0, 0.02) truncated, convolutions N(0, 2 / fan-out), biases 0.

    The fan-out of a depth-wise convolution is that of one channel; the release computes it and
    does not store it (dossier C3).
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def scramble_map(features: Tensor) -> Tensor:
    """Read the values of (B, C, h, w) as if channels came last, as released (dossier C1).

    A fixed permutation of a sample's values, another one for every size of the map.
    """
    batch, channels, height, width = features.shape
    return features.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class CMNeXtNetwork(SharedEncoderNetwork):
    """The primary goes through `encoder`, all others through `auxiliary`; they meet per stage.

    Args:
        modalities: name -> channels.
        primary: the modality with the pretrained encoder; null for the first.
        absent: a missing modality is an image of `zeros` (the training mean), or leaves the
            auxiliaries' maximum (`drop`); a missing primary is zeros in any case, and so are the
            auxiliaries of a sample that has none.
        restore: `aligned` adds the rectified map to each auxiliary's map where it is, `released`
            scrambles the auxiliary's map before.
        depths: pooling blocks per stage; null for as many as the encoder has blocks.
        heads: of the fusion, per stage.
        drop_path: stochastic depth of the last pooling block; it grows linearly from 0 in the
            first.
        **options: of encoder and head, see `SharedEncoderNetwork`.
    """

    def __init__(
        self,
        modalities: Mapping[str, int],
        num_classes: int,
        primary: str | None = None,
        absent: Absent = "zeros",
        restore: Restore = "aligned",
        depths: list[int] | None = None,
        heads: Sequence[int] = (1, 2, 5, 8),
        drop_path: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        if absent not in get_args(Absent):
            raise UserError(f"CMNeXt's absent {absent!r} is neither zeros nor drop.")
        if restore not in get_args(Restore):
            raise UserError(f"CMNeXt's restore {restore!r} is neither aligned nor released.")
        self.channels = dict(modalities)
        self.primary = self.modalities[0] if primary is None else primary
        if self.primary not in self.modalities:
            raise UserError(f"CMNeXt's primary {primary!r} is none of {self.modalities}.")
        self.others = tuple(m for m in self.modalities if m != self.primary)
        self.absent, self.restore = absent, restore
        self.encoder = self.make_encoder()
        self.head = self.make_head(num_classes)
        self._parts = stage_parts(self.encoder.pyramid)
        self._blank = FoldCache()
        if not self.others:
            return  # SegFormer
        widths = self.encoder.channels
        depths = depths or [count_blocks(stage) for stage in self.encoding_modules()]
        if not len(depths) == len(heads) == len(widths):
            raise UserError(f"CMNeXt's depths and heads are {len(widths)} numbers each.")
        rates, total = [], max(1, sum(depths) - 1)
        for number in range(sum(depths)):
            rates.append(drop_path * number / total)
        self.auxiliary = nn.ModuleList()
        for scale, (c_in, width) in enumerate(pairwise((3, *widths))):
            start = sum(depths[:scale])
            own = rates[start : start + depths[scale]]
            shape = (c_in, width, EMBEDDINGS[scale], RATIOS[scale])
            self.auxiliary.append(AuxiliaryStage(self.others, *shape, own))
        self.rectification = nn.ModuleList(Rectification(width) for width in widths)
        pairs = zip(widths, heads, strict=True)
        self.fusion = nn.ModuleList(CrossFusion(width, count) for width, count in pairs)
        for part in (self.auxiliary, self.rectification, self.fusion):
            part.apply(initialise_weights)
        self.feedback: nn.ModuleList | None = None
        if self.encoder.reduction is not None:
            # rectified at the reduced widths; the encoder gets the difference back
            self.feedback = nn.ModuleList()
            native = self.encoder.pyramid.feature_info.channels()
            for narrow, wide in zip(widths[:-1], native[:-1], strict=True):
                back = nn.Conv2d(narrow, wide, 1, bias=False)
                nn.init.zeros_(back.weight)
                self.feedback.append(back)

    def encoding_modules(self) -> list[nn.Module]:
        """See the base class."""
        return [self.encoder.pyramid[names[-1]] for names in self._parts]

    def _run_stage(self, scale: int, state: Tensor) -> Tensor:
        """One stage of the primary's encoder, at its native widths."""
        for name in self._parts[scale]:
            state = self.encoder.pyramid[name](state)
        return state

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run what comes before the modalities meet, (B, C, H/4, W/4) each.

        The primary's first stage at its native width; an auxiliary's first embedding with its
        norm, raised by its score.
        """
        encoded = {}
        for m in self.ordered_names(images):
            image = pad_to_multiple(to_three_channels(images[m]))
            if m == self.primary:
                encoded[m] = self._run_stage(0, image)
            else:
                encoded[m] = self.auxiliary[0].embed_maps({m: image})[m]
        return encoded

    def _encode_zeros(self, sides: Sequence[int]) -> dict[str, Tensor]:
        """Encode an image of zeros as every modality, (1, C, *sides); kept between calls."""
        sources: list[Tensor] = []
        for name in self._parts[0]:
            part = self.encoder.pyramid[name]
            sources += [*part.parameters(), *part.buffers()]
        if self.others:
            sources += self.auxiliary[0].parameters()

        def make_entries() -> dict[str, Tensor]:
            height, width = (STRIDES[0] * side for side in sides)
            blank = sources[0].new_zeros(1, 3, height, width)
            return self.encode(dict.fromkeys(self.modalities, blank))

        return self._blank.get(sources, make_entries, tuple(sides))

    def _complete(
        self, encoded: Mapping[str, Tensor], present: Present | None
    ) -> dict[str, Tensor]:
        """Put the entries of zeros where modalities are missing."""
        if present is None and len(encoded) == len(self.modalities):
            return dict(encoded)
        sides = next(iter(encoded.values())).shape[-2:]
        return complete_entries(encoded, self._encode_zeros(sides), present)

    def _counted(self, names: Sequence[str], present: Present | None) -> Tensor | None:
        """Say whose maps enter the auxiliaries' maximum (modalities, B or 1); None: all."""
        if self.absent == "zeros" or not self.others:
            return None
        device = self.head.classifier.weight.device
        flags = []
        for m in self.others:
            if present is not None and m in names:
                flags.append(present[m])
            else:
                flags.append(torch.full((1,), m in names, device=device))
        there = torch.stack(torch.broadcast_tensors(*flags))
        return there | ~there.any(0)

    def _meet(self, entries: Mapping[str, Tensor], counted: Tensor | None) -> Fused:
        """Run the stages on the entries of all modalities."""
        state, maps, features = entries[self.primary], dict(entries), []
        del maps[self.primary]
        reduction = self.encoder.reduction
        for scale in range(len(STRIDES)):
            if scale:
                state = self._run_stage(scale, state)
            own = state if reduction is None else reduction[scale](state)
            if not self.others:
                features.append(own)
                continue
            stage = self.auxiliary[scale]
            if scale:
                maps = stage.embed_maps(maps)
            met, other = self.rectification[scale](own, stage(maps, counted))
            features.append(self.fusion[scale](met, other))
            if self.feedback is None:
                state = met
            elif scale < len(self.feedback):
                state = state + self.feedback[scale](met - own)
            maps = self._restore(maps, other)
        return self.head(features), {"features": features}

    def _restore(self, maps: Mapping[str, Tensor], other: Tensor) -> dict[str, Tensor]:
        """What the next stage embeds: a lone auxiliary goes on as the rectified map itself."""
        if len(maps) == 1:
            return dict.fromkeys(maps, other)
        if self.restore == "released":
            return {m: scramble_map(features) + other for m, features in maps.items()}
        return {m: features + other for m, features in maps.items()}

    def fuse(self, encoded: Mapping[str, Tensor], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4); extras: `features`, the four fused maps."""
        names = self.ordered_names(encoded)
        return self._meet(self._complete(encoded, present), self._counted(names, present))

    def fuse_shown(self, images: Mapping[str, Tensor], present: Present) -> Fused:
        """As `encode` and `fuse`, for training: what is not present is zeros in the images."""
        entries = self.encode_blanked(images, present, self.channels)
        return self._meet(entries, self._counted(self.ordered_names(images), present))
