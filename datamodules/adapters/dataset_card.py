"""`about.json`, which may lie beside the data: what this copy is, where its adapter cannot know it.

    {"title": "...", "licence": "...", "citation": "...", "gsd_m": 0.2, "nadir": true,
     "modalities": {"thermal": {"letter": "T", "kind": "optical", "unit": "K"}}}

All entries are optional. `nadir` and `modalities` are for folders of one's own rasters.
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from datamodules.ingest.sources import SourceIndex
from datamodules.splits.tables import decode_text
from usererror import UserError

KINDS = "optical|height_absolute|height_normalised|sar|sar_linear|depth|event|lidar|other"
Kind = Annotated[str, Field(pattern=f"^({KINDS})$")]
Letter = Annotated[str, Field(pattern="^[A-Z]$")]
PixelSide = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ModalityCard(BaseModel, extra="forbid", strict=True):
    """What a user says of a modality; what is left out follows from its name."""

    letter: Letter | None = None
    kind: Kind | None = None
    unit: str | None = None


class DatasetCard(BaseModel, extra="forbid", strict=True):
    """What about.json says of a copy of a dataset.

    Example:
        >>> card = DatasetCard.model_validate_json('{"title": "My town", "gsd_m": 0.2}')
        >>> card.title, card.gsd_m, card.nadir
        ('My town', 0.2, None)
    """

    title: str | None = None
    licence: str | None = None
    citation: str | None = None
    gsd_m: PixelSide | None = None
    nadir: bool | None = None
    modalities: dict[str, ModalityCard] = {}

    def or_else(self, title: str, licence: str, citation: str) -> dict[str, Any]:
        """Return title, licence and citation, with these texts where the card says nothing."""
        # an empty citation is an answer: a generated copy cites nobody
        cited = citation if self.citation is None else self.citation
        texts = {"title": self.title or title, "licence": self.licence or licence}
        return texts | {"citation": cited}


def read_dataset_card(index: SourceIndex, folder: str = ".") -> DatasetCard:
    """Read about.json in `folder` or beside it all; without one every entry is left open."""
    file = index.file_at(f"{folder}/about.json") or index.file_at("about.json")
    if file is None:
        return DatasetCard()
    try:
        return DatasetCard.model_validate_json(decode_text(file.read_bytes()))
    except UnicodeError as error:
        raise UserError(f"{file.origin} is not UTF-8 text: save it as UTF-8.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        reason = f"{first['msg']} (entries may be {', '.join(DatasetCard.model_fields)})"
        raise UserError(f"{file.origin}: {where!r} is unusable: {reason}.") from error
