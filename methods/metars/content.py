"""The content encoder: one for all sensors but for its stem, instance-normed where it starts."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Permute

from methods.parts.backbones import SharedEncoder, pad_to_multiple, to_three_channels
from usererror import UserError

WHITENED = 2  # stages whose outputs are instance-normed, beside the stem


class ContentEncoder(nn.Module):
    """A timm encoder with a stem per sensor and instance norms, without parameters, on three maps.

    PVT-v2: in place of the patch embedding's LayerNorm, and on the outputs of the first two stages.
    ResNet: in place of the stem's batch norm, and before the last ReLU of the first two stages, as
    published. All stems start with the weights of the encoder's own.

    Args:
        encoder: taken apart.
    """

    def __init__(self, modalities: Sequence[str], encoder: SharedEncoder) -> None:
        super().__init__()
        parts: dict[str, Any] = dict(encoder.pyramid.named_children())
        self.activation: nn.Module = nn.Identity()
        if "patch_embed" in parts:
            stem, width = parts["patch_embed"].proj, parts["patch_embed"].proj.out_channels
            self.after_stem: nn.Module = Permute([0, 2, 3, 1])  # the first stage takes these
            stages = [parts[f"stages_{number}"] for number in range(4)]
        elif {"conv1", "layer1"} <= parts.keys():
            stem, width = parts["conv1"], parts["bn1"].num_features
            self.after_stem = nn.Sequential(nn.ReLU(), parts["maxpool"])
            stages = [parts[f"layer{number}"] for number in range(1, 5)]
            for stage in stages[:WHITENED]:
                last = "act3" if hasattr(stage[-1], "act3") else "act2"
                setattr(stage[-1], last, nn.Identity())
            # timm's work in place, where the maps before them are kept
            self.activation = nn.ReLU()
        else:
            raise UserError(
                "MetaRS knows where to whiten pvt_v2_* and ResNets: choose one of them."
            )
        self.kept_widths = [width, *encoder.pyramid.feature_info.channels()[:WHITENED]]
        self.stems = nn.ModuleDict({m: deepcopy(stem) for m in modalities})
        self.stages = nn.ModuleList(stages)
        self.reduction = encoder.reduction

    def forward(
        self, images: Mapping[str, Tensor]
    ) -> tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]]:
        """{modality: (B, C, H, W)} -> {modality: four maps}, {modality: three instance-normed}.

        The sensors go through in one call: batch norms see all of them.
        """
        packed = []
        for m, image in images.items():
            packed.append(self.stems[m](pad_to_multiple(to_three_channels(image))))
        features = F.instance_norm(torch.cat(packed))
        maps, kept = [], [features]
        features = self.after_stem(features)
        for number, stage in enumerate(self.stages):
            features = stage(features)
            if number < WHITENED:
                kept.append(F.instance_norm(features))
                features = self.activation(kept[-1])
            maps.append(features)
        if self.reduction is not None:
            maps = [layer(one) for layer, one in zip(self.reduction, maps, strict=True)]
        counts = [len(image) for image in images.values()]
        return split_sensors(maps, images, counts), split_sensors(kept, images, counts)


def split_sensors(
    packed: Sequence[Tensor], names: Iterable[str], counts: Sequence[int]
) -> dict[str, list[Tensor]]:
    """Unpack maps (sum of counts, C, h, w): {modality: its rows of each}."""
    parts = [maps.split(list(counts)) for maps in packed]
    return {m: [part[place] for part in parts] for place, m in enumerate(names)}
