"""One line of progress for a whole run: training, validation and evaluation, with the time left.

On a terminal the line is a bar that is drawn anew, elsewhere a plain line now and then.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

TRAINING, VALIDATION, EVALUATION = "training", "validation", "evaluation"
REDRAW_S, PLAIN_S = 0.2, 60.0  # between two lines on a terminal, and elsewhere
FIRST_S = 10.0
BAR = "{percentage:3.0f} %|{bar:16}| {desc}"


class TimeLeft:
    """Estimates what is left of a run from what a batch of each kind has taken.

    Example:
        >>> now = iter([0.0, 2.0, 5.0])
        >>> left = TimeLeft({TRAINING: 2, VALIDATION: 4, EVALUATION: 10}, lambda: next(now))
        >>> left.count(TRAINING)
        >>> left.seconds  # nothing else is known: as if every batch took 2 s
        30.0
        >>> left.count(VALIDATION)
        >>> left.seconds  # batches of evaluations take 3 s
        41.0
    """

    def __init__(
        self,
        planned: dict[str, float],
        clock: Callable[[], float] = time.monotonic,
        earlier: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        # `earlier` are batches of attempts before this one
        self.planned, self.clock, self.earlier = planned, clock, earlier
        self.done, self.spent = dict.fromkeys(planned, 0), dict.fromkeys(planned, 0.0)
        self.last = clock()

    def count(self, kind: str) -> None:
        """Note the end of a batch; whatever happened since the last one belongs to it."""
        now = self.clock()
        self.spent[kind] += now - self.last
        self.done[kind] += 1
        self.last = now

    @property
    def seconds(self) -> float:
        """Seconds left, of kinds that have not begun as the most similar one."""
        left = {kind: max(0.0, whole - self.done[kind]) for kind, whole in self.planned.items()}
        return self._estimate(left)

    @property
    def share(self) -> float:
        """Part of the run's time that is over, earlier attempts included; 0 where nothing is."""
        over = sum(self.spent.values()) + self._estimate(self.earlier)
        return over / (over + self.seconds) if over else 0.0

    def _estimate(self, batches: Mapping[str, float]) -> float:
        seconds = 0.0
        for kind, number in batches.items():
            similar = VALIDATION if kind == EVALUATION else EVALUATION
            known = [name for name in (kind, similar, TRAINING) if self.done.get(name)]
            if number and known:
                seconds += number * self.spent[known[0]] / self.done[known[0]]
        return seconds


