"""Training against a discriminator: gradients, one batch one step, resuming, precision, two
processes.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from methods.gemmnet.losses import discriminator_loss
from methods.gemmnet.module import GEMMNet, frozen_parameters
from methods.parts.optim import Recipe
from tests.methods.gemmnet.test_gemmnet import PLAIN, SMALL, make, show
from tests.methods.test_base import MODALITIES, Scenes, ToyData, state, trainer
from tests.support.method_checks import (
    THREE,
    TWO,
    training_batch,
)

ROOT = Path(__file__).resolve().parents[3]


def touched(module: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def parts(module: GEMMNet) -> dict[str, nn.Module]:
    network = module.network
    named = {"generator": network.generators, "discriminator": network.discriminators}
    return {f"{kind} {m}": entry for kind, group in named.items() for m, entry in group.items()}


# ---- who learns from what (check 7)
# --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "learning"),
    [
        (("rgb", "dsm"), set()),
        (("rgb",), {"generator dsm", "discriminator dsm"}),
        (("dsm",), {"generator rgb", "discriminator rgb"}),
    ],
)
def test_released_steps_train_what_was_missing(shown, learning, monkeypatch):
    module = make(as_released=True).train()
    show(module, monkeypatch, *shown)
    module.weighted_sum(module.training_losses(training_batch(TWO))).backward()
    found = parts(module)
    assert {name for name, part in found.items() if touched(part)} == learning
    idle = [p for name, part in found.items() if name not in learning for p in part.parameters()]
    assert all(p.grad is None for p in idle), "not even a zero, on which momentum would go on"


@pytest.mark.parametrize("shown", [("rgb", "dsm"), ("rgb",), ("dsm",)])
def test_every_step_trains_every_generator(shown, monkeypatch):
    """Paper eq. 6 has the reconstruction loss always."""
    module = make().train()
    show(module, monkeypatch, *shown)
    module.weighted_sum(module.training_losses(training_batch(TWO))).backward()
    assert all(touched(part) for part in parts(module).values())


@pytest.mark.parametrize("released", [True, False])
def test_segmentation_trains_the_generator_of_what_it_lacks(released, monkeypatch):
    module = make(as_released=released).train()
    show(module, monkeypatch, "rgb")
    batch = training_batch(TWO)
    terms = module.training_losses(batch)
    terms["fused"].backward(retain_graph=True)
    assert {name for name, part in parts(module).items() if touched(part)} == {"generator dsm"}
    module.zero_grad()
    terms["unimodal"].backward()
    network = module.network
    assert not any(
        touched(part)
        for part in (network.tokenisers, network.blocks, network.inter, network.reduction)
    )
    assert (
        touched(network.unimodal)
        and touched(network.encoders)
        and touched(network.generators["dsm"])
    )


def test_the_two_steps_of_an_alternating_update_do_not_touch_each_other():
    module = make().train()
    entries, pairs = module.synthesise_batch(training_batch(TWO))
    like = entries["rgb"].image
    module.discriminator_terms(pairs, like)["discriminator"].backward()
    critics = module.network.discriminators
    own = {id(p) for p in critics.parameters()}
    assert {id(p) for p in module.parameters() if p.grad is not None} == own
    module.zero_grad()
    with frozen_parameters(critics):
        sum(module.generator_terms(pairs, like).values()).backward()
    assert all(p.grad is None for p in critics.parameters())
    assert all(touched(entry) for entry in module.network.generators.values())
    assert all(p.requires_grad for p in module.parameters())


def test_released_generator_losses_reach_the_discriminators():
    """Oddity O4 of the release, and what it does: on fakes they settle at sigmoid(d) = 2/3."""
    module = make(as_released=True, subsets="full", rec_when="always").train()
    module.rec_when = "always"
    _, pairs = module.synthesise_batch(training_batch(TWO))
    module.generator_terms(pairs, pairs[0].fake)["adversarial"].backward()
    assert touched(module.network.discriminators)
    d = torch.linspace(-5, 5, 10_001)
    total = 0.5 * nn.functional.softplus(d) + nn.functional.softplus(-d)
    assert float(d[total.argmin()].sigmoid()) == pytest.approx(2 / 3, abs=1e-3)


@pytest.mark.parametrize("condition", ["source", "target"])
def test_what_the_discriminator_sees(condition, monkeypatch):
    """Oddity O3: as released a real pair is the same image twice."""
    module, batch = make(d_condition=condition).train(), training_batch(TWO)
    show(module, monkeypatch, "rgb", "dsm")
    truth = {m: module.network.scale_images(x) for m, x in batch["image"].items()}
    for pair in module.synthesise_batch(batch)[1]:
        other = next(m for m in TWO if m != pair.modality)
        assert torch.equal(pair.real, truth[pair.modality])
        assert torch.equal(pair.condition, truth[pair.modality if condition == "target" else other])


def test_sources_in_training_with_three_modalities(monkeypatch):
    """Ours: the shown ones but the target; where only the target is shown, all others that are
    there.
    """
    module, batch = make(THREE).train(), training_batch(THREE)
    show(module, monkeypatch, "rgb")
    truth = {m: module.network.scale_images(x) for m, x in batch["image"].items()}
    pairs = {pair.modality: pair for pair in module.synthesise_batch(batch)[1]}
    assert set(pairs) == set(THREE)
    assert torch.equal(pairs["rgb"].condition[:, :1], truth["dsm"])
    assert (
        torch.equal(pairs["rgb"].condition[:, 1:3], truth["sar"])
        and pairs["rgb"].condition[:, 3:].all()
    )
    assert (
        torch.equal(pairs["dsm"].condition[:, :3], truth["rgb"])
        and not pairs["dsm"].condition[:, 3:5].any()
    )


def test_losses_of_an_untrained_network():
    """Check 10, images uniform within [-1, 1]."""
    torch.manual_seed(0)
    module = GEMMNet(
        {"rgir": 3, "ndsm": 1}, 5, as_released=True, table_grid=4, loss_weights={"l1": 100.0}
    ).train()
    image = {m: 3 * (2 * torch.rand(2, c, 64, 64) - 1) for m, c in module.modalities.items()}
    module.rec_when = "always"
    with torch.no_grad():
        _, pairs = module.synthesise_batch({"image": image, "mask": torch.zeros(2, 64, 64)})
        spotted = [float(discriminator_loss(pair, module.network.discriminators)) for pair in pairs]
        terms = [module.generator_terms([pair], pair.fake) for pair in pairs]
    assert spotted == pytest.approx([0.71, 0.71], abs=0.05)
    assert all(50 < float(t["adversarial"] + 100 * t["l1"]) < 75 for t in terms)


def test_released_learning_rates(tmp_path):
    """Check 9."""
    rates = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            (group,) = trainer.optimizers[0].param_groups
            assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.99, True, 0)
            rates.append(group["lr"])

    trainer(tmp_path, max_steps=16, max_epochs=99, callbacks=[Watch()]).fit(
        fresh(as_released=True), ToyData()
    )
    printed = "1.00e-3 9.89e-4 9.57e-4 9.05e-4 8.35e-4 7.50e-4 6.55e-4 5.52e-4 4.48e-4 "
    printed += "3.45e-4 2.50e-4 1.65e-4 "
    printed += "9.55e-5 4.32e-5 1.09e-5 1.00e-3"
    assert rates == pytest.approx([float(x) for x in printed.split()], rel=6e-3)


# ---- runs ----------------------------------------------------------------------------------------
# ------------------


def fresh(seed: int = 0, **options: Any) -> GEMMNet:
    torch.manual_seed(seed)
    recipe = Recipe(lr=1e-3, warmup_epochs=0)
    return GEMMNet(MODALITIES, 3, optimizer=recipe, discriminator_lr=1e-3, **{**SMALL, **options})


class Watch(L.Callback):
    """Steps and rates at the start of each batch, and the losses after it."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.rates: list[list[float]] = []
        self.losses: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.steps.append(trainer.global_step)
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.losses.append({k: float(v) for k, v in trainer.callback_metrics.items()})


