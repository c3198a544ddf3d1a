"""Random non-empty subsets of the modalities that each sample really has."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

SubsetRule = Literal["full", "one_missing", "any_subset", "size_uniform"]
SubsetScope = Literal["sample", "batch"]


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to a device, without waiting for what that has to do."""
    if device.type == "cuda" and values.device.type == "cpu":
        # from other memory the copy would wait; what is expanded has no memory of its own to pin
        values = values.contiguous().pin_memory()
    return values.to(device, non_blocking=True)


class Masks(dict[str, Tensor]):
    """{modality: bool (B,)} on a device, and on the `host`, where to read them is to wait for none.

    On a CPU both are the same tensors.
    """

    def __init__(self, host: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__({m: send(mask, device) for m, mask in host.items()})
        self.host, self.device = dict(host), device


def on_host(masks: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the masks to read; those that are nowhere else stay where they are."""
    return masks.host if isinstance(masks, Masks) else masks


def row_numbers(mask: Tensor, device: torch.device) -> Tensor:
    """Number the samples of a mask (B,) on a device: how many there are is read of the mask."""
    return send(mask.nonzero()[:, 0], device)


def draw_subsets(
    rule: SubsetRule, available: Mapping[str, Tensor], per: SubsetScope = "sample"
) -> dict[str, Tensor]:
    """Draw a non-empty subset of what each sample has, {modality: bool (B,)}.

    With m modalities at hand:

    * `full`: all of them, without a draw and whatever `per` says;
    * `one_missing`: all, or all but one; the m + 1 sets are equally likely, and a sample never
    loses its last modality;
    * `any_subset`: uniform over the 2^m - 1 non-empty subsets;
    * `size_uniform`: the size is uniform in 1..m, then every subset of that size is equally likely.

    `per` says whether each `sample` draws, or the `batch` once among what all its samples have. The
    host draws of `Masks`, the same on every device.
    """
    if rule not in get_args(SubsetRule) or per not in get_args(SubsetScope):
        known = f"{get_args(SubsetRule)} per {get_args(SubsetScope)}"
        raise ValueError(f"expected a rule of {known}; got {rule}, {per}")
    drawn = on_host(available)
    have = torch.stack(list(drawn.values()))
    together = per == "batch" and rule != "full"
    common = have.all(1, keepdim=True) if together else have
    if not common.any(0).all():
        raise ValueError(
            "the samples of the batch have no modality in common" if together else "an empty sample"
        )
    if rule != "full":
        kept = (common & _keep(rule, common)).expand_as(have)
        drawn = dict(zip(available, kept, strict=True))
    return Masks(drawn, available.device) if isinstance(available, Masks) else dict(drawn)


def _keep(rule: SubsetRule, have: Tensor) -> Tensor:
    """What to keep of `have`, both bool (M, B); entries that `have` lacks are without meaning."""
    count = have.sum(0)
    position = have.cumsum(0) - 1  # of each modality among those at hand
    chance = torch.rand(have.shape[1], device=have.device)
    if rule == "one_missing":
        dropped = (chance * (count + 1)).long()  # `count` stands for none
        return (position != dropped) | (count == 1)
    if rule == "any_subset":
        number = 1 + (chance * (2**count - 1)).long()  # its binary digits are the subset
        return (number >> position.clamp(min=0)) & 1 == 1
    # ranks of random numbers: every subset of one size is equally likely
    size = 1 + (chance * count).long()
    order = torch.rand(have.shape, device=have.device).masked_fill(~have, 2.0)
    return order.argsort(0).argsort(0) < size
