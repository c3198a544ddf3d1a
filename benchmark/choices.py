"""What a user may type for METHOD, DATA, PROTOCOL, ...: names, or files of their own.

Standard library only, so that `--help` stays quick.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from usererror import UserError

ROOT = Path(__file__).resolve().parents[1]
# beside the packages in the repository, inside of one where they are installed
INSTALLED = Path(__file__).parent / "configs"
CONFIGS = ROOT / "configs" if (ROOT / "pyproject.toml").is_file() else INSTALLED
DEFAULT_RUNS = "results/runs"
DEFAULT_STORE = "data/stores"
# committed; only `make publish` and `make refresh` write there
PUBLISHED = ROOT / "results"
PUBLISHED_COSTS = PUBLISHED / "complexity"
NO_BACKBONE = "none"  # stands for the encoder of a method that has no choice of one
LOGGERS = ("csv", "wandb")
SCALES = ("small", "paper")
# and what the trainer calls them
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
WANDB_PROJECT = "imss-bench"
# of the configuration, for words such as `--trainer.max_epochs`
CONFIG_SECTIONS = ("trainer", "model", "data", "evaluation", "cell")
# what of the section `cell` is chosen by a variable of make
VARIABLE_OF_CELL = dict(scale="SCALE", protocol="PROTOCOL", method="METHOD", variant="METHOD")
BACKBONES = ("pvt_v2_b0", "pvt_v2_b2", "resnet50")


def beside_runs(runs: Path, name: str) -> Path:
    """Say where what is made of a directory of runs goes: beside it, or into it.

    Example:
        >>> beside_runs(Path("elsewhere/runs"), "tables").as_posix()
        'elsewhere/tables'
        >>> beside_runs(ROOT / DEFAULT_RUNS, "tables").relative_to(ROOT).as_posix()
        'results/runs/tables'
    """
    # beside the project's own runs lie the committed tables, which no run of a user's enters
    own = runs.resolve().parent == PUBLISHED
    return (runs if own else runs.parent) / name


def methods() -> list[str]:
    """List methods and their variants: one file each in configs/method."""
    return _stems("method")


def datasets(store: Path | None = None) -> list[str]:
    """List datasets with a config, and imported stores of the user's own."""
    imported = [path.parent.name for path in sorted(store.glob("*/dataset.json"))] if store else []
    return sorted({*_stems("data"), *imported})


def protocols() -> list[str]:
    """List protocols: one file each in configs/protocol."""
    return _stems("protocol")


def scenarios() -> list[str]:
    """List scenarios of damage: one file each in configs/scenario."""
    return _stems("scenario")


def _stems(folder: str) -> list[str]:
    # a stem with a dot is a refinement (sgma.small), not a name
    return sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml") if "." not in path.stem)


def is_config_file(word: str) -> bool:
    """Tell the path of a YAML file from a name."""
    return word.endswith((".yaml", ".yml"))


def short_name(word: str) -> str:
    """Name a method or dataset: a file goes by its stem.

    Example:
        >>> short_name("sgma"), short_name("/home/me/my_net.yaml")
        ('sgma', 'my_net')
    """
    return Path(word).stem if is_config_file(word) else word


def validate_choice(kind: str, name: str, valid: Sequence[str], remedy: str = "") -> None:
    """Raise a UserError that lists the valid names and the nearest one, unless `name` is valid."""
    if name in valid:
        return
    listed = ", ".join(valid)
    raise UserError(f"Unknown {kind} {name!r}; valid are: {listed}.{nearest(name, valid)}{remedy}")


def nearest(word: str, valid: Iterable[str]) -> str:
    """Ask for the valid word that is nearest, whatever its case; nothing where none is near.

    Example:
        >>> nearest("method", ["DATA", "METHOD"]), nearest("EPOCHS", ["DATA", "METHOD"])
        (' Did you mean METHOD?', '')
    """
    folded = {name.casefold(): name for name in valid}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" Did you mean {folded[near[0]]}?" if near else ""


def resolve_method(word: str) -> str:
    """Check METHOD; returns a shipped name, or the absolute path of the user's own YAML file."""
    own = " A method of your own is the path of its YAML file."
    return _resolve("METHOD", word, methods(), methods(), own)


def resolve_data(word: str, store: Path) -> str:
    """Check DATA likewise; imported stores are names too."""
    remedy = " Data of your own becomes a name with: "
    remedy += "make data DATA=<name> SOURCE=<folder with scenes.csv>."
    return _resolve("DATA", word, datasets(store), datasets(), remedy)


def _resolve(kind: str, word: str, valid: list[str], shipped: list[str], remedy: str) -> str:
    if not is_config_file(word):
        validate_choice(kind, word, valid, remedy)
        return word
    path = Path(word).expanduser().absolute()
    if not path.is_file():
        hint = f"give the path of a YAML file, or one of the names {', '.join(valid)}"
        raise UserError(f"{kind}: there is no file {path}; {hint}.")
    if path.stem in shipped:
        # runs and tables go by the stem
        raise UserError(f"{path} has the name of a shipped {kind}: rename the file.")
    return str(path)
