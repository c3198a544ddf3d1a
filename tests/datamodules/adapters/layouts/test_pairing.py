"""Whatever scenes are called, and whatever is behind their names: each gets its own files back."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.adapters.layouts.forms import Found
from datamodules.adapters.layouts.pairing import pair_scenes
from datamodules.ingest.sources import SourceFile

WORD = st.text("abx019", min_size=1, max_size=3)
NAMES = st.lists(
    st.lists(WORD, min_size=1, max_size=4).map("_".join), min_size=2, max_size=6, unique=True
)
# words as they stand behind a name, some of which names end in as well
ENDING = st.lists(st.sampled_from(["x", "img", "ax", "S1", "labelTrainIds"]), max_size=2)


def entry(raster: str, part: str, stem: str) -> Found:
    rel = f"{raster}/{part}/{stem}.png"
    return Found(SourceFile(Path(rel), rel, rel, 0, ""), raster, part, "")


@settings(max_examples=300, deadline=None)
@given(names=NAMES, endings=st.lists(ENDING, min_size=3, max_size=3), data=st.data())
def test_every_scene_gets_its_own_files(
    names: list[str], endings: list[list[str]], data: st.DataObject
) -> None:
    parts = data.draw(st.lists(st.sampled_from(["train", "test"]), min_size=6, max_size=6))
    behind = {r: "".join(f"_{word}" for word in e) for r, e in zip("abl", endings, strict=True)}
    rasters = {"a": "image", "b": "sar", "l": "label"}
    found = []
    for short, raster in rasters.items():
        for name, part in zip(names, parts, strict=False):
            found.append(entry(raster, part, name + behind[short]))
    scenes, _ = pair_scenes(data.draw(st.permutations(found)))
    own = set()
    for name, part in zip(names, parts, strict=False):
        files = [f"{rasters[r]}/{part}/{name}{behind[r]}.png" for r in rasters]
        own.add(frozenset(files))
    assert {frozenset(file.rel for file in files.values()) for files in scenes.values()} == own


def test_a_scene_without_a_partner_stays_alone() -> None:
    found = [entry("image", "train", name) for name in ("north_img", "south_img", "west_img")]
    found += [entry("label", "train", name) for name in ("north", "south", "east")]
    scenes, endings = pair_scenes(found)
    assert endings == {"image": "_img"}
    assert {id_: sorted(files) for id_, files in scenes.items()} == {
        "train/east": ["label"],
        "train/north": ["image", "label"],
        "train/south": ["image", "label"],
        "train/west": ["image"],
    }
