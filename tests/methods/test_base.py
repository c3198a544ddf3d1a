"""The base contract: draws, losses, logging, schedule, hyperparameters, resuming, and methods with
two optimisers.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset

from methods.base import AnyModalitySegmenter
from methods.parts.losses import cross_entropy
from methods.parts.optim import Recipe, build_optimizer
from methods.parts.seeds import mix_seed
from usererror import UserError

MODALITIES = {"rgb": 3, "dsm": 1}


class ToyNet(nn.Module):
    """One convolution per modality, summed, then dropout (a draw in every training step)."""

    def __init__(self, modalities: dict[str, int], classes: int) -> None:
        super().__init__()
        self.stems = nn.ModuleDict(
            {m: nn.Conv2d(c, classes, 3, padding=1) for m, c in modalities.items()}
        )
        self.dropout = nn.Dropout(0.5)


class Toy(AnyModalitySegmenter):
    """The smallest method."""

    default_loss_weights = {"ce": 1.0, "size": 0.25}

    def __init__(
        self, modalities: dict[str, int], num_classes: int, width: int = 4, **kwargs: Any
    ) -> None:
        super().__init__(modalities, num_classes, **kwargs)
        self.network = ToyNet(self.modalities, num_classes)

    def encode(self, images):
        return {m: self.network.stems[m](image) for m, image in images.items()}

    def decode(self, encoded, size):
        return self.network.dropout(sum(encoded.values()))

    def training_losses(self, batch):
        logits = self(batch["image"])
        return {
            "ce": cross_entropy(logits, batch["mask"], self.ignore_index),
            "size": logits.square().mean(),
        }


class CliToy(Toy):
    """A method whose constructor spells out the base's arguments, as the shipped ones do."""

    def __init__(
        self,
        modalities: dict[str, int],
        num_classes: int,
        ignore_index: int = 255,
        seed: int = 0,
        loss_weights: dict[str, float] | None = None,
        optimizer: Recipe = Recipe(),  # noqa: B008
        width: int = 4,
    ) -> None:
        super().__init__(
            modalities, num_classes, width,
            ignore_index=ignore_index, seed=seed, loss_weights=loss_weights, optimizer=optimizer,
        )  # fmt: skip


