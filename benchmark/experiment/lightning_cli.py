"""LightningCLI for one cell: base + data + protocol + method + overrides -> model, datamodule, trainer."""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from benchmark.choices import NO_BACKBONE, WANDB_PROJECT
from benchmark.evaluation.callback import MissingModalityEvaluation
from benchmark.experiment.config import config_words
from benchmark.experiment.identity import Cell, git_state, identity, run_directory
from benchmark.experiment.request import Request
from datamodules.base import SceneDataModule
from methods.base import AnyModalitySegmenter
from usererror import UserError

LAST, BEST = "last", "best"


class BenchCLI(LightningCLI):
    """Instantiates a cell; `run_dir`, `identity`, `group` and `resolved` describe it."""

    def __init__(self, request: Request, run_dir: Path | None = None) -> None:
        self.request, self._fixed_run_dir = request, run_dir
        super().__init__(
            AnyModalitySegmenter,
            SceneDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,
            run=False,
            args=config_words(request),
            parser_kwargs={"prog": "imss bench", "exit_on_error": False},
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Names, evaluation and the links between data, seed and model."""
        parser.add_class_arguments(Cell, "cell")
        parser.add_lightning_class_args(MissingModalityEvaluation, "evaluation")
        for part in ("model", "data"):
            parser.link_arguments("seed_everything", f"{part}.init_args.seed")
        parser.link_arguments("data.channels", "model.init_args.modalities", apply_on="instantiate")
        parser.link_arguments(
            "data.num_classes", "model.init_args.num_classes", apply_on="instantiate"
        )
        parser.link_arguments(
            "data.ignore_index", "model.init_args.ignore_index", apply_on="instantiate"
        )

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Name the cell, then build the trainer with its directory, loggers and checkpoints."""
        self.cell: Cell = self.config_init.cell
        if self.cell.selection == BEST and not self.datamodule.has_validation:
            self.cell.selection = self.config.cell.selection = LAST
        self.resolved: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config))
        self.identity, self.group = identity(self.resolved, self.datamodule.store.fingerprint)
        model_args = self.resolved["model"]["init_args"]
        self.backbone = str(model_args.get("backbone", NO_BACKBONE))
        request = self.request
        self.run_dir = self._fixed_run_dir or run_directory(
            request.runs, request.data, self.cell.variant, self.backbone, self.seed, self.identity
        )
        loggers = self._loggers()
        if not self.datamodule.has_validation:
            kwargs["limit_val_batches"] = 0
        return super().instantiate_trainer(
            default_root_dir=str(self.run_dir),
            logger=loggers,
            callbacks=[*(self.config_init.trainer.callbacks or []), *self._callbacks()],
            **kwargs,
        )

    @property
    def seed(self) -> int:
        """The seed that was resolved."""
        return int(self.config.seed_everything)

    def _callbacks(self) -> list[L.Callback]:
        directory = str(self.run_dir / "checkpoints")
        common: dict[str, Any] = {
            "dirpath": directory,
            "enable_version_counter": False,
            # a slash in a metric name would make a folder
            "auto_insert_metric_name": False,
        }
        # unmonitored and every epoch: a monitored one with `save_last` can leave `last` at epoch 0
        callbacks: list[L.Callback] = [
            ModelCheckpoint(
                filename=LAST, every_n_epochs=1, save_on_train_epoch_end=True, **common
            ),
        ]
        if self.config.trainer.enable_progress_bar is not False:
            callbacks.append(TQDMProgressBar(refresh_rate=5))
        if self.cell.selection == BEST:
            monitor = ModelCheckpoint(
                filename=BEST,
                monitor="val/average_miou",
                mode="max",
                save_on_train_epoch_end=False,
                **common,
            )
            callbacks.append(monitor)
        if self.request.logger == "wandb":
            from benchmark.tracking.wandb_callback import ExampleLogging

            callbacks.append(ExampleLogging(self))
        return [*callbacks, LearningRateMonitor(logging_interval="step")]

    def _loggers(self) -> list[Logger]:
        # a new version per attempt: continuing in an old one would delete what was logged before the interruption
        loggers: list[Logger] = [CSVLogger(str(self.run_dir), name="logs")]
        if self.request.logger == "wandb":
            loggers.append(self._wandb())
        return loggers

    def _wandb(self) -> WandbLogger:
        import wandb

        (self.run_dir / "wandb").mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or (
            "online" if wandb.login(prompt=False) else "offline"
        )
        return WandbLogger(
            project=os.environ.get("WANDB_PROJECT", WANDB_PROJECT),
            name=f"{self.request.data}/{self.cell.variant}/{self.backbone}/seed{self.seed}",
            # a group is a row of the leaderboard: the same but for the seed
            group=f"{self.request.data}/{self.cell.variant}/{self.backbone}/{self.group[:8]}",
            id=self.identity,
            resume="allow",
            save_dir=str(self.run_dir),
            mode=mode,
            config={
                "method": self.cell.method,
                "variant": self.cell.variant,
                "data": self.request.data,
                "backbone": self.backbone,
                "seed": self.seed,
                "protocol": self.cell.protocol,
                "split_note": self.datamodule.split_note,
                "fingerprint": self.datamodule.store.fingerprint,
                "identity": self.identity,
                "git": git_state(),
                "config": self.resolved,
            },
        )


class ParsedCell(BenchCLI):
    """The configuration of a cell, without a store, a model or a trainer."""

    def instantiate_classes(self) -> None:
        """Keep what was parsed, as plain values, in `parsed`."""
        self.parsed: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config))


def quieten() -> None:
    """Silence what a user of this program can do nothing about; its own messages say what matters."""
    for text in (
        "LightningCLI's args parameter",  # the subcommand's own words are not LightningCLI's
        r"`isinstance\(treespec, LeafSpec\)`",
        "The number of training batches",
        "The '.*_dataloader' does not have many workers",
        "Checkpoint directory .* exists and is not empty",  # continuing is the point
        "You're resuming from a checkpoint that ended before the epoch ended",
    ):
        warnings.filterwarnings("ignore", message=f".*{text}")
    for logger in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    os.environ.setdefault("WANDB_SILENT", "true")


def build(request: Request, run_dir: Path | None = None) -> BenchCLI:
    """Parse and instantiate a cell.

    Raises:
        UserError: the configuration or an override does not parse; the parser's own message is kept.
    """
    quieten()
    try:
        cli = BenchCLI(request, run_dir)
        # a training step of SGMA on two CPU cores takes a quarter less time in this memory format
        cli.model.to(memory_format=torch.channels_last)
        return cli
    except (Exception, SystemExit) as error:
        if (mistake := mistake_behind(error)) is not None:
            raise mistake from error
        raise


def mistake_behind(error: BaseException) -> UserError | None:
    """The user's mistake that an exception of the parser stands for; None if it is something else.

    jsonargparse wraps what is raised during instantiation into its own errors, and words parse errors as trees in
    which only a few lines say what is wrong.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = cause.__cause__ or cause.__context__
    if not isinstance(error, argparse.ArgumentError):
        return None
    noise = (
        "Does not validate",
        "Subtypes:",
        "Errors:",
        "- Expected a <class 'NoneType'>",
        "Given value type:",
    )
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if not line.startswith((*noise, "Given value: NestedArg"))]
    return UserError(f"The configuration does not parse: {' '.join(kept)}")
