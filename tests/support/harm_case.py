"""One source to be harmed, and what its harm is drawn from."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

RASTERS = (".tif", ".tiff", ".png", ".jpg", ".bmp")


@dataclass
class Case:
    """One source to be harmed; an error has to hold one of `names` (none: any file name)."""

    root: Path
    adapter: str
    ids: list[str] | None
    rng: random.Random
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = self.root / "source"

    def files(self, *suffixes: str) -> list[Path]:
        return sorted(
            p
            for p in self.source.rglob("*")
            if p.suffix.lower() in (suffixes or RASTERS) and p.is_file()
        )

    def pick(self, *suffixes: str) -> Path:
        """Draw a file; an error has to name it, or the scene it belongs to."""
        path = self.rng.choice(self.files(*suffixes))
        self.names += [path.name, *(i for i in self.ids or () if i in str(path))]
        return path


def put(path: Path, content: bytes) -> None:
    """Give `path` a content of its own: the copies are hard links."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
