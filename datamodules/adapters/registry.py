"""Which adapter imports which dataset."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from datamodules.ingest.plan import Adapter
from usererror import UserError

if TYPE_CHECKING:
    pass


ADAPTERS = {
    "potsdam": "datamodules.adapters.potsdam",
    "vaihingen": "datamodules.adapters.vaihingen",
    "dfc2023": "datamodules.adapters.dfc2023",
    "deliver": "datamodules.adapters.deliver",
    "folder": "datamodules.adapters.folder",
}


def load_adapter(name: str) -> Adapter:
    """Return the adapter called `name`; raises UserError for an unknown name, listing the valid ones."""
    if name not in ADAPTERS:
        raise UserError(
            f"There is no dataset {name!r}; known are {', '.join(sorted(ADAPTERS))}, and any new name with "
            f"SOURCE=<folder with scenes.csv and classes.csv>."
        )
    return importlib.import_module(ADAPTERS[name]).ADAPTER
