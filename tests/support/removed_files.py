"""What every adapter owes to a user whose folder lacks a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from usererror import UserError


def check_removed_file(
    load: Callable[..., Any], source: Path, name: str, scene_id: str, raster: str
) -> tuple[str, Any]:
    """Check that the missing file is named, or its raster left out on request.

    Returns the error's text, and the store without the raster.
    """
    with pytest.raises(UserError, match=re.escape(name)) as caught:
        load(source)
    assert str(source) in str(caught.value)
    store = load(source, allow_incomplete=True)
    assert store.info["incomplete"] and f"{scene_id}: {raster}" in store.info["missing"]
    (scene,) = [scene for scene in store.scenes if scene.id == scene_id]
    assert raster not in scene.paths
    return str(caught.value), store
