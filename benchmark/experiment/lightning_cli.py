"""LightningCLI for one experiment: base + data + protocol + method + overrides, instantiated."""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger

from benchmark.choices import is_config_file, nearest
from benchmark.computation.compilation import Compile, compile_where_possible
from benchmark.computation.products import round_products
from benchmark.evaluation.callback import MissingModalityEvaluation
from benchmark.evaluation.divergence import DivergenceStop
from benchmark.experiment import config as files
from benchmark.experiment.checkpoints import KeepLast, trainer_plugins
from benchmark.experiment.config import import_class, read_section, store_name
from benchmark.experiment.identity import (
    ExperimentConfig,
    ResolvedExperiment,
    git_state,
    name_file_contents,
)
from benchmark.experiment.processes import EndTogether, allow_unused_parameters
from benchmark.experiment.request import Request, Teacher, teacher_request
from benchmark.records.attempts import CHECKPOINTS
from benchmark.records.manifest import Stage
from benchmark.records.trainer_options import check_trainer, divide_batch
from benchmark.tracking.learning import LearningRatio
from benchmark.tracking.progress import RunProgress
from benchmark.tracking.wandb_callback import ExampleLogging
from benchmark.tracking.wandb_summary import run_names, wandb_logger
from datamodules.base import SceneDataModule
from datamodules.store.names import check_name
from datamodules.store.scene_store import SceneStore
from methods.base import AnyModalitySegmenter
from usererror import UserError

LAST, BEST = "last", "best"
# what a user of this program can do nothing about
WARNINGS = (
    "LightningCLI's args parameter",  # the command's own words are not LightningCLI's
    r"`isinstance\(treespec, LeafSpec\)`",
    "The number of training batches",
    "The `srun` command is available",  # one process needs none
    "The '.*_dataloader' does not have many workers",
    "Checkpoint directory .* exists and is not empty",  # continuing is the point
    "You're resuming from a checkpoint that ended before the epoch ended",
    "Be aware that when using `ckpt_path`",  # `evaluate` needs no callback of the training
)
# lines of jsonargparse's messages that repeat types instead of saying what is wrong
UNKNOWN_OPTION = re.compile(
    r"(?:Parser key \"(\w+)\": - Problem with given class_path '([\w.]+)': )?"
    r"(?:Option '([\w.]+)' is not accepted|unrecognized arguments: --([\w.]+).*)"
)
KEY = re.compile(r"Parser key \"([\w.]+)\":")
IN_CLASS = re.compile(rf"{KEY.pattern} - Problem with given class_path '[\w.]+': {KEY.pattern}")
NOISE = (
    *("Does not validate", "Subtypes:", "Errors:", "- Expected a <class 'NoneType'>"),
    *("Given value type:", "Given value: NestedArg"),
)


