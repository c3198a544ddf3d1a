"""The generated datasets by name: who writes them, at which size, and which adapter imports them."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Miniature:
    """A generated dataset in the official layout of a real one.

    `adapter` is the name of the real one, and of the module here that writes its copy: `write_<adapter>`, its `SIZES`
    (`test`, `demonstration`, `real`) and, where a size holds fewer scenes than the benchmark, `<adapter>_ids`.
    """

    adapter: str
    title: str
    gsd_m: float | None = None

    def arguments(self, size: str) -> dict[str, Any]:
        """Return the arguments of the writer for a named size."""
        return dict(self._module().SIZES[size])

    def write(self, root: Path, size: str = "demonstration", progress: bool = False) -> None:
        """Write the source files under `root`, with an about.json that says what they are."""
        getattr(self._module(), f"write_{self.adapter}")(
            root, seed=0, progress=progress, **self.arguments(size)
        )
        about = {
            "title": f"Miniature: procedural scenes in the layout of {self.title}",
            "licence": "Apache-2.0, as the program that draws it; it holds no pixel of a real dataset",
            "citation": "",
            **({"gsd_m": self.gsd_m} if self.gsd_m else {}),
        }
        (root / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def scenes(self, size: str = "demonstration") -> list[str] | None:
        """Return the ids of the scenes, to be asked of the importer; None where they are all of the benchmark."""
        arguments = self.arguments(size)
        if set(arguments) == {"size"}:
            return None
        return list(getattr(self._module(), f"{self.adapter}_ids")(**arguments))

    def _module(self) -> Any:
        return importlib.import_module(f"datamodules.miniature.{self.adapter}")


MINIATURES = {
    "miniature": Miniature("potsdam", "ISPRS Potsdam"),
    "vaihingen_miniature": Miniature(
        "vaihingen", "ISPRS Vaihingen", gsd_m=0.25
    ),  # its files say nothing of it
    "dfc2023_miniature": Miniature("dfc2023", "DFC2023 track 2"),
    "deliver_miniature": Miniature("deliver", "DELIVER"),
}
