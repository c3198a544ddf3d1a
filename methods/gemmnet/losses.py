"""What GEMMNet's generators and discriminators are trained with (arXiv 2509.11102, eq. 8 and 9)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.precision import at_least_float32


class SynthesisPair(NamedTuple):
    """A generated picture with its source and its target, for the samples that have all three.

    `condition` (n, c, H, W) is what the discriminator sees beside the picture; `fake` and `real`
    are (n, c_m, H, W).
    """

    modality: str
    condition: Tensor
    fake: Tensor
    real: Tensor


def mean_over_modalities(
    pairs: Sequence[SynthesisPair], loss: Callable[[SynthesisPair], Tensor], like: Tensor
) -> Tensor:
    """Average a loss over the generated modalities; their number does not matter, 0 for none."""
    if not pairs:
        return torch.zeros((), device=like.device)
    return torch.stack([loss(pair) for pair in pairs]).mean()


def absolute_error(pair: SynthesisPair) -> Tensor:
    """Mean |fake - real|."""
    return F.l1_loss(at_least_float32(pair.fake), pair.real)


def squared_error(pair: SynthesisPair) -> Tensor:
    """Mean (fake - real)^2 (eq. 8; mean rather than sum is our choice)."""
    return F.mse_loss(at_least_float32(pair.fake), pair.real)


def _verdict(discriminator: nn.Module, condition: Tensor, picture: Tensor, real: bool) -> Tensor:
    """Cross-entropy of the discriminator's patch logits against one answer for all patches."""
    logits = at_least_float32(discriminator(torch.cat([condition, picture], 1)))
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def generator_adversarial_loss(
    pair: SynthesisPair, discriminators: Mapping[str, nn.Module]
) -> Tensor:
    """Punish the generator where the discriminator tells its picture from a real one."""
    return _verdict(discriminators[pair.modality], pair.condition, pair.fake, True)


def discriminator_loss(pair: SynthesisPair, discriminators: Mapping[str, nn.Module]) -> Tensor:
    """Punish the discriminator for its mistakes, half on real and half on generated pictures."""
    discriminator = discriminators[pair.modality]
    # half the loss, as in pix2pix: the discriminator learns slower than the generator
    real = _verdict(discriminator, pair.condition, pair.real, True)
    return 0.5 * (real + _verdict(discriminator, pair.condition, pair.fake.detach(), False))
