"""Base classes of the networks: configured modalities, any non-empty subset of which is taken."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from lightning_utilities.core.apply_func import apply_to_collection, apply_to_collections
from torch import Tensor

from methods.parts.backbones import SharedEncoder
from methods.parts.heads import STRIDES, AllMLPHead, to_image_size
from methods.parts.modality_dropout import on_host, row_numbers

# {modality: bool (B,)}: which samples have it
Present = Mapping[str, Tensor]
# logits (B, K, h, w) of the padded image, and what else a caller may want to see
Fused = tuple[Tensor, dict[str, Any]]


def as_mask(present: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, 1), so that it masks maps."""
    return present[:, None, None, None]


def main_modality(modalities: Mapping[str, int]) -> str:
    """Name the optical modality: the first with three channels, else the first.

    Example:
        >>> main_modality({"dsm": 1, "irrg": 3}), main_modality({"dsm": 1, "sar": 2})
        ('irrg', 'dsm')
    """
    return next((m for m, channels in modalities.items() if channels == 3), next(iter(modalities)))


def all_present(names: Sequence[str], present: Present | None) -> bool:
    """Tell whether all samples have all of these modalities; None stands for that."""
    if present is None:
        return True
    masks = on_host(present)
    return bool(torch.stack([masks[m] for m in names]).all())


