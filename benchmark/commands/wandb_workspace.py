"""`imss wandb-workspace`."""

from __future__ import annotations

import argparse
import os

from benchmark import choices
from benchmark.commands.options import Command, add_option, add_runs
from usererror import UserError


class WandbWorkspace(Command):
    """Save a W&B workspace for the runs of a dataset that were made with --logger wandb."""

    example = "imss wandb-workspace --data miniature --entity my-team"
    aliases = ("dashboard",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_option(parser, "--data", "miniature", "dataset with run records")
        add_runs(parser)
        text = f"W&B project (default: WANDB_PROJECT, or {choices.WANDB_PROJECT})"
        add_option(parser, "--project", "", text)
        add_option(parser, "--entity", "", "W&B user or team (default: WANDB_ENTITY, or your own)")

    def run_command(self, arguments: argparse.Namespace) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        from benchmark.records.selection import select_records
        from benchmark.tracking.wandb_workspace import (
            EXTRA,
            build_workspace,
            call_wandb,
            entity_of_user,
            save_workspace,
        )

        try:
            import wandb_workspaces.workspaces  # noqa: F401
        except ImportError as error:
            raise UserError(EXTRA) from error
        data = arguments.data
        project = arguments.project or os.environ.get("WANDB_PROJECT") or choices.WANDB_PROJECT
        wanted = arguments.entity or os.environ.get("WANDB_ENTITY", "")
        entity = call_wandb(entity_of_user, wanted)
        records = select_records(arguments.runs, [data])[data].records
        letters = max((record.manifest.modalities for record in records), key=len)
        view = build_workspace(project, entity, data, letters)
        # the address is kept, so that the next call replaces this workspace instead of adding one
        memory = arguments.runs / data / f"wandb-workspace.{entity}.{project}.txt"
        print(f"Workspace: {call_wandb(save_workspace, view, memory)}")
