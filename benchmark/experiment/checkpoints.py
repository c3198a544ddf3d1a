"""The state that an interrupted training continues from.

It is saved between two steps only, when a validation that was due has run. One counter, the batches
that are done, is all that the draws of the rest depend on, and it is in the same file as the
weights. `last.ckpt` replaces the one before it when it is whole on the disk; that one stays as
`previous.ckpt`.
"""

import io
import os
import pickle
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from benchmark.records.attempts import LAST, PREVIOUS
from datamodules.base import SceneDataModule
from datamodules.store.part_files import whole_file
from usererror import UserError

SAVE_EVERY_S = 300.0  # an epoch of a large dataset takes longer
# what a cut, empty or noisy file raises
DAMAGE = (RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError)


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its target and renames it when it is on the disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save to `path`; whatever stops this leaves the file that was there."""
        target = Path(path)
        # in memory first: torch's own writer hides the error of a full disk
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.with_name(PREVIOUS) if target.name == LAST else None
        with whole_file(target, before) as part:
            part.write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint whose every byte is as it was written, or raise a UserError."""
    try:
        # torch itself does not compare the checksums: noise would become weights
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is not as it was written")
        # weights only: unpickling anything else would run code from the file
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["state_dict"]
    except (OSError, *DAMAGE) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read as a checkpoint: {reason}") from error
    return content


def trainer_plugins() -> list[Any]:
    """Build what the trainer writes checkpoints with, and knows of the cluster."""
    plugins: list[Any] = [WholeFiles()]
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        # its requeueing writes weights of its own, which a later evaluation would load
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins


@dataclass(frozen=True)
class Attempt:
    """What earlier attempts left to continue from."""

    path: Path
    steps: int  # of the optimiser
    fit_s: float  # of training that led here

    @classmethod
    def find(cls, folder: Path) -> "Attempt | None":
        """Find the newest whole checkpoint in the folder of a run."""
        # of processes that were killed while they wrote, perhaps on other machines
        for part in folder.glob("*.part"):
            part.unlink(missing_ok=True)
        for name in (LAST, PREVIOUS):
            path = folder / name
            if not path.exists():
                continue
            try:
                content = read_checkpoint(path)
            except UserError as error:
                # the same end is reached from any of them, and from the beginning
                before = f"{PREVIOUS}, if it is there," if name == LAST else "the beginning"
                print(f"{error}; training goes on from {before} instead.")
                continue
            state = content.get("callbacks", {}).get(KeepLast.__qualname__, {})
            return cls(path, int(content["global_step"]), state.get("fit_s", 0.0))
        return None


class KeepLast(Checkpoint):
    """Saves `last.ckpt` at the start of an epoch, after a validation, and every five minutes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.fit_s, self.finished, self.validated = 0.0, False, False
        self.logged: int | None = None  # the loggers' step, until it is restored

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept beside the weights."""
        return {"fit_s": self.fit_s + time.monotonic() - self.started, "finished": self.finished}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what earlier attempts left."""
        self.fit_s, self.finished = state_dict["fit_s"], state_dict["finished"]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the clocks."""
        self.started = self.saved = time.monotonic()

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put Lightning's counters between two steps, and the draws with them."""
        for state in checkpoint["callbacks"].values():
            if "best_k_models" in state:
                self._follow_folder(state)
        if trainer.state.fn != TrainerFn.FITTING:
            return
        loops = checkpoint["loops"]["fit_loop"]
        epochs, batches = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
        epoch, done = epochs["current"]["processed"], batches["total"]["completed"]
        begun = epochs["current"]["started"] > epoch
        batch = batches["current"]["completed"] if begun else 0
        # Lightning knows half a dozen states that a checkpoint may have been saved in, and goes on
        # from most of them with other batches or another validation; this one it continues right:
        # an epoch has begun, and every batch that was begun is done
        finished = {"processed": epoch, "completed": epoch}
        loops["epoch_progress"] = dict.fromkeys(
            ("total", "current"), {"ready": epoch + 1, "started": epoch + 1, **finished}
        )
        stages = ("ready", "started", "processed", "completed")
        loops["epoch_loop.batch_progress"] = {
            "total": dict.fromkeys(stages, done),
            "current": dict.fromkeys(stages, batch),
            "is_last_batch": False,
        }
        self.logged = loops["epoch_loop.state_dict"]["_batches_that_stepped"]
        # a rule that stopped training early would only be asked after the next validation
        trainer.should_stop = checkpoint["callbacks"].get(self.state_key, {}).get("finished", False)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, SceneDataModule)
        data.resume_at = (epoch, batch)

    def _follow_folder(self, state: dict[str, Any]) -> None:
        """Correct the paths of a run that was moved; else its best score would be forgotten."""
        folder = os.path.realpath(self.folder)
        state["dirpath"] = folder
        for key in ("best_model_path", "kth_best_model_path"):
            state[key] = state[key] and os.path.join(folder, os.path.basename(state[key]))
        moved = {}
        for path, score in state["best_k_models"].items():
            moved[os.path.join(folder, os.path.basename(path))] = score
        state["best_k_models"] = moved

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that a validation would have to be repeated."""
        self.validated = True

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what is done before this batch, if that is due."""
        if self.logged is not None:
            # Lightning counts a batch for the validation that it does not repeat
            trainer.fit_loop.epoch_loop._batches_that_stepped = self.logged
            self.logged = None
            return
        # gradients that are still being accumulated are in no checkpoint
        if not trainer.global_step or batch_idx % trainer.accumulate_grad_batches:
            return
        due = time.monotonic() - self.saved > SAVE_EVERY_S
        due = batch_idx == 0 or self.validated or due
        # the ranks' clocks differ
        if trainer.strategy.broadcast(due):
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the last weights; an interruption from here on repeats the evaluation only."""
        self.finished = True
        self._save(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save where a request to end stopped training, which Lightning heeds between steps."""
        # other ranks may not have been asked, and would be waited for
        alone = trainer.world_size == 1 and trainer.accumulate_grad_batches == 1
        if alone and isinstance(exception, SIGTERMException):
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self.validated = False
        # lines of steps before this one are not made again
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.saved = time.monotonic()