class BenchCLI(LightningCLI):
    """Instantiate an experiment; `run_dir`, `identity`, `group` and `resolved` describe it."""

    compiled: Compile = "none"  # what was, whatever was asked for
    stages: tuple[Stage, ...] = ()  # before this training
    learning: LearningRatio | None = None  # if it was asked for

    def __init__(self, request: Request, run_dir: Path | None = None) -> None:
        self.request, self._fixed_run_dir = request, run_dir
        super().__init__(
            AnyModalitySegmenter,
            SceneDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            # the run directory has its own config.json, without places of files
            save_config_callback=None,
            auto_configure_optimizers=False,
            run=False,
            args=config_words(request),
            # errors are raised, so that they become one line; `max_epoch` is not `max_epochs`
            parser_kwargs={"prog": "imss bench", "exit_on_error": False, "allow_abbrev": False},
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add names, evaluation and the links between data, seed and model."""
        # the section keeps the name that published identities were hashed with
        parser.add_class_arguments(ExperimentConfig, "cell")
        parser.add_lightning_class_args(MissingModalityEvaluation, "evaluation")
        for part in ("model", "data"):
            parser.link_arguments("seed_everything", f"{part}.init_args.seed")
        links = {"channels": "modalities", "num_classes": "num_classes"}
        for source, target in {**links, "ignore_index": "ignore_index"}.items():
            names = (f"data.{source}", f"model.init_args.{target}")
            # known only when the store has been opened
            parser.link_arguments(*names, apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Refuse what else would surface later, and divide batches that are to be accumulated."""
        trainer, data = self.config.trainer, self.config.data.init_args
        check_trainer(trainer)
        if (count := self.config.cell.accumulate) is not None:
            data.batch_size, options = divide_batch(count, data.batch_size, trainer)
            for name, value in options.items():
                trainer[name] = value

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Name the experiment, then build the trainer with its directory and loggers."""
        self.cell: ExperimentConfig = self.config_init.cell
        # before the identity: a run that cannot validate is one of the last weights
        if self.cell.selection == BEST and not self.datamodule.has_validation:
            self.cell.selection = self.config.cell.selection = LAST
        self.resolved: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config))
        # a method without options has no such section
        self.resolved["model"].setdefault("init_args", {})
        fingerprint = self.datamodule.store.fingerprint
        self.revision = self.model.revision_of(self.resolved["model"]["init_args"])
        self.teacher = find_teacher(self.request, self.resolved)
        taught_by = self.teacher.experiment if self.teacher else None
        found = ResolvedExperiment(self.resolved, fingerprint, self.revision, taught_by)
        self.identity, self.group, self.backbone = found.identity, found.group, found.backbone
        # a part of paths, here and where the record is published
        check_name("method", self.cell.variant)
        folder = self.request.runs / self.request.dataset / self.cell.variant
        self.run_dir = self._fixed_run_dir or folder / found.run_name
        if not self.datamodule.has_validation:
            # else Lightning would ask for a loader of no scenes
            kwargs["limit_val_batches"] = 0
        # Lightning's counts no operations of networks that read batches of ours
        kwargs["enable_model_summary"] = bool(self.config.trainer.enable_model_summary)
        trainer = super().instantiate_trainer(
            # without weights: Slurm's environment takes up what lies there as `hpc_ckpt_*`
            default_root_dir=str(self.run_dir / "logs"),
            plugins=[*(self.config_init.trainer.plugins or []), *trainer_plugins()],
            logger=self._loggers(),
            callbacks=[*(self.config_init.trainer.callbacks or []), *self._callbacks()],
            **kwargs,
        )
        allow_unused_parameters(trainer)
        return trainer

    @property
    def seed(self) -> int:
        """The seed that was resolved."""
        return int(self.config.seed_everything)

    def _callbacks(self) -> list[L.Callback]:
        folder = self.run_dir / CHECKPOINTS
        callbacks: list[L.Callback] = [DivergenceStop(), EndTogether(), KeepLast(folder)]
        if self.config.trainer.enable_progress_bar is not False:
            callbacks.append(RunProgress())
        if self.cell.learning:
            self.learning = LearningRatio(list(self.datamodule.rasters))
            callbacks.append(self.learning)
        if self.cell.selection == BEST:
            highest: dict[str, Any] = {"monitor": "val/average_miou", "mode": "max"}
            # a slash in a metric name would make a folder
            highest |= {"enable_version_counter": False, "auto_insert_metric_name": False}
            highest |= {"filename": BEST, "save_on_train_epoch_end": False}
            callbacks.append(ModelCheckpoint(str(folder), **highest))
        if self.request.logger == "wandb":
            callbacks.append(ExampleLogging())
        return [*callbacks, LearningRateMonitor(logging_interval="step")]

    def _loggers(self) -> list[Logger]:
        # a new version per attempt: continuing an old one would delete what it logged
        loggers: list[Logger] = [CSVLogger(str(self.run_dir), name="logs")]
        if self.request.logger == "wandb":
            row = (self.request.dataset, self.cell.variant, self.backbone)
            names = run_names(*row, self.seed, self.group)
            about = self._description()
            loggers.append(wandb_logger(self.run_dir, *names, self.identity, about))
        return loggers

    def _description(self) -> dict[str, Any]:
        return {
            "method": self.cell.method,
            "variant": self.cell.variant,
            "data": self.request.dataset,
            "backbone": self.backbone,
            "seed": self.seed,
            "protocol": self.cell.protocol,
            "split_note": self.datamodule.split_note,
            "fingerprint": self.datamodule.store.fingerprint,
            "identity": self.identity,
            "git": git_state(),
            "config": name_file_contents(self.resolved),
        }


def config_words(request: Request) -> list[str]:
    """Build the command line that LightningCLI parses."""
    words = []
    names = (request.method, request.data, request.protocol, request.scale)
    for path in files.config_files(*names):
        words += ["--config", str(path)]
    words += ["--seed_everything", str(request.seed)]
    # after the files: these hold for whatever the files say
    words += ["--data.init_args.name", store_name(request.data)]
    words += ["--data.init_args.store", str(request.store)]
    if request.backbone:
        words += ["--model.init_args.backbone", request.backbone]
    for word in filter(is_config_file, (request.method, request.data)):
        check_own_classes(Path(word))
    if is_config_file(request.method):
        # a file of the user's own need not name itself
        method = read_section(Path(request.method), "cell").get("method", request.variant)
        words += ["--cell.variant", request.variant, "--cell.method", method]
    return words + list(request.overrides)


def check_own_classes(path: Path) -> None:
    """Import the classes that a user's own file names; a UserError says why one cannot be."""
    files.add_import_folders(path)
    for section in ("model", "data"):
        if class_path := read_section(path, section).get("class_path"):
            import_class(class_path, f" in {path}")


class ParsedExperiment(BenchCLI):
    """The configuration of an experiment, without a store, a model or a trainer."""

    def instantiate_classes(self) -> None:
        """Keep what was parsed, as plain values, in `parsed`."""
        self.parsed: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config))


