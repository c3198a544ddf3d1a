"""The configuration files of an experiment, in the order in which they are merged."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from benchmark.choices import BACKBONES, CONFIGS, is_config_file, short_name, validate_choice
from datamodules.miniature.registry import MINIATURES
from usererror import UserError


def config_files(method: str, data: str, protocol: str, scale: str = "") -> list[Path]:
    """List the files that are merged, later ones winning; a variant stands on its method's file.

    Without a `scale` that of the data is taken.

    Example:
        >>> files = config_files("sgma_additive", "miniature", "standard")
        >>> [path.stem for path in files]
        ['base', 'miniature', 'standard', 'sgma', 'sgma_additive', 'sgma.small']
    """
    data_file = _config_file("data", data)
    if not data_file.exists():
        data_file = CONFIGS / "folder.yaml"  # an imported store of the user's own
    own = _config_file("method", method)
    # `cell.method` names the family: a variant says only what it changes
    family = _config_file("method", str(read_section(own, "cell").get("method", method)))
    method_files = [family, own] if family != own and family.exists() else [own]
    protocol_files = [_config_file("protocol", protocol)]
    # a paper names the sensors of each of its datasets; a miniature stands for the one it imitates
    dataset = MINIATURES[data].adapter if data in MINIATURES else short_name(data)
    of_dataset = CONFIGS / "protocol" / f"{protocol}.{dataset}.yaml"
    if of_dataset.exists():
        protocol_files.append(of_dataset)
    own_scale = read_section(data_file, "cell").get("scale", "paper")
    scale = scale or own_scale
    # the data's file is written for its own scale
    change = [CONFIGS / "scale" / f"{scale}.yaml"] if scale != own_scale else []
    files = [CONFIGS / "base.yaml", data_file, *change, *protocol_files, *method_files]
    # what a scale changes for every dataset comes before what one dataset changes
    for suffix in (scale, short_name(data)):
        for path in method_files:
            refinement = path.with_name(f"{path.stem}.{suffix}.yaml")
            if refinement.exists():
                files.append(refinement)
    return files


def check_backbone(method: str, backbone: str) -> None:
    """Raise a UserError where a method cannot have a backbone; names that only it knows pass.

    Example:
        >>> check_backbone("mmformer", "resnet50")
        Traceback (most recent call last):
        usererror.UserError: METHOD=mmformer has an encoder of its own: leave BACKBONE out.
    """
    if not backbone or is_config_file(method):
        return
    default = None
    # of a variant, its method's; the class says more of it when it is built
    for path in config_files(method, "potsdam", "standard"):
        arguments = read_section(path, "model").get("init_args") or {}
        default = arguments.get("backbone", default)
    if default is None:
        raise UserError(f"METHOD={method} has an encoder of its own: leave BACKBONE out.")
    if default in BACKBONES:
        validate_choice("BACKBONE", backbone, BACKBONES)


def store_name(data: str) -> str:
    """Name the scene store of DATA: a YAML file may name another one than its stem."""
    if not is_config_file(data):
        return data
    arguments = read_section(Path(data), "data").get("init_args") or {}
    return str(arguments.get("name", short_name(data)))


def add_import_folders(path: Path) -> None:
    """Let classes be imported from beside a user's own YAML file and from the working directory."""
    # the console script, unlike `python -m`, does not search the working directory
    for folder in (str(path.parent), str(Path.cwd())):
        if folder not in sys.path:
            # last, so that no file there takes the place of a library
            sys.path.append(folder)


def import_class(class_path: str, place: str = "") -> Any:
    """Import a class by its dotted path; `place` says where it is named, ` in a.yaml`.

    Example:
        >>> import_class("collections.Counter")
        <class 'collections.Counter'>
    """
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        places = "beside the YAML file, in the working directory or installed"
        problem = f"The class {class_path}{place} cannot be imported ({error})"
        raise UserError(f"{problem}: write module.Class, with the module {places}.") from error


def _config_file(folder: str, word: str) -> Path:
    return Path(word) if is_config_file(word) else CONFIGS / folder / f"{word}.yaml"


def read_section(path: Path, name: str) -> dict[str, Any]:
    """Read one section of a YAML file; empty where the file has none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    section = content.get(name) if isinstance(content, dict) else None
    return section if isinstance(section, dict) else {}
