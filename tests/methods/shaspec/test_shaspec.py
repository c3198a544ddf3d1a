"""ShaSpec fulfils the contract; draws, warm-up, kept zeros, options and configs behave as the
dossier says.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from methods.shaspec.module import ShaSpec
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    SIZE,
    THREE,
    TWO,
    default_options,
    images,
    training_batch,
)
from usererror import UserError

# a draw per sample shows every modality within the contract's few steps
SMALL = {"backbone": "resnet50_w4", "subsets_per": "sample"}
CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "method"


class InstanceNormContract(MethodContract):
    """Instance norms over the 2 x 3 values of the deepest maps multiply rounding, and a convolution
    rounds differently
    for another batch: what compares batches of different sizes does so in double precision."""

    sensitive = ("dao", "dco")  # distances and classes of those values

    def test_samples_are_independent_in_eval(self, modalities, settled):
        module, given = (
            deepcopy(settled).double(),
            {m: x.double() for m, x in images(modalities).items()},
        )
        with torch.inference_mode():
            both = module(given)
            alone = torch.cat(
                [module({m: x[i : i + 1] for m, x in given.items()}) for i in range(2)]
            )
        torch.testing.assert_close(both, alone, rtol=1e-9, atol=1e-9)


class TestShaSpec(InstanceNormContract):
    method = ShaSpec
    options = SMALL


class TestAsReleased(InstanceNormContract):
    method = ShaSpec
    options = {**SMALL, "as_released": True}
    # the dead norm lets nothing of the pooled value through
    silent = ("aspp.pooled.0.weight", "aspp.pooled.1.weight")
    counts = (3,)


class TestLight(InstanceNormContract):
    method = ShaSpec
    options = {"backbone": "pyramid", "subsets_per": "sample"}
    counts = (3,)


def make(modalities: dict[str, int] = TWO, **options) -> ShaSpec:
    torch.manual_seed(0)
    return ShaSpec(modalities, CLASSES, **{"backbone": "resnet50_w4", **options})


def test_the_pooling_view_is_dead_as_released():
    """S2: behind an instance norm of one value the view is the same for every picture."""
    for pooling_norm in (True, False):
        aspp = make(pooling_norm=pooling_norm).network.shared.aspp.eval()
        with torch.inference_mode():
            one, two = (aspp.pooled(torch.randn(1, 16, 1, 1)) for _ in range(2))
        assert torch.equal(one, two) == pooling_norm


def test_zeros_are_kept_until_a_weight_changes():
    module, given = make().eval(), {"rgb": images(TWO)["rgb"]}
    calls, shared = [], module.network.shared.forward
    module.network.shared.forward = lambda image: (calls.append(image.shape), shared(image))[1]
    with torch.inference_mode():
        for _ in range(3):
            first = module(given)
    assert len(calls) == 3 + 1
    with torch.no_grad():
        for parameter in module.network.shared.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    with torch.inference_mode():
        changed = module(given)
        assert len(calls) == 3 + 1 + 2
        module.train().eval()
        torch.testing.assert_close(module(given), changed, rtol=0, atol=0)
    assert not torch.allclose(first, changed, atol=1e-3)
    assert module(given).requires_grad


def test_zeros_of_every_size_are_kept():
    module = make().eval()
    with torch.inference_mode():
        sizes = [SIZE, (70, 100), SIZE]
        logits = [module({"rgb": images(TWO, 1, size)["rgb"]}) for size in sizes]
        fresh = make().eval()({"rgb": images(TWO, 1, SIZE)["rgb"]})
    assert torch.equal(logits[0], logits[2])
    torch.testing.assert_close(logits[0], fresh, rtol=1e-5, atol=1e-5)


def test_a_step_from_the_start_has_finite_gradients():
    """Instance norms of constant maps multiply gradients; none passes through the zeros."""
    for options in ({}, {"as_released": True}):
        module = make(**options).train()
        module.draw_shown = lambda batch: {
            "rgb": torch.tensor([True, True]),
            "dsm": torch.tensor([False, False]),
        }
        module.weighted_sum(module.training_losses(training_batch(TWO))).backward()
        assert all(p.grad.isfinite().all() for p in module.parameters())
        assert max(p.grad.abs().max() for p in module.parameters()) < 1e4


def test_frequencies_of_the_draw():
    """One draw for the batch, every non-empty subset alike (dossier II.4, item 8)."""
    module, batch = make(THREE), training_batch(THREE)
    counts = torch.zeros(8)
    for seed in range(4000):
        torch.manual_seed(seed)
        present = torch.stack(list(module.draw_shown(batch).values()))
        assert torch.equal(present[:, 0], present[:, 1])
        counts[int((present[:, 0] * torch.tensor([1, 2, 4])).sum())] += 1
    assert counts[0] == 0 and ((counts[1:] / 4000 - 1 / 7).abs() < 0.025).all()


def test_warm_up_shows_everything():
    module, batch = make(THREE, warmup_share=80 / 180), training_batch(THREE)
    for progress, whole in ((0.0, True), (0.44, True), (0.45, False)):
        module.progress = progress
        draws = []
        for seed in range(20):
            torch.manual_seed(seed)
            draws.append(all(flags.all() for flags in module.draw_shown(batch).values()))
        assert all(draws) == whole
    assert make(THREE).warmup_share == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"as_released": True}, {"backbone": "pyramid"}],
    ids=["full", "released", "light"],
)
def test_training_with_modalities_that_are_really_missing(options):
    module, batch = make(THREE, subsets_per="sample", **options).train(), training_batch(THREE)
    batch["image"].pop("dsm")
    batch["available"]["sar"][0] = False
    for seed in range(3):
        torch.manual_seed(seed)
        loss = module.weighted_sum(module.training_losses(batch))
        loss.backward()
        assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_the_released_optimiser():
    recipe = {"lr": 1e-2, "weight_decay": 0.0, "warmup_epochs": 0}
    module = make(momentum=0.99, optimizer=recipe)
    counts = {"num_training_batches": 5, "accumulate_grad_batches": 1, "strategy": None}
    module._trainer = SimpleNamespace(estimated_stepping_batches=10, **counts)
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert type(optimizer).__name__ == "SGD" and optimizer.defaults["nesterov"]
    assert (optimizer.defaults["momentum"], optimizer.defaults["weight_decay"]) == (0.99, 0)
    rates = []
    for _ in range(3):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1e-2 * (1 - step / 10) ** 0.9 for step in range(3)])


def test_as_released_is_one_switch():
    module = make(as_released=True)
    assert (module.network.missing, module.pairs, module.blank_terms) == ("first", "ring", True)
    plain = make()
    assert (plain.network.missing, plain.pairs, plain.blank_terms) == ("mean", "all", False)
    assert (
        len(plain.network.shared.aspp.pooled) == 1 and len(module.network.shared.aspp.pooled) == 2
    )


def test_shipped_configs():
    base = yaml.safe_load((CONFIGS / "shaspec.yaml").read_text())
    options = base["model"]["init_args"]
    assert base["cell"] == {"method": "shaspec", "variant": "shaspec"}
    assert (
        options["loss_weights"]
        == ShaSpec.default_loss_weights
        == {"seg": 1.0, "dao": 0.1, "dco": 0.02}
    )
    own = default_options(ShaSpec)
    for name in ("missing", "subsets", "subsets_per", "as_released"):
        assert own[name] == options[name]
    assert options["backbone"] == "resnet50_w64"
    small = yaml.safe_load((CONFIGS / "shaspec.small.yaml").read_text())["model"]["init_args"]
    assert make(backbone=small["backbone"]).network.shared.stem[0].out_channels == 16
    light = yaml.safe_load((CONFIGS / "shaspec_light.yaml").read_text())
    assert light["cell"] == {"method": "shaspec", "variant": "shaspec_light"}
    assert light["model"]["init_args"] == {"backbone": "pyramid"}
    # shaspec.small comes before it and names another
    small = yaml.safe_load((CONFIGS / "shaspec_light.small.yaml").read_text())["model"]["init_args"]
    assert small["backbone"] == "pyramid"


def test_what_cannot_be_configured():
    for options, word in (
        ({"missing": "zero"}, "neither mean nor first"),
        ({"pairs": "some"}, "neither all nor ring"),
        ({"backbone": "resnet50_w5"}, "no backbone"),
        ({"backbone": "pvt_v2_b0"}, "no backbone"),
    ):
        with pytest.raises(UserError, match=word):
            make(**options)
