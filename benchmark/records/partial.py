"""Options of Lightning's trainer with which a part of the scenes would be scored."""

from collections.abc import Mapping
from typing import Any

# what each may be, besides not given; one batch is 1, all of them are 1.0
WHOLE: dict[str, tuple[Any, ...]] = {
    "limit_test_batches": (1.0,),
    "limit_val_batches": (1.0, 0.0),  # without any the last weights are scored, and named so
    "overfit_batches": (0.0,),
    "fast_dev_run": (False,),
    # windows would be dealt out, and some of them twice; a scene is put together in one process
    "use_distributed_sampler": (False,),
}


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
