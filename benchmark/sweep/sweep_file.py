"""The YAML file of a sweep: a grid of experiments, what differs for which of them, and resources.

A key that is not known here is an error. `docs/sweeps.md` explains every key with an example.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from benchmark.choices import (
    CONFIG_SECTIONS,
    CONFIGS,
    PRECISIONS,
    VARIABLE_OF_CELL,
    nearest,
    validate_choice,
)
from benchmark.experiment.request import Request
from usererror import UserError

FOLDER = CONFIGS / "sweep"


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Words = Annotated[list[str], BeforeValidator(_listed)]
Precisions = Annotated[list[Literal["fp32", "bf16"]], BeforeValidator(_listed)]
Seeds = Annotated[list[int], BeforeValidator(_listed)]


def _setting(name: str) -> str:
    section, _, rest = name.partition(".")
    if section not in CONFIG_SECTIONS or not rest:
        raise ValueError(f"{name} is no setting, such as trainer.max_steps")
    if section == "cell" and rest in VARIABLE_OF_CELL:
        # alone it would change the label and nothing else
        raise ValueError(f"{name} is chosen in the grid, which reads its files too")
    return name


# of the configuration, by dotted name as on the command line
Setting = Annotated[str, AfterValidator(_setting)]
Settings = dict[Setting, Any]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cells(_Section):
    """Names of experiments: every combination in a grid; in a rule, whatever it names must fit."""

    method: Words = []
    data: Words = []
    backbone: Words = []
    protocol: Words = []
    scale: Words = []
    precision: Precisions = []
    settings: Annotated[list[Settings], BeforeValidator(_listed)] = []  # overrides, each a column
    seed: Seeds = []

    def fit(self, names: Mapping[str, Any]) -> bool:
        """Tell whether an experiment has one of the named values in every named column."""
        return all(names.get(name) in values for name, values in self if values)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """List every combination of what is named."""
        columns = {name: values for name, values in self if values}
        # of nothing there is no combination, though product() has an empty one
        for values in product(*columns.values()) if columns else ():
            yield dict(zip(columns, values, strict=True))


class Resources(_Section):
    """What one experiment needs, as clusters ask for it; on one machine only `gpus` matters."""

    minutes: int = Field(default=720, gt=0)
    cpus: int | None = Field(default=None, gt=0)  # per task
    gpus: int = Field(default=0, ge=0)  # per node
    memory: str | None = Field(default=None, pattern=r"^\d+[MG]$")
    nodes: int = Field(default=1, gt=0)
    tasks_per_node: int = Field(default=1, gt=0)
    partition: str | None = None
    at_a_time: int = Field(default=256, gt=0)  # experiments of one array that run together
    slurm: dict[str, str | int | bool] = {}  # options of sbatch, as `account: lab42`
    setup: list[str] = []  # lines of shell before the program


class Rule(_Section):
    """What holds for the experiments that `is` names; a later rule wins."""

    cells: Cells = Field(alias="is")
    overrides: Settings = {}
    resources: dict[str, Any] = {}

    @model_validator(mode="after")
    def _has_known_resources(self) -> Rule:
        Resources.model_validate(self.resources)
        return self


class Tuning(_Section):
    """A random search of hyperparameters, alike for every method."""

    trials: int = Field(gt=1)
    # by setting: a list to choose from, or {low:, high:, log:} to draw from
    space: dict[Setting, Annotated[list[Any], Field(min_length=1)] | Range] = Field(min_length=1)
    seed: int = 0  # of the draws, and of the trials' trainings


class Range(_Section):
    """Numbers between two limits, drawn alike by value or, with `log`, by order of magnitude."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 with log")
        return self


class SweepFile(_Section):
    """The content of the file."""

    grid: Cells
    also: list[Cells] = []  # beside the grid
    excluded: list[Cells] = Field(default=[], alias="except")
    overrides: Settings = {}
    where: list[Rule] = []
    resources: Resources = Resources()
    logger: Literal["csv", "wandb"] = "csv"
    env: dict[str, str] = {}
    tables: list[str] = []  # of papers that it fills, as `sgma_I`
    # of an experiment that fails otherwise than by a user's mistake
    retries: int = Field(default=1, ge=0)
    tune: Tuning | None = None


