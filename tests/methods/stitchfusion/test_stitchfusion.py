"""StitchFusion fulfils the contract, with and without adapters; what is missing (dossier 7.3)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.experiment.models import build_model
from methods.stitchfusion.module import StitchFusion
from methods.stitchfusion.network import PlainStreams, StitchedStreams
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

PLAIN = {**SMALL, "adapters": "none"}


class TestStitchFusion(MethodContract):
    method = StitchFusion
    # of random subsets some pair of sensors would never be seen together
    options = {**SMALL, "absent": "drop"}


class TestNoAdapters(MethodContract):
    method = StitchFusion
    options = PLAIN
    counts = (3,)


make = TestStitchFusion.make


def settled(**options: Any) -> StitchFusion:
    module = make(**options)
    with torch.no_grad():
        module.train().training_losses(training_batch(THREE))
    return module.eval()


@pytest.mark.parametrize("adapters", ["sequential", "none"])
def test_zeros_are_images_of_zeros(adapters: str) -> None:
    module, given = settled(adapters=adapters, absent="zeros"), images(THREE)
    with torch.inference_mode():
        encoded = module.encode(given)
        for subset in subsets(list(THREE)):
            whole = {m: given[m] if m in subset else torch.zeros_like(given[m]) for m in THREE}
            expected = module.network.fuse(module.encode(whole))[0]
            found = module.network.fuse({m: encoded[m] for m in subset})[0]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            masks = {m: torch.tensor([m in subset] * 2) for m in THREE}
            masked = module.network.fuse(encoded, masks)[0]
            torch.testing.assert_close(masked, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"adapters": "parallel", "absent": "zeros"},
        {"adapters": "none", "absent": "drop", "subsets_per": "batch"},
        {"backbone": "resnet18", "reduction": [16, 16, 32, 32], "subsets": "any_subset"},
        {"backbone": "resnet18", "absent": "zeros", "head_norm": "ln"},
    ],
    ids=["parallel", "no_adapters", "resnet", "resnet_zeros"],
)
def test_options_train_and_stay_exact(options: dict[str, Any]) -> None:
    check_trains_and_stays_exact(make(**options))


def test_dropped_streams_are_not_run() -> None:
    """In training neither: of a batch the encoder sees the rows that are shown."""
    module, batch, seen = make(subsets="full").train(), training_batch(THREE, batch=4), []
    batch["available"]["rgb"][:3] = batch["available"]["sar"][1] = False
    stage = module.network.encoder.pyramid["stages_0"]
    stage.blocks[0].attn.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    module.training_losses(batch)
    assert seen == [1 + 4 + 3]
    with torch.no_grad():
        module.eval()({"sar": batch["image"]["sar"]})
    assert seen[1:] == [4]


def test_zeros_teach_the_encoder_nothing_without_adapters() -> None:
    """From random weights, whose biases are zero, their gradients would overflow."""
    found = []
    for absent in ("zeros", "drop"):
        module, batch = make(**PLAIN, absent=absent).train(), training_batch(THREE)
        batch["available"]["rgb"][0] = batch["available"]["sar"][1] = False
        torch.manual_seed(0)
        module.training_losses(batch)["seg"].backward()
        found.append([parameter.grad for parameter in module.network.encoder.parameters()])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_rows_are_the_dossiers() -> None:
    rows = {
        "stitchfusion": (StitchedStreams, "full", "zeros"),
        "stitchfusion_dropout": (StitchedStreams, "any_subset", "drop"),
        "stitchfusion_no_adapters": (PlainStreams, "full", "zeros"),
    }
    for row, (kind, shown, absent) in rows.items():
        with torch.device("meta"):
            model = build_model(row, THREE, CLASSES, pretrained=False)
        assert type(model.network) is kind
        assert (model.subsets, model.subsets_per) == (shown, "sample")
        assert model.network.absent == absent
        if kind is StitchedStreams:
            assert not any(stitch.parallel for stitch in model.network.stitches[0])


def test_adapters_are_one_of_three() -> None:
    with pytest.raises(UserError, match="none of"):
        make(adapters="shared")
