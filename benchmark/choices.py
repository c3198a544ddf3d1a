"""The names a user may type: METHOD, DATA, PROTOCOL, BACKBONE; standard library only, so `--help` stays quick."""

from __future__ import annotations

import difflib
from pathlib import Path

from usererror import UserError

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
DEFAULT_RUNS = "results/runs"
DEFAULT_STORE = "data/stores"
NO_BACKBONE = "none"  # stands for the encoder of a method that has no choice of one
LOGGERS = ("csv", "wandb")
WANDB_PROJECT = "imss-bench"
BACKBONES = ("pvt_v2_b0", "pvt_v2_b2", "resnet50")


def methods() -> list[str]:
    """Methods and their variants: one file each in configs/method."""
    return _stems("method")


def datasets(store: Path | None = None) -> list[str]:
    """Datasets with a config, and imported stores of the user's own."""
    imported = [path.parent.name for path in sorted(store.glob("*/dataset.json"))] if store else []
    return sorted({*_stems("data"), *imported})


def protocols() -> list[str]:
    """Protocols: one file each in configs/protocol."""
    return _stems("protocol")


def _stems(folder: str) -> list[str]:
    # a stem with a dot is a refinement (sgma.small), not a name
    return sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml") if "." not in path.stem)


def check(kind: str, name: str, valid: list[str], remedy: str = "") -> None:
    """Raise a UserError that lists the valid names and the nearest one, unless `name` is valid."""
    if name in valid:
        return
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UserError(f"Unknown {kind} {name!r}; valid are: {', '.join(valid)}.{hint}{remedy}")
