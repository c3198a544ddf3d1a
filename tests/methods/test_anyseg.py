"""AnySeg fulfils the contract, is the control's network, and learns from a teacher beside it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from benchmark.profiling.complexity import TOTAL, count_parameters
from methods.anyseg.module import AnySeg
from methods.control.module import Control
from tests.support.contract import (
    CLASSES,
    SMALL,
    THREE,
    MethodContract,
    images,
    subsets,
    training_batch,
)
from usererror import UserError

TERMS = ("mad", "umd", "cmd")


class TestAnySeg(MethodContract):
    method = AnySeg
    options = SMALL

    @classmethod
    def make(cls, modalities: dict[str, int] = THREE, seed: int = 0, **options: Any) -> Any:
        module = super().make(modalities, seed, **options)
        torch.manual_seed(seed + 1)
        module.take_teacher(Control(modalities, CLASSES, **SMALL))
        return module


class TestDistilled(TestAnySeg):
    options = {
        **SMALL,
        "subsets": "any_subset",
        "subsets_per": "sample",
        "loss_weights": {"umd": 0.0, "cmd": 0.0},
    }


make = TestAnySeg.make


def losses(module: AnySeg | Control, batch: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return module.training_losses(batch)


def test_the_network_is_the_controls_whatever_the_number_of_sensors():
    control = Control(THREE, CLASSES, **SMALL).eval()
    module, given = make().eval(), images(THREE)
    module.load_state_dict(control.state_dict())
    with torch.inference_mode():
        for subset in subsets(list(THREE)):
            few = {m: given[m] for m in subset}
            assert torch.equal(module(few), control(few))
    with torch.device("meta"):
        for backbone, count in {"pvt_v2_b2": 25_376_965, "pvt_v2_b0": 3_805_797}.items():
            for sensors in ({"rgb": 3}, THREE):
                model = AnySeg(sensors, 5, backbone=backbone, pretrained=False)
                assert count_parameters(model)[TOTAL] == count


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it():
    module = make(subsets="full")
    module.take_teacher(Control(THREE, CLASSES, **SMALL))
    module.teacher.load_state_dict(module.state_dict())
    module.eval()
    terms = losses(module, training_batch(THREE))
    assert max(float(terms[name].detach()) for name in TERMS) <= 1e-6
    sum(terms[name] for name in TERMS).backward()
    # of squares and divergences at their minimum, to rounding
    assert max(float(p.grad.abs().max()) for p in module.parameters()) < 1e-5


def test_without_its_terms_a_step_is_that_of_the_control():
    weights = dict.fromkeys(TERMS, 0.0)
    module = make(subsets="any_subset", subsets_per="sample", loss_weights=weights).train()
    control = Control(THREE, CLASSES, **SMALL, subsets="any_subset").train()
    control.load_state_dict(module.state_dict())
    batch = training_batch(THREE, batch=4)
    found, expected = losses(module, batch), losses(control, batch)
    assert set(found) == {"seg"}
    torch.testing.assert_close(found["seg"], expected["seg"])
    found["seg"].backward()
    expected["seg"].backward()
    for one, other in zip(module.parameters(), control.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_the_teacher_is_no_part_of_the_student():
    module = make().train()
    before = copy.deepcopy(module.teacher.state_dict())
    assert not module.teacher.training
    control = Control(THREE, CLASSES, **SMALL)
    assert module.state_dict().keys() == control.state_dict().keys()
    assert len(list(module.parameters())) == len(list(control.parameters()))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module.weighted_sum(losses(module, training_batch(THREE))).backward()
    optimizer.step()
    after = module.teacher.state_dict()
    assert all(torch.equal(after[name], values) for name, values in before.items())
    assert not any(p.requires_grad or p.grad is not None for p in module.teacher.parameters())


def test_what_is_not_drawn_reaches_the_student_through_the_teacher_only():
    module, batch = make().train(), training_batch(THREE)
    torch.manual_seed(0)
    shown = module.draw_shown(batch)
    hidden = [m for m in THREE if not shown[m].any()]
    assert hidden
    terms = losses(module, batch)
    batch["image"][hidden[0]] = batch["image"][hidden[0]] + 3.0
    other = losses(module, batch)
    assert {name for name in terms if not torch.equal(terms[name], other[name])} == {"mad"}


def test_a_student_without_a_fitting_teacher_says_so():
    module = AnySeg(THREE, CLASSES, **SMALL)
    with pytest.raises(UserError, match="learns from a teacher"):
        module.training_losses(training_batch(THREE))
    for other, what in (
        (Control({"rgb": 3}, CLASSES, **SMALL), "modalities"),
        (Control(THREE, CLASSES + 1, **SMALL), "num_classes"),
        (Control(THREE, CLASSES, **{**SMALL, "head_width": 8}), "head_width"),
    ):
        with pytest.raises(UserError, match=what):
            module.take_teacher(other)
