"""The `imss dashboard` command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import choices
from benchmark.records.selection import chosen_records
from usererror import UserError

if TYPE_CHECKING:
    pass
from benchmark.tracking.wandb_workspace import EXTRA, entity_of_user, save, told, workspace


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Build the workspace of a dataset that has run records, and save it to W&B in place of the one before.

    Raises:
        UserError: the extra is not installed, nobody is logged in, no record of the dataset, or W&B refuses.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError as error:
        raise UserError(EXTRA) from error
    project = arguments.project or os.environ.get("WANDB_PROJECT") or choices.WANDB_PROJECT
    entity = told(entity_of_user, arguments.entity or os.environ.get("WANDB_ENTITY", ""))
    records = chosen_records(Path(arguments.runs).expanduser(), arguments.data)[
        arguments.data
    ].records
    letters = max((record.manifest["modalities"] for record in records), key=len)
    print(f"Dashboard: {told(save, workspace(project, entity, arguments.data, letters))}")
