"""What names an experiment: the part of its configuration that decides numbers, as a hash."""

import copy
import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from benchmark.choices import CONFIGS, INSTALLED, NO_BACKBONE, ROOT
from benchmark.records.overrides import deciding_settings, read_overrides
from datamodules.store.names import check_name
from datamodules.store.scene_store import file_sha256


@dataclass
class ExperimentConfig:
    """The section `cell` of the configuration, which names things."""

    method: str  # its folder
    variant: str  # named configuration of the method, the METHOD of the command line
    protocol: str
    # chooses `configs/method/<METHOD>.<scale>.yaml`
    scale: Literal["small", "paper"] = "paper"
    # the checkpoint of the highest validation Average, or the final one
    selection: Literal["best", "last"] = "best"
    # no published method but what a plain network reaches; tables mark its row
    control: bool = False
    # trials of the search that chose the settings, 0 for a trial itself; None: there was no search
    tuned: int | None = None
    # float32 products on a GPU in full; not given, they are rounded to TensorFloat-32
    exact: Literal[True] | None = None
    # batches, of which one step is made; the configured batch is divided among them
    accumulate: int | None = None
    # modules that torch compiles, for speed
    compile: Literal["none", "encoder"] = "none"
    # log which sensors training teaches; it changes no number but by rounding
    learning: Literal[True] | None = None
    # METHOD whose network, trained on the same data, this one learns from
    teacher: str | None = None
    teacher_seed: int | None = None  # not given, that of the student
    teacher_words: list[str] | None = None  # settings for the teacher alone, as typed


@dataclass(frozen=True)
class ResolvedExperiment:
    """A configuration, and what else its numbers depend on."""

    config: dict[str, Any]  # as resolved
    fingerprint: str  # of the scene store
    revision: int = 1  # of the method's code
    teacher: "ResolvedExperiment | None" = None  # whose network this one learns from

    @cached_property
    def identity(self) -> str:
        """Hash of everything."""
        return self._hashes[0]

    @cached_property
    def group(self) -> str:
        """Hash of everything but the seed."""
        return self._hashes[1]

    @cached_property
    def _hashes(self) -> tuple[str, str]:
        teacher = (self.teacher.identity, self.teacher.group) if self.teacher else None
        return identify_config(self.config, self.fingerprint, self.revision, teacher)

    @property
    def backbone(self) -> str:
        """Name of the encoder in paths and tables."""
        # a method without options has no such section
        arguments = self.config["model"].get("init_args", {})
        return check_name("backbone", str(arguments.get("backbone", NO_BACKBONE)))

    @property
    def run_name(self) -> str:
        """Name of the run: what can be read first, the identity last."""
        return f"{self.backbone}-seed{self.config['seed_everything']}-{self.identity[:8]}"

    def with_seed(self, seed: int) -> "ResolvedExperiment":
        """Return the same experiment with another seed, as the parser would give it."""
        config = copy.deepcopy(self.config)
        config["seed_everything"] = seed
        for part in ("data", "model"):
            if "seed" in config[part].get("init_args", {}):
                config[part]["init_args"]["seed"] = seed
        teacher = self.teacher
        if teacher and config["cell"].get("teacher_seed") is None:
            teacher = teacher.with_seed(seed)
        return replace(self, config=config, teacher=teacher)


def identify_config(
    config: Mapping[str, Any],
    fingerprint: str,
    revision: int = 1,
    teacher: tuple[str, str] | None = None,
) -> tuple[str, str]:
    """Hash a resolved configuration as (identity, group); equal groups differ in the seed only.

    `revision` is the method's (`AnyModalitySegmenter.revision`): a method whose code was corrected
    gives other numbers from the same configuration, and its older records are not taken for them.
    `teacher` is the pair of the experiment whose network this one learns from.

    Example:
        >>> config = {"cell": {"method": "sgma"}, "trainer": {}, "seed_everything": 0}
        >>> config |= {"data": {"init_args": {}}, "model": {"init_args": {"width": 64}}}
        >>> identity, group = identify_config(config, "f")
        >>> other, same_group = identify_config({**config, "seed_everything": 1}, "f")
        >>> identity != other, group == same_group
        (True, True)
    """
    named = name_file_contents(json.loads(json.dumps(config, default=str)))
    content = deciding_settings(named)
    content["fingerprint"] = fingerprint
    if revision != 1:  # the first one is not named: it has no place in older identities
        content["revision"] = revision
    if teacher:
        content["teacher"] = teacher[0]
    full = _digest(content)
    if teacher:
        content["teacher"] = teacher[1]
    content.pop("seed_everything")
    for part in ("data", "model"):
        content[part]["init_args"].pop("seed", None)
    return full, _digest(content)


def name_file_contents(config: Any) -> Any:
    """Replace the path of every file that an option `..._path` names by the file's content.

    The same weights may lie anywhere, and other weights may come to lie under the same path.
    """
    if isinstance(config, dict):
        return {key: _name_content(key, value) for key, value in config.items()}
    return list(map(name_file_contents, config)) if isinstance(config, list) else config


def name_override_contents(words: Sequence[str]) -> tuple[str, ...]:
    """Do the same for words that were typed."""
    named = []
    for key, value in read_overrides(words):
        named.append(f"--{key}={_name_content(key, value)}" if key else value)
    return tuple(named)


def _name_content(key: str, value: Any) -> Any:
    if not isinstance(value, str) or not key.endswith("_path") or key.endswith("class_path"):
        return name_file_contents(value)
    path = Path(value).expanduser()
    return f"sha256:{file_sha256(path)}" if path.is_file() else value


def _digest(content: Any) -> str:
    text = json.dumps(_without_none(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_none(content: Any) -> Any:
    # a new optional setting of a library must not rename old experiments
    if isinstance(content, dict):
        return {key: _without_none(value) for key, value in content.items() if value is not None}
    return [_without_none(value) for value in content] if isinstance(content, list) else content


def git_state() -> dict[str, Any]:
    """Read the commit, and whether the tree differs from it (results apart); empty outside git."""

    # installed packages may lie in a repository of somebody else's
    if CONFIGS == INSTALLED:
        return {}

    def git(*words: str) -> str:
        return subprocess.check_output(
            ["git", *words], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
        ).strip()

    try:
        changes = git("status", "--porcelain", "--", ".", ":!results")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (OSError, subprocess.CalledProcessError):
        return {}
