"""What M3L learns: dossier check 10, on the synthetic task that `smoke_m3l` puts the whole networks
to.
"""

from __future__ import annotations

import pytest
import torch

from methods.m3l.module import M3L
from methods.parts.optim import parameter_groups, warmup_poly
from tests.support.method_checks import (
    subsets,
)
from tests.support.smoke_sgma import SIDE, Averages, Task


@pytest.mark.parametrize("rule", ["one_missing", "any_subset", "full"])
def test_the_strongest_modality_alone_comes_near_the_full_set(rule):
    """Masking, tokens, fusion and head must not make a single modality collapse, whichever rule
    they are trained with;
    without masking the tokens never learn, and it does."""
    task, steps = Task(0), 100
    torch.manual_seed(0)
    module = M3L(
        dict.fromkeys("RDN", 3),
        4,
        backbone="pvt_v2_b0",
        pretrained=False,
        head_width=32,
        subsets=rule,
    )
    module.network.encoder = Averages(module.network.encoder.channels)
    optimizer = torch.optim.AdamW(parameter_groups(module.parameters(), 1e-2), lr=5e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_poly(step, steps, 10, 0.1, 0.9)
    )
    for _ in range(steps):
        x, y = task.batch(8)
        loss = module.weighted_sum(module.training_losses({"image": x, "mask": y}))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x, y = task.batch(32)
    with torch.inference_mode():
        encoded = module.eval().encode(x)
        right = {}
        for subset in subsets(list("RDN")):
            guess = module.decode({m: encoded[m] for m in subset}, (SIDE, SIDE)).argmax(1)
            right["".join(subset)] = float((guess == y).float().mean())
    assert right["RDN"] > 0.8
    assert (right["R"] > right["RDN"] - 0.06) == (rule != "full")
