"""`about.json`, which may lie beside the data: what this copy is, where its adapter cannot know it.

    {"title": "...", "licence": "...", "citation": "...", "gsd_m": 0.2, "nadir": true,
     "modalities": {"thermal": {"letter": "T", "kind": "optical", "unit": "K"}}}

All entries are optional. `gsd_m`, `nadir` and `modalities` are for folders of one's own rasters.
"""

from __future__ import annotations

import json
import math
from typing import Any

from datamodules.ingest.sources import SourceIndex
from usererror import UserError

KEYS: dict[str, Any] = {
    "title": str,
    "licence": str,
    "citation": str,
    "gsd_m": (int, float),
    "nadir": bool,
    "modalities": dict,
}
MODALITY_KEYS = ("letter", "kind", "unit")


def read_about(index: SourceIndex, folder: str = ".") -> dict[str, Any]:
    """Return what about.json in `folder` says, {} without one; raises UserError for unknown or ill-typed entries."""
    file = index.get(f"{folder}/about.json")
    if file is None:
        return {}
    try:
        about = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file.origin} is not valid JSON ({error}).") from error
    if not isinstance(about, dict):
        raise UserError(f"{file.origin} must hold one JSON object.")
    for key, value in about.items():
        if not isinstance(value, KEYS.get(key, ())):
            raise UserError(
                f"{file.origin}: {key!r} is unknown or of the wrong type; known are {', '.join(KEYS)}."
            )
    side = about.get("gsd_m", 1)
    if isinstance(side, bool) or not 0 < side < math.inf:
        raise UserError(f"{file.origin}: 'gsd_m' is {side!r}, not the side of a pixel in metres.")
    for name, fields in about.get("modalities", {}).items():
        if not isinstance(fields, dict) or not set(fields) <= set(MODALITY_KEYS):
            raise UserError(f"{file.origin}: {name!r} may only have {', '.join(MODALITY_KEYS)}.")
    return about
