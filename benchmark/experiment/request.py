"""What a user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from benchmark import choices
from benchmark.experiment.config import check_backbone
from benchmark.experiment.identity import ResolvedExperiment
from benchmark.records.overrides import read_overrides
from datamodules.store.names import check_name
from usererror import UserError

SEEDS = 2**32  # what NumPy takes
# what was typed for the student and holds for its teacher
SHARED_SECTIONS = (
    *("data.", "trainer.", "evaluation."),
    *("cell.selection", "cell.exact", "cell.accumulate", "cell.compile"),
)
SHARED_OPTIONS = (
    *("backbone", "pretrained", "pretrained_path", "reduction"),
    *("head_width", "head_norm", "head_dropout"),
)
SHARED = (*SHARED_SECTIONS, *(f"model.{name}" for name in SHARED_OPTIONS))


@dataclass(frozen=True)
class Request:
    """One training run as asked for on the command line.

    Example:
        >>> request = Request("sgma", "/home/me/city.yaml", seed=1)
        >>> request.variant, request.dataset, request.seed
        ('sgma', 'city', 1)
        >>> Request.from_json(request.to_json()) == request
        True
    """

    # names, or paths of YAML files of the user's own
    method: str
    data: str
    protocol: str = "standard"
    seed: int = 0
    backbone: str = ""  # the method's own
    runs: Path = Path(choices.DEFAULT_RUNS)
    store: Path = Path(choices.DEFAULT_STORE)
    logger: str = "csv"
    overrides: tuple[str, ...] = ()  # words for the configuration, as typed
    scale: str = ""  # that of the data

    @property
    def variant(self) -> str:
        """Name of the method in tables and paths."""
        return choices.short_name(self.method)

    @property
    def dataset(self) -> str:
        """Name of the data in tables and paths."""
        return choices.short_name(self.data)

    def named(self) -> Request:
        """Return the request with valid names, or raise a UserError; the data need not be there."""
        # nothing heavy has been imported, so that a typing error is answered at once
        method = choices.resolve_method(self.method)
        data = choices.resolve_data(self.data, self.store)
        check_name("method", choices.short_name(method))
        check_name("dataset", choices.short_name(data))
        choices.validate_choice("PROTOCOL", self.protocol, choices.protocols())
        if self.scale:
            choices.validate_choice("SCALE", self.scale, choices.SCALES)
        check_backbone(method, self.backbone)
        if not 0 <= self.seed < SEEDS:
            raise UserError(f"SEED is {self.seed}: give a number from 0 to {SEEDS - 1}.")
        return replace(self, method=method, data=data)

    def command_words(self) -> tuple[str, ...]:
        """Write the request as a command line that leaves the leaderboard to others.

        Example:
            >>> Request("sgma", "miniature", overrides=("--data.window=64",)).command_words()[-2:]
            ('--no-leaderboard', '--data.window=64')
        """
        words = ["bench"]
        for name in ("method", "data", "protocol", "seed", "runs", "store", "logger"):
            words.append(f"--{name}={getattr(self, name)}")
        for name in ("backbone", "scale"):
            if value := getattr(self, name):
                words.append(f"--{name}={value}")
        return (*words, "--no-leaderboard", *self.overrides)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values."""
        return {**asdict(self), "runs": str(self.runs), "store": str(self.store)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Request:
        """Invert `to_json`; KeyError or TypeError for anything else."""
        # runs of before there was a choice have no scale
        content = {"scale": "", **content}
        values = {field.name: content[field.name] for field in fields(cls)}
        for name, value in values.items():
            wanted = {"seed": (int,), "overrides": (list, tuple)}.get(name, (str,))
            if not isinstance(value, wanted):
                raise TypeError(f"{name} is {value!r}")
        if not all(isinstance(word, str) for word in values["overrides"]):
            raise TypeError("overrides are words")
        # JSON has neither paths nor tuples
        for name, kind in (("runs", Path), ("store", Path), ("overrides", tuple)):
            values[name] = kind(values[name])
        return cls(**values)


@dataclass(frozen=True)
class Teacher:
    """The experiment whose network teaches another: one like any other, with a record."""

    request: Request
    experiment: ResolvedExperiment

    @property
    def run_dir(self) -> Path:
        """The directory of its run."""
        folder = self.request.runs / self.request.dataset / self.request.variant
        return folder / self.experiment.run_name


def teacher_request(student: Request, cell: Mapping[str, Any]) -> Request | None:
    """Say what the teacher of a student is asked for; None if it has none.

    Example:
        >>> words = ("--trainer.max_steps=9", "--model.loss_weights.mad=1", "--data.window", "64")
        >>> asked = Request("anyseg", "miniature", seed=3, overrides=words)
        >>> teacher = teacher_request(asked, {"teacher": "control"})
        >>> teacher.method, teacher.seed, teacher.overrides
        ('control', 3, ('--trainer.max_steps=9', '--data.window=64'))
    """
    if not cell.get("teacher"):
        return None
    words = []
    for key, value in read_overrides(student.overrides):
        if key.startswith(SHARED):
            words.append(f"--{key}={value}")
    words += cell.get("teacher_words") or []
    seed = student.seed if cell.get("teacher_seed") is None else cell["teacher_seed"]
    method = str(cell["teacher"])
    return replace(student, method=method, seed=seed, overrides=tuple(words), logger="csv")
