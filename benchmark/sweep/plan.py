"""The experiments of a sweep with their identities, frozen in `plan.json` beside the runs.

Identities are computed from configuration and store, without a model; seeds of one experiment are
parsed once. The file needs neither torch nor the sweep's file to be read again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.choices import beside_runs, short_name
from benchmark.experiment.request import Request, teacher_request
from benchmark.records.overrides import describe_overrides
from benchmark.sweep.sweep_file import Resources, Wanted
from datamodules.store.scene_store import write_text_whole
from usererror import UserError

if TYPE_CHECKING:
    from benchmark.experiment.identity import ResolvedExperiment

PLAN = "plan.json"
AGAIN = "make sweep-plan"


@dataclass(frozen=True)
class Cell:
    """One experiment of a plan; one that does not parse has a `problem` and no identity."""

    request: Request
    resources: Resources
    identity: str = ""
    group: str = ""  # the same for all seeds
    backbone: str = ""
    name: str = ""  # of the run and the record: encoder, seed, identity
    teacher: str = ""  # identity of the experiment that has to be done before
    problem: str = ""

    @property
    def run_dir(self) -> Path:
        """The directory of its run."""
        return self.request.runs / self.request.dataset / self.request.variant / self.name

    @property
    def label(self) -> str:
        """What a line about it alone calls it."""
        return self.label_beside(())

    def label_beside(self, shared: Collection[str]) -> str:
        """What a table calls it that names `shared` overrides once."""
        request = self.request
        own = [word for word in request.overrides if word not in shared]
        words = [request.variant, request.dataset, self.backbone or request.backbone]
        words += [f"seed{request.seed}", describe_overrides(own)]
        return " ".join(filter(None, words))

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values."""
        content = {**vars(self), "request": self.request.to_json()}
        return content | {"resources": self.resources.model_dump(exclude_defaults=True)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Cell:
        """Invert `to_json`."""
        request = Request.from_json(content["request"])
        resources = Resources.model_validate(content["resources"])
        return cls(**{**content, "request": request, "resources": resources})


@dataclass(frozen=True)
class Plan:
    """The experiments of a sweep."""

    sweep: str
    cells: tuple[Cell, ...]
    file: str = ""  # empty for a sweep without one
    digest: str = ""  # of the file
    tables: tuple[str, ...] = ()  # of papers, which it fills
    env: Mapping[str, str] = field(default_factory=dict)
    retries: int = 1
    undecided: int = 0  # cells that wait for what a search of hyperparameters chooses

    @property
    def valid(self) -> list[Cell]:
        """Those that can run."""
        return [cell for cell in self.cells if not cell.problem]

    @property
    def environment(self) -> dict[str, str]:
        """Variables of every experiment; W&B finds those of a sweep by its name."""
        tags = filter(None, (os.environ.get("WANDB_TAGS"), self.sweep))
        return {"WANDB_TAGS": ",".join(tags), **self.env}

    @property
    def shared_overrides(self) -> list[str]:
        """Overrides that all cells have."""
        first, *others = [cell.request.overrides for cell in self.cells] or [()]
        return [word for word in first if all(word in words for words in others)]

    def write(self, folder: Path) -> Path:
        """Write `plan.json`."""
        content = {**asdict(self), "cells": [cell.to_json() for cell in self.cells]}
        folder.mkdir(parents=True, exist_ok=True)
        write_text_whole(folder / PLAN, json.dumps(content, indent=1) + "\n")
        return folder / PLAN

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read `plan.json`, or raise a UserError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            cells = tuple(map(Cell.from_json, content["cells"]))
            return cls(**content | {"cells": cells, "tables": tuple(content["tables"])})
        except FileNotFoundError as error:
            raise UserError(f"There is no plan {path} yet; make it with: {AGAIN}") from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"The plan {path} is damaged; make it again with: {AGAIN}") from error


def sweep_folder(runs: Path, name: str) -> Path:
    """Say where a sweep keeps its plan, its jobs and their logs."""
    return beside_runs(runs, "sweeps") / name


def name_of(file: str) -> str:
    """Name a sweep by its file."""
    return Path(short_name(file)).name


def check_folder(folder: Path, file: Path) -> None:
    """Raise a UserError for the folder of a sweep of another file with the same name."""
    try:
        other = Path(Plan.read(folder / PLAN).file)
    except UserError:
        return  # there is none, or none that could be followed
    if other != file.absolute() and other.is_file():
        raise UserError(f"{other} is a sweep of this name, too, in {folder}: rename {file}.")


def digest_of(path: Path) -> str:
    """Hash the file of a sweep."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def plan_cells(wanted: Sequence[Wanted]) -> tuple[Cell, ...]:
    """Compute the identity of every experiment; what cannot run says why.

    Miniatures are generated here, on first use, and stores compared with their sources once. An
    experiment that another one learns from is in the plan, whether it was asked for or not.
    """
    from benchmark.experiment.lightning_cli import resolve_experiment
    from benchmark.experiment.models import checked_request

    stores: set[tuple[str, Path]] = set()
    parsed: dict[Request, ResolvedExperiment] = {}
    cells: dict[str, Cell] = {}
    teachers: dict[str, Cell] = {}
    for entry in wanted:
        cell = Cell(entry.request, entry.resources)
        try:
            request = entry.request.named()
            cell = replace(cell, request=request)
            if (request.data, request.store) not in stores:
                checked_request(request)
                stores.add((request.data, request.store))
            # all but the seed is the same for every seed
            alike = replace(request, seed=0)
            if alike not in parsed:
                parsed[alike] = resolve_experiment(alike)
            found = parsed[alike].with_seed(request.seed)
            cell = named_cell(cell, found)
            asked = teacher_request(request, found.config["cell"])
            if asked and found.teacher:
                teacher = named_cell(Cell(asked.named(), entry.resources), found.teacher)
                teachers[teacher.identity] = teacher
                cell = replace(cell, teacher=teacher.identity)
            if twin := cells.get(cell.identity):
                cell = replace(cell, identity="", problem=f"It is the same as {twin.label}.")
        except UserError as error:
            cell = replace(cell, problem=str(error))
        cells[cell.identity or f"problem {len(cells)}"] = cell
    # those that the grid does not name itself come last: the numbers of the others stay
    return tuple({**cells, **{key: cells.get(key, own) for key, own in teachers.items()}}.values())


def named_cell(cell: Cell, found: ResolvedExperiment) -> Cell:
    """Give a cell its identity and the names that follow from it."""
    cell = replace(cell, identity=found.identity, group=found.group)
    return replace(cell, backbone=found.backbone, name=found.run_name)
