"""Semantic-guided fusion (SGF) at one scale (paper section III-C, eqs. 3-10).

Maps stay channel-first throughout: a projection is a 1x1 convolution and a head is a slice of
channels. What depends on one modality alone is computed in `SGFScale.project`, what depends on the
set of modalities in `SGFScale.fuse`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from methods.parts.kernel_folding import FoldingModule
from methods.parts.precision import at_least_float32, no_autocast
from usererror import UserError

ProtoNorm = Literal["mean", "none", "softmax"]
MPMode = Literal["parallel", "sequential"]

# elements of the slot logits held at once, beyond which the pixels are taken in turns: with
# gradients (recomputed in the backward pass) to bound memory, without to stay in the cache
TRAINING_BUDGET = 1 << 26
INFERENCE_BUDGET = 1 << 21


class Tokens(NamedTuple):
    """All of one modality that SGF needs at one scale.

    Attributes:
        features: f_m, (B, C, H, W), output of MP.
        part: this modality's share of the prototypes, float32 (B, K, C).
        mass: log-sum-exp of c_m over the pixels, float32 (B, K), weighs the parts of softmax
            prototypes.
        sp_key, sp_value, rp_key, rp_value: keys and values of SP and RP, (B, C, H, W).
    """

    features: Tensor
    part: Tensor
    mass: Tensor
    sp_key: Tensor
    sp_value: Tensor
    rp_key: Tensor
    rp_value: Tensor


class ModalityProjector(FoldingModule):
    """MP (section III-C): depthwise convolutions of several sizes, then a pointwise one.

    In parallel the depthwise convolutions are summed; being linear they are merged into one kernel
    in eval mode.
    """

    def __init__(
        self,
        channels: int,
        kernels: Sequence[int] = (3, 7, 11),
        mode: MPMode = "parallel",
        depthwise_bias: bool = False,
        pointwise_bias: bool = True,
    ) -> None:
        super().__init__()
        if mode not in ("parallel", "sequential"):
            raise UserError(f"mp_mode {mode!r} is neither parallel nor sequential.")
        if not kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise UserError(f"The kernels of MP must be odd and positive; got {list(kernels)}.")
        self.mode = mode
        self.depthwise = nn.ModuleList()
        options: dict[str, Any] = {"groups": channels, "bias": depthwise_bias}
        for side in kernels:
            layer = nn.Conv2d(channels, channels, side, padding=side // 2, **options)
            self.depthwise.append(layer)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=pointwise_bias)

    def _merged(self) -> tuple[Tensor, Tensor | None]:
        layers: list[Any] = list(self.depthwise)
        largest = max(layer.kernel_size[0] for layer in layers)
        kernel: Any = 0
        bias: Any = None
        for layer in layers:
            margin = (largest - layer.kernel_size[0]) // 2
            kernel = kernel + F.pad(layer.weight, (margin,) * 4)
            if layer.bias is not None:
                bias = layer.bias if bias is None else bias + layer.bias
        return kernel, bias

    def forward(self, features: Tensor) -> Tensor:
        """F_m -> f_m, both (B, C, H, W)."""
        if self.mode == "sequential":
            for layer in self.depthwise:
                features = layer(features)
        elif self.training:
            features = sum(layer(features) for layer in self.depthwise)
        else:
            kernel, bias = self._fold.get(list(self.depthwise.parameters()), self._merged)
            margin, channels = kernel.shape[-1] // 2, features.shape[1]
            features = F.conv2d(features, kernel, bias, padding=margin, groups=channels)
        return self.pointwise(features)


class TokenAttention(nn.Module):
    """Multi-head attention to the M modality vectors of one pixel; the pixel is a batch index.

    The four projections are C x C, without biases by default (the paper's parameter count),
    Xavier-uniform.
    """

    def __init__(self, channels: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        if channels % heads:
            raise UserError(
                f"{heads} heads do not divide {channels} channels: choose other sp_heads, rp_heads."
            )
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.query, self.key, self.value, self.out = (
            nn.Conv2d(channels, channels, 1, bias=bias) for _ in range(4)
        )
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def project_queries(self, vectors: Tensor) -> Tensor:
        """Project (B, C, H, W) by W_q / sqrt(d) to (B, heads, d, N), in at least float32."""
        bias = None if self.query.bias is None else at_least_float32(self.query.bias)
        projected = F.conv2d(at_least_float32(vectors), at_least_float32(self.query.weight), bias)
        return self.split_heads(projected * self.scale)

    def split_heads(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, heads, d, N)."""
        return maps.flatten(2).unflatten(1, (self.heads, -1))

    def mix_values(self, weights: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Sum M value maps (B, C, H, W) by weights (M, B, heads, N), and project: (B, C, H, W)."""
        mixed = sum(
            w.unsqueeze(2).to(v.dtype) * self.split_heads(v)
            for w, v in zip(weights, values, strict=True)
        )
        return self.out(mixed.flatten(1, 2).unflatten(2, values[0].shape[-2:]))


def modality_softmax(logits: Tensor, present: Tensor | None) -> Tensor:
    """Softmax over the first axis, the modalities; those a sample lacks, bool (M, B), get 0."""
    if present is not None:
        absent = ~present.reshape(present.shape + (1,) * (logits.ndim - 2))
        logits = logits.masked_fill(absent, float("-inf"))
    return at_least_float32(logits).softmax(0)


def mean_slot_weights(queries: Tensor, keys: Sequence[Tensor], present: Tensor | None) -> Tensor:
    """Average attention weights over slots: (B, h, K, d), M times (B, h, d, N) -> (M, B, h, N)."""
    logits = torch.stack([queries @ key for key in keys])
    return modality_softmax(logits, present).mean(3)


class SpatialPerceptron(TokenAttention):
    """SP (eqs. 4-7): K prototypes query every pixel's modality vectors; results are averaged."""

    def mean_weights(
        self, prototypes: Tensor, keys: Sequence[Tensor], present: Tensor | None
    ) -> Tensor:
        """Average over slots the weights (M, B, heads, N) of prototypes (B, K, C) on M key maps."""
        grad = torch.is_grad_enabled()
        # only the weights' mean over slots matters, values and output projection being linear: the
        # K queries are projected once a sample and never repeated over pixels (dossier section 4)
        with no_autocast(prototypes.device):
            # unnormalised prototypes come close to float16's limit
            queries = self.project_queries(prototypes.transpose(1, 2).unsqueeze(3)).transpose(2, 3)
            split = [self.split_heads(at_least_float32(key)) for key in keys]
            # slot logits of all pixels at once would need gigabytes at stride 4
            per_pixel = len(split) * queries.shape[0] * self.heads * queries.shape[2]
            pixels = max(1, (TRAINING_BUDGET if grad else INFERENCE_BUDGET) // per_pixel)
            turns = zip(*(key.split(pixels, dim=3) for key in split), strict=True)
            if split[0].shape[3] <= pixels or not grad:
                parts = [mean_slot_weights(queries, turn, present) for turn in turns]
            else:
                again: Any = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
                parts = [again(mean_slot_weights, queries, turn, present) for turn in turns]
            return torch.cat(parts, 3)

    def forward(
        self,
        prototypes: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        present: Tensor | None = None,
    ) -> Tensor:
        """The semantic-guided feature g, (B, C, H, W)."""
        return self.mix_values(self.mean_weights(prototypes, keys, present), values)


class RobustnessPerceptron(TokenAttention):
    """RP (eqs. 8-10): the semantic-guided feature queries; its weights are the robustness."""

    def forward(
        self,
        guide: Tensor,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        present: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Fuse by g (B, C, H, W): the fused feature, and robustness maps (M, B, H, W)."""
        with no_autocast(guide.device):
            queries = self.project_queries(guide)
            split = [self.split_heads(at_least_float32(key)) for key in keys]
            logits = torch.stack([(queries * key).sum(2) for key in split])
            weights = modality_softmax(logits, present)
        return self.mix_values(weights, values), weights.mean(2).unflatten(2, guide.shape[-2:])


class SGFScale(nn.Module):
    """SGF of one scale; each modality has its own MP, everything else is shared.

    Args:
        slots: number K of prototypes, that of the classes.
        proto_norm: `none` = eq. 3 as written; `mean` = divided by the number of vectors; `softmax`
            = weighted mean.
        mp_mode: depthwise convolutions in parallel (summed) or one after the other.
    """

    def __init__(
        self,
        channels: int,
        slots: int,
        modalities: Sequence[str],
        sp_heads: int = 8,
        rp_heads: int = 4,
        kernels: Sequence[int] = (3, 7, 11),
        proto_norm: ProtoNorm = "mean",
        mp_mode: MPMode = "parallel",
        attn_bias: bool = False,
        depthwise_bias: bool = False,
        pointwise_bias: bool = True,
    ) -> None:
        super().__init__()
        if proto_norm not in ("mean", "none", "softmax"):
            raise UserError(f"proto_norm {proto_norm!r} is none of mean, none, softmax.")
        self.proto_norm = proto_norm
        own: Any = (channels, kernels, mp_mode, depthwise_bias, pointwise_bias)
        self.projectors = nn.ModuleDict({m: ModalityProjector(*own) for m in modalities})
        self.semantic_filter = nn.Conv2d(channels, slots, 1)
        self.sp = SpatialPerceptron(channels, sp_heads, attn_bias)
        self.rp = RobustnessPerceptron(channels, rp_heads, attn_bias)

    def project_modality(self, modality: str, features: Tensor) -> Tokens:
        """Compute all that F_m (B, C, H, W) alone determines."""
        f = self.projectors[modality](features)
        scores = self.semantic_filter(f).flatten(2)
        with no_autocast(f.device):
            scores, vectors = at_least_float32(scores), at_least_float32(f).flatten(2)
            # weighs the modalities' parts against each other where the prototypes are a softmax
            # (eq. 3)
            mass = scores.logsumexp(2)
            if self.proto_norm == "softmax":
                scores = scores.softmax(2)
            part = scores @ vectors.transpose(1, 2)
        layers = (self.sp.key, self.sp.value, self.rp.key, self.rp.value)
        return Tokens(f, part, mass, *(layer(f) for layer in layers))

    def sum_prototypes(self, tokens: Sequence[Tokens], present: Tensor | None = None) -> Tensor:
        """Eq. 3 as the sum of the modalities' parts: (B, K, C), float32."""
        parts = torch.stack([token.part for token in tokens])
        if self.proto_norm == "softmax":
            share = modality_softmax(torch.stack([token.mass for token in tokens]), present)
            return (share.unsqueeze(3) * parts).sum(0)
        if present is not None:
            parts = parts * present[:, :, None, None]
        # eq. 3 sums over modalities and pixels, so each modality adds its own part
        total = parts.sum(0)
        if self.proto_norm == "none":
            return total
        pixels = tokens[0].features.shape[-2] * tokens[0].features.shape[-1]
        count = len(tokens) if present is None else present.sum(0)[:, None, None]
        return total / (count * pixels)

    def fuse(
        self, tokens: Sequence[Tokens], present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Fuse a set: f_SGF (B, C, H, W), and robustness (M, B, H, W), whose sum over M is 1."""
        if len(tokens) == 1 and not self.training:
            # the softmax over one token is 1: neither the prototypes nor SP can matter
            value = tokens[0].rp_value
            return self.rp.out(value), torch.ones_like(value[:, 0], dtype=torch.float32)[None]
        prototypes = self.sum_prototypes(tokens, present)
        # eqs. 4 to 7, then 8 to 10: the guide queries the same modality vectors once more
        keys, values = [t.sp_key for t in tokens], [t.sp_value for t in tokens]
        guide = self.sp(prototypes, keys, values, present)
        return self.rp(guide, [t.rp_key for t in tokens], [t.rp_value for t in tokens], present)

    def fuse_single(self, tokens: Sequence[Tokens], index: Tensor) -> Tensor:
        """Fuse one drawn modality per sample, index (B,): W_o W_v f of RP, (B, C, H, W) (3.7)."""
        # attention over one token is that token, whatever the query (dossier 3.7)
        values = torch.stack([token.rp_value for token in tokens])
        return self.rp.out(values[index, torch.arange(len(index), device=index.device)])
