"""Which pretrained weights a method starts from: what it asks for, described in timm's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch

from benchmark.experiment.lightning_cli import resolve_config
from benchmark.experiment.models import instantiate_model
from benchmark.experiment.request import Request, teacher_request
from methods.weights import cached_weights, explained_loading, locate_weights, noting_weights
from usererror import UserError

# which sensors there are changes no name
CHANNELS = {"rgb": 3, "dsm": 1}
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Weights:
    """Pretrained weights by timm's name, with its tag, and where they are."""

    name: str
    repository: str = ""  # on the hub
    url: str = ""  # of a file elsewhere
    licence: str = NOT_STATED  # as timm has it
    file: Path | None = None  # on this machine

    @property
    def address(self) -> str:
        """Where timm loads them from; nothing for a file of the user's."""
        return f"hf.co/{self.repository}" if self.repository else self.url

    @property
    def size(self) -> str:
        """Size of the file; of one that is not here, timm's whole network in float32, counted."""
        if self.file is None:
            return f"{counted_megabytes(self.name):.0f} MB, counted"
        return f"{self.file.stat().st_size / 1e6:.0f} MB" if self.file.is_file() else "-"

    @property
    def state(self) -> str:
        """Where they are on this machine."""
        if self.file is None:
            return "not in the cache"
        return str(self.file) if self.file.is_file() else f"{self.file} is not there"


def weights_of(request: Request) -> list[Weights]:
    """Find what a method loads before it trains, and what its teacher does; nothing is loaded.

    The method is built without values and says itself what it asks for.

    Raises:
        UserError: wrong names, or weights that timm lacks.
    """
    request = request.named()
    config = resolve_config(request)
    found = weights_in(config["model"])
    if teacher := teacher_request(request, config["cell"]):
        found += weights_of(teacher)
    return list({one.name: one for one in found}.values())


def weights_in(section: Mapping[str, Any], channels: Mapping[str, int] = CHANNELS) -> list[Weights]:
    """Find what the `model` section of a configuration loads."""
    if not section.get("init_args", {}).get("pretrained"):
        return []
    with noting_weights() as asked, torch.device("meta"):
        instantiate_model(section, channels, 2, pretrained=True)
    return [describe(name, path) for name, path in asked.items()]


def describe(name: str, path: str | None = None) -> Weights:
    """Describe timm's weights of a network, or the file of the user's that stands for them."""
    config = timm.get_pretrained_cfg(name)
    if path is not None:
        return Weights(name, file=Path(path).expanduser())
    if config is None:
        raise UserError(f"timm has no weights for {name}.")
    # weights that other code may use stand under a tag
    full = f"{config.architecture or name.split('.')[0]}.{config.tag}" if config.tag else name
    licence, file = config.license or NOT_STATED, cached_weights(config.to_dict())
    url = config.url if isinstance(config.url, str) else ""
    return Weights(full, config.hf_hub_id or "", url, licence, file)


def counted_megabytes(name: str) -> float:
    """Count 4 bytes for each number of timm's whole network, its classifier included."""
    with torch.device("meta"):
        network = timm.create_model(name)
    return 4e-6 * sum(value.numel() for value in network.state_dict().values())


def fetch(weights: Weights) -> Weights:
    """Download what is not here into the cache that timm reads; a UserError says what failed."""
    if weights.file is not None:
        return weights
    # says at once that no hub answers
    if locate_weights(weights.name) is None:
        _download(weights)
    return describe(weights.name)


def _download(weights: Weights) -> None:
    print(f"Fetching {weights.name} ({weights.size}) from {weights.address}", flush=True)
    # as timm itself would, so that it finds them again
    with explained_loading(weights.name, None):
        if weights.repository:
            timm.models.load_state_dict_from_hf(weights.repository, weights_only=True)
        else:
            torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", weights_only=True)


def weights_table(found: dict[str, list[Weights]]) -> pd.DataFrame:
    """Lay out weights, a row each, with the methods that load them."""
    rows: dict[str, dict[str, str]] = {}
    for method, several in found.items():
        for one in several:
            row = {"weights": one.name, "licence": one.licence, "size": one.size}
            row |= {"from": one.address, "here": one.state, "METHOD": ""}
            row = rows.setdefault(one.name, row)
            row["METHOD"] = ", ".join(filter(None, [row["METHOD"], method]))
    return pd.DataFrame(rows.values())