class Adversarial(Toy):
    """A dummy with a generator and a discriminator: manual optimisation of two optimisers and two
    schedules.
    """

    default_loss_weights = {"ce": 1.0, "fool": 0.1, "spot": 1.0}

    def __init__(self, modalities: dict[str, int], num_classes: int, **kwargs: Any) -> None:
        super().__init__(modalities, num_classes, **kwargs)
        self.critic = nn.Conv2d(num_classes, 1, 1)
        self.automatic_optimization = False

    def training_losses(self, batch):
        logits = self(batch["image"])
        ce = cross_entropy(logits, batch["mask"], self.ignore_index)
        return {
            "ce": ce,
            "fool": -self.critic(logits).mean(),
            "spot": self.critic(logits.detach()).mean(),
        }

    def training_step(self, batch, batch_idx):
        terms = self.training_losses(batch)
        generator, critic = self.optimizers()
        for optimizer, names in ((generator, ("ce", "fool")), (critic, ("spot",))):
            optimizer.zero_grad()
            self.manual_backward(
                self.weighted_sum({n: terms[n] for n in names}), inputs=self.group(optimizer)
            )
            optimizer.step()
        for scheduler in self.lr_schedulers():
            scheduler.step()
        self.log_losses(terms, self.weighted_sum(terms), batch)

    @staticmethod
    def group(optimizer):
        return [p for group in optimizer.param_groups for p in group["params"]]

    def configure_optimizers(self):
        pairs = [
            build_optimizer(part.parameters(), self.recipe, *self.schedule_length())
            for part in (self.network, self.critic)
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


class Scenes(Dataset):
    """Eight small scenes whose content depends on the index alone."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        image = {m: torch.randn(c, 8, 8, generator=generator) for m, c in MODALITIES.items()}
        return {"image": image, "mask": torch.randint(0, 3, (8, 8), generator=generator)}


class ToyData(L.LightningDataModule):
    """Loaders over `Scenes`, unshuffled."""

    def train_dataloader(self):
        return DataLoader(Scenes(), batch_size=2)

    def val_dataloader(self):
        return DataLoader(Scenes(), batch_size=2)


def trainer(tmp_path, **kwargs: Any) -> L.Trainer:
    kwargs = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, **kwargs}
    return L.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def fresh(kind: type[Toy] = Toy, **kwargs: Any) -> Toy:
    torch.manual_seed(0)
    return kind(MODALITIES, 3, optimizer=Recipe(lr=1e-2), **kwargs)


def test_mix_seed_is_splitmix64_and_separates_its_arguments():
    # the published first output of splitmix64 for the state 0
    assert mix_seed(0) == 0xE220A8397B1DCDAF
    seeds = {mix_seed(a, b, c) for a in range(8) for b in range(8) for c in range(8)}
    assert len(seeds) == 512
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_every_step_is_a_function_of_seed_and_step(tmp_path):
    runs = []
    for stray, seed in ((0, 5), (123, 5), (0, 6)):
        module = fresh(seed=seed)
        torch.manual_seed(stray)
        trainer(tmp_path).fit(module, ToyData())
        runs.append(state(module))
    assert all(torch.equal(runs[0][k], runs[1][k]) for k in runs[0])
    assert any(not torch.equal(runs[0][k], runs[2][k]) for k in runs[0])


def test_micro_batches_of_one_step_draw_differently(tmp_path):
    seen = []

    class Peek(Toy):
        def training_losses(self, batch):
            seen.append((self.global_step, torch.initial_seed()))
            return super().training_losses(batch)

    trainer(tmp_path, accumulate_grad_batches=2).fit(fresh(Peek, seed=3), ToyData())
    assert [step for step, _ in seen] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [seed for _, seed in seen] == [mix_seed(3, i // 2, i % 2, 0) for i in range(8)]


@pytest.mark.parametrize("kind", [Toy, Adversarial])
def test_resumed_equals_uninterrupted(tmp_path, kind):
    whole = fresh(kind)
    trainer(tmp_path, max_epochs=4).fit(whole, ToyData())
    # interrupted after the second of four epochs, with the schedule of the whole run
    keep = ModelCheckpoint(
        dirpath=tmp_path / "ckpt", filename="{epoch}", save_top_k=-1, auto_insert_metric_name=False
    )
    trainer(tmp_path, max_epochs=4, callbacks=[keep], enable_checkpointing=True).fit(
        fresh(kind), ToyData()
    )
    torch.manual_seed(99)
    resumed = fresh(kind)
    trainer(tmp_path, max_epochs=4).fit(
        resumed, ToyData(), ckpt_path=tmp_path / "ckpt" / "1.ckpt", weights_only=True
    )
    assert all(torch.equal(value, state(resumed)[name]) for name, value in state(whole).items())


def test_two_optimisers_both_move_and_only_their_own(tmp_path):
    module = fresh(Adversarial, loss_weights={"fool": 0.0})
    before = state(module)
    fit = trainer(tmp_path, max_epochs=1, limit_train_batches=1)
    fit.fit(module, ToyData())
    changed = {
        name for name, value in state(module).items() if not torch.equal(value, before[name])
    }
    assert changed == {n for n in before if "critic.bias" not in n} | ({"critic.bias"} & changed)
    assert fit.callback_metrics.keys() >= {"train/loss", "train/ce", "train/fool", "train/spot"}


def test_loss_is_the_weighted_sum_and_terms_are_logged(tmp_path):
    module = fresh(loss_weights={"size": 3.0})
    fit = trainer(tmp_path, max_steps=1, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    fit.fit(module, ToyData())
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    assert metrics["train/loss"] == pytest.approx(
        metrics["train/ce"] + 3.0 * metrics["train/size"], rel=1e-6
    )


def test_validation_returns_the_encoding_of_what_is_there(tmp_path):
    outputs = []

    class Catch(L.Callback):
        def on_validation_batch_end(
            self, trainer, module, outputs_, batch, batch_idx, dataloader_idx=0
        ):
            outputs.append((outputs_["encoded"], module.decode(outputs_["encoded"], (8, 8)), batch))

    module = fresh()
    trainer(tmp_path, callbacks=[Catch()]).validate(module, ToyData(), verbose=False)
    assert len(outputs) == 4
    for encoded, logits, batch in outputs:
        assert list(encoded) == list(MODALITIES)
        with torch.no_grad():
            torch.testing.assert_close(logits, module.eval()(batch["image"]))
    assert list(
        module.validation_step({"image": {"dsm": torch.zeros(1, 1, 4, 4)}}, 0)["encoded"]
    ) == ["dsm"]


def test_schedule_reaches_its_peak_and_its_end(tmp_path):
    rates = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    recipe = Recipe(lr=1.0, warmup_epochs=1, warmup_share=0.25)
    torch.manual_seed(0)
    trainer(tmp_path, max_epochs=4, callbacks=[Watch()]).fit(
        Toy(MODALITIES, 3, optimizer=recipe), ToyData()
    )
    # 16 steps, warm-up = min(4 steps of one epoch, 25 % of 16) = 4
    assert rates[:4] == pytest.approx([0.1, 0.325, 0.55, 0.775])
    assert rates[4:] == pytest.approx([(1 - i / 12) ** 0.9 for i in range(12)])


def test_a_run_may_be_limited_by_its_steps_alone(tmp_path):
    own = trainer(tmp_path, max_epochs=-1, max_steps=6)
    own.fit(fresh(), ToyData())
    assert own.global_step == 6


def test_an_endless_run_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="max_epochs"):
        trainer(tmp_path, max_epochs=-1).fit(fresh(), ToyData())


def test_mistakes_in_the_constructor():
    with pytest.raises(UserError, match="at least one modality"):
        Toy({}, 3)
    with pytest.raises(UserError, match="mass.*ce, size"):
        Toy(MODALITIES, 3, loss_weights={"mass": 1.0})


def test_a_constructor_that_the_seed_cannot_reach_is_refused():
    with pytest.raises(UserError, match=r"Forgetful.*ignore_index and seed"):

        class Forgetful(Toy):
            def __init__(self, modalities, num_classes, width=4):
                super().__init__(modalities, num_classes)

    with pytest.raises(UserError, match="no argument seed"):

        class Half(Toy):
            def __init__(self, modalities, num_classes, ignore_index=255):
                super().__init__(modalities, num_classes, ignore_index)

    class Passing(Toy):
        def __init__(self, modalities, num_classes, **options):
            super().__init__(modalities, num_classes, **options)

    assert Passing(MODALITIES, 3, seed=5).seed == 5


def test_hyperparameters_are_plain_and_restore(tmp_path):
    module = fresh(loss_weights={"size": 2.0})
    fit = trainer(tmp_path, max_epochs=1, logger=CSVLogger(tmp_path))
    fit.fit(module, ToyData())
    fit.save_checkpoint(tmp_path / "toy.ckpt")
    stored = torch.load(tmp_path / "toy.ckpt", weights_only=True)["hyper_parameters"]
    assert stored["optimizer"]["lr"] == 1e-2
    assert stored["modalities"] == MODALITIES
    restored = Toy.load_from_checkpoint(tmp_path / "toy.ckpt", weights_only=True)
    assert restored.recipe == module.recipe and restored.loss_weights == {"ce": 1.0, "size": 2.0}
    assert all(torch.equal(value, state(restored)[name]) for name, value in state(module).items())


def test_the_command_line_merges_and_links(tmp_path):
    files = {
        "a.yaml": f"model:\n  class_path: {CliToy.__module__}.CliToy\n  init_args:\n    width: 6\n"
        "    optimizer:\n      lr: 0.5\n      weight_decay: 0.3\n    loss_weights: {ce: 3}\n",
        "b.yaml": "model:\n  init_args:\n    optimizer:\n      lr: 0.25\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    class Cli(LightningCLI):
        def add_arguments_to_parser(self, parser):
            parser.add_argument("--modalities", type=dict[str, int], default=dict(MODALITIES))
            parser.link_arguments("modalities", "model.init_args.modalities")

    options = ["--config", str(tmp_path / "a.yaml"), "--config", str(tmp_path / "b.yaml")]
    options += [
        "--model.num_classes=3",
        "--model.optimizer.eps=1e-7",
        "--model.loss_weights.size=7",
    ]
    options += ["--trainer.logger=false", "--trainer.accelerator=cpu"]
    cli = Cli(
        AnyModalitySegmenter,
        ToyData,
        subclass_mode_model=True,
        args=options,
        run=False,
        save_config_callback=None,
    )
    model = cli.model
    assert isinstance(model, CliToy)
    assert (model.recipe.lr, model.recipe.weight_decay, model.recipe.eps) == (0.25, 0.3, 1e-7)
    assert model.loss_weights == {"ce": 3.0, "size": 7.0}
    assert model.hparams["optimizer"]["lr"] == 0.25 and model.hparams["width"] == 6
