"""The generated datasets by name: who writes them, at which size, and who imports them."""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LICENCE = "Apache-2.0, as the program that draws it; it holds no pixel of a real dataset"


@dataclass(frozen=True)
class Miniature:
    """A generated dataset in the official layout of a real one.

    `adapter` names the real dataset, and the module here, or in `folder`, that writes its copy: it
    has `write_<adapter>`, `SIZES` and, where a copy is less than the dataset, `<adapter>_ids`.
    `gsd_m` is set where the files say nothing of it.
    """

    adapter: str
    title: str
    gsd_m: float | None = None
    folder: str = ""

    def writer_arguments(self, size: str) -> dict[str, Any]:
        """Return the arguments of the writer for a named size."""
        return dict(self._module().SIZES[size])

    def write_source(self, root: Path, size: str = "demonstration", progress: bool = False) -> None:
        """Write the source files under `root`, with an about.json that says what they are."""
        write = getattr(self._module(), f"write_{self.adapter}")
        write(root, seed=0, progress=progress, **self.writer_arguments(size))
        title = f"Miniature: procedural scenes in the layout of {self.title}"
        about: dict[str, Any] = {"title": title, "licence": LICENCE, "citation": ""}
        if self.gsd_m:
            about["gsd_m"] = self.gsd_m
        (root / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def scene_ids(self, size: str = "demonstration") -> list[str] | None:
        """List the scenes to ask the importer for; None where they are all of the benchmark."""
        arguments = self.writer_arguments(size)
        list_ids = getattr(self._module(), f"{self.adapter}_ids", None)
        if list_ids is not None:
            return list(list_ids(**arguments))
        chosen = arguments.get("tiles", arguments.get("stems"))
        return None if chosen is None else list(chosen)

    def _module(self) -> Any:
        # imported on use: names of datasets are needed where numpy is not
        return importlib.import_module(f"datamodules.miniature.{self.folder}{self.adapter}")


MINIATURES = {
    "miniature": Miniature("potsdam", "ISPRS Potsdam"),
    "vaihingen_miniature": Miniature("vaihingen", "ISPRS Vaihingen", gsd_m=0.25),
    "dfc2023_miniature": Miniature("dfc2023", "DFC2023 track 2"),
    "deliver_miniature": Miniature("deliver", "DELIVER"),
    "earthmiss_miniature": Miniature("earthmiss", "EarthMiss", folder="open_data."),
    "geonrw_miniature": Miniature("geonrw", "GeoNRW", folder="open_data."),
    "flairhub_miniature": Miniature("flairhub", "FLAIR-HUB", folder="open_data."),
    "hunan_miniature": Miniature("hunan", "Hunan", folder="open_data."),
    "mmflood_miniature": Miniature("mmflood", "MMFlood", folder="open_data."),
    "muses_miniature": Miniature("muses", "MUSES", folder="open_data."),
}
