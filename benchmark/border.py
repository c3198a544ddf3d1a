"""What exceptions of libraries say to a user: one line for what they, a disk or a network caused.

They are known by name, since most commands import none of these libraries.
"""

import os
import traceback
from collections.abc import Iterator

from datamodules.store.part_files import FULL_DISK
from usererror import UserError

# what these packages complain of themselves are settings, files and addresses, and what to do then;
# an error of torch's arithmetic or of our own code is a fault of a program, whose place matters
REMEDIES = {
    "wandb": "use LOGGER=csv, or WANDB_MODE=offline and `wandb sync` later",
    **dict.fromkeys(("torch._dynamo", "torch._inductor"), "leave --cell.compile out"),
    "rasterio": "is the file whole, and the disk not full",
    **dict.fromkeys(("lightning", "jsonargparse", "yaml", "filelock", "torch.optim"), ""),
    **dict.fromkeys(("torch.utils.data", "torch.serialization", "PIL", "pyarrow"), ""),
    **dict.fromkeys(("timm", "segmentation_models_pytorch", "huggingface_hub", "safetensors"), ""),
    **dict.fromkeys(("urllib", "urllib3", "requests", "httpx", "http", "ssl", "socket"), ""),
}
MEMORY = "the memory is full: try ACCUMULATE=2, a smaller --data.batch_size or --data.window"
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
TRACEBACK = "IMSS_TRACEBACK"  # variable of the environment with which nothing becomes one line


def explain(error: Exception, goes_on: str) -> str | None:
    """Word an exception for a user; None where only a traceback helps, empty if all is said.

    `goes_on` says what the same command does next time.

    Example:
        >>> import errno
        >>> explain(PermissionError(errno.EACCES, "Permission denied", "runs/a"), "starts again")
        'runs/a: Permission denied.'
        >>> explain(KeyError("a"), "starts again") is None
        True
    """
    text = _last_words(error)
    if isinstance(error, UserError):
        # a reading process hands its error over with a traceback in front
        return str(error).rsplit("UserError: ", 1)[-1].strip()
    if getattr(error, "errno", None) in FULL_DISK or "No space left" in text:
        return f"the disk is full ({text}); make room, the same command {goes_on}."
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"} or "can't allocate memory" in text:
        return f"{MEMORY} ({text or type(error).__name__})."
    if "DistError" in names or (isinstance(error, RuntimeError) and "gloo" in text):
        # whoever ended has spoken, and the others end with it
        ended = f"another process of this run has ended; the same command {goes_on}."
        return ended if _rank() == 0 else ""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    for package in _packages(error):
        remedy = REMEDIES.get(package)
        if remedy is not None:
            return f"{text.rstrip('.')}: {remedy}." if remedy else text
    return text if isinstance(error, OSError) else None


def _last_words(error: Exception) -> str:
    """Return what an exception says on one line; a reading process puts a traceback in front."""
    lines = list(filter(None, map(str.strip, str(error).splitlines())))
    handed_over = "Traceback" in str(error)
    return (lines[-1] if handed_over else " ".join(lines)) or type(error).__name__


def _packages(error: Exception) -> Iterator[str]:
    """List the packages that define an exception and that raised it, and those they are in."""
    places = [kind.__module__ for kind in type(error).__mro__]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        raised_in = frame.f_globals.get("__name__", "")
    places.insert(0, raised_in if error.__traceback__ else "")
    for place in places:
        while place:
            yield place
            place = place.rpartition(".")[0]


def _rank() -> int:
    """Return the number of this process among those of a run."""
    for name in RANKS:
        if os.environ.get(name):
            return int(os.environ[name])
    return 0
