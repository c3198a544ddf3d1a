"""What releases say of themselves, which stands apart from their adapters."""

from __future__ import annotations

import tomllib
from pathlib import PurePosixPath

import pytest

from datamodules.adapters.registry import ADAPTERS, load_adapter
from datamodules.splits import tables

OPEN = [name for name, module in ADAPTERS.items() if module.startswith("open_data.")]
FACTS = tomllib.loads((tables.SPLITS_FOLDER / "releases.toml").read_text(encoding="utf-8"))


def test_every_open_dataset_has_its_facts() -> None:
    assert sorted(FACTS) == sorted(OPEN) and len(OPEN) >= 6


@pytest.mark.parametrize("name", FACTS)
def test_texts_are_one_line_without_gaps(name: str) -> None:
    facts = FACTS[name]
    texts = [value for value in facts.values() if isinstance(value, str)]
    texts += facts.get("split_notes", {}).values()
    for text in texts:
        assert text == " ".join(text.split()) and text
    assert load_adapter(name).obtain == facts["obtain"].strip()
    assert facts["obtain"].startswith("To obtain it: ") and facts["obtain"].endswith(".")
    # a path below the source, as users see it
    assert (
        not PurePosixPath(facts["like"]).is_absolute() and "." in PurePosixPath(facts["like"]).name
    )
    for parts in facts.get("counts", {}).values():
        assert parts.keys() <= {"train", "val", "test"} and min(parts.values()) > 0


@pytest.mark.parametrize("name", [name for name in FACTS if "published" in FACTS[name]])
def test_published_statistics_have_a_value_per_channel(name: str) -> None:
    channels = {modality.name: modality.channels for modality in load_adapter(name).modalities}
    for raster, (means, deviations) in FACTS[name]["published"].items():
        assert len(means) == len(deviations) == channels[raster]
