"""What a trainer may be asked for here, looked at before anything is built."""

from collections.abc import Mapping
from typing import Any

from benchmark.records.partial import partial_option
from usererror import UserError

# a run keeps weights and logs, and has some training to keep
UNUSABLE = {"barebones": True, "enable_checkpointing": False, "max_steps": 0, "max_epochs": 0}
ENDS = ("max_epochs", "max_steps", "max_time")


def check_trainer(options: Mapping[str, Any]) -> None:
    """Raise a UserError for a `trainer` section that gives no result, or one of a part."""
    if partial := partial_option(options):
        remedy = "--trainer.max_steps or --trainer.limit_train_batches make a quick run"
        raise UserError(f"{partial} does not score every scene once: leave it out; {remedy}.")
    for name, value in UNUSABLE.items():
        given = options.get(name)
        # False is no zero, and no True a one
        if given == value and isinstance(given, type(value)):
            raise UserError(f"trainer.{name} {value} leaves no weights to score: leave it out.")
    if all(options.get(name) in (None, -1) for name in ENDS):
        raise UserError("The training needs an end: set --trainer.max_epochs or max_steps.")