@pytest.mark.parametrize(
    "options", [{}, {"rec": "l2"}, {"as_released": True}], ids=["cgan", "ae", "released"]
)
def test_a_batch_is_a_step_and_the_schedules_end_with_the_run(options, tmp_path):
    watch, module = Watch(), fresh(**options)
    before = state(module)
    fit = trainer(tmp_path, max_steps=6, max_epochs=99, callbacks=[watch])
    fit.fit(module, ToyData())
    assert watch.steps == list(range(6)) and fit.global_step == 6
    assert len(watch.losses) == 6 and all(
        torch.isfinite(torch.tensor(list(x.values()))).all() for x in watch.losses
    )
    assert len(fit.optimizers) == (1 if options else 2)
    if "as_released" not in options:
        expected = [(1 - i / 6) ** 0.9 * 1e-3 for i in range(6)]
        for number, optimizer in enumerate(fit.optimizers):
            assert [rates[number] for rates in watch.rates] == pytest.approx(expected)
            assert optimizer.param_groups[0]["lr"] == 0.0
    after = state(module)
    for name in ("encoders", "generators", "decoder") + (
        () if "rec" in options else ("discriminators",)
    ):
        assert any(
            not torch.equal(after[n], before[n])
            for n in after
            if f".{name}." in n and n.endswith("weight")
        )