@dataclass(frozen=True)
class Wanted:
    """One experiment of a sweep, and what it runs on."""

    request: Request
    resources: Resources


def find_sweep(word: str) -> Path:
    """Find the file of a sweep by its path, or by its name in configs/sweep."""
    for path in (Path(word).expanduser(), FOLDER / f"{word}.yaml"):
        if path.is_file():
            return path
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    near = nearest(Path(word).stem, names)
    listed = ", ".join(names)
    raise UserError(f"There is no sweep {word}: give a YAML file, or one of {listed}.{near}")


def sweep_of_table(table: str) -> Path:
    """Find the shipped sweep whose run fills a table of a paper."""
    filled = sweeps_of_tables()
    validate_choice("TABLE", table, sorted(filled))
    return filled[table]


def sweeps_of_tables() -> dict[str, Path]:
    """List the tables of papers that shipped sweeps fill."""
    filled = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for name in read_sweep(path).tables:
            filled[name] = path
    return filled


def read_sweep(path: Path) -> SweepFile:
    """Read and check the file of a sweep; a UserError names every key that is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    return parse_sweep(content, str(path))


def parse_sweep(content: Any, place: str) -> SweepFile:
    """Check the content of a file.

    Example:
        >>> sweep = parse_sweep({"grid": {"method": ["sgma", "magic"], "seed": [0, 1]}}, "a.yaml")
        >>> len(list(sweep.grid.combinations()))
        4
        >>> parse_sweep({"grid": {}, "overides": {}}, "a.yaml")
        Traceback (most recent call last):
        usererror.UserError: a.yaml: there is no key overides. Did you mean overrides?
    """
    try:
        return SweepFile.model_validate(content)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(map(str, fault["loc"])) or "the file"
            if fault["type"] == "extra_forbidden":
                known = {"is", "except", *SweepFile.model_fields, *Cells.model_fields}
                known |= set(Resources.model_fields)
                faults.append(f"there is no key {key}.{nearest(str(fault['loc'][-1]), known)}")
            else:
                faults.append(f"{key}: {fault['msg']}.")
        raise UserError(f"{place}: {' '.join(faults)}") from error


def wanted_cells(sweep: SweepFile, defaults: Request) -> list[Wanted]:
    """Expand a sweep; `defaults` holds what the file does not name, and the places.

    Example:
        >>> grid = {"method": ["sgma", "magic"], "data": "miniature", "seed": [0, 1]}
        >>> rule = {"is": {"method": "magic"}, "overrides": {"data.window": 64}}
        >>> content = {"grid": grid, "except": [{"method": "sgma", "seed": 1}], "where": [rule]}
        >>> found = wanted_cells(parse_sweep(content, "a.yaml"), Request("sgma", "miniature"))
        >>> for cell in found:
        ...     print(cell.request.method, cell.request.seed, *cell.request.overrides)
        sgma 0
        magic 0 --data.window=64
        magic 1 --data.window=64
    """
    found: dict[Request, Resources] = {}
    for cells in (sweep.grid, *sweep.also):
        for names in cells.combinations():
            names = {**vars(defaults), "logger": sweep.logger, **names}
            if cells is sweep.grid and any(rule.fit(names) for rule in sweep.excluded):
                continue
            settings, resources = dict(sweep.overrides), sweep.resources.model_dump()
            for rule in sweep.where:
                if rule.cells.fit(names):
                    settings |= rule.overrides
                    resources |= rule.resources
            # an override, as it is for `bench`
            if precision := names.pop("precision", ""):
                settings["trainer.precision"] = PRECISIONS[precision]
            settings |= names.pop("settings", {})
            request = Request(**names | {"overrides": override_words(settings)})
            # named twice is wanted once
            found.setdefault(request, Resources.model_validate(resources))
    return [Wanted(request, resources) for request, resources in found.items()]


def override_words(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Write settings as words of a command line.

    Example:
        >>> override_words({"trainer.max_steps": 2, "data.modalities": ["rgb"]})
        ('--trainer.max_steps=2', '--data.modalities=["rgb"]')
    """
    words = []
    for name, value in settings.items():
        # YAML also has dates, which are words here
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        words.append(f"--{name}={text}")
    return tuple(words)