def describe_seconds(seconds: float) -> str:
    """Write a duration with the precision of an estimate.

    Example:
        >>> [describe_seconds(value) for value in (41, 200, 9000)]
        ['41 s', '3 min', '2 h 30 min']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class ProgressLine:
    """A line that says how far a command is: drawn anew on a terminal, else one now and then."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        # the first plain line comes early: it says that there is progress, and how long it takes
        self.shown_at = self.started_at - max(0.0, PLAIN_S - FIRST_S)
        self.bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=1.0, bar_format=BAR, dynamic_ncols=True)

    def is_due(self) -> bool:
        """Tell whether the last line is old enough for the next one."""
        return time.monotonic() - self.shown_at >= (REDRAW_S if self.bar else PLAIN_S)

    def show(self, share: float, text: str) -> None:
        """Show the part that is done, 0 to 1, and a text."""
        self.shown_at = time.monotonic()
        if self.bar is None:
            print(f"{100 * share:3.0f} % {text}", flush=True)
        else:
            self.bar.n = share
            self.bar.set_description_str(text)

    def finish(self) -> None:
        """Show that all is done, and leave the line."""
        self.show(1.0, f"done in {describe_seconds(time.monotonic() - self.started_at)}")
        self.close()

    def close(self) -> None:
        """Leave the line as it is; what is printed next comes below it."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def show_share(line: ProgressLine, share: float) -> None:
    """Show how much of an even work is done, and the time left."""
    if share and line.is_due():
        left = (time.monotonic() - line.started_at) * (1 - share) / share
        line.show(share, f"{describe_seconds(left)} left")


class RunProgress(ProgressBar):
    """Shows step, loss, validation score and time left of fit and test as one run."""

    def __init__(self) -> None:
        super().__init__()
        self.left: TimeLeft | None = None
        self.line: ProgressLine | None = None
        self.enabled = True

    def disable(self) -> None:
        """Show nothing, as on ranks other than the first."""
        self.enabled = False

    def enable(self) -> None:
        """Show the line again."""
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Plan the whole run, less what an earlier attempt has done."""
        every = trainer.accumulate_grad_batches
        begun = trainer.global_step * every
        batches = trainer.estimated_stepping_batches * every
        validated = _validations_until(trainer, begun)
        validations = _validations_until(trainer, batches) - validated
        planned: dict[str, float] = {TRAINING: batches - begun, VALIDATION: validations}
        earlier: dict[str, float] = {TRAINING: begun}
        if validations:
            each = _batches(trainer, "val")
            planned[VALIDATION] *= each
            earlier[VALIDATION] = validated * each
        planned[EVALUATION] = _batches(trainer, "test")
        self._plan(planned, earlier)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *batch: Any
    ) -> None:
        """Count a training step."""
        steps = trainer.estimated_stepping_batches
        of = "" if math.isinf(steps) else f"/{steps}"
        self._show(TRAINING, lambda: f"step {trainer.global_step}{of}{_scores(trainer)}")

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *batch: Any
    ) -> None:
        """Count a batch of a validation."""
        if not trainer.sanity_checking:
            self._show(VALIDATION, lambda: f"step {trainer.global_step}{_scores(trainer)}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Plan no more training: it may have stopped early."""
        if self.left:
            self.left.planned |= {kind: self.left.done[kind] for kind in (TRAINING, VALIDATION)}

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Plan an evaluation that no training preceded."""
        if self.left is None:
            self._plan({EVALUATION: _batches(trainer, "test")}, {})

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *batch: Any
    ) -> None:
        """Count a batch of the evaluation."""
        if self.left:
            number, of = self.left.done[EVALUATION] + 1, self.left.planned[EVALUATION]
            self._show(EVALUATION, lambda: f"batch {number}/{of:.0f}")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the last line."""
        if self.line:
            self.line.finish()
        self.line = None

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave the line as it is; messages come below it."""
        if self.line:
            self.line.close()
        self.line = None

    def _plan(self, planned: dict[str, float], earlier: Mapping[str, float]) -> None:
        self.left = TimeLeft(planned, earlier=earlier)
        self.line = ProgressLine() if self.enabled else None

    def _show(self, kind: str, text: Callable[[], str]) -> None:
        """Count a batch; show the line if the last one is old enough."""
        if self.left is None:
            return
        self.left.count(kind)
        if not self.line or not self.line.is_due():
            return
        seconds = self.left.seconds
        # the text is made here only: reading a loss waits for the device
        rest = "" if math.isinf(seconds) else f", {describe_seconds(seconds)} left"
        self.line.show(self.left.share, f"{kind}, {text()}{rest}")


def _batches(trainer: L.Trainer, part: str) -> float:
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return float(len(getattr(data, f"{part}_dataloader")()))


def _validations_until(trainer: L.Trainer, batches: float) -> float:
    """Count the validations that are due within the first batches of the training."""
    every, per_epoch = trainer.val_check_batch, trainer.num_training_batches
    epochs = trainer.check_val_every_n_epoch
    if not trainer.limit_val_batches or not every or math.isinf(batches + every):
        return 0
    if epochs is None:
        return batches // every
    return (batches // per_epoch) // epochs * (per_epoch // every)


def _scores(trainer: L.Trainer) -> str:
    metrics = trainer.callback_metrics
    text = f", loss {metrics['train/loss']:.3f}" if "train/loss" in metrics else ""
    if "val/average_miou" in metrics:
        text += f", Average {100 * metrics['val/average_miou']:.1f}"
    return text
