"""The M3L networks: a stream per modality, linear fusion, learned tokens for absent ones.

M3L: "Missing Modality Robustness in Semi-Supervised Multi-Modal Semantic Segmentation", WACV 2024,
arXiv 2304.10756. Written from an analysis of the released code (harshm121/M3L, without a licence),
of which nothing is copied. Changed: any number of modalities, PVT-v2 and ResNet encoders, fusion
once per scale (`StageM3L`) or in every block (`BlockM3L`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.m3l.streams import (
    StreamFusion,
    first_embedding,
    interleave_streams,
    run_stages,
    stages_of,
    token_width,
)
from methods.parts.backbones import pad_to_multiple, to_three_channels
from methods.parts.heads import ChannelNorm
from methods.parts.network import Fused, Present, SharedEncoderNetwork, as_mask
from usererror import UserError

Share = float | Tensor

# stochastic depth of the encoder's last block, as released (dossier 2.1)
DROP_PATH = 0.1


class M3LNetwork(SharedEncoderNetwork):
    """Predict the mean of the configured modalities' streams; the base of both variants.

    An absent or masked modality's stream stays alive: learned tokens stand for its image.

    Args:
        ratio: r, the share of its own that a stream keeps in a fusion.
        ensemble: the prediction averages `all` streams as the released code does, or those of
            `available` modalities.
        **options: of encoder and head, see `SharedEncoderNetwork`; the streams share the head.
    """

    def __init__(
        self,
        modalities: Iterable[str],
        num_classes: int,
        ratio: float = 0.8,
        ensemble: Literal["all", "available"] = "all",
        **options: Any,
    ) -> None:
        super().__init__(modalities, **options)
        if ensemble not in ("all", "available"):
            raise UserError(f"ensemble {ensemble!r} is neither all nor available.")
        self.ensemble = ensemble
        self.encoder = self.make_encoder(DROP_PATH)
        self.fusion = StreamFusion(len(self.modalities), ratio)
        self.head = self.make_head(num_classes)

    def project_packed(
        self, names: Sequence[str], packed: Tensor, counts: Sequence[int]
    ) -> Sequence[Tensor]:
        """The part of the network in which the modalities do not touch each other.

        `packed` (N, 3, H, W) holds one modality after another, `counts` how many each; per name the
        result is one tensor (counts[i], ...).
        """
        raise NotImplementedError

    def fused_streams(
        self, encoded: Mapping[str, Tensor], present: Present | None
    ) -> Iterator[tuple[Tensor, list[int]]]:
        """Fuse the streams before the head's ReLU, (B, E, H/4, W/4).

        The streams are indices of configured modalities; together they cover each index once.
        """
        raise NotImplementedError

    def encode(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encode each modality by itself, {name: (B, ...)}."""
        names = self.ordered_names(images)
        rows = [to_three_channels(images[m]) for m in names]
        counts = [len(image) for image in rows]
        parts = self.project_packed(names, pad_to_multiple(torch.cat(rows)), counts)
        return dict(zip(names, parts, strict=True))

    def _shares(self, encoded: Mapping[str, Tensor], present: Present | None) -> list[Share]:
        """Weigh each stream in the prediction, a number or (B, 1, 1, 1); the sum is one."""
        if self.ensemble == "all":
            return [1 / len(self.modalities)] * len(self.modalities)
        if present is None:
            return [(m in encoded) / len(encoded) for m in self.modalities]
        count = torch.stack([present[m] for m in encoded]).sum(0)
        return [as_mask(present[m] / count) if m in encoded else 0.0 for m in self.modalities]

    def stream_logits(
        self, encoded: Mapping[str, Tensor], present: Present | None = None
    ) -> Tensor:
        """The prediction P_m of every configured modality's stream: logits (M, B, K, H/4, W/4).

        One call of the head for all: with batch statistics they are joint.
        """
        batch = len(next(iter(encoded.values())))
        mixed = {}
        for feature, members in self.fused_streams(encoded, present):
            for i in members:
                mixed[i] = feature.expand(batch, -1, -1, -1)
        packed = torch.cat([mixed[i] for i in range(len(self.modalities))])
        logits = self.head.classify_mixed(self.head.activate_mixed(packed))
        return logits.unflatten(0, (len(self.modalities), batch))

    def fuse(self, encoded: Mapping[str, Tensor], present: Present | None = None) -> Fused:
        """Predict padded logits (B, K, H/4, W/4), the streams' mean; in training also `streams`."""
        encoded = {m: encoded[m] for m in self.ordered_names(encoded)}
        shares = self._shares(encoded, present)
        if self.training:
            streams = self.stream_logits(encoded, present)
            parts = [share * stream for share, stream in zip(shares, streams, strict=True)]
            return sum(parts), {"streams": streams}
        # the classifier is affine: in eval it is applied once, to the mean of activated streams
        features: Any = None
        for mixed, members in self.fused_streams(encoded, present):
            # all absent modalities are one stream of tokens, counted once for each
            share = sum(shares[i] for i in members)
            if isinstance(share, Tensor) or share:
                part = self.head.activate_mixed(mixed) * share
                features = part if features is None else features + part
        return self.head.classify_mixed(features), {}


