"""Published protocols beside their papers: what a network is given, its size, steps and split."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from benchmark.experiment.models import resolve_config
from benchmark.experiment.request import Request
from benchmark.profiling.paper_costs import trainable_parameters
from benchmark.profiling.profile import profile_method
from datamodules.splits.tables import read_split_table


@dataclass(frozen=True)
class Published:
    """What a paper or its code says; None where it says nothing."""

    protocol: str
    data: str
    method: str
    modalities: str
    classes: int
    trained: int | None
    window: int
    batch: int | None = None
    steps: int | None = None


# MoBaNet: dossier sections 3 and 4; its Table IV is the same on both datasets
MOBANET = {"classes": 6, "window": 256, "batch": 12, "steps": 50_000}
# GEMMNet: dossier sections 4 and 7; 250 epochs of 1200 windows
GEMMNET = {"classes": 5, "window": 512, "batch": 4, "steps": 75_000}
PUBLISHED = [
    Published("mobanet", "potsdam", "mobanet", "R+D", trained=6_179_456, **MOBANET),
    Published("mobanet", "potsdam", "mobanet_base", "R+D", trained=1_908_352, **MOBANET),
    Published("mobanet", "potsdam", "mobanet_cpia", "R+D", trained=3_990_400, **MOBANET),
    Published("mobanet", "potsdam", "mobanet_cpia_dgfm", "R+D", trained=4_995_712, **MOBANET),
    Published("mobanet", "vaihingen", "mobanet", "I+D", trained=6_179_456, **MOBANET),
    Published("gemmnet", "potsdam", "cgan", "I+D", trained=10_072_115, **GEMMNET),
    Published("gemmnet", "vaihingen", "ae", "I+D", trained=4_537_009, **GEMMNET),
    # SGMA: dossier sections 10 and 12; batch and crop are not stated
    Published("sgma", "potsdam", "sgma", "R+D+N", 5, 30_170_329, 512),
]
SCENES = {"potsdam": (24, 14), "vaihingen": (16, 17)}  # training, test
IDS = [f"{row.protocol}-{row.data}-{row.method}" for row in PUBLISHED]


@pytest.mark.parametrize("row", PUBLISHED, ids=IDS)
def test_it_is_the_papers(row: Published) -> None:
    request = Request(row.method, row.data, row.protocol)
    profiled, config = profile_method(request), resolve_config(request)
    data, trainer = config["data"]["init_args"], config["trainer"]
    assert "+".join(profiled.inputs.letters.values()) == row.modalities
    assert (profiled.inputs.num_classes, profiled.inputs.side) == (row.classes, row.window)
    if row.trained:
        assert trainable_parameters(profiled) == row.trained
    if row.batch and row.steps:
        assert data["batch_size"] == row.batch
        assert data["epoch_windows"] // row.batch * trainer["max_epochs"] == row.steps
    parts = [scene[data["split"]] for scene in read_split_table(row.data).values()]
    assert (parts.count("train"), parts.count("test")) == SCENES[row.data]
