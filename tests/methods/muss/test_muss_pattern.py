"""Check 10 of the MuSS dossier as far as seconds of training show it: full sets in training, gaps
at test time (4.3).

The order of the rows is tested, the size of the collapse is not: that takes longer training and
belongs to the ledger's
measured table.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.muss.module import MuSS
from methods.parts.optim import parameter_groups
from tests.support.method_checks import (
    subsets,
)
from tests.support.smoke_sgma import Averages

CLASSES, SIDE, STEPS = 4, 32, 120
# as in SGMA's smoke task (tests/support/smoke_sgma.py): falling signal-to-noise, and D separates
# only pairs of classes
SIGNAL = {"rgb": 1.0, "dsm": 1.0, "nir": 0.5}
NOISE = {"rgb": 0.4, "dsm": 0.8, "nir": 1.0}


def sample(
    generator: torch.Generator, vectors: dict[str, Tensor], size: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Blocks of 8 px of four classes; each modality shows a colour per class with own noise."""
    blocks = torch.randint(0, CLASSES, (size, SIDE // 8, SIDE // 8), generator=generator)
    labels = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    images = {}
    for m, colours in vectors.items():
        noise = torch.randn(size, 3, SIDE, SIDE, generator=generator)
        images[m] = SIGNAL[m] * colours[labels].permute(0, 3, 1, 2) + NOISE[m] * noise
    return images, labels


def accuracies(subset_rule: str) -> dict[tuple[str, ...], float]:
    """Pixel accuracy of every subset on 64 held-out images."""
    generator = torch.Generator().manual_seed(0)
    vectors = {m: torch.randn(CLASSES, 3, generator=generator) for m in NOISE}
    vectors["dsm"][[1, 3]] = vectors["dsm"][[0, 2]]
    torch.manual_seed(0)
    module = MuSS(
        dict.fromkeys(NOISE, 3),
        CLASSES,
        backbone="pvt_v2_b0",
        pretrained=False,
        head_width=32,
        subsets=subset_rule,
    ).train()
    module.network.encoder = Averages(module.network.encoder.channels)
    optimizer = torch.optim.AdamW(parameter_groups(module.parameters(), 1e-2), lr=5e-3)
    available = {m: torch.ones(8, dtype=torch.bool) for m in NOISE}
    for _ in range(STEPS):
        images, labels = sample(generator, vectors, 8)
        loss = module.weighted_sum(
            module.training_losses({"image": images, "mask": labels, "available": available})
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, labels = sample(generator, vectors, 64)
    with torch.inference_mode():
        encoded = module.eval().encode(images)
        guesses = {
            s: module.decode({m: encoded[m] for m in s}, (SIDE, SIDE)).argmax(1)
            for s in subsets(list(NOISE))
        }
    return {subset: float((guess == labels).float().mean()) for subset, guess in guesses.items()}


def test_full_set_is_best_and_single_modalities_together_stay_below_what_dropout_gets_from_them():
    plain, dropped = accuracies("full"), accuracies("any_subset")
    full = tuple(NOISE)
    assert max(plain, key=plain.get) == full
    assert all(plain[(m,)] < plain[full] for m in NOISE)
    assert sum(plain[(m,)] for m in NOISE) < sum(dropped[(m,)] for m in NOISE)
    assert sum(plain.values()) < sum(dropped.values())