def resolve_config(request: Request) -> dict[str, Any]:
    """Resolve the configuration of a request as plain values; the data need not be there."""
    silence_known_warnings()
    with explain_parser_errors():
        return ParsedExperiment(request).parsed


def resolve_experiment(request: Request) -> ResolvedExperiment:
    """Resolve an experiment, whose store must be there, without building anything."""
    config = resolve_config(request)
    data, cell = config["data"]["init_args"], config["cell"]
    store = SceneStore.open(request.store / data["name"])
    # a run that cannot validate is one of the last weights
    if cell["selection"] == "best" and not store.split(data["split"]).get("val"):
        cell["selection"] = "last"
    # a method without options has no such section
    config["model"].setdefault("init_args", {})
    model = config["model"]
    revision = import_class(model["class_path"]).revision_of(model["init_args"])
    teacher = find_teacher(request, config)
    taught_by = teacher.experiment if teacher else None
    return ResolvedExperiment(config, store.fingerprint, revision, taught_by)


def find_teacher(request: Request, config: Mapping[str, Any]) -> Teacher | None:
    """Resolve the experiment that the one of a request and configuration learns from, if any."""
    asked = teacher_request(request, config["cell"])
    if asked is None:
        return None
    asked = asked.named()
    found = resolve_experiment(asked)
    if found.teacher:
        raise UserError(f"{asked.variant} has a teacher itself: name one that learns from labels.")
    return Teacher(asked, found)


def silence_known_warnings() -> None:
    """Silence what a user of this program can do nothing about."""
    for text in WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{text}")
    for logger in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    os.environ.setdefault("WANDB_SILENT", "true")


def build_cli(request: Request, run_dir: Path | None = None) -> BenchCLI:
    """Parse and instantiate an experiment."""
    silence_known_warnings()
    with explain_parser_errors():
        cli = BenchCLI(request, run_dir)
        check_linked_values(cli)
        # a training step of SGMA on two CPU cores takes a quarter less time in this memory format
        cli.model.to(memory_format=torch.channels_last)
    device = cli.trainer.strategy.root_device
    round_products(device, cli.cell.exact)
    cli.compiled = compile_where_possible(cli.cell.compile, cli.model, device)
    return cli


def check_linked_values(cli: BenchCLI) -> None:
    """Raise a UserError if a method's own constructor dropped what the suite set."""
    expected = {"seed": cli.seed, "ignore_index": cli.datamodule.ignore_index}
    for name, value in expected.items():
        if getattr(cli.model, name) != value:
            drops = f"{type(cli.model).__name__}.__init__ drops {name}"
            raise UserError(f"{drops}: pass it on to super().__init__.")


@contextmanager
def explain_parser_errors() -> Iterator[None]:
    """Turn exceptions of the parser into the user's mistakes that they stand for."""
    try:
        yield
    except (Exception, SystemExit) as error:
        # jsonargparse wraps what is raised during instantiation, several causes deep
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        if not isinstance(error, ArgumentError):
            raise
        # it words parse errors as trees in which only a few lines say what is wrong
        lines = map(str.strip, str(error).splitlines())
        text = " ".join(line for line in lines if not line.startswith(NOISE))
        if unknown := UNKNOWN_OPTION.search(text):
            raise UserError(_describe_unknown(*unknown.groups(""))) from error
        text = KEY.sub(r"--\1:", IN_CLASS.sub(r"--\1.\2:", text))
        raise UserError(f"The configuration does not parse: {text}") from error


def _describe_unknown(section: str, owner: str, name: str, word: str) -> str:
    """Say which class or section lacks an option, and which one is near."""
    name = ".".join(filter(None, (section, name or word)))
    known: list[str] = []
    if owner or name.startswith("trainer."):
        section = section or "trainer"
        # a method hands options on to its base
        for base in (import_class(owner) if owner else L.Trainer).__mro__:
            for option in signature(base).parameters.values():
                if not option.kind.name.startswith("VAR_"):
                    known.append(f"--{section}.{option.name}")
    return f"{owner or 'The configuration'} has no option --{name}.{nearest(f'--{name}', known)}"
