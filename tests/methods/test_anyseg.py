"""AnySeg and RobustSeg fulfil the contract, are the control's network, and learn from a teacher."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from benchmark.profiling.complexity import TOTAL, count_parameters
from methods.anyseg.module import AnySeg
from methods.control.module import Control
from methods.robustseg.module import RobustSeg
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    SMALL,
    THREE,
    check_trains_and_stays_exact,
    images,
    subsets,
    training_batch,
)
from usererror import UserError

TERMS = {AnySeg: ("mad", "umd", "cmd"), RobustSeg: ("mad", "hpd", "rrm")}


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
    counts = (3,)


class TestRobustSeg(TestAnySeg):
    method = RobustSeg


students = pytest.mark.parametrize("student", [TestAnySeg, TestRobustSeg])


def losses(module: AnySeg | Control, batch: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    return module.training_losses(batch)


@students
def test_the_network_is_the_controls_whatever_the_number_of_sensors(student):
    control = Control(THREE, CLASSES, **SMALL).eval()
    module, given = student.make().eval(), images(THREE)
    module.load_state_dict(control.state_dict())
    with torch.inference_mode():
        for subset in subsets(list(THREE)):
            few = {m: given[m] for m in subset}
            assert torch.equal(module(few), control(few))
    with torch.device("meta"):
        counts = {"pvt_v2_b2": 25_376_965, "pvt_v2_b0": 3_805_797, "resnet50": 25_493_317}
        for backbone, count in counts.items():
            for sensors in ({"rgb": 3}, THREE):
                model = student.method(sensors, 5, backbone=backbone, pretrained=False)
                assert count_parameters(model)[TOTAL] == count


@pytest.mark.parametrize(
    ("student", "options", "silent"),
    [
        (TestAnySeg, {}, ("mad", "umd", "cmd")),
        # under noise it has
        (TestRobustSeg, {"pairing": "same"}, ("mad", "hpd")),
    ],
)
def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it(student, options, silent):
    module = student.make(subsets="full", **options)
    module.take_teacher(Control(THREE, CLASSES, **SMALL))
    module.teacher.load_state_dict(module.state_dict())
    module.eval()
    terms = losses(module, training_batch(THREE))
    assert max(float(terms[name].detach()) for name in silent) <= 1e-6
    sum(terms[name] for name in silent).backward()
    # of squares and divergences at their minimum, to rounding
    assert max(float(p.grad.abs().max()) for p in module.parameters()) < 1e-5


@students
def test_without_its_terms_a_step_is_that_of_the_control(student):
    weights = dict.fromkeys(TERMS[student.method], 0.0)
    drawn = {"subsets": "any_subset", "subsets_per": "sample"}
    module = student.make(**drawn, loss_weights=weights).train()
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


@students
def test_the_teacher_is_no_part_of_the_student(student):
    module = student.make().train()
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


@students
def test_what_is_not_drawn_reaches_the_student_through_the_teacher_only(student):
    module, batch = student.make().train(), training_batch(THREE)
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


def test_robustseg_as_released_trains():
    released = {"prototypes": "released", "pairing": "same", "rrm": "released"}
    check_trains_and_stays_exact(TestRobustSeg.make(**released))
