"""Encoders: timm feature pyramids at strides 4 to 32, and one shared by all modalities.

Where weights come from: `methods/weights.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.weights import check_keys, explained_loading, locate_weights, only_noted
from usererror import UserError

STRIDES = (4, 8, 16, 32)
REDUCED = (64, 128, 320, 512)


def pad_to_multiple(image: Tensor, multiple: int = STRIDES[-1], at_least: int = 1) -> Tensor:
    """Replicate the lower and right edge of (B, C, H, W) until `multiple` divides both sides.

    They get `at_least` so long; `heads.to_image_size` crops what a network makes of the image.
    """
    height, width = image.shape[-2:]
    bottom = -(-max(height, at_least) // multiple) * multiple - height
    right = -(-max(width, at_least) // multiple) * multiple - width
    return F.pad(image, (0, right, 0, bottom), mode="replicate") if bottom or right else image


def to_three_channels(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 3, H, W) by adaptive averaging along the channels, without parameters.

    One channel is replicated (dossier section 10), two become (a, (a + b) / 2, b), three stay, more
    are averaged in three overlapping groups of neighbours.
    """
    channels = image.shape[1]
    if channels == 3:
        return image
    if channels == 1:
        return image.expand(-1, 3, -1, -1)
    bounds = [(i * channels // 3, -(-(i + 1) * channels // 3)) for i in range(3)]
    return torch.stack([image[:, start:stop].mean(1) for start, stop in bounds], 1)


def _create(name: str, pretrained: bool, file: Path | None, options: dict[str, Any]) -> nn.Module:
    import timm

    maps: dict[str, Any] = {"features_only": True, "out_indices": (-4, -3, -2, -1)}
    overlay = {"file": str(file)} if file else None
    return timm.create_model(name, pretrained, pretrained_cfg_overlay=overlay, **maps, **options)


def create_pyramid(
    name: str,
    pretrained: bool = False,
    pretrained_path: str | None = None,
    drop_path: float = 0.0,
    **options: Any,
) -> nn.Module:
    """A timm feature extractor (B, 3, H, W) -> four maps at strides 4, 8, 16, 32.

    `options` are timm's of this model: with a smaller `output_stride` later stages are dilated
    instead, and their maps have that stride.

    `pretrained_path` is used instead of the cache, and only read when `pretrained`. `drop_path` is
    the stochastic depth of the last block in training; it grows linearly from 0 in the first.
    """
    import timm

    if not timm.is_model(name):
        raise UserError(
            f"timm knows no backbone {name}; tried and known here: pvt_v2_b0, pvt_v2_b2, resnet50."
        )
    pretrained = pretrained and not only_noted(name, pretrained_path)
    file = locate_weights(name, pretrained_path) if pretrained else None
    if drop_path:
        options["drop_path_rate"] = drop_path  # not every model of timm has it
    # the pretrained model draws what its random twin drew, so that both can be compared
    state = torch.get_rng_state()
    try:
        model = _create(name, False, None, options)
    except (RuntimeError, IndexError, AssertionError, AttributeError, TypeError) as error:
        raise UserError(f"{name} cannot serve as a feature pyramid: {error}") from error
    strides = [min(stride, options.get("output_stride", stride)) for stride in STRIDES]
    if list(model.feature_info.reduction()) != strides:
        raise UserError(
            f"{name} has maps at strides {model.feature_info.reduction()}, not {strides}."
        )
    if not pretrained:
        return model
    torch.set_rng_state(state)
    with explained_loading(name, file) as keys:
        loaded = _create(name, True, file, options)
    # features_only loads leniently, and leaves out what the maps do not need
    kept = {key.replace(".", "_").removeprefix("model_") for key in loaded.state_dict()}
    missing = [key for key in keys["Missing"] if key.replace(".", "_") in kept]
    # whatever timm said: a matrix equal to its random twin was not in the file
    pairs = zip(model.named_parameters(), loaded.parameters(), strict=True)
    for (key, random), value in pairs:
        if not missing and random.ndim > 1 and torch.equal(random, value):
            missing.append(key)
    check_keys(name, file, missing, keys["Unexpected"])
    return loaded


def widen(conv: nn.Conv2d, channels: Sequence[int], keep: bool) -> nn.Conv2d:
    """Make `conv`, which takes three channels, one for those of all modalities.

    With `keep` its kernel stays that of the first three channels that are an image, and its mean
    over the channels is that of every other one; nothing is rescaled. Without, weights are drawn as
    timm draws a ResNet's.
    """
    if list(channels) == [3]:
        return conv
    wide = nn.Conv2d(
        sum(channels),
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        (int(conv.padding[0]), int(conv.padding[1])),
        bias=conv.bias is not None,
    )
    if not keep:
        nn.init.kaiming_normal_(wide.weight, mode="fan_out", nonlinearity="relu")
        return wide
    mean = conv.weight.mean(1, keepdim=True)
    kernels = [mean.expand(-1, count, -1, -1) for count in channels]
    if 3 in channels:
        kernels[list(channels).index(3)] = conv.weight
    with torch.no_grad():
        wide.weight.copy_(torch.cat(kernels, 1))
        if conv.bias is not None and wide.bias is not None:
            wide.bias.copy_(conv.bias)
    return wide


class SharedEncoder(nn.Module):
    """One encoder for every modality (SGMA eq. 2): dict of images -> dict of four-map pyramids.

    Args:
        reduce_to: widths of bias-free 1x1 convolutions after the pyramid; None for the native
            widths; `auto` for (64, 128, 320, 512), the widths of PVT-v2-b2, where the native ones
            are wider (ResNet-50), else none.
        drop_path: see `create_pyramid`.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        pretrained_path: str | None = None,
        reduce_to: Sequence[int] | str | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.pyramid: Any = create_pyramid(name, pretrained, pretrained_path, drop_path)
        native = self.pyramid.feature_info.channels()
        if reduce_to == "auto":
            reduce_to = REDUCED if native[-1] > REDUCED[-1] else None
        if isinstance(reduce_to, str):
            raise UserError(f"The reduction is a list of widths, auto or null; got {reduce_to!r}.")
        self.channels: tuple[int, ...] = tuple(native if reduce_to is None else reduce_to)
        if len(self.channels) != len(native):
            raise UserError(
                f"The reduction of {name} needs {len(native)} widths; got {self.channels}."
            )
        self.reduction: nn.ModuleList | None = None
        if reduce_to is not None:
            pairs = zip(native, self.channels, strict=True)
            self.reduction = nn.ModuleList(
                nn.Conv2d(wide, narrow, 1, bias=False) for wide, narrow in pairs
            )

    def pyramid_of(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W), sides multiples of 32 -> four maps (B, C_i, H/s_i, W/s_i)."""
        maps = self.pyramid(image)
        if self.reduction is not None:
            maps = [layer(feature) for layer, feature in zip(self.reduction, maps, strict=True)]
        return list(maps)

    def forward(self, images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
        """{modality: (B, C, H, W)} -> {modality: [(B, C_i, H_i, W_i)] * 4} of the padded images."""
        inputs = {m: pad_to_multiple(to_three_channels(image)) for m, image in images.items()}
        if len({tuple(image.shape[1:]) for image in inputs.values()}) > 1:
            return {m: self.pyramid_of(image) for m, image in inputs.items()}
        # one call for all: with BatchNorm (ResNet) the training statistics are joint, in eval mode
        # the modalities do not touch each other
        packed = self.pyramid_of(torch.cat(list(inputs.values())))
        counts = [len(image) for image in inputs.values()]
        parts = [feature.split(counts) for feature in packed]
        return {m: [part[i] for part in parts] for i, m in enumerate(inputs)}