class StageM3L(M3LNetwork):
    """Fusion once per scale, behind the encoder: dossier 5.2.

    An entry of `encode` is the modality's normed maps Z_m sent through the affine part of the head,
    (B, E, H/4, W/4); the head of a fused stream is the fusion of these entries (dossier 5.6).
    """

    def __init__(self, modalities: Iterable[str], num_classes: int, **options: Any) -> None:
        super().__init__(modalities, num_classes, **options)
        widths = self.encoder.channels
        self.norms: Any = nn.ModuleDict()
        for m in self.modalities:
            self.norms[m] = nn.ModuleList(ChannelNorm(width) for width in widths)
        self.tokens = nn.ParameterList(nn.Parameter(torch.randn(width)) for width in widths)

    def project_packed(
        self, names: Sequence[str], packed: Tensor, counts: Sequence[int]
    ) -> Sequence[Tensor]:
        """Encoder, the modality's own norms, and the affine part of the head."""
        maps = self.encoder({"packed": packed})["packed"]
        for i, feature in enumerate(maps):
            parts = zip(names, feature.split(list(counts)), strict=True)
            maps[i] = torch.cat([self.norms[m][i](part) for m, part in parts])
        return self.head.mix_scales(maps).split(list(counts))

    def fused_streams(
        self, encoded: Mapping[str, Tensor], present: Present | None
    ) -> Iterator[tuple[Tensor, list[int]]]:
        """Fusion of the entries; all absent modalities are one and the same stream of tokens."""
        token = self.head.mix_scales([value[None, :, None, None] for value in self.tokens])
        entries = dict(encoded)
        if present is not None:
            for m, entry in encoded.items():
                entries[m] = torch.where(as_mask(present[m]), entry, token)
        absent = [i for i, m in enumerate(self.modalities) if m not in entries]
        # weights of a stream sum to one, so fusion commutes with the affine part of the head: exact
        # in training too, where the batch statistics follow the fusion
        own, other = self.fusion.weights
        common = other * (sum(entries.values()) + len(absent) * token)
        for i, m in enumerate(self.modalities):
            if m in entries:
                yield torch.add(common, entries[m], alpha=own), [i]
        if absent:
            yield torch.add(common, token, alpha=own), absent


class BlockM3L(M3LNetwork):
    """Fusion in every block of the encoder, as in the released code: dossier 5.3.

    An entry of `encode` is the modality's first patch embedding (PVT) or stem (ResNet); everything
    behind it depends on the whole set, so each subset costs a pass of all M streams.
    """

    def __init__(self, modalities: Iterable[str], num_classes: int, **options: Any) -> None:
        super().__init__(modalities, num_classes, **options)
        interleave_streams(self.encoder.pyramid, self.fusion)
        self.token = nn.Parameter(torch.randn(token_width(self.encoder.pyramid)))

    def encoding_modules(self) -> list[nn.Module]:
        """The stages, which are called one by one."""
        return stages_of(self.encoder.pyramid)

    def project_packed(
        self, names: Sequence[str], packed: Tensor, counts: Sequence[int]
    ) -> Sequence[Tensor]:
        """The first embedding: (counts[i], C, H/4, W/4) per modality."""
        indices = [self.modalities.index(m) for m in names]
        return first_embedding(self.encoder.pyramid, packed, indices, list(counts))

    def fused_streams(
        self, encoded: Mapping[str, Tensor], present: Present | None
    ) -> Iterator[tuple[Tensor, list[int]]]:
        """Run the stages with fusion on packed streams, and the head's affine part."""
        first = next(iter(encoded.values()))
        token = self.token[:, None, None].to(first.dtype)
        tokens = []
        for m in self.modalities:
            if m not in encoded:
                tokens.append(token.expand_as(first))
            elif present is None:
                tokens.append(encoded[m])
            else:
                tokens.append(torch.where(as_mask(present[m]), encoded[m], token))
        maps = run_stages(self.encoder.pyramid, torch.cat(tokens))
        if self.encoder.reduction is not None:
            pairs = zip(self.encoder.reduction, maps, strict=True)
            maps = [layer(feature) for layer, feature in pairs]
        for i, mixed in enumerate(self.head.mix_scales(maps).chunk(len(self.modalities))):
            yield mixed, [i]
