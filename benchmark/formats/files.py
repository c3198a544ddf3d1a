"""Writing the files of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from datamodules.store.scene_store import write_text_whole
from usererror import UserError


def write_texts(directory: Path, contents: Mapping[str, str]) -> list[Path]:
    """Write each text of {file name: text} whole, in this order; return the paths.

    Raises:
        UserError: the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            write_text_whole(directory / name, text)
    except OSError as error:
        raise UserError(
            f"{directory} cannot be written ({error.strerror}): name another place with --out."
        ) from error
    return [directory / name for name in contents]
