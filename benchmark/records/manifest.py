"""What a run record says of its run: `manifest.json` as typed fields."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from benchmark.metrics.confusion import Absent, Convention
from datamodules.store.names import check_name
from usererror import UserError

MANIFEST = "manifest.json"
AGAIN = "run it again with FORCE=1"  # the remedy for every damaged record
SPLIT_MARK = "*"  # beside protocols whose split has something to be known


def _path_part(name: str) -> str:
    try:
        return check_name("file", name)
    except UserError as error:
        # which the reader of a manifest turns into its own sentence
        raise ValueError(str(error)) from error


# becomes part of a path, and a record may come from anybody
PathPart = Annotated[str, AfterValidator(_path_part)]


class Protocol(BaseModel):
    """How the run was trained and scored."""

    model_config = ConfigDict(frozen=True)

    name: str  # the protocol's file in configs/protocol
    selection: str  # the wanted rule for the checkpoint
    selected: str  # the rule that could be followed
    split: str  # column of the split table
    split_note: str  # what is to be known of it
    train_label: str
    score_label: str
    clutter: str
    rasters: dict[str, str]  # of the scene store, by modality
    window: int
    stride: int
    stitching: str
    absent: Absent

    @property
    def label(self) -> str:
        """Name and followed rule as tables show them, marked if the split has a note."""
        return f"{self.name}{SPLIT_MARK if self.split_note else ''}, {self.selected}"


class Stage(BaseModel):
    """One training of several that made a network: what it saw, and what came of it."""

    model_config = ConfigDict(frozen=True)

    stage: Literal["teacher", "student"]
    variant: str
    identity: str
    seed: int
    subsets: str  # of the sensors, that training showed
    weights_sha256: str


class Manifest(BaseModel):
    """Everything a reader of the numbers may ask about a run."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    created: str
    identity: PathPart  # hash of the configuration
    group: PathPart  # hash of the configuration without the seed
    revision: int = 1  # of the method's code; records made before it was counted have the first
    method: str  # the folder
    variant: PathPart  # the configuration, which METHOD names
    control: bool  # a baseline rather than a published method
    data: PathPart
    backbone: PathPart
    seed: int
    overrides: tuple[str, ...]
    protocol: Protocol
    convention: Convention
    modalities: dict[str, str]  # letter in tables, by modality
    classes: tuple[str, ...]
    fingerprint: str
    incomplete: bool  # the scene store lacks scenes
    checkpoint: str
    steps: int
    durations: dict[str, float]
    device: str
    # windows in a step of the optimiser, over all processes; None: a record that did not say
    batch: int | None = None
    # of a network with a teacher, the teacher first; none where one training is all
    stages: tuple[Stage, ...] = ()
    # modalities that training was not shown, by scene: those that incomplete training held back
    training_gaps: dict[str, tuple[str, ...]] = {}
    # each modality's share of the gradient, mean of the steps; empty where it was not asked for
    learning: dict[str, float] = {}
    compiled: str = "none"  # or `encoder`; whose sums are made in another order
    threads: int | None  # None: an older record, which did not say
    world_size: int
    git: dict[str, Any]
    packages: dict[str, str]
    model: dict[str, Any]  # the arguments that the network was built with
    config: dict[str, Any]  # as resolved

    @property
    def scale(self) -> str:
        """Tell the recipe of minutes (`small`) from the published one (`paper`)."""
        cell = self.config.get("cell")
        return str(cell.get("scale", "paper")) if isinstance(cell, dict) else "paper"

    @property
    def scores_some(self) -> bool:
        """Tell whether the protocol names the subsets that are scored, as a contest does."""
        evaluation = self.config.get("evaluation")
        return isinstance(evaluation, dict) and evaluation.get("subsets") is not None

    @property
    def tuned(self) -> int | None:
        """Trials of the search that chose the settings, 0 for a trial; None without a search."""
        cell = self.config.get("cell")
        return cell.get("tuned") if isinstance(cell, dict) else None


def read_manifest(record: Path) -> Manifest:
    """Read the manifest of a record."""
    # one pass in Rust: a table reads some hundred manifests, most of each being the configuration
    try:
        return Manifest.model_validate_json((record / MANIFEST).read_bytes())
    except ValidationError as error:
        found = {".".join(map(str, fault["loc"])): fault for fault in error.errors()}
        place, fault = next(iter(found.items()))
        reason = f"is damaged ({': '.join(filter(None, [place, fault['msg']]))})"
        if fault["type"] == "missing":
            reason = f"lacks {', '.join(found)}"
        raise UserError(f"The run record {record} {reason}; {AGAIN}.") from error
