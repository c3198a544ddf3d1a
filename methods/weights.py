"""Pretrained weights: where a file of them is found, and what it lacks or has too much.

Names and files are timm's: from a file of the user's, from the local cache, or from the hub when it
answers. timm reads files with `weights_only`, so that none can run code.
"""

import logging
import re
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only

from usererror import UserError

_noted: ContextVar[dict[str, str | None] | None] = ContextVar("noted", default=None)
KEYS = re.compile(r"(Missing|Unexpected) keys \((.*?)\)")


@contextmanager
def noting_weights() -> Iterator[dict[str, str | None]]:
    """Collect which weights are asked for within the block, where none are loaded.

    Yields:
        What was asked for: timm's name -> the user's file, or None.
    """
    names: dict[str, str | None] = {}
    token = _noted.set(names)
    try:
        yield names
    finally:
        _noted.reset(token)


def only_noted(name: str, path: str | None) -> bool:
    """Note weights that are about to be loaded; whether that is all that is wanted."""
    names = _noted.get()
    if names is not None:
        names[name] = path
    return names is not None


def _endpoint_answers(endpoint: str, timeout: float = 3.0) -> bool:
    """Whether an HTTP server answers at all; one attempt."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def cached_weights(config: Mapping[str, object]) -> Path | None:
    """Find the weight file of a timm configuration in the hub's or torch's local cache."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = str(config.get("hf_hub_id") or "").partition("@")
    if repository:
        for name in ("model.safetensors", "pytorch_model.bin"):
            found = try_to_load_from_cache(repository, name, revision=revision or None)
            if isinstance(found, str):
                return Path(found)
    url = str(config.get("url") or "")
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    return path if url and path.is_file() else None


def locate_weights(name: str, path: str | None = None) -> Path | None:
    """Find the weights of `name`: the user's file `path`, a cached one, or None for the hub's."""
    import timm
    from huggingface_hub import constants

    if path is not None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError(f"pretrained_path: there is no weight file {file}.")
        return file
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise UserError(
            f"timm has no weights for {name}; set pretrained: false or give pretrained_path."
        )
    cached = cached_weights(config.to_dict())
    if cached is None and (constants.HF_HUB_OFFLINE or not _endpoint_answers(constants.ENDPOINT)):
        raise UserError(
            f"The pretrained weights of {name} ({config.hf_hub_id}) are not in the local cache "
            f"({constants.HF_HUB_CACHE}) and the hub cannot be reached. Run once with a connection "
            "(`imss weights METHOD --fetch`) or copy that cache here, name a weight file with "
            "pretrained_path, or train from scratch with pretrained: false."
        )
    return cached


@contextmanager
def explained_loading(name: str, file: Path | None) -> Iterator[dict[str, list[str]]]:
    """Turn what goes wrong while timm loads the weights of `name` into a UserError.

    Yields:
        Keys of the file that are `Missing` and `Unexpected`, filled while timm loads it.
    """
    # timm returns neither list, but logs both
    found: dict[str, list[str]] = {"Missing": [], "Unexpected": []}

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if told := KEYS.match(record.getMessage()):
                found[told[1]] += told[2].split(", ")

    logger, listener = logging.getLogger("timm.models._builder"), Listener()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield found
    except Exception as error:
        reason = textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...")
        source = file or "the hub"
        text = f"The weights of {name} from {source} could not be loaded"
        raise UserError(f"{text}: {reason}") from error
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


def check_keys(
    name: str, file: Path | None, missing: Sequence[str], unexpected: Sequence[str]
) -> None:
    """Raise a UserError for tensors that the weights of `name` lack; print which have no use."""
    source = f"The weights of {name} from {file or 'the hub'}"
    if missing:
        raise UserError(f"{source} lack {_some(missing)}")
    if unexpected:
        rank_zero_only(print)(
            f"{source} hold {_some(unexpected)} that this network has no use for."
        )


def _some(keys: Sequence[str]) -> str:
    listed = ", ".join(keys[:3]) + (" ..." if len(keys) > 3 else "")
    return f"{len(keys)} tensors: {listed}"
