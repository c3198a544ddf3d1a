"""Parameter groups and the learning-rate schedule."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from methods.parts.optim import Recipe, build_optimizer, parameter_groups, warmup_poly, warmup_steps


def test_groups_by_dimension():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))
    module[2].weight.requires_grad_(False)
    decayed, plain = parameter_groups(module.parameters(), 0.1)
    assert decayed["weight_decay"] == 0.1 and [p.ndim for p in decayed["params"]] == [4]
    assert plain["weight_decay"] == 0.0 and [p.ndim for p in plain["params"]] == [1, 1, 1, 1]
    (everything,) = parameter_groups(module.parameters(), 0.1, no_decay_1d=False)
    assert len(everything["params"]) == 5


def test_groups_on_a_gpu_are_fused_and_no_others():
    for device, expected in (("cuda", [True, True]), ("cpu", [None, None])):
        given = [
            SimpleNamespace(requires_grad=True, ndim=n, device=torch.device(device)) for n in (1, 2)
        ]
        assert [group.get("fused") for group in parameter_groups(given, 0.1)] == expected
    assert all(
        "fused" not in group for group in parameter_groups(nn.Linear(2, 2).parameters(), 0.1)
    )


def test_fused_groups_step_alike_and_may_be_clipped_in_half_precision():
    """A CPU has the kernel, too."""
    plugin, found = MixedPrecision("bf16-mixed", "cpu"), []
    for options in ({}, {"fused": True}):
        torch.manual_seed(0)
        layer = nn.Linear(5, 3)
        groups = [{**group, **options} for group in parameter_groups(layer.parameters(), 0.1)]
        optimizer = torch.optim.AdamW(groups, lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.ones(2, 5)).square().sum().backward()
            plugin.clip_gradients(optimizer, 0.5)
            optimizer.step()
        assert optimizer.param_groups[0]["fused"] is options.get("fused")
        found.append([p.detach() for p in layer.parameters()])
    torch.testing.assert_close(*found)
    whole = torch.optim.AdamW(layer.parameters(), fused=True)
    with pytest.raises(RuntimeError, match="fused"):
        plugin.clip_gradients(whole, 0.5)


def test_warmup_is_the_shorter_limit():
    # 200 epochs of 30 steps: ten epochs are five per cent
    assert warmup_steps(Recipe(), 6000, 30) == 300
    assert warmup_steps(Recipe(), 300, 30) == 15
    assert warmup_steps(Recipe(), 60_000, 30) == 300
    assert warmup_steps(Recipe(warmup_epochs=0), 300, 30) == 0


def test_schedule_values():
    factors = [warmup_poly(step, 100, 10, 0.1, 0.9) for step in range(101)]
    assert (
        factors[0] == pytest.approx(0.1)
        and factors[5] == pytest.approx(0.55)
        and factors[10] == 1.0
    )
    assert factors[55] == pytest.approx(0.5**0.9)
    assert factors[100] == 0.0 and warmup_poly(120, 100, 10, 0.1, 0.9) == 0.0
    assert all(later < earlier for earlier, later in zip(factors[10:], factors[11:], strict=False))
    assert warmup_poly(0, 100, 0, 0.1, 0.9) == 1.0


def test_optimiser_takes_the_recipe():
    layer = nn.Linear(2, 2)
    recipe = Recipe(lr=0.5, weight_decay=0.2, betas=[0.8, 0.9], eps=1e-6)
    optimizer, scheduler = build_optimizer(layer.parameters(), recipe, 20, 10)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["betas"] for group in optimizer.param_groups] == [(0.8, 0.9)] * 2
    assert [group["eps"] for group in optimizer.param_groups] == [1e-6] * 2
    assert scheduler.get_last_lr() == pytest.approx([0.05, 0.05])
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.5, 0.5])


def test_defaults_are_sgmas():
    recipe = Recipe()
    assert (recipe.lr, recipe.weight_decay, recipe.eps, recipe.poly_power) == (
        6e-5,
        1e-2,
        1e-8,
        0.9,
    )
    assert recipe.betas == (0.9, 0.999) and recipe.no_decay_1d
