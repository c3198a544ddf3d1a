"""CMNeXt fulfils the contract; what is missing is zeros, or leaves the maximum (dossier 5.3)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.experiment.models import build_model
from methods.cmnext.module import CMNeXt
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


class TestCMNeXt(MethodContract):
    method = CMNeXt
    options = {**SMALL, "depths": [1, 1, 1, 1], "heads": [1, 2, 3, 4], "subsets": "any_subset"}


make = TestCMNeXt.make


def settled(**options: Any) -> CMNeXt:
    module = make(**options)
    with torch.no_grad():
        module.train().training_losses(training_batch(THREE))
    return module.eval()


@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "resnet18"])
def test_a_subset_is_the_full_set_with_images_of_zeros(backbone: str) -> None:
    module, given = settled(backbone=backbone, heads=[1, 1, 1, 1]), images(THREE)
    with torch.inference_mode():
        for subset in subsets(list(THREE)):
            few = {m: given[m] for m in subset}
            whole = {m: few.get(m, torch.zeros_like(given[m])) for m in THREE}
            torch.testing.assert_close(module(few), module(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absent", ["zeros", "drop"])
def test_masked_images_have_no_influence(absent: str) -> None:
    module, given = settled(absent=absent), images(THREE)
    flags = {"rgb": [True, False], "dsm": [False, True], "sar": [True, False]}
    present = {m: torch.tensor(mask) for m, mask in flags.items()}
    noisy: dict[str, Tensor] = {}
    for m, image in given.items():
        noisy[m] = torch.where(
            present[m][:, None, None, None], image, 100 * torch.randn_like(image)
        )
    with torch.inference_mode():
        first, second = (module.network(pixels, present) for pixels in (given, noisy))
        shown = module.network.fuse_shown(noisy, present)[0]
        entries = module.network.encode(given)
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        torch.testing.assert_close(module.network.fuse(entries, present)[0], shown)


def test_a_dropped_auxiliary_enters_no_maximum() -> None:
    """Whatever its norms and scorers are; as zeros it does enter."""
    for absent in ("zeros", "drop"):
        module, given = settled(absent=absent), images(THREE)
        few = {"rgb": given["rgb"], "dsm": given["dsm"]}
        with torch.no_grad():
            before, alone = module(few), module({"rgb": given["rgb"]})
            for stage in module.network.auxiliary:
                stage.norms["sar"].bias.add_(1.0)
            assert torch.equal(module(few), before) == (absent == "drop")
            # without any auxiliary the zero images of all remain
            assert not torch.allclose(module({"rgb": given["rgb"]}), alone, atol=1e-4)


def test_the_primary_is_the_first_modality_or_the_one_that_is_named() -> None:
    first, named = make(), make(primary="sar")
    assert (first.network.primary, first.network.others) == ("rgb", ("dsm", "sar"))
    assert (named.network.primary, named.network.others) == ("sar", ("rgb", "dsm"))


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "resnet18", "reduction": [16, 16, 24, 32], "subsets": "full"},
        {"absent": "drop", "primary": "dsm", "restore": "released", "head_norm": "ln"},
        {"depths": [0, 1, 2, 1], "subsets_per": "batch", "reduction": [16, 16, 24, 32]},
    ],
    ids=["resnet", "released", "reduced"],
)
def test_options_train_and_stay_exact(options: dict[str, Any]) -> None:
    check_trains_and_stays_exact(make(**options))


def test_batch_statistics_are_those_of_the_batch_as_shown() -> None:
    """A step with gaps moves the statistics as a step on images of zeros does."""
    batch, found = training_batch(THREE, batch=4), []
    batch["available"]["rgb"][1] = batch["available"]["sar"][2] = False
    blank = {m: image.clone() for m, image in batch["image"].items()}
    blank["rgb"][1], blank["sar"][2] = 0, 0
    whole = {"image": blank, "mask": batch["mask"]}
    for given in (batch, whole):
        module = make(backbone="resnet18", heads=[1] * 4, subsets="full").train()
        torch.manual_seed(1)
        module.training_losses(given)
        found.append(dict(module.named_buffers()))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_zeros_teach_the_first_stage_nothing() -> None:
    """From random weights their gradients would be 1e13 times those of an image."""
    module, batch = make(subsets="full").train(), training_batch(THREE)
    batch["available"]["rgb"][:] = False
    batch["available"]["sar"][1] = False
    module.training_losses(batch)["seg"].backward()
    pyramid, stage = module.network.encoder.pyramid, module.network.auxiliary[0]
    for part in (pyramid["patch_embed"], pyramid["stages_0"]):
        assert not any(parameter.grad.any() for parameter in part.parameters())
    for part in (pyramid["stages_1"], stage.embed, stage.norms["dsm"], stage.norms["sar"]):
        assert all(parameter.grad.any() for parameter in part.parameters())
    assert max(float(parameter.grad.norm()) for parameter in module.parameters()) < 10


def test_rows_are_the_dossiers() -> None:
    for row, subsets_shown in (("cmnext", "full"), ("cmnext_dropout", "any_subset")):
        with torch.device("meta"):
            model = build_model(row, THREE, CLASSES, pretrained=False)
        assert isinstance(model, CMNeXt) and model.subsets == subsets_shown
        assert model.subsets_per == "sample"
        network = model.network
        assert (network.absent, network.restore, network.primary) == ("zeros", "aligned", "rgb")
        assert [len(stage.blocks) for stage in network.auxiliary] == [3, 4, 6, 3]
