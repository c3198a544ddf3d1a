"""Options of Lightning's trainer with which there is no result, or one of a part of the scenes."""

from collections.abc import Mapping
from typing import Any

from usererror import UserError

# what each may be, besides not given; one batch is 1, all of them are 1.0
WHOLE: dict[str, tuple[Any, ...]] = {
    "limit_test_batches": (1.0,),
    "limit_val_batches": (1.0, 0.0),  # without any the last weights are scored, and named so
    "overfit_batches": (0.0,),
    "fast_dev_run": (False,),
    # windows would be dealt out, and some of them twice; a scene is put together in one process
    "use_distributed_sampler": (False,),
}
# a run keeps weights and logs, and has some training to keep
UNUSABLE = {"barebones": True, "enable_checkpointing": False, "max_steps": 0, "max_epochs": 0}
UNUSABLE |= {"limit_train_batches": 0, "accumulate_grad_batches": 0}
ENDS = ("max_epochs", "max_steps")
# where they are whole numbers, as 1.0 is an epoch
IN_BATCHES = ("val_check_interval", "limit_train_batches")


def divide_batch(count: int, size: int, trainer: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Divide batches of `size` windows into `count`, whose gradients make one step.

    Returns the size of these batches, and the trainer's options with which steps, validations and
    limits stay where they were; a UserError where that cannot be.

    Example:
        >>> divide_batch(4, 8, {"val_check_interval": 60, "limit_train_batches": 1.0})
        (2, {'accumulate_grad_batches': 4, 'val_check_interval': 240})
    """
    divisors = [number for number in range(2, size + 1) if size % number == 0]
    if count not in divisors:
        listed = f"one of {', '.join(map(str, divisors))}, or leave it out" if divisors else "none"
        raise UserError(f"ACCUMULATE is {count}: for a batch of {size} windows give {listed}.")
    if trainer.get("accumulate_grad_batches") not in (None, 1):
        given = trainer["accumulate_grad_batches"]
        raise UserError(f"trainer.accumulate_grad_batches is {given}: leave it or ACCUMULATE out.")
    options: dict[str, Any] = {"accumulate_grad_batches": count}
    for name in IN_BATCHES:
        if isinstance(value := trainer.get(name), int):
            options[name] = value * count
    return size // count, options


def partial_option(trainer: Mapping[str, Any]) -> str:
    """Name the option of a `trainer` section that leaves scenes out, as typed; empty for none.

    Example:
        >>> partial_option({"limit_test_batches": 1}), partial_option({"limit_test_batches": 1.0})
        ('trainer.limit_test_batches 1', '')
    """
    for name, whole in WHOLE.items():
        value = trainer.get(name)
        batches = isinstance(value, int) and value > 0
        if value is not None and (batches or value not in whole):
            return f"trainer.{name} {value}"
    return ""


def check_trainer(options: Mapping[str, Any]) -> None:
    """Raise a UserError for a `trainer` section that gives no result, or one of a part."""
    if options.get("max_time") is not None:
        said = f"trainer.max_time {options['max_time']} ends a training where a machine is by then"
        remedy = "a run that is cut off continues when it is started again"
        raise UserError(f"{said}: set --trainer.max_steps instead; {remedy}.")
    if partial := partial_option(options):
        remedy = "--trainer.max_steps or --trainer.limit_train_batches make a quick run"
        raise UserError(f"{partial} does not score every scene once: leave it out; {remedy}.")
    for name, value in UNUSABLE.items():
        given = options.get(name)
        # False is no zero, and no True a one
        if given == value and isinstance(given, bool) == isinstance(value, bool):
            raise UserError(f"trainer.{name} {given} leaves no weights to score: leave it out.")
    if all(options.get(name) in (None, -1) for name in ENDS):
        raise UserError("The training needs an end: set --trainer.max_epochs or max_steps.")