def stack_sensors(pyramids: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Stack M pyramids of maps (B, C, h, w): per scale (M, B, C, h, w)."""
    return [torch.stack(maps) for maps in zip(*pyramids, strict=True)]


def blank_missing(
    images: Mapping[str, Tensor], present: Present | None, channels: Mapping[str, int]
) -> dict[str, Tensor]:
    """Complete the modalities of `channels` with images of zeros, for samples without them too."""
    some, blank = next(iter(images.values())), {}
    for m, count in channels.items():
        if m not in images:
            blank[m] = some.new_zeros(len(some), count, *some.shape[-2:])
        elif present is None:
            blank[m] = images[m]
        else:
            blank[m] = torch.where(as_mask(present[m]), images[m], 0.0)
    return blank


def complete_entries(
    encoded: Mapping[str, Any], blank: Mapping[str, Any], present: Present | None
) -> dict[str, Any]:
    """Put `blank`, the entries (1, ...) of every modality's blank image, where one is missing."""
    whole = {}

    def keep_present(entry: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        rows = mask.reshape(-1, *[1] * (entry.ndim - 1))
        return torch.where(rows, entry, other.to(entry.dtype))

    def expand_like(one: Tensor, entry: Tensor) -> Tensor:
        return one.to(entry.dtype).expand(len(entry), *one.shape[1:])

    some = next(iter(encoded.values()))
    for m, other in blank.items():
        if m not in encoded:
            whole[m] = apply_to_collections(other, some, Tensor, expand_like)
        elif present is None:
            whole[m] = encoded[m]
        else:
            whole[m] = apply_to_collections(encoded[m], other, Tensor, keep_present, present[m])
    return whole


class AnyModalityNetwork(torch.nn.Module):
    """A network with `encode(images)` and `fuse(encoded, present) -> (logits, extras)`.

    `encode` takes {modality: (B, C, H, W)}; each entry of its result depends on its modality only.
    `fuse` takes the entries of any non-empty subset, and with `present` which samples have which
    modality, at least one each (finite values elsewhere are ignored); None = all.
    """

    # of the logits that `fuse` returns, in pixels
    stride: int = STRIDES[0]
    encode: Any
    fuse: Any

    def __init__(self, modalities: Iterable[str]) -> None:
        super().__init__()
        self.modalities = tuple(modalities)

    def encoding_modules(self) -> list[torch.nn.Module]:
        """List what makes features of images, each called as a whole: what may be compiled."""
        return []

    def ordered_names(self, given: Mapping[str, Any]) -> list[str]:
        """List the keys of `given` in configured order."""
        unknown = set(given) - set(self.modalities)
        if unknown or not given:
            wanted = f"a non-empty subset of {self.modalities}"
            raise ValueError(f"expected {wanted}, got {tuple(given)}")
        return [m for m in self.modalities if m in given]

    def stack_present(self, names: Sequence[str], present: Present | None) -> Tensor | None:
        """Stack the masks of M modalities, bool (M, B); None, that is all, stays None."""
        return None if present is None else torch.stack([present[m] for m in names])

    def encode_present(
        self,
        images: Mapping[str, Tensor],
        present: Present | None,
        encode: Callable[[Mapping[str, Tensor]], dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Encode (by `encode`) the samples that have a modality; rows of the others are zero.

        They are not looked at, not even by the statistics of a batch. A modality that no sample has
        keeps its entry, so that distributed processes agree on the parameters in use.
        """
        encode, names = encode or self.encode, self.ordered_names(images)
        if present is None or all_present(names, present):
            return encode(images)
        size, device = len(images[names[0]]), images[names[0]].device
        places = {m: row_numbers(on_host(present)[m], device) for m in names}
        encoded = encode({m: images[m][places[m]] for m in names})

        def spread_rows(rows: Tensor, place: Tensor) -> Tensor:
            whole = rows.new_zeros(size, *rows.shape[1:])
            whole[place] = rows
            return whole

        whole = {}
        for m, entry in encoded.items():
            whole[m] = apply_to_collection(entry, Tensor, spread_rows, places[m])
        return whole

    def encode_blanked(
        self, images: Mapping[str, Tensor], present: Present, channels: Mapping[str, int]
    ) -> dict[str, Any]:
        """Encode the modalities of `channels`, with images of zeros for what is not present.

        The statistics of a batch are those of the batch as shown. Entries of zeros are constants:
        where biases are zero too, each norm on the way would multiply their gradients by up to a
        thousand.
        """
        encoded = self.encode(blank_missing(images, present, channels))
        constant = apply_to_collection(encoded, Tensor, Tensor.detach)
        return complete_entries({m: encoded[m] for m in present}, constant, present)

    def forward(self, images: Mapping[str, Tensor], present: Present | None = None) -> Tensor:
        """Predict logits (B, K, H, W) of any non-empty subset; `present` masks samples."""
        size = next(iter(images.values())).shape[-2:]
        return to_image_size(self.fuse(self.encode(images), present)[0], size, self.stride)


class SharedEncoderNetwork(AnyModalityNetwork):
    """A network with one timm encoder for all modalities and SegFormer's all-MLP head.

    Args:
        backbone: `pvt_v2_b2`, `resnet50`, `pvt_v2_b0` (small scale) or another timm model with
            maps at strides 4, 8, 16, 32.
        pretrained_path: local weight file instead of the cache.
        reduction: widths of 1x1 convolutions after the encoder, null for none; `auto` only where
            it is wider than PVT-v2-b2.
    """

    encoder: SharedEncoder
    head: AllMLPHead

    def __init__(
        self,
        modalities: Iterable[str],
        backbone: str = "pvt_v2_b2",
        pretrained: bool = False,
        pretrained_path: str | None = None,
        reduction: Literal["auto"] | list[int] | None = "auto",
        head_width: int = 256,
        head_norm: Literal["bn", "syncbn", "ln"] = "bn",
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities)
        self._encoder_options = (backbone, pretrained, pretrained_path, reduction)
        self._head_options = (head_width, head_norm, head_dropout)

    # A network builds its parts itself: the order in which it does decides the random draws of
    # their weights, and the order of its state dict.

    def make_encoder(self, drop_path: float = 0.0) -> SharedEncoder:
        """Build the shared encoder; for `drop_path` see `create_pyramid`."""
        return SharedEncoder(*self._encoder_options, drop_path=drop_path)

    def encoding_modules(self) -> list[torch.nn.Module]:
        """See the base class."""
        return [self.encoder.pyramid]

    def make_head(self, num_classes: int) -> AllMLPHead:
        """Build the head on the maps of `self.encoder`."""
        return AllMLPHead(self.encoder.channels, num_classes, *self._head_options)
