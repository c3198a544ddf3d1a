"""Where a row of the report comes from: its paper, its ledger, and the command that makes it."""

import shlex
from typing import Any

from benchmark import choices
from benchmark.experiment.config import read_section
from benchmark.method_table import method_entry
from benchmark.records.groups import SeedGroup

SENSORS = {
    "dem": "elevation",
    "depth": "depth",
    "dsm": "surface height",
    "event": "events",
    "hha": "depth as HHA",
    "irrg": "infrared-red-green",
    "lidar": "LiDAR",
    "ndsm": "height above ground",
    "nir": "near infrared",
    "radar": "radar",
    "rgb": "red-green-blue",
    "sar": "radar",
}


def references(group: SeedGroup) -> dict[str, str]:
    """Name paper (an address), ledger (a path in the checkout) and command, empty if unknown.

    And family, kind and year, by which the page parts the rows.
    """
    manifest = group.manifest
    entry = method_entry(manifest.variant)
    folder = ""
    if {manifest.method, manifest.variant} <= set(choices.methods()):
        # the name of a family, as of a variant, need not be that of its folder
        family = choices.CONFIGS / "method" / f"{manifest.method}.yaml"
        folder = read_section(family, "model")["class_path"].split(".")[1]
    return {
        "paper": entry.address if not manifest.control else "",
        "ledger": f"methods/{folder}/README.md" if folder else "",
        "command": bench_command(group),
        "family": entry.family,
        "kind": "control" if manifest.control else entry.kind,
        "year": entry.year,
    }


def bench_command(group: SeedGroup) -> str:
    """Write the command that trains the row's first seed."""
    manifest = group.manifest
    words: dict[str, Any] = {"METHOD": manifest.variant, "DATA": manifest.data}
    if group.protocol != "standard":
        words["PROTOCOL"] = group.protocol
    if manifest.backbone in choices.BACKBONES:
        words["BACKBONE"] = manifest.backbone
    words["SEED"] = manifest.seed
    if manifest.overrides:
        words["ARGS"] = shlex.join(manifest.overrides)
    return "make bench " + " ".join(
        f"{key}={shlex.quote(str(word))}" for key, word in words.items()
    )


def spelled_letters(group: SeedGroup) -> dict[str, str]:
    """Say what the letters of sensors stand for."""
    letters = {}
    for modality, letter in group.manifest.modalities.items():
        letters[letter] = SENSORS.get(modality, modality)
    return letters
