"""The splits of DFC2023, recomputed from the names of the tiles (dataset dossier, section 5.6)."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from datamodules.adapters.dfc2023 import read_tiles


def parts(column: str) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for stem, row in read_tiles().items():
        out.setdefault(row[column], set()).add(stem)
    return out


def test_parts_are_disjoint_and_have_the_published_sizes():
    table = list(read_tiles())
    assert (
        table == sorted(table) and len(set(table)) == 1773
    )  # dossier 5.4: the id is the place in this order
    cities = [re.match(r"(SV|GF2)_([A-Za-z]+)_", stem).groups() for stem in table]
    assert [(row["sensor"], row["city"]) for row in read_tiles().values()] == cities
    counted = {city: sum(c == city for _, c in cities) for _, city in cities}
    assert counted == {
        "Berlin": 566, "Brasilia": 246, "Copenhagen": 216, "Portsmouth": 151, "NewDelhi": 131,
        "NewYork": 108,
        "SanDiego": 108, "Rio": 93, "Barcelona": 90, "Sydney": 34, "SaoLuis": 30,
    }  # fmt: skip
    for column, sizes in {
        "split_standard": {"train": 1268, "val": 151, "test": 354},
        "split_spatial": {"train": 1419, "test": 354},
        "split_random": {"train": 1419, "test": 354},
        "split_sgma": {"train": 1419, "test": 354},
    }.items():
        found = parts(column)
        assert {name: len(stems) for name, stems in found.items()} == sizes
        assert (
            sum(sizes.values()) == len(set.union(*found.values())) == 1773
        )  # so no scene is in two
    assert parts("split_standard")["test"] == parts("split_spatial")["test"]
    assert len({read_tiles()[stem]["city"] for stem in parts("split_standard")["val"]}) >= 5


def test_random_split_is_python_s_own_shuffle():
    ids = list(range(1773))
    random.Random(42).shuffle(ids)
    assert parts("split_random")["test"] == {sorted(read_tiles())[i] for i in ids[:354]}
    assert parts("split_sgma") == parts("split_random")


@pytest.fixture(scope="module")
def ground():
    """{UTM zone: (stems, N x 2 metres)}, from the coordinates in the names alone."""
    from rasterio.warp import transform

    zones: dict[int, list[str]] = {}
    for stem in read_tiles():
        lat, lon = map(float, stem.split("_")[-2:])
        zones.setdefault((32600 if lat > 0 else 32700) + int((lon + 180) // 6) + 1, []).append(stem)
    out = {}
    for epsg, stems in zones.items():
        assert {int(read_tiles()[stem]["epsg"]) for stem in stems} == {epsg}
        lat, lon = zip(*(map(float, stem.split("_")[-2:]) for stem in stems), strict=True)
        out[epsg] = (np.array(stems), np.array(transform("EPSG:4326", f"EPSG:{epsg}", lon, lat)).T)
    return out


@pytest.mark.parametrize("column", ["split_standard", "split_spatial"])
def test_no_ground_is_in_two_parts(column, ground):
    """Squares of 256 m do not overlap across parts; the nearest is a corner 6 m away (5.6)."""
    gaps = []
    for stems, places in ground.values():
        part = np.array([read_tiles()[stem][column] for stem in stems])
        gap = (
            abs(places[:, None] - places[None]).max(axis=2) - 256
        )  # <= 0 where two squares share ground
        gaps.append(gap[part[:, None] != part[None]])
    across = np.sort(np.concatenate(gaps))[::2]  # every pair is there twice
    assert across[0] > 0
    if column == "split_spatial":
        assert 4 < across[0] < 8 and across[1] > 60


def test_the_random_split_leaks(ground):
    """On average 81 % of the ground of a test tile is in the training set (5.6)."""
    test = parts("split_random")["test"]
    seen = []
    for stems, places in ground.values():
        training = places[[stem not in test for stem in stems]]
        for place in places[[stem in test for stem in stems]]:
            covered = np.zeros((128, 128), bool)  # cells of 2 m
            for left, top in np.round((training - place) / 2).astype(int):
                if abs(left) < 128 and abs(top) < 128:
                    covered[max(0, top) : 128 + min(0, top), max(0, left) : 128 + min(0, left)] = (
                        True
                    )
            seen.append(covered.mean())
    assert len(seen) == 354 and min(seen) > 0
    assert abs(np.mean(seen) - 0.81) < 0.01
