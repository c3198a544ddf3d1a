"""Segmentation heads, and the step from logits at stride 4 to logits at the image's size."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.backbones import STRIDES
from methods.parts.kernel_folding import FoldingModule
from methods.parts.precision import at_least_float32
from usererror import UserError

# images are padded to multiples of 32 at most, CMGFNet's to multiples of 64
MOST_PADDED = 64


def upsample_bilinear(features: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corners not aligned: (B, C, h, w) -> (B, C, H, W)."""
    if tuple(features.shape[-2:]) == tuple(size):
        return features
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)


def to_image_size(logits: Tensor, size: Sequence[int], stride: int = STRIDES[0]) -> Tensor:
    """Logits of a padded image at `stride` -> logits (B, K, H, W) of the image itself.

    They are upsampled in at least float32: of two that half precision rounds to one number the
    argmax would take the first.
    """
    padded = (logits.shape[-2] * stride, logits.shape[-1] * stride)
    if any(not 0 <= have - want < MOST_PADDED for have, want in zip(padded, size, strict=True)):
        raise ValueError(f"logits of a {padded} image cannot be cropped to {tuple(size)}")
    # the padding lies below and right, so that the pixel grid stays where it was
    return upsample_bilinear(at_least_float32(logits), padded)[..., : size[0], : size[1]]


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W)."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise each pixel's channels."""
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


_BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
_NORMS = {"bn": nn.BatchNorm2d, "syncbn": nn.SyncBatchNorm, "ln": ChannelNorm}


class AllMLPHead(FoldingModule):
    """The SegFormer head (Xie et al. 2021): per scale C_i -> E, upsampling, fusion, classes.

    The fusion convolution (4E -> E on the concatenated maps, no bias) and bilinear upsampling are
    linear, one on channels, one on pixels, so they commute: each quarter of the fusion is applied
    at its own scale, the results are upsampled and added; to rounding the textbook order.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        width: int = 256,
        norm: str = "bn",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if norm not in _NORMS:
            raise UserError(f"head norm {norm!r} is none of {', '.join(_NORMS)}.")
        self.projections = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.fusion = nn.Conv2d(width * len(in_channels), width, 1, bias=False)
        self.norm: Any = _NORMS[norm](width)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def _folded(self) -> tuple[list[Tensor], Tensor]:
        """Multiply fusion, projection and BatchNorm: a matrix (E, C_i) per scale, and one bias."""
        # projection, fusion and norm are affine: one matrix per scale, made once
        quarters = self.fusion.weight.chunk(len(self.projections), dim=1)
        kernels, bias = [], torch.zeros_like(self.fusion.weight[:, 0, 0, 0])
        for quarter, projection in zip(quarters, self.projections, strict=True):
            matrix = quarter.flatten(1)
            kernels.append(matrix @ projection.weight.flatten(1))
            bias = bias + matrix @ projection.bias
        if isinstance(self.norm, _BATCH_NORMS):
            norm: Any = self.norm
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            kernels = [kernel * scale[:, None] for kernel in kernels]
            bias = (bias - self.norm.running_mean) * scale + self.norm.bias
        return kernels, bias

    def _mixed_folded(self, maps: Sequence[Tensor]) -> Tensor:
        """Mix channels last in eval mode: upsampling and argmax are then much faster."""
        sources = [*self.projections.parameters(), self.fusion.weight]
        sources += [*self.norm.parameters(), *self.norm.buffers()]
        kernels, bias = self._fold.get(sources, self._folded)
        total: Tensor | None = None
        for feature, kernel in zip(maps, kernels, strict=True):
            # one matrix product per scale instead of three convolutions
            rows = feature.flatten(2).transpose(1, 2) @ kernel.t().to(feature.dtype)
            part = rows.unflatten(1, feature.shape[-2:]).permute(0, 3, 1, 2)
            raised = upsample_bilinear(part, maps[0].shape[-2:])
            total = raised if total is None else total.add_(raised)
        return total.add_(bias[:, None, None])

    def mix_scales(self, maps: Sequence[Tensor]) -> Tensor:
        """Apply all that comes before the ReLU: projection, upsampling, fusion, in eval BatchNorm.

        From [(B, C_i, H_i, W_i)], finest first, to (B, E, H_1, W_1). A mixture of several inputs'
        results with weights that sum to one is the result of the mixed inputs.
        """
        return self._mixed_by_quarters(maps) if self.training else self._mixed_folded(maps)

    def _mixed_by_quarters(self, maps: Sequence[Tensor]) -> Tensor:
        """Apply each quarter of the fusion at its own scale, upsample and add: (B, E, H_1, W_1)."""
        quarters = self.fusion.weight.chunk(len(self.projections), dim=1)
        size = maps[0].shape[-2:]
        parts = []
        for feature, projection, quarter in zip(maps, self.projections, quarters, strict=True):
            parts.append(upsample_bilinear(F.conv2d(projection(feature), quarter), size))
        total: Any = sum(parts)
        return total

    def activate_mixed(self, mixed: Tensor) -> Tensor:
        """Apply what is left of the norm, ReLU, dropout: (B, E, H, W)."""
        if self.training or not isinstance(self.norm, _BATCH_NORMS):
            mixed = self.norm(mixed)
        return self.dropout(F.relu(mixed))

    def classify_mixed(self, features: Tensor) -> Tensor:
        """Activated features (B, E, H, W) -> logits (B, K, H, W); affine."""
        if self.training:
            return self.classifier(features)
        matrix, bias = self.classifier.weight.flatten(1), self.classifier.bias
        return F.linear(features.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H_i, W_i)], finest first -> logits (B, K, H_1, W_1)."""
        return self.classify_mixed(self.activate_mixed(self.mix_scales(maps)))
