"""Several processes: those of one run, and two commands that want the same run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from benchmark.records.attempts import lock_file
from datamodules.processes import hold
from usererror import Busy


class EndTogether(L.Callback):
    """Ends the processes that this one started when it ends with an error."""

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Kill them: each would wait for this one, and then say for itself that it is gone."""
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)


def allow_unused_parameters(trainer: L.Trainer) -> None:
    """Let a step of several processes leave parameters out.

    What is drawn or missing in a step is not encoded, and differs between the processes: plain DDP
    waits for such gradients for ever. Two optimisers use a part of the parameters each.
    """
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)


@contextmanager
def claim(run_dir: Path, trainer: L.Trainer) -> Iterator[None]:
    """Hold a run for the first process of one command; Busy tells the second."""
    if not trainer.is_global_zero:
        yield
        return

    def busy() -> None:
        problem = f"Another process is at work on this cell, {run_dir}"
        raise Busy(f"{problem}: wait for it; the same command then uses its record.")

    with hold(lock_file(run_dir), busy):
        yield
