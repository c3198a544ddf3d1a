"""The optimiser shared by the methods: AdamW, linear warm-up, polynomial decay."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Recipe:
    """AdamW with warm-up and polynomial decay; defaults are SGMA's, CMNeXt's where it is silent.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled weight decay of parameters with two or more dimensions.
        no_decay_1d: leave biases, norms and other parameters of at most one dimension undecayed.
        poly_power: exponent of the decay from the peak to zero at the last step.
        warmup_epochs: longest warm-up, in epochs.
        warmup_share: longest warm-up as a share of all steps; the shorter of the two limits holds.
        warmup_start: share of the peak at which warm-up begins.
    """

    lr: float = 6e-5
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    no_decay_1d: bool = True
    poly_power: float = 0.9
    warmup_epochs: float = 10.0
    warmup_share: float = 0.05
    warmup_start: float = 0.1

    def __post_init__(self) -> None:
        # checkpoints and YAML hold a list
        object.__setattr__(self, "betas", tuple(self.betas))


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float, no_decay_1d: bool = True
) -> list[dict[str, Any]]:
    """Split trainable parameters into AdamW's decayed and undecayed group; empty ones are left out.

    On a GPU each is stepped by one fused kernel.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in parameters:
        if parameter.requires_grad:
            (plain if no_decay_1d and parameter.ndim <= 1 else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    for group in groups:
        if all(parameter.device.type == "cuda" for parameter in group["params"]):
            # as an option of the whole optimiser it would let Lightning refuse to clip gradients
            # in half precision
            group["fused"] = True
    return groups


def warmup_steps(recipe: Recipe, total_steps: int, steps_per_epoch: float) -> int:
    """Count the steps of the warm-up: the shorter of its two limits, rounded down."""
    return int(min(recipe.warmup_epochs * steps_per_epoch, recipe.warmup_share * total_steps))


def warmup_poly(step: int, total_steps: int, warmup: int, start: float, power: float) -> float:
    """Share of the peak rate at `step`: linear from `start` to 1, then polynomial to 0 at the end.

    Example:
        >>> [round(warmup_poly(step, 100, 10, 0.1, 0.9), 3) for step in (0, 10, 55, 100)]
        [0.1, 1.0, 0.536, 0.0]
    """
    if step < warmup:
        return start + (1.0 - start) * step / warmup
    return max(0.0, 1.0 - (step - warmup) / max(1, total_steps - warmup)) ** power


def warmup_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int, steps_per_epoch: float
) -> LambdaLR:
    """Schedule `warmup_poly` per optimiser step."""
    warmup = warmup_steps(recipe, total_steps, steps_per_epoch)

    def rate_share(step: int) -> float:
        return warmup_poly(step, total_steps, warmup, recipe.warmup_start, recipe.poly_power)

    return LambdaLR(optimizer, rate_share)


def build_optimizer(
    parameters: Iterable[nn.Parameter], recipe: Recipe, total_steps: int, steps_per_epoch: float
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Build AdamW over `parameters` and its schedule per step."""
    groups = parameter_groups(parameters, recipe.weight_decay, recipe.no_decay_1d)
    optimizer = AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)
    return optimizer, warmup_schedule(optimizer, recipe, total_steps, steps_per_epoch)
