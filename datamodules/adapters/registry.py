"""Which adapter imports which dataset."""

import importlib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from datamodules.adapters.layouts.adapter import layout_adapter
from datamodules.ingest.importer import import_dataset
from datamodules.ingest.plan import Adapter
from datamodules.miniature.registry import MINIATURES
from datamodules.store.scene_store import SceneStore
from usererror import UserError

# modules below this folder; loading all would read the tables of all for one dataset
ADAPTERS = {
    "potsdam": "potsdam",
    "vaihingen": "vaihingen",
    "dfc2023": "dfc2023",
    "deliver": "deliver",
    "earthmiss": "open_data.earthmiss",
    "geonrw": "open_data.geonrw",
    "flairhub": "open_data.flairhub",
    "hunan": "open_data.hunan",
    "mmflood": "open_data.mmflood",
    "muses": "open_data.muses",
    "folder": "folder",
}


def load_adapter(name: str) -> Adapter:
    """Return the adapter called `name`; raises UserError for an unknown one.

    Example:
        >>> [modality.letter for modality in load_adapter("dfc2023").modalities]
        ['R', 'D', 'S']
    """
    if name not in ADAPTERS:
        own = "any new name with SOURCE=<folder with scenes.csv and classes.csv>"
        known = ", ".join(sorted(ADAPTERS))
        raise UserError(f"There is no dataset {name!r}; known are {known}, and {own}.")
    return importlib.import_module(f"datamodules.adapters.{ADAPTERS[name]}").ADAPTER


def import_named_dataset(
    dataset: str,
    source: Path,
    store_root: Path,
    *,
    name: str | None = None,
    layout: str = "",
    **options: Any,
) -> SceneStore:
    """Import a dataset as `import_dataset` does; a new name stands for one's own rasters.

    With a `layout` their folders say what scenes.csv would.
    """
    if layout:
        if dataset in (*ADAPTERS, *MINIATURES):
            own = "LAYOUT is for rasters of your own"
            raise UserError(f"{own}, and {dataset!r} is a dataset of the suite: give a new DATA.")
        adapter = layout_adapter(layout)
        return import_dataset(adapter, source, store_root, name=name or dataset, **options)
    source = Path(source).expanduser().absolute()
    # a misspelt name of a known dataset is no new name, unless the folder says so
    is_new = not get_close_matches(dataset, ADAPTERS, cutoff=0.8)
    is_own = source.is_file() or (source / "scenes.csv").is_file()
    if dataset not in ADAPTERS and (is_new or is_own):
        dataset, name = "folder", name or dataset
    return import_dataset(load_adapter(dataset), source, store_root, name=name, **options)