class Continued(DataLoader):
    """A loader whose first epoch starts after `start` batches, which Lightning leaves to it."""

    start = 0

    def __iter__(self):
        skipped, self.start = self.start, 0
        return islice(super().__iter__(), skipped, None)


class ContinuedData(ToyData):
    def __init__(self, start: int = 0) -> None:
        super().__init__()
        self.start = start

    def train_dataloader(self):
        loader = Continued(Scenes(), batch_size=2)
        loader.start = self.start
        return loader


def everything(fit: L.Trainer, module: GEMMNet) -> dict[str, Tensor]:
    """Weights, buffers, optimisers and schedules as tensors."""
    found = state(module)
    for number, optimizer in enumerate(fit.optimizers):
        for key, entries in optimizer.state_dict()["state"].items():
            found |= {
                f"{number}.{key}.{name}": torch.as_tensor(value).clone()
                for name, value in entries.items()
            }
    for number, config in enumerate(fit.lr_scheduler_configs):
        found[f"schedule {number}"] = torch.tensor(config.scheduler.state_dict()["_last_lr"])
    return found


@pytest.mark.parametrize("options", [{}, {"as_released": True}], ids=["alternating", "released"])
def test_resumed_at_any_step_equals_uninterrupted(options, tmp_path):
    """Bit for bit, discriminators and both optimisers included; step 4 ends an epoch, 2 and 5 lie
    within one.
    """
    keep = ModelCheckpoint(
        dirpath=tmp_path,
        filename="{step}",
        every_n_train_steps=1,
        save_top_k=-1,
        auto_insert_metric_name=False,
    )
    whole = fresh(**options)
    fit = trainer(tmp_path, max_epochs=2, callbacks=[keep], enable_checkpointing=True)
    fit.fit(whole, ToyData())
    expected = everything(fit, whole)
    assert any(name.startswith("0.") for name in expected)
    assert bool(options) or any(name.startswith("1.") for name in expected)
    for step in (2, 4, 5):
        resumed, watch = fresh(99, **options), Watch()
        again = trainer(tmp_path, max_epochs=2, callbacks=[watch])
        again.fit(
            resumed, ContinuedData(step % 4), ckpt_path=tmp_path / f"{step}.ckpt", weights_only=True
        )
        assert watch.steps == list(range(step, 8))
        found = everything(again, resumed)
        assert found.keys() == expected.keys()
        assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_bfloat16(tmp_path):
    watch = Watch()
    trainer(tmp_path, max_steps=3, max_epochs=99, precision="bf16-mixed", callbacks=[watch]).fit(
        fresh(), ToyData()
    )
    assert watch.steps == [0, 1, 2]
    assert all(torch.isfinite(torch.tensor(list(x.values()))).all() for x in watch.losses)


def test_float16_with_loss_scaling(tmp_path):
    """Both optimisers go through the scaler: nothing is stepped with scaled gradients, and
    overflows are skipped.
    """
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    watch, module = Watch(), fresh(**PLAIN)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    trainer(tmp_path, max_steps=3, max_epochs=99, plugins=[plugin], callbacks=[watch]).fit(
        module, ToyData()
    )
    assert watch.steps == [0, 1, 2] and scaler.get_scale() == 256.0
    exact = fresh(**PLAIN)
    trainer(tmp_path, max_steps=3, max_epochs=99).fit(exact, ToyData())
    for name, value in exact.named_parameters():
        # Adam moves each weight by at most the rate and a little, whatever the scale
        assert float((value - module.get_parameter(name)).detach().abs().max()) < 1e-2
    assert all(torch.isfinite(torch.tensor(list(x.values()))).all() for x in watch.losses)


def test_two_processes(tmp_path):
    """The ranks see other scenes, and one of them a batch that has nothing to paint; both end with
    the same weights.
    """
    line = [sys.executable, "-m", "tests.support.gemmnet_processes", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("cgan", "ae"):
        ranks = [torch.load(tmp_path / f"{name}{rank}.pt", weights_only=True) for rank in range(2)]
        assert [rank["step"] for rank in ranks] == [4, 4]
        first, second = (rank["parameters"] for rank in ranks)
        assert all(torch.equal(first[n], second[n]) and first[n].isfinite().all() for n in first)
        assert ranks[0]["seen"] != ranks[1]["seen"]
        start = dict(fresh(**({} if name == "cgan" else {"rec": "l2"})).named_parameters())
        assert all(not torch.equal(first[n], start[n]) for n in first if n.endswith("conv.weight"))
        if name == "cgan":
            assert any(n.startswith("network.discriminators") for n in first)
