"""Published protocols beside their papers: what a network is given, its size, steps and split."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from benchmark import choices
from benchmark.experiment.lightning_cli import resolve_config
from benchmark.experiment.request import Request
from benchmark.formats.files import read_csv_rows
from benchmark.profiling.paper_costs import trainable_parameters
from benchmark.profiling.profile import profile_method
from benchmark.profiling.protocol_table import FACTS, KEY, protocol_rows


@dataclass(frozen=True)
class Published:
    """What a paper or its code says; None where it says nothing."""

    protocol: str
    data: str
    method: str
    modalities: str
    classes: int
    trained: int
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
    Published("gemmnet", "potsdam", "ae", "I+D", trained=4_537_009, **GEMMNET),
    # SGMA: dossier sections 10 and 12; batch and crop are not stated
    Published("sgma", "potsdam", "sgma", "R+D+N", 5, 30_170_329, 512),
]
SCENES = {"potsdam": (24, 14), "vaihingen": (16, 17)}  # training, test
IDS = [f"{row.protocol}-{row.data}-{row.method}" for row in PUBLISHED]


@pytest.fixture(scope="module")
def described() -> dict[tuple[str, ...], tuple[dict[str, str], dict[str, str]]]:
    """What a paper says and what a run does, by protocol, data and method."""
    found = {}
    for said, run in protocol_rows():
        found[tuple(said[key] for key in KEY)] = (said, run)
    return found


def test_every_run_is_the_papers(described) -> None:
    for key, (said, run) in described.items():
        for fact in FACTS:
            assert said[fact] in ("-", run[fact]), (key, fact)


@pytest.mark.parametrize("row", PUBLISHED, ids=IDS)
def test_the_table_is_the_dossiers(row: Published, described) -> None:
    said, run = described[(row.protocol, row.data, row.method)]
    profiled = profile_method(Request(row.method, row.data, row.protocol))
    assert (run["sensors"], profiled.inputs.num_classes) == (row.modalities, row.classes)
    assert trainable_parameters(profiled) == row.trained
    assert run["trained"] == f"{row.trained / 1e6:.2f}" and run["window"] == str(row.window)
    assert (int(run["train"]), int(run["test"])) == SCENES[row.data]
    if row.batch:
        assert (run["batch"], run["steps"]) == (str(row.batch), str(row.steps))
        assert (said["batch"], said["steps"]) == (str(row.batch), str(row.steps))


def test_the_rows_of_other_backbones_can_be_made() -> None:
    """ViT-L, as MoBaNet's Table IV has it (dossier, section 4)."""
    large = Request("mobanet", "potsdam", "mobanet", backbone="vit_large_patch14_dinov2")
    assert trainable_parameters(profile_method(large)) == 8_981_376


def test_every_published_protocol_and_dataset_is_there(described) -> None:
    files = {path.stem for path in (choices.CONFIGS / "protocol").glob("*.yaml")}
    of_dataset = {tuple(stem.split(".")) for stem in files if "." in stem}
    own = {name for name in choices.protocols() if "incomplete" in name}
    own |= {"standard", "radar_only"}
    assert {pair for pair in of_dataset if pair[0] not in own} <= {key[:2] for key in described}
    assert {key[0] for key in described} == set(choices.protocols()) - own


def test_the_committed_table_is_up_to_date(described) -> None:
    committed = read_csv_rows(choices.PUBLISHED_COSTS / "protocols.csv", (*KEY, *FACTS))
    assert len(committed) == len(described)
    for row in committed:
        said, run = described[tuple(row[key] for key in KEY)]
        assert {fact: row[fact] for fact in FACTS} == run
        assert {fact: row[f"{fact} printed"] for fact in FACTS} == {f: said[f] for f in FACTS}


def test_a_miniature_stands_for_the_dataset_it_imitates() -> None:
    profiled = profile_method(Request("mobanet", "miniature", "mobanet"))
    assert list(profiled.inputs.channels) == ["rgb", "dsm"]
    assert profiled.config["trainer"]["max_steps"] == 300


def test_released_recipes_have_a_name() -> None:
    """Dossier of mmFormer and ShaSpec, I.2 and II.2."""
    mmformer = resolve_config(Request("mmformer_released", "potsdam"))
    options = mmformer["model"]["init_args"]
    assert options["as_released"] and options.get("amsgrad") is None
    recipe = options["optimizer"]
    assert (recipe["lr"], recipe["weight_decay"], recipe["poly_power"]) == (2e-4, 1e-4, 0.9)
    assert mmformer["trainer"]["max_epochs"] == 1000
    assert mmformer["data"]["init_args"]["batch_size"] == 8
    shaspec = resolve_config(Request("shaspec_released", "potsdam"))
    options = shaspec["model"]["init_args"]
    assert options["as_released"] and options["subsets"] == "size_uniform"
    assert options["warmup_share"] == pytest.approx(80 / 180)
    assert (options["momentum"], options["optimizer"]["lr"]) == (0.99, 1e-2)
    assert options["optimizer"]["weight_decay"] == options["optimizer"]["warmup_epochs"] == 0
    assert shaspec["trainer"]["max_steps"] == 180_000
    assert shaspec["data"]["init_args"]["batch_size"] == 1
    small = resolve_config(Request("shaspec_released", "miniature"))
    assert small["trainer"]["max_steps"] == 300
